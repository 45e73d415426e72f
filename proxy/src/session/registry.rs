//! The live sessions, for the operator. Never touched on the data path.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use atomic_waker::AtomicWaker;
use dashmap::DashMap;
use tideover_protocol::close::CloseCode;
use tideover_protocol::session::{Counters, Epoch};
use tokio::sync::oneshot;
use uuid::Uuid;

/// What an operator may tell a session.
#[derive(Debug)]
pub enum Command {
    /// The proxy shuts down: Close 1001.
    Shutdown,
    /// End with this Close towards both sides.
    Close(CloseCode, String),
    /// Give the backend leg up, as if it had died, and attach to another.
    FailOver,
    /// Say how you are.
    Inspect(oneshot::Sender<Snapshot>),
}

/// How a session is, at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Number of the latest backend leg.
    pub epoch: Epoch,
    /// The backend that it is attached to, if it is.
    pub backend: Option<String>,
    /// Retained messages.
    pub retained: usize,
    /// Of those, messages that no backend has acknowledged.
    pub unacknowledged: usize,
    /// Bytes of buffer memory held, both ways.
    pub buffered: usize,
    /// Counts since it began.
    pub counters: Counters,
}

/// A live session, from outside.
#[derive(Debug)]
pub struct Handle {
    /// The client's address.
    pub peer: SocketAddr,
    /// When it began.
    pub since: std::time::SystemTime,
    commands: Mutex<Vec<Command>>,
    /// There are commands: read without their lock.
    pending: AtomicBool,
    waker: AtomicWaker,
}

impl Handle {
    pub(super) fn new(peer: SocketAddr) -> Self {
        Self {
            peer,
            since: std::time::SystemTime::now(),
            commands: Mutex::default(),
            pending: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// Tells the session something. It may have ended already.
    pub fn tell(&self, command: Command) {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).push(command);
        self.pending.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// What the session was told since the last call; its task is woken when there is more.
    pub(super) fn poll_commands(&self, cx: &std::task::Context<'_>) -> Vec<Command> {
        self.waker.register(cx.waker());
        if !self.pending.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.commands.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// All live sessions by their id. No guard of the map leaves this module.
#[derive(Debug, Default)]
pub struct Registry {
    sessions: DashMap<Uuid, Arc<Handle>>,
}

impl Registry {
    pub(super) fn insert(&self, id: Uuid, handle: Arc<Handle>) {
        self.sessions.insert(id, handle);
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
