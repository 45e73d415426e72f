//! What honest sessions feel of an attack: the same load with it and without, in turn.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use super::{Attack, Core, HALF_OPEN, Liar, Lie, hold_to, preferred};
use crate::{
    Backend, Kind, Proxy, Replaced,
    client::{Load, Transcript, run_many},
    deadline::eventually,
    judge::Judge,
};

/// Attackers say so, where their sessions are to have a backend of their own: what it feels is not the proxy's doing.
pub(super) const ATTACKER: &str = "X-Attacker: yes";
/// Honest clients.
pub const HONEST: u32 = 16;
const BEGUN_WITHIN: Duration = Duration::from_secs(60);

/// The proxy, with one worker, before the backend of the honest and that of the attackers.
#[derive(Debug)]
pub struct Site {
    /// The proxy.
    pub proxy: Proxy,
    backends: Vec<Backend>,
    /// In the pool of the honest.
    _liar: Option<Liar>,
    _config: Replaced,
    clients: u32,
}

impl Site {
    /// Sets it up for an attack, with more flags.
    ///
    /// # Panics
    /// When a process does not start.
    pub fn set(attack: Attack, flags: &[&str]) -> Self {
        let honest = Backend::start(Kind::Rust);
        let started = std::thread::spawn(|| {
            hold_to(Core::Last);
            preferred(false);
            Backend::start(Kind::Rust)
        });
        let attacked = started.join().expect("a backend starts");
        let liar = (attack == Attack::LyingBackend).then(|| Liar::telling(&Lie::SEEN));
        let urls = |addresses: &[SocketAddr]| {
            addresses.iter().map(|address| format!("'ws://{address}'")).collect::<Vec<_>>().join(", ")
        };
        let honest_pool: Vec<_> = liar.iter().map(Liar::address).chain([honest.address()]).collect();
        let config = Replaced::new(&format!(
            "backend = [{}]\n[[pool]]\nname = 'attacked'\nbackend = [{}]\n\
             [[route]]\nheader = '{}'\npool = 'attacked'\n[[route]]\npath = '/'\n",
            urls(&honest_pool),
            urls(&[attacked.address()]),
            ATTACKER.replace(": ", "="),
        ));
        let file = config.text();
        let start = || {
            preferred(false);
            Proxy::before([], &[&["--config", &file, "--workers", "1"], flags].concat())
        };
        let proxy = std::thread::scope(|scope| scope.spawn(start).join()).expect("the proxy starts");
        Self { proxy, backends: vec![honest, attacked], _liar: liar, _config: config, clients: 0 }
    }

    /// Honest sessions for a while. All that they sent must have been read and echoed, and none may have been closed.
    ///
    /// # Panics
    /// When that is not so.
    pub async fn honest(&mut self, load: Load) -> Round {
        let clients = self.clients..self.clients + HONEST;
        self.clients = clients.end;
        let transcripts = run_many(&self.proxy.url("/echo"), clients, load).await;
        let round = Round::of(&transcripts);
        Judge::new(&self.backends, transcripts).assert_nothing_lost_and_nobody_closed();
        round
    }
}

/// What the honest felt for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// Messages sent and echoed.
    pub messages: usize,
    /// Half of the echoes came sooner.
    pub p50: Duration,
    /// All but one in a hundred came sooner.
    pub p99: Duration,
    /// The last to come took so long.
    pub longest: Duration,
}

impl Round {
    fn of(transcripts: &[Transcript]) -> Self {
        let mut waits: Vec<_> = transcripts.iter().flat_map(waits).collect();
        waits.sort_unstable();
        let at = |part: usize| Duration::from_nanos(waits.get(waits.len() * part / 100).copied().unwrap_or_default());
        let longest = Duration::from_nanos(waits.last().copied().unwrap_or_default());
        Self { messages: waits.len(), p50: at(50), p99: at(99), longest }
    }
}

/// From each message of a client to its echo, in nanoseconds.
fn waits(transcript: &Transcript) -> impl Iterator<Item = u64> {
    let mut echoed: HashMap<&str, u64> = HashMap::new();
    for got in &transcript.got {
        echoed.entry(&got.text).or_insert(got.at);
    }
    transcript.sent.iter().filter_map(move |sent| Some(echoed.get(sent.text.as_str())?.saturating_sub(sent.at)))
}

/// Rounds with an attack and without.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Without.
    pub calm: Vec<Round>,
    /// With it.
    pub attacked: Vec<Round>,
    /// What the attackers did meanwhile, in words.
    pub done: String,
}

impl Measured {
    /// The median of something over the rounds: without the attack, and with it.
    pub fn medians(&self, of: impl Fn(&Round) -> Duration) -> (Duration, Duration) {
        let median = |rounds: &[Round]| {
            let mut values: Vec<_> = rounds.iter().map(&of).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        (median(&self.calm), median(&self.attacked))
    }

    /// How many times longer the honest wait at the 99th percentile.
    pub fn ratio(&self) -> f64 {
        let (calm, attacked) = self.medians(|round| round.p99);
        attacked.as_secs_f64() / calm.as_secs_f64()
    }
}

/// So many rounds of the load without the attack and with it, in turn.
///
/// # Panics
/// When an honest session loses anything or is closed, or the attack does not take place.
pub async fn measure(attack: Attack, rounds: usize, load: Load, flags: &[&str]) -> Measured {
    let mut site = Site::set(attack, flags);
    // Whoever comes first pays for what is set up once.
    site.honest(Load::new(load.rate, 1)).await;
    let mut measured = Measured { calm: Vec::new(), attacked: Vec::new(), done: String::new() };
    for _ in 0..rounds {
        measured.calm.push(site.honest(load).await);
        let attacker = attack.start(site.proxy.address());
        let begun = || match attack {
            Attack::Slowloris => attacker.done().most_open() >= HALF_OPEN,
            _ => attacker.done().begun() > 0,
        };
        eventually(BEGUN_WITHIN, format_args!("{} is under way", attack.title()), begun).await;
        measured.attacked.push(site.honest(load).await);
        let done = attacker.stop();
        assert_eq!(done.wrong(), 0, "sessions refused, or with injected fields, though a good backend is there");
        measured.done = done.to_string();
    }
    assert!(site.proxy.is_running() && !site.proxy.log_text().contains("panicked"), "{}", site.proxy.log_text());
    measured
}
