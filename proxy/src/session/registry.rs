//! The live sessions, for the operator. Never touched on the data path.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use dashmap::DashMap;
use tideover_protocol::close::CloseCode;
use tideover_protocol::session::{Counters, Epoch, Hindrance, OnMigrateTimeout, RingSurvey, Unmovable};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::pool::{Backend, BackendId, Route};

/// What an operator may tell a session.
#[derive(Debug)]
pub enum Command {
    /// The proxy shuts down: Close 1001.
    Shutdown,
    /// End with this Close towards both sides.
    Close(CloseCode, String),
    /// Give the backend leg up, as if it had died, and attach to another.
    FailOver {
        /// Only if it is on this backend; `None`: wherever it is.
        from: Option<BackendId>,
    },
    /// Move to another backend without replay.
    Migrate {
        /// To this one; `None`: to any other of the pool that may get sessions.
        to: Option<BackendId>,
        /// What follows if it takes longer than `--migrate-timeout`; `None`: what `--on-migrate-timeout` says.
        on_timeout: Option<OnMigrateTimeout>,
        /// Who wants to know what came of it. Dropped unanswered if the session ends before.
        answer: Option<oneshot::Sender<Result<Arc<Backend>, NotMigrated>>>,
    },
    /// Say how you are.
    Inspect(oneshot::Sender<Snapshot>),
}

/// Why a session is not on another backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotMigrated {
    /// It is on the backend that it was to be moved to.
    There,
    /// It cannot be moved now.
    Unmovable(Unmovable),
    /// It was tried. Unless another leg was lost, the session is where it was.
    Failed(Hindrance),
}

impl fmt::Display for NotMigrated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::There => f.write_str("it is on that backend"),
            Self::Unmovable(why) => why.fmt(f),
            Self::Failed(why) => why.fmt(f),
        }
    }
}

/// How a session is, at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Number of the latest backend leg.
    pub epoch: Epoch,
    /// The backend that it is attached to, if it is.
    pub backend: Option<BackendId>,
    /// Retained messages.
    pub retained: usize,
    /// Of those, messages that no backend has acknowledged.
    pub unacknowledged: usize,
    /// Bytes of buffer memory held, both ways.
    pub buffered: usize,
    /// How long it has had its backend leg.
    pub leg_age: Option<Duration>,
    /// Its replay ring.
    pub ring: RingSurvey,
    /// Counts since it began.
    pub counters: Counters,
}

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Number of its latest backend leg.
    pub epoch: Epoch,
    /// The backend of that leg; `None` while the session is looking for another one.
    pub backend: Option<BackendId>,
}

#[derive(Debug, Default)]
struct Commands {
    waiting: Vec<Command>,
    ended: bool,
}

fn pack(epoch: Epoch, backend: Option<BackendId>) -> u64 {
    let number = backend.map_or(0, |backend| u64::from(backend.number()) + 1);
    u64::from(epoch) << 32 | number
}

/// A live session, from outside.
#[derive(Debug)]
pub struct Handle {
    /// The session's name.
    pub id: Uuid,
    /// The client's address.
    pub peer: SocketAddr,
    /// Its route, and with that its pool.
    pub route: Arc<Route>,
    /// When it began.
    pub since: std::time::SystemTime,
    /// The latest leg: its epoch above, and below 1 + the number of its backend, or 0 when it is gone.
    leg: AtomicU64,
    commands: Mutex<Commands>,
    /// There may be commands, and the task must be registered to be woken for the next one: read without their lock.
    pending: AtomicBool,
    waker: AtomicWaker,
}

impl Handle {
    /// The handle of a session whose first leg is on `backend`.
    pub(super) fn new(id: Uuid, peer: SocketAddr, route: Arc<Route>, backend: BackendId) -> Self {
        Self {
            id,
            peer,
            route,
            since: std::time::SystemTime::now(),
            leg: AtomicU64::new(pack(1, Some(backend))),
            commands: Mutex::default(),
            pending: AtomicBool::new(true),
            waker: AtomicWaker::new(),
        }
    }

    /// Tells the session something. `false`: it has ended, only its client leg is being closed yet.
    pub fn tell(&self, command: Command) -> bool {
        {
            let mut commands = self.commands();
            if commands.ended {
                return false;
            }
            commands.waiting.push(command);
        }
        self.pending.store(true, Ordering::Release);
        self.waker.wake();
        true
    }

    /// Where the session is, as of its latest change.
    #[must_use]
    pub fn leg(&self) -> Leg {
        let leg = self.leg.load(Ordering::Relaxed);
        let backend = (leg as u32).checked_sub(1);
        Leg { epoch: (leg >> 32) as Epoch, backend: backend.map(BackendId::new) }
    }

    pub(super) fn attach(&self, epoch: Epoch, backend: BackendId) {
        self.leg.store(pack(epoch, Some(backend)), Ordering::Relaxed);
    }

    pub(super) fn detach(&self) {
        self.leg.store(pack(self.leg().epoch, None), Ordering::Relaxed);
    }

    /// The session takes no more commands; those that wait are dropped, and with them who waits for their answers is
    /// told.
    pub(super) fn end(&self) {
        self.detach();
        let mut commands = self.commands();
        commands.ended = true;
        commands.waiting = Vec::new();
    }

    fn commands(&self) -> MutexGuard<'_, Commands> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the session was told since the last call; its task is woken when there is more.
    pub(super) fn poll_commands(&self, cx: &std::task::Context<'_>) -> Vec<Command> {
        // Whoever uses the waker up sets the flag before: while it is down, the task is registered.
        if !self.pending.load(Ordering::Acquire) {
            return Vec::new();
        }
        self.pending.store(false, Ordering::Relaxed);
        self.waker.register(cx.waker());
        std::mem::take(&mut self.commands().waiting)
    }
}

/// All live sessions by their id. No guard of the map leaves this module.
#[derive(Debug, Default)]
pub struct Registry {
    sessions: DashMap<Uuid, Arc<Handle>>,
}

impl Registry {
    pub(super) fn insert(&self, handle: Arc<Handle>) {
        self.sessions.insert(handle.id, handle);
    }

    pub(super) fn remove(&self, id: &Uuid) {
        self.sessions.remove(id);
    }

    /// A live session.
    #[must_use]
    pub fn get(&self, id: &Uuid) -> Option<Arc<Handle>> {
        self.sessions.get(id).map(|session| session.clone())
    }

    /// All live sessions, in the order in which they began (the ids are UUIDv7).
    #[must_use]
    pub fn list(&self) -> Vec<(Uuid, Arc<Handle>)> {
        let mut all: Vec<_> = self.sessions.iter().map(|entry| (*entry.key(), entry.value().clone())).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    /// The sessions that are on these backends, in the order in which they began.
    pub(crate) fn on(&self, is_wanted: impl Fn(BackendId) -> bool) -> Vec<(BackendId, Arc<Handle>)> {
        let mut found: Vec<_> = self
            .sessions
            .iter()
            .filter_map(|session| {
                let backend = session.leg().backend.filter(|backend| is_wanted(*backend))?;
                Some((backend, session.clone()))
            })
            .collect();
        found.sort_unstable_by_key(|(_, session)| session.id);
        found
    }

    /// How many sessions are live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether no session is live.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Tells every live session that the proxy shuts down.
    pub fn shutdown_all(&self) {
        for session in &self.sessions {
            session.tell(Command::Shutdown);
        }
    }
}
