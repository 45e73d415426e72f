//! The guarantee matrix: what is lost, repeated and out of order for each real server, mode and handler time, while
//! backends are killed. `cargo run --release -p tideover-tests --bin guarantees` measures it and writes
//! `docs/guarantees.md`; a small version is a test.

mod account;
mod exactly_once;
mod fire;
mod load;
mod mode;
mod page;
mod report;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

pub use account::Counts;
use account::notes;
pub use exactly_once::ExactlyOnce;
pub use mode::Mode;
pub use report::{Report, Row};
use tokio::sync::watch;

use self::{
    fire::{Fire, shoot},
    load::{Load, Session, work},
};
use crate::{Backend, Kind, Proxy, backend::Event, deadline::wait_for};

/// A cell of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The server: three of it are the pool.
    pub kind: Kind,
    /// The proxy's mode.
    pub mode: Mode,
    /// How long the handler takes for a message, in milliseconds.
    pub handler_ms: u32,
}

/// How hard a cell is tried.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Sessions, at work all the time.
    pub sessions: u32,
    /// Messages that each keeps unanswered.
    pub in_flight: u32,
    /// SIGKILLs.
    pub kills: usize,
    /// How many of them must hit inside a replay.
    pub in_replay: usize,
    /// More than so many messages must have been replayed.
    pub replayed: usize,
    /// With de-duplication, more than so many answers must have been swallowed.
    pub swallowed: usize,
}

impl Plan {
    /// What a cell of the published table is held to.
    pub const FULL: Self =
        Self { sessions: 50, in_flight: 32, kills: 100, in_replay: 20, replayed: 1000, swallowed: 100 };

    /// The same for another number of kills, and in proportion as much of everything else that is asked for.
    pub fn with_kills(self, kills: usize) -> Self {
        let scaled = |full: usize| full * kills / self.kills;
        let (in_replay, replayed, swallowed) = (self.in_replay, self.replayed, self.swallowed);
        Self { kills, in_replay: scaled(in_replay), replayed: scaled(replayed), swallowed: scaled(swallowed), ..self }
    }

    /// Why counts prove nothing; empty if they do.
    pub fn void(&self, mode: Mode, counts: &Counts) -> Vec<String> {
        let mut reasons = Vec::new();
        let mut at_least = |what: &str, found: usize, wanted: usize| {
            if found < wanted {
                reasons.push(format!("{what}: {found} of {wanted}"));
            }
        };
        at_least("kills", counts.kills, self.kills);
        at_least("kills inside a replay", counts.kills_in_replay, self.in_replay);
        if mode.replays() {
            at_least("replayed", counts.repeated_backend + counts.rescued, self.replayed + 1);
        }
        if mode.dedupes() {
            at_least("swallowed", counts.swallowed, self.swallowed + 1);
        }
        reasons
    }
}

/// A cell's counts, and how long it took.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was counted.
    pub counts: Counts,
    /// The first few breaches in words: where to begin to look.
    pub notes: Vec<String>,
    /// From the sessions' beginning to the last count.
    pub took: Duration,
}

/// The pool's size.
const POOL: usize = 3;

impl Cell {
    /// Runs it: starts a pool and a proxy, lets the sessions work, kills, and counts.
    ///
    /// # Panics
    /// When a backend or the proxy does not start.
    pub fn run(self, plan: Plan) -> Outcome {
        let mut backends: Vec<Backend> = (0..POOL).map(|_| Backend::start(self.kind)).collect();
        let proxy = Proxy::start(&backends, &[self.mode.flags(), self.flags()].concat());
        let begun = Instant::now(); // starting them may have installed and built them
        let connected = Arc::new(AtomicU32::new(0));
        let (cease, ceased) = watch::channel(false);
        let runtime = client_runtime();
        let load = Load { in_flight: plan.in_flight, stall: self.stall(plan) };
        let sessions: Vec<_> = (0..plan.sessions)
            .map(|client| {
                let url = proxy.url(&format!("/answer?ms={}&client={client}", self.handler_ms));
                runtime.spawn(work(url, client, load, connected.clone(), ceased.clone()))
            })
            .collect();
        wait_for(Duration::from_secs(30) + 30 * self.round(plan), "every session is connected", || {
            (connected.load(Ordering::Relaxed) == plan.sessions).then_some(())
        });
        let fire = Fire { kills: plan.kills, in_replay: plan.in_replay, pause: self.pause() + self.round(plan) };
        let shots = shoot(&mut backends, fire, || sessions.iter().any(|session| !session.is_finished()));
        cease.send_replace(true);
        let sessions: Vec<Session> =
            sessions.into_iter().map(|session| runtime.block_on(session).expect("a session does not panic")).collect();
        let events: Vec<Event> = backends.iter().flat_map(Backend::events).collect();
        let counts = Counts::of(&events, &sessions, &shots);
        Outcome { counts, notes: notes(&sessions), took: begun.elapsed() }
    }

    /// Quick handlers are killed as fast as the pool comes back. With slow ones a server that handles in turn needs
    /// 32 handlers' time until it answers a barrier, so legs must live for some seconds, or nothing would ever be
    /// acknowledged.
    fn pause(self) -> Duration {
        if self.is_slow() { Duration::from_millis(2500) } else { Duration::from_millis(100) }
    }

    /// Long enough that only a loss explains it: all in flight handled one after the other, three times over. Without
    /// replay every kill is a loss, so what a handler takes is enough there.
    fn stall(self, plan: Plan) -> Duration {
        let handlers = if self.mode.replays() { 3 * plan.in_flight } else { 1 };
        Duration::from_secs(2) + Duration::from_millis(u64::from(self.handler_ms)) * handlers + 10 * self.round(plan)
    }

    /// How long a server is deaf while it handles what all its sessions have in flight. Only one whose handler blocks
    /// the one thread is.
    fn round(self, plan: Plan) -> Duration {
        let sessions = plan.sessions.div_ceil(POOL as u32);
        let blocks = u32::from(self.kind == Kind::NodeSync);
        blocks * sessions * plan.in_flight * Duration::from_millis(self.handler_ms.into())
    }

    /// What the proxy must be told of such a server: that a handshake may take so long, and the search for one that
    /// answers it longer.
    fn flags(self) -> &'static [&'static str] {
        if self.kind == Kind::NodeSync && self.handler_ms > 0 {
            &["--connect-timeout", "30s", "--failover-timeout", "10m"]
        } else {
            &[]
        }
    }

    /// Whether its time goes by in waiting, so that several of its like can run at once.
    pub fn is_slow(self) -> bool {
        self.handler_ms >= 100 || self.kind == Kind::NodeSync && self.handler_ms > 0
    }

    /// Whether a server of this kind takes no handshake for minutes under such a load.
    pub fn is_deaf(self) -> bool {
        self.kind == Kind::NodeSync && self.handler_ms >= 100
    }
}

/// The sessions' threads yield to the backends and the proxy: a closed loop takes all the processor it is given, and a
/// killed backend would come back late.
fn client_runtime() -> tokio::runtime::Runtime {
    const NICE: i32 = 10;
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(format!("sessions-{}", NUMBER.fetch_add(1, Ordering::Relaxed)))
        .on_thread_start(|| {
            let _ = rustix::process::setpriority_process(None, NICE);
        })
        .enable_all()
        .build();
    runtime.expect("a runtime")
}
