//! Who is killed and when.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    backend::{Backend, Kill, What, read_log_from},
    clock::now_ns,
    random::Random,
};

/// The pace and number of kills.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fire {
    /// Kills in all.
    pub(super) kills: usize,
    /// So many of them meant to hit inside a replay; more are tried, as not each does.
    pub(super) in_replay: usize,
    /// The least time from the pool being whole to the next kill; up to half as much again is added.
    pub(super) pause: Duration,
}

/// A kill; for one meant to hit inside a replay also the kill that caused the replay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shot {
    pub(super) kill: Kill,
    pub(super) cause: Option<Kill>,
}

/// How long to look for sessions that re-attach.
const REATTACH_WITHIN: Duration = Duration::from_secs(2);

/// How long a killed backend is away before it is started again: systemd's default RestartSec. One that is back before
/// the proxy's probe cannot be told from one whose handlers have all returned.
const AWAY: Duration = Duration::from_millis(100);

/// How far into the replay the second kill of a pair may come: the sessions of one backend re-attach over some
/// milliseconds.
const INTO_REPLAY: Duration = Duration::from_millis(1);

/// Kills backends at random, each of which has sessions, and starts them again on their ports, while sessions are at
/// work.
pub(super) fn shoot(backends: &mut [Backend], fire: Fire, at_work: impl Fn() -> bool) -> Vec<Shot> {
    let seed = now_ns();
    let mut random = Random::new(seed);
    let mut shots = Vec::new();
    while shots.len() < fire.kills && at_work() {
        sleep(fire.pause + random.up_to(fire.pause / 2));
        let Some(victim) = pick(backends, &mut random) else { continue };
        // The kills that remain, and how many of them come in pairs: twice as many as asked for, as some miss.
        let follow = random.below((fire.kills - shots.len()) as u64) < pairs_left(&shots, fire);
        let tails: Vec<Tail> = backends.iter().map(Tail::from_now).collect();
        let kill = backends[victim].kill();
        shots.push(Shot { kill, cause: None });
        let second = if follow { kill_the_heir(backends, victim, tails, kill, &mut shots, &mut random) } else { None };
        sleep(AWAY);
        for killed in [Some(victim), second].into_iter().flatten() {
            backends[killed].spawn();
        }
        for killed in [Some(victim), second].into_iter().flatten() {
            backends[killed].wait_until_ready();
        }
    }
    shots
}

/// The times here are part of the experiment, not a wait for something.
#[expect(clippy::disallowed_methods, reason = "this thread has nothing else to do")]
fn sleep(time: Duration) {
    std::thread::sleep(time);
}

/// How many pairs are still to be shot.
fn pairs_left(shots: &[Shot], fire: Fire) -> u64 {
    let wanted = 2 * fire.in_replay;
    wanted.saturating_sub(shots.iter().filter(|shot| shot.cause.is_some()).count()) as u64 * 2
}

/// One of the backends that sessions are on.
fn pick(backends: &[Backend], random: &mut Random) -> Option<usize> {
    let serving: Vec<usize> = (0..backends.len()).filter(|&index| backends[index].has_served()).collect();
    let chosen = random.below(serving.len().max(1) as u64) as usize;
    serving.get(chosen).copied()
}

/// Kills the first backend that takes one of the dead one's sessions over, at once.
fn kill_the_heir(
    backends: &mut [Backend],
    victim: usize,
    mut tails: Vec<Tail>,
    cause: Kill,
    shots: &mut Vec<Shot>,
    random: &mut Random,
) -> Option<usize> {
    let start = Instant::now();
    while start.elapsed() < REATTACH_WITHIN {
        let heir = (0..backends.len()).find(|&index| index != victim && tails[index].opened());
        if let Some(heir) = heir {
            // A quick server is through with it before a thread that slept is awake.
            if random.below(2) == 0 {
                sleep(random.up_to(INTO_REPLAY));
            }
            shots.push(Shot { kill: backends[heir].kill(), cause: Some(cause) });
            return Some(heir);
        }
        std::thread::yield_now();
    }
    None
}

/// Reads on in a backend's log.
struct Tail {
    path: PathBuf,
    offset: u64,
}

impl Tail {
    fn from_now(backend: &Backend) -> Self {
        let path = backend.log_path();
        let offset = std::fs::metadata(&path).map_or(0, |log| log.len());
        Self { path, offset }
    }

    /// Whether a connection has opened since the last call.
    fn opened(&mut self) -> bool {
        let (events, offset) = read_log_from(&self.path, self.offset);
        self.offset = offset;
        events.iter().any(|event| matches!(event.what, What::Open(_)))
    }
}
