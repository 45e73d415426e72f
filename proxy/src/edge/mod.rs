//! The data port: takes a client's connection, answers its handshake, and hands over both legs as plain streams.
//!
//! HTTP ends here. What lies behind the handshake, on either side, goes to the session untouched.

mod accept;
mod addresses;
mod body;
mod elsewhere;
mod failure;
pub mod fuzzing;
mod guard;
mod headers;
mod opening;
mod plain;
mod refusal;
mod refused;
mod requests;
mod strict;
mod told;
mod upgrade;

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::accept::Accepting;
use crate::config::Config;
use crate::net::Stream;
use crate::pool::Fleet;
use crate::schemes::Schemes;
use crate::session::Start;
use crate::tls::Server;
use accept::Accepted;
use addresses::{AddressPlace, Addresses};
use failure::Failure;
use guard::{Guard, Patience};
use refusal::Refusal;
pub use refused::{Reason, Refused};
pub use requests::Requests;

/// How long a client may take nothing of the answer to its handshake.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a refused client may take to read its answer and close.
const LINGER_TIME: Duration = Duration::from_secs(1);
/// How much a refused client may still send meanwhile.
const LINGER_BYTES: u64 = 1 << 20;

/// Begins a session: spawns its task. Called once the client has its 101 and both legs are plain streams.
pub type StartSession = Box<dyn Fn(Start) + Send + Sync>;

/// What all connections of the data port share.
pub struct EdgeContext {
    config: Arc<Config>,
    fleet: Arc<Fleet>,
    schemes: Arc<Schemes>,
    start: StartSession,
    accepting: Accepting,
    slots: Arc<Semaphore>,
    addresses: Addresses,
    draining: AtomicBool,
    paused: AtomicBool,
    refused: Refused,
    /// Places of plain requests.
    places: Arc<Semaphore>,
    requests: Requests,
}

impl fmt::Debug for EdgeContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgeContext")
            .field("slots", &self.slots)
            .field("draining", &self.draining)
            .field("paused", &self.paused)
            .finish_non_exhaustive()
    }
}

/// A session's place among `--max-sessions`, from its handshake on, and maybe among those of its client's network; given
/// back when dropped.
#[derive(Debug)]
pub struct SessionSlot {
    _places: Places,
}

/// Every session has it: what only some need is on the heap.
#[derive(Debug)]
enum Places {
    All { _permit: OwnedSemaphorePermit },
    AndOfAddress { _both: Box<(OwnedSemaphorePermit, AddressPlace)> },
}

const _: () = assert!(size_of::<SessionSlot>() == size_of::<OwnedSemaphorePermit>());

impl EdgeContext {
    /// An edge that attaches sessions as `fleet` says and begins them with `start`, or sends clients elsewhere as
    /// `schemes` say.
    #[must_use]
    pub fn new(config: Arc<Config>, fleet: Arc<Fleet>, schemes: Arc<Schemes>, start: StartSession) -> Self {
        let slots = Arc::new(Semaphore::new(config.max_sessions));
        let addresses = Addresses::new(&config.limits);
        let places = Arc::new(Semaphore::new(config.limits.max_http_requests));
        Self {
            config,
            fleet,
            schemes,
            start,
            accepting: Accepting::default(),
            slots,
            addresses,
            draining: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            refused: Refused::default(),
            places,
            requests: Requests::default(),
        }
    }

    /// The same, accepting as these say.
    #[must_use]
    pub fn accepting_with(self, accepting: Accepting) -> Self {
        Self { accepting, ..self }
    }

    /// How connections are accepted.
    #[must_use]
    pub fn accepting(&self) -> &Accepting {
        &self.accepting
    }

    /// From now on, handshakes get 503 and Connection: close. Those under way are finished.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether no new session is taken any more.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether handshakes get 503 from now on, until this is called again. Those under way are finished, and sessions
    /// go on.
    pub fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// Whether an operator lets no new session in for now.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Why no new client is taken, if none is.
    fn closed(&self) -> Option<Refusal> {
        match (self.is_draining(), self.is_paused()) {
            (true, _) => Some(Refusal::Draining),
            (false, true) => Some(Refusal::Paused),
            (false, false) => None,
        }
    }

    /// How many handshakes led to no session.
    #[must_use]
    pub fn refused(&self) -> &Refused {
        &self.refused
    }

    /// Where clients are sent instead of being carried.
    #[must_use]
    pub fn schemes(&self) -> &Schemes {
        &self.schemes
    }

    /// How many sessions there may be (`--max-sessions`).
    #[must_use]
    pub fn max_sessions(&self) -> usize {
        self.config.max_sessions
    }

    /// What came of plain HTTP requests.
    #[must_use]
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Plain HTTP requests under way, until the bodies of their answers are over.
    #[must_use]
    pub fn requests_live(&self) -> usize {
        self.config.limits.max_http_requests - self.places.available_permits()
    }

    /// Whether there is no session, from its handshake on until its client leg is closed, and no plain request.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.slots.available_permits() == self.config.max_sessions && self.requests_live() == 0
    }

    fn take_request(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        if let Some(refusal) = self.closed() {
            return Err(refusal);
        }
        self.places.clone().try_acquire_owned().map_err(|_| Refusal::Busy)
    }

    fn take_slot(&self, client: IpAddr) -> Result<SessionSlot, Refusal> {
        if let Some(refusal) = self.closed() {
            return Err(refusal);
        }
        let permit = self.slots.clone().try_acquire_owned().map_err(|_| Refusal::Full)?;
        let places = match self.addresses.take(client)? {
            None => Places::All { _permit: permit },
            Some(place) => Places::AndOfAddress { _both: Box::new((permit, place)) },
        };
        Ok(SessionSlot { _places: places })
    }
}

/// Serves one client connection up to its handshake's answer. With a 101 it hands the session over and is done; its
/// memory is not the session's. Dropping the future closes the connection and a backend leg that was begun for it.
///
/// `peer` is who connected; whose connection it is, a trusted one may say (`--proxy-protocol`). `tls` is the server's
/// side of TLS, if that is what the client speaks.
pub async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<Server>>,
    context: Arc<EdgeContext>,
) {
    let by = Instant::now() + context.config.limits.handshake_timeout;
    let Some((stream, client)) = opening::open(stream, peer, tls.as_deref(), &context, by).await else { return };
    drop(tls);
    let peer = client.peer();
    let accepted: Arc<Mutex<Option<Accepted>>> = Arc::default();
    let patience = Patience::new(WRITE_TIMEOUT);
    let asked = AtomicBool::new(false);
    let service = service_fn(|request| {
        asked.store(true, Ordering::Relaxed);
        let (context, accepted, patience) = (context.clone(), accepted.clone(), patience.clone());
        async move {
            let (response, session) = accept::answer(&context, client, &patience, request).await;
            *accepted.lock().unwrap_or_else(PoisonError::into_inner) = session;
            Ok::<_, Infallible>(response)
        }
    });
    let guard = Guard::new(stream, patience.clone(), context.config.max_handshake_bytes);
    let mut connection = http(&context.config).serve_connection(TokioIo::new(guard), service);
    let served = tokio::select! {
        served = &mut connection => served.map_err(Some),
        () = unasked(&asked, by) => Err(None),
    };
    let parts = connection.into_parts();
    let guard = parts.io.into_inner();
    let within_head = guard.is_within_head();
    let (stream, client_leftover) = guard.into_parts();
    let accepted = accepted.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (served, accepted) {
        (Ok(()), Some(Accepted { route, attached, handshake, slot, id })) => {
            debug_assert!(parts.read_buf.is_empty(), "the guard keeps what stands behind a handshake");
            (context.start)(Start { client: stream, client_leftover, peer, route, attached, handshake, id, slot });
        }
        (Ok(()), None) => linger(stream, None).await,
        (Err(error), _) => {
            let failure = Failure::of(error, within_head);
            failure.log(&context, peer);
            linger(stream, Some(failure)).await;
        }
    }
}

fn http(config: &Config) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(config.limits.handshake_timeout)
        .max_headers(config.limits.max_header_fields)
        .max_buf_size(config.max_handshake_bytes)
        .preserve_header_case(true);
    http
}

/// Until it is too late for the first request. Later ones are for hyper to time.
async fn unasked(asked: &AtomicBool, by: Instant) {
    tokio::time::sleep_until(by).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// Lets the client read its answer: closing a socket that has unread bytes resets the connection, and a reset takes
/// the answer with it (RFC 9112 9.6).
async fn linger(mut stream: Stream, failure: Option<Failure>) {
    let drain = async {
        if let Some(failure) = failure {
            failure.answer(&mut stream).await;
        }
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // Whatever comes of it, the connection is over.
    let _ = tokio::time::timeout(LINGER_TIME, drain).await;
}
