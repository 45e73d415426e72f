//! Attaching a session to a backend: the first time, and again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::http::{Extensions, response};
use hyper::{Response, StatusCode};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::backend::{Backend, BackendId, Lease};
use super::dial::{self, Answer, DialError};
use super::handshake::{KeptHandshake, SessionHeaders, Upstream};
use super::order::reattach_rank;
use super::{Pool, locked};

/// A new backend leg: its handshake is done and checked.
#[derive(Debug)]
pub struct Attached {
    /// The plain connection, with TCP_NODELAY.
    pub stream: TcpStream,
    /// What the backend sent right behind its 101: the beginning of its first frames.
    pub leftover: Bytes,
    /// The leg's place on the backend; to be dropped when the leg is gone.
    pub lease: Lease,
    /// The subprotocol that the backend chose among those offered.
    pub subprotocol: Option<Box<str>>,
    /// The head of the backend's 101. The edge takes the fields of the first one for the client's 101.
    pub response: Box<response::Parts>,
}

/// Why there is no first leg.
#[derive(Debug)]
pub enum FirstAttachError {
    /// A backend refused: its answer is the client's answer.
    Refused(Box<Response<Incoming>>, Arc<Backend>),
    /// No backend answered within `--connect-timeout`. The text says why, for the log.
    NoBackend(String),
}

/// Why a round of re-attaching gave no leg.
#[derive(Debug)]
pub enum ReattachError {
    /// Two backends, or the only one, answered 401 or 403: the session is over (Close 1008).
    Denied(StatusCode),
    /// No candidate took the session in this round. The text says why, for the log.
    Failed(String),
}

impl fmt::Display for ReattachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(status) => write!(f, "denied with {status}"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

/// Until when a dial may take.
#[derive(Clone, Copy)]
struct Limits {
    /// For a place in the queue and a TCP connection.
    connect: Instant,
    /// For the answer.
    answer: Instant,
}

impl Pool {
    /// Gives the session its first leg. Backends are tried one after the other, each once. All of it takes at most
    /// `--connect-timeout`; one that cannot be connected to takes no more than its share of what is left. One that got
    /// the handshake is waited for until the end: its handler may be running.
    ///
    /// `spelling` are the extensions of the client's request: there hyper keeps how header names were written.
    ///
    /// # Errors
    /// See [`FirstAttachError`]. Dropping the future closes what was begun.
    pub async fn first_attach(
        &self,
        handshake: &KeptHandshake,
        spelling: &Extensions,
    ) -> Result<Attached, FirstAttachError> {
        let answer = Instant::now() + self.connect_timeout;
        let mut round = Round::new(self.backends.len());
        while let Some(mut lease) = self.pick(|id| round.is_left(id).then_some(0)) {
            let limits = Limits { connect: dial::share(answer, round.left()), answer };
            round.begin(lease.backend().id);
            let upstream = handshake.request(&SessionHeaders::default(), spelling.clone());
            match self.dial(&mut lease, upstream, limits).await {
                Ok(Dialled::Leg(leg)) => return Ok(leg.attached(lease)),
                Ok(Dialled::Refused(response)) => {
                    return Err(FirstAttachError::Refused(Box::new(response), lease.backend().clone()));
                }
                Err(error) => round.failed(lease.backend(), &error),
            }
        }
        Err(FirstAttachError::NoBackend(round.summary()))
    }

    /// One round over all candidates in the order of `--reattach-order`, each once. `last` is the backend that the
    /// session was on. A candidate may take `--connect-timeout`, and an equal share of that for its TCP connection, as
    /// others are left; besides the time in its queue, which is given up when a dial before it fails. The new leg
    /// agreed to the session's subprotocol, and to no extension.
    ///
    /// # Errors
    /// See [`ReattachError`]. Dropping the future closes what was begun.
    pub async fn reattach(
        &self,
        handshake: &KeptHandshake,
        session: &SessionHeaders,
        last: Option<BackendId>,
    ) -> Result<Attached, ReattachError> {
        let rank = |id| reattach_rank(self.reattach_order, last, id);
        let mut round = Round::new(self.ids().filter(|id| rank(*id).is_some()).count());
        while let Some(mut lease) = self.pick(|id| rank(id).filter(|_| round.is_left(id))) {
            let left = round.left();
            round.begin(lease.backend().id);
            match self.reattach_to(&mut lease, handshake, session, left).await {
                Ok(leg) => return Ok(leg.attached(lease)),
                Err(error) => round.failed(lease.backend(), &error),
            }
            if let Some(status) = round.denied() {
                return Err(ReattachError::Denied(status));
            }
        }
        Err(ReattachError::Failed(round.summary()))
    }

    async fn reattach_to(
        &self,
        lease: &mut Lease,
        handshake: &KeptHandshake,
        session: &SessionHeaders,
        left: usize,
    ) -> Result<Leg, DialError> {
        let upstream = handshake.request(session, Extensions::new());
        let backend = lease.backend().clone();
        let place = self.queue(&backend).await?;
        let answer = Instant::now() + self.connect_timeout;
        let limits = Limits { connect: dial::share(answer, left), answer };
        let dialled = self.dial_now(lease, upstream, limits).await;
        drop(place);
        match dialled? {
            Dialled::Leg(leg) if leg.subprotocol.as_deref() == handshake.subprotocol() => Ok(leg),
            Dialled::Leg(_) => Err(DialError::BadHandshake("another subprotocol than the session's")),
            Dialled::Refused(response) => Err(DialError::Status(response.status())),
        }
    }

    /// Waits for a place among the backend's handshakes. All leave the queue at once when a dial fails while they
    /// wait: thousands behind a few dials that hang would wait for minutes, and another backend may have room.
    async fn queue<'a>(&self, backend: &'a Backend) -> Result<tokio::sync::SemaphorePermit<'a>, DialError> {
        if let Ok(place) = backend.handshakes.try_acquire() {
            return Ok(place);
        }
        let mark = locked(&self.table).failures(backend.id);
        let place = backend.handshakes.acquire().await.expect("the semaphore is never closed");
        let failed = locked(&self.table).failed_since(backend.id, mark, std::time::Instant::now());
        if failed { Err(DialError::Queue) } else { Ok(place) }
    }

    async fn dial(&self, lease: &mut Lease, upstream: Upstream, limits: Limits) -> Result<Dialled, DialError> {
        let backend = lease.backend().clone();
        let place = timeout_at(limits.connect, backend.handshakes.acquire()).await;
        let _place = place.map_err(|_| DialError::Queue)?.expect("the semaphore is never closed");
        self.dial_now(lease, upstream, limits).await
    }

    async fn dial_now(&self, lease: &mut Lease, upstream: Upstream, limits: Limits) -> Result<Dialled, DialError> {
        let begun = Instant::now();
        let dialled = dial_backend(lease.backend(), upstream, limits).await;
        let id = lease.backend().id;
        match &dialled {
            Ok(Dialled::Leg(_)) => {
                locked(&self.table).restore(id);
                lease.attach();
            }
            Ok(Dialled::Refused(response)) if !dial::is_unavailable(response.status()) => {
                locked(&self.table).restore(id);
            }
            Ok(Dialled::Refused(_)) | Err(_) => self.demote(id, begun.elapsed()),
        }
        dialled
    }

    fn demote(&self, id: BackendId, took: Duration) {
        locked(&self.table).demote(id, took, std::time::Instant::now());
    }
}

/// What a backend answered, checked.
enum Dialled {
    Leg(Leg),
    Refused(Response<Incoming>),
}

/// An [`Attached`] that has no lease yet.
struct Leg {
    stream: TcpStream,
    leftover: Bytes,
    subprotocol: Option<Box<str>>,
    response: Box<response::Parts>,
}

impl Leg {
    fn attached(self, lease: Lease) -> Attached {
        let Self { stream, leftover, subprotocol, response } = self;
        Attached { stream, leftover, lease, subprotocol, response }
    }
}

async fn dial_backend(backend: &Backend, upstream: Upstream, limits: Limits) -> Result<Dialled, DialError> {
    let stream = dial::connect(&backend.url, limits.connect).await?;
    match dial::exchange(stream, upstream.request, limits.answer).await? {
        Answer::Switched(response, stream, leftover) => {
            let subprotocol = dial::validate(&response, &upstream.expected)?;
            Ok(Dialled::Leg(Leg { stream, leftover, subprotocol, response }))
        }
        Answer::Other(response) => Ok(Dialled::Refused(response)),
    }
}

/// One pass over the candidates.
struct Round {
    candidates: usize,
    tried: Vec<BackendId>,
    denials: usize,
    last_denial: Option<StatusCode>,
    last_failure: String,
}

impl Round {
    fn new(candidates: usize) -> Self {
        Self { candidates, tried: Vec::new(), denials: 0, last_denial: None, last_failure: String::new() }
    }

    fn is_left(&self, id: BackendId) -> bool {
        !self.tried.contains(&id)
    }

    fn left(&self) -> usize {
        self.candidates - self.tried.len()
    }

    fn begin(&mut self, id: BackendId) {
        self.tried.push(id);
    }

    fn failed(&mut self, backend: &Backend, error: &DialError) {
        tracing::debug!(backend = %backend.url, %error, "dial failed");
        if let DialError::Status(status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)) = error {
            self.denials += 1;
            self.last_denial = Some(*status);
        }
        self.last_failure = format!("{}: {error}", backend.url);
    }

    /// The last denial, if there were enough to believe it.
    fn denied(&self) -> Option<StatusCode> {
        self.last_denial.filter(|_| self.denials >= self.candidates.min(2))
    }

    fn summary(&self) -> String {
        format!("{} of {} backends tried, the last one {}", self.tried.len(), self.candidates, self.last_failure)
    }
}
