//! Accepting connections, and going easy on it where descriptors run out.
//!
//! A few descriptors are left for the sessions that are there: a failover needs one, and whoever opens connections
//! without end must not be in its way.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};

use crate::edge::{EdgeContext, serve_connection};
use crate::line::in_turn;
use crate::tls;

/// How long accepting pauses when descriptors run out.
const PAUSE: Duration = Duration::from_millis(50);
/// Time between two log lines about that, at least.
const LOG_INTERVAL: Duration = Duration::from_secs(1);
/// The part of all descriptors that is not for new connections, and its bounds.
const RESERVED_PART: u64 = 8;
const RESERVED: (u64, u64) = (8, 512);

/// What all that accept share.
#[derive(Debug, Default)]
pub struct Accepting {
    pauses: AtomicU64,
    logged: Mutex<Option<Instant>>,
    /// The descriptor from which on they are reserved. 0: none is.
    reserved_from: u64,
}

impl Accepting {
    /// Raises the limit of open files as far as it goes: a session takes two, and the usual soft limit is 1024.
    #[must_use]
    pub fn prepared() -> Self {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
        let descriptors = getrlimit(Resource::Nofile).current;
        let reserved_from = descriptors.map_or(0, |all| all.saturating_sub(reserved(all)));
        Self { reserved_from, ..Self::default() }
    }

    /// How often accepting paused because descriptors ran out.
    #[must_use]
    pub fn pauses(&self) -> u64 {
        self.pauses.load(Ordering::Relaxed)
    }

    /// Pauses, and says why if it is time to.
    async fn pause(&self, why: impl std::fmt::Display) {
        self.pauses.fetch_add(1, Ordering::Relaxed);
        if self.may_log(Instant::now()) {
            tracing::warn!(reason = %why, "accepting slows down");
        }
        tokio::time::sleep(PAUSE).await;
    }

    fn may_log(&self, now: Instant) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let may = logged.is_none_or(|at| now.saturating_duration_since(at) >= LOG_INTERVAL);
        if may {
            *logged = Some(now);
        }
        may
    }

    /// Waits until a connection that was accepted takes no descriptor of those that are reserved. The system gives out
    /// the lowest that is free, so its number says how many there are.
    async fn wait_for_room(&self, stream: &TcpStream) {
        let mut number = stream.as_raw_fd();
        while self.reserved_from > 0 && u64::try_from(number).is_ok_and(|number| number >= self.reserved_from) {
            self.pause("few descriptors are left").await;
            number = match fcntl_dupfd_cloexec(stream.as_fd(), 0) {
                Ok(lowest_free) => lowest_free.as_raw_fd(),
                Err(_) => i32::MAX,
            };
        }
    }
}

fn reserved(descriptors: u64) -> u64 {
    (descriptors / RESERVED_PART).clamp(RESERVED.0, RESERVED.1)
}

/// Accepts for ever, and serves each connection in a task of its own.
pub(crate) async fn accept(listener: TcpListener, tls: Option<Arc<tls::Server>>, edge: Arc<EdgeContext>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                edge.accepting().wait_for_room(&stream).await;
                // Sessions come first, of which there may be thousands, however many handshakes there are.
                drop(tokio::spawn(in_turn(serve_connection(stream, peer, tls.clone(), edge.clone()))));
                // However many there are to accept, sessions do not wait for more than one.
                tokio::task::yield_now().await;
            }
            // The client was gone before its turn.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => edge.accepting().pause(error).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eighth_of_the_descriptors_is_reserved_within_bounds() {
        assert_eq!([64, 1024, 1 << 20].map(reserved), [8, 128, 512]);
    }

    #[test]
    fn there_is_a_line_a_second_at_most() {
        let accepting = Accepting::default();
        let began = Instant::now();
        let lines = (0..5000).filter(|millis| accepting.may_log(began + Duration::from_millis(*millis))).count();
        assert_eq!(lines, 5);
    }
}
