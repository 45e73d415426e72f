//! What the open internet does to a proxy: each attack on a thread of its own, held to one core, so that what honest sessions
//! feel of it is the proxy's doing and not that of a core shared with the attacker.

mod flood;
mod inputs;
mod liar;
mod measure;
mod slowloris;

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::sync::watch;

pub use inputs::{Inputs, send};
pub use liar::{Liar, Lie};
pub use measure::{HONEST, Measured, Round, Site, measure};

/// What an attacker does, over and over until it is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// 2,000 handshakes at a time that never end, each with a byte now and then.
    Slowloris,
    /// Messages of endless empty fragments, as fast as they are taken.
    Fragments,
    /// Pings of 125 bytes, as fast as they go; half of the attackers read the pongs.
    Pings,
    /// Large messages to a backend that echoes, and nothing of the echoes is read.
    NeverReads,
    /// Random and mutated bytes, in place of a handshake and behind one.
    RandomInput,
    /// Sessions again and again, while one backend of the pool lies in its handshakes.
    LyingBackend,
}

/// Half-open handshakes of [`Attack::Slowloris`].
pub const HALF_OPEN: u64 = 2000;
/// Sessions of the floods.
const FLOODERS: u64 = 8;

impl Attack {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::Slowloris, Self::Fragments, Self::Pings, Self::NeverReads, Self::RandomInput, Self::LyingBackend];

    /// In a table.
    pub fn title(self) -> &'static str {
        match self {
            Self::Slowloris => "slowloris: 2,000 half-open handshakes",
            Self::Fragments => "fragment flood, 8 sessions",
            Self::Pings => "ping flood, 8 sessions",
            Self::NeverReads => "8 clients that send and never read",
            Self::RandomInput => "random and mutated inputs, 16 at a time",
            Self::LyingBackend => "a backend that lies in its handshake",
        }
    }

    /// Begins it, on the last core that this process may use.
    ///
    /// # Panics
    /// When there is no thread to be had.
    pub fn start(self, proxy: SocketAddr) -> Attacker {
        let done = Arc::new(Done::default());
        let (stop, stopped) = watch::channel(false);
        let under_way = done.clone();
        let attack = move || {
            hold_to(Core::Last);
            preferred(false);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let mut over = stopped.clone();
            runtime.block_on(async {
                tokio::select! {
                    () = self.run(proxy, under_way) => unreachable!("it never ends"),
                    _ = over.wait_for(|over| *over) => {}
                }
            });
            runtime.shutdown_background();
        };
        Attacker { thread: Some(std::thread::spawn(attack)), stop, done }
    }

    async fn run(self, proxy: SocketAddr, done: Arc<Done>) {
        let each = |of: u64| 0..of;
        let mut tasks = tokio::task::JoinSet::new();
        match self {
            Self::Slowloris => {
                for number in each(HALF_OPEN) {
                    tasks.spawn(slowloris::half_open(proxy, number, done.clone()));
                }
            }
            Self::Fragments | Self::Pings | Self::NeverReads => {
                for number in each(FLOODERS) {
                    tasks.spawn(flood::flood(self, proxy, number, done.clone()));
                }
            }
            Self::RandomInput => {
                for number in each(2 * FLOODERS) {
                    tasks.spawn(inputs::endless(proxy, number, done.clone()));
                }
            }
            Self::LyingBackend => {
                for _ in each(FLOODERS) {
                    tasks.spawn(liar::sessions(proxy, done.clone()));
                }
            }
        }
        while let Some(task) = tasks.join_next().await {
            task.expect("an attacker does not panic");
        }
    }
}

/// What an attack has done so far: a test that cannot see that it took place proves nothing.
#[derive(Debug, Default)]
pub struct Done {
    /// Handshakes begun, inputs sent, sessions tried.
    pub(super) begun: AtomicU64,
    /// Of those, what the proxy ended, or answered with a status or a Close.
    pub(super) answered: AtomicU64,
    /// Connections open now.
    pub(super) open: AtomicU64,
    /// The most at a time.
    pub(super) most_open: AtomicU64,
    /// Frames or bytes sent in a flood.
    pub(super) sent: AtomicU64,
    /// What should not be: sessions refused though a good backend was there, headers injected.
    pub(super) wrong: AtomicU64,
}

impl Done {
    fn opened(self: &Arc<Self>) -> Open {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_open.fetch_max(open, Ordering::Relaxed);
        Open(self.clone())
    }

    /// Handshakes begun, inputs sent, sessions tried.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Of those, what the proxy ended, or answered with a status or a Close.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// The most connections that were open at a time.
    pub fn most_open(&self) -> u64 {
        self.most_open.load(Ordering::Relaxed)
    }

    /// Frames sent in a flood.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// What should not be: sessions refused though a good backend was there.
    pub fn wrong(&self) -> u64 {
        self.wrong.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (begun, answered, most, sent) = (self.begun(), self.answered(), self.most_open(), self.sent());
        write!(f, "{begun} begun, {answered} ended by the proxy, {most} open at a time")?;
        if sent > 0 { write!(f, ", {sent} frames") } else { Ok(()) }
    }
}

/// A connection that counts as open.
struct Open(Arc<Done>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An attack under way. Dropping it ends it.
#[derive(Debug)]
pub struct Attacker {
    thread: Option<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    done: Arc<Done>,
}

impl Attacker {
    /// What it has done so far.
    pub fn done(&self) -> &Done {
        &self.done
    }

    /// Ends it: its connections are closed.
    ///
    /// # Panics
    /// When it panicked.
    pub fn stop(mut self) -> Arc<Done> {
        self.stop.send_replace(true);
        self.thread.take().expect("it is stopped once").join().expect("an attacker does not panic");
        self.done.clone()
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // If it panicked, the test fails already.
            let _ = thread.join();
        }
    }
}

/// One of the cores that this process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Core {
    /// For the honest and the proxy.
    First,
    /// For the attacker.
    Last,
}

/// Holds this thread to that core, and with it all threads and processes that it starts, until they are held to another. With
/// one core, that is the one.
///
/// # Panics
/// When the kernel does not let it.
pub fn hold_to(core: Core) {
    // A thread has the cores of the one that started it: who is held to one sees no other.
    static ALLOWED: OnceLock<CpuSet> = OnceLock::new();
    let allowed = ALLOWED.get_or_init(|| sched_getaffinity(None).expect("the kernel tells the cores"));
    let mut cores = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
    let chosen = match core {
        Core::First => cores.next(),
        Core::Last => cores.next_back(),
    };
    let mut set = CpuSet::new();
    set.set(chosen.expect("a process has a core"));
    sched_setaffinity(None, &set).expect("a core that is allowed");
}

/// Whether the system prefers this thread, and the threads and processes that it starts, to others of its core from now on, as far
/// as we may ask for that. Gives whether it does.
///
/// The honest and their backend would have machines of their own: what they wait for is to be the proxy, and not a core that
/// it has just now.
pub fn preferred(preferred: bool) -> bool {
    let nice = if preferred { -15 } else { 0 };
    // Of the calling thread alone, on Linux.
    setpriority_process(None, nice).is_ok() && preferred
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core_of_this_thread() -> Vec<usize> {
        let cores = sched_getaffinity(None).expect("the kernel tells the cores");
        (0..CpuSet::MAX_CPU).filter(|cpu| cores.is_set(*cpu)).collect()
    }

    #[test]
    fn who_is_started_by_one_held_to_the_first_core_can_be_held_to_the_last() {
        let all = core_of_this_thread();
        let held = std::thread::spawn(|| {
            hold_to(Core::First);
            let started = std::thread::spawn(|| {
                hold_to(Core::Last);
                core_of_this_thread()
            });
            (core_of_this_thread(), started.join().expect("held"))
        });
        assert_eq!(held.join().expect("held"), (vec![all[0]], vec![all[all.len() - 1]]));
    }
}
