//! The live sessions, for the operator. Never touched on the data path.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use atomic_waker::AtomicWaker;
use dashmap::DashMap;
use uuid::Uuid;

/// What can be known of a live session and told to it from outside.
#[derive(Debug)]
pub struct Handle {
    /// The client's address.
    pub peer: SocketAddr,
    shutdown: AtomicBool,
    waker: AtomicWaker,
}

impl Handle {
    pub(super) fn new(peer: SocketAddr) -> Self {
        Self { peer, shutdown: AtomicBool::new(false), waker: AtomicWaker::new() }
    }

    /// Tells the session that the proxy shuts down.
    pub fn shutdown(&self) {
        self.shutdown.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether the session was told to end; its task is woken when that changes.
    pub(super) fn poll_shutdown(&self, cx: &std::task::Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.shutdown.load(Ordering::Acquire)
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
            session.shutdown();
        }
    }
}
