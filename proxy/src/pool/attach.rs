//! Attaching a session to a backend: the first time, and again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::http::{Extensions, response};
use hyper::{Response, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::backend::{Backend, BackendId, Lease};
use super::dial::{self, AckCarrier, Agreed, Answer, DialError};
use super::exchange::check_framing;
use super::handshake::{KeptHandshake, Upstream};
use super::health::{Dial, Failure};
use super::order::reattach_rank;
use super::renewals::{NotRenewed, Renewed};
use super::round::{Denials, Round};
use super::score::poll;
use super::session_headers::SessionHeaders;
use super::{Pool, Route};
use crate::config::{ReattachOrder, Transport};
use crate::deflate::Agreement;
use crate::net::Stream;

/// A new backend leg: its handshake is done and checked.
#[derive(Debug)]
pub struct Attached {
    /// The connection, with TCP_NODELAY.
    pub stream: Stream,
    /// What the backend sent right behind its 101: the beginning of its first frames.
    pub leftover: Bytes,
    /// The leg's place on the backend; to be dropped when the leg is gone.
    pub lease: Lease,
    /// The subprotocol that the backend chose among those offered.
    pub subprotocol: Option<Box<str>>,
    /// The compression that it agreed to.
    pub deflate: Option<Agreement>,
    /// How the backend will acknowledge explicitly, if it opted in; it may do so whatever `--ack` says.
    pub explicit: Option<AckCarrier>,
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

/// What a session asks of a round of re-attaching.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reattach {
    /// The backend of the session's last leg.
    pub last: Option<BackendId>,
    /// Only a backend that opts in to acknowledge explicitly will do. With `--ack explicit` that is always so.
    pub explicit: bool,
    /// Go only where another backend stays behind that answers a probe, unless the pool has one backend only: for a
    /// session that replays in isolation, because what it carries may be what kills backends.
    pub spare_last: bool,
    /// What the rounds before have brought since the session last had a leg.
    pub denials: Denials,
    /// Which backends will do.
    pub target: Target,
}

/// Where a session may go that has a leg, or had one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Where `--reattach-order` says.
    #[default]
    Any,
    /// Anywhere but to its last backend.
    Elsewhere,
    /// To this one, if it may get sessions and is not its last.
    Backend(BackendId),
}

impl Reattach {
    /// How soon a backend is tried; `None`: not at all.
    fn rank(&self, order: ReattachOrder, id: BackendId) -> Option<u8> {
        let elsewhere = self.last != Some(id);
        match self.target {
            Target::Any => reattach_rank(order, self.last, id),
            Target::Elsewhere => elsewhere.then_some(0),
            Target::Backend(wanted) => (elsewhere && wanted == id).then_some(0),
        }
    }
}

/// Why a round of re-attaching gave no leg.
#[derive(Debug)]
pub enum ReattachError {
    /// Two backends, in this round or the ones before, or the only candidate, answered 401 or 403: the session is over
    /// (Close 1008).
    Denied(StatusCode),
    /// The hook for fresh credentials denied the session, or failed where that is to end it (Close 1008). The text says
    /// which, for the log.
    Closed(String),
    /// No candidate took the session in this round.
    Failed {
        /// Why, for the log.
        why: String,
        /// For the next round.
        denials: Denials,
    },
}

impl fmt::Display for ReattachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(status) => write!(f, "denied with {status}"),
            Self::Closed(why) | Self::Failed { why, .. } => f.write_str(why),
        }
    }
}

/// Until when a dial may take.
#[derive(Clone, Copy)]
struct Limits {
    /// For a place in the queue and a connection, with TLS where it is wanted.
    connect: Instant,
    /// For the answer.
    answer: Instant,
}

impl Route {
    /// Gives the session its first leg. Backends are tried one after the other, each once. All of it takes at most
    /// `--connect-timeout`; one that cannot be connected to takes no more than its share of what is left. One that got
    /// the handshake is waited for until the end: its handler may be running. With `--ack explicit`, one that does not
    /// opt in is passed over.
    ///
    /// `spelling` are the extensions of the client's request: there hyper keeps how header names were written.
    ///
    /// # Errors
    /// See [`FirstAttachError`]. Dropping the future closes what was begun.
    pub async fn first_attach(
        &self,
        handshake: &KeptHandshake,
        session: &SessionHeaders,
        spelling: &Extensions,
    ) -> Result<Attached, FirstAttachError> {
        let answer = Instant::now() + self.pool.settings().connect_timeout;
        let wish = self.pool.wish(handshake);
        let mut round = Round::new(self.pool.candidates(wish));
        // Once the time is up nobody is asked any more: who has no time to answer is not to be blamed for no answer.
        while Instant::now() < answer
            && let Some(mut lease) = self.pool.pick(wish, |id| round.is_left(id).then_some(0))
        {
            let limits = Limits { connect: dial::share(answer, round.left()), answer };
            round.begin(lease.backend().id);
            let request = || {
                let mut upstream = handshake.request(session, self.session_key.as_ref(), spelling.clone());
                upstream.expected.explicit = self.is_explicit();
                upstream
            };
            match self.pool.dial(&mut lease, request, limits).await {
                Ok(Dialled::Leg(leg)) => return Ok(leg.attached(lease)),
                Ok(Dialled::Refused(response)) => {
                    return Err(FirstAttachError::Refused(Box::new(response), lease.backend().clone()));
                }
                Err(error) => round.failed(lease.backend(), &error),
            }
        }
        Err(FirstAttachError::NoBackend(round.summary()))
    }

    /// One round over all candidates in the order of `--reattach-order`, each once. A candidate may take
    /// `--connect-timeout`, and an equal share of that for its TCP connection, as others are left; besides the time in
    /// its queue, which is given up when a dial before it fails, and to the time that the hook takes which is asked for
    /// fresh credentials before (`--reattach-hook`). With `options.spare_last`, two backends are probed
    /// before. The new leg agreed to the session's subprotocol and compression, and to no other extension.
    ///
    /// # Errors
    /// See [`ReattachError`]. Dropping the future closes what was begun.
    pub async fn reattach(
        &self,
        handshake: &KeptHandshake,
        session: &SessionHeaders,
        options: Reattach,
    ) -> Result<Attached, ReattachError> {
        let renewed = self.renew(handshake, session, options.denials).await?;
        let mut spares = if options.spare_last { self.pool.spares(handshake).await } else { None };
        let rank = |id| options.rank(self.reattach_order, id);
        let wish = self.pool.wish(handshake);
        let mut round = Round::new(self.pool.candidates(wish).into_iter().filter(|id| rank(*id).is_some()).collect());
        let mut denials = options.denials;
        while let Some(mut lease) = self.pool.pick(wish, |id| {
            let spared = spares.as_ref().is_some_and(|spares| !spares.allow(id));
            rank(id).filter(|_| round.is_left(id) && !spared)
        }) {
            let left = round.left();
            let id = lease.backend().id;
            round.begin(id);
            let error = match self
                .reattach_to(&mut lease, handshake, session, renewed.as_ref(), options.explicit, left)
                .await
            {
                Ok(leg) => return Ok(leg.attached(lease)),
                Err(error) => error,
            };
            round.failed(lease.backend(), &error);
            if error.denial().is_some() {
                self.renewals.refused(handshake, session);
            }
            if let Some(status) = error.denial().and_then(|status| denials.add(id, status, round.candidates)) {
                return Err(ReattachError::Denied(status));
            }
            if let Some(spares) = &mut spares {
                spares.lose(id);
            }
        }
        let why = if spares.is_some() && round.left() > 0 { round.spared() } else { round.summary() };
        Err(ReattachError::Failed { why, denials })
    }

    async fn renew(
        &self,
        handshake: &KeptHandshake,
        session: &SessionHeaders,
        denials: Denials,
    ) -> Result<Option<Renewed>, ReattachError> {
        let renewed = self.renewals.renew(handshake, session, self.session_key.as_ref()).await;
        renewed.map_err(|why| match why {
            NotRenewed::Closed(why) => ReattachError::Closed(why),
            NotRenewed::Failed(why) => ReattachError::Failed { why, denials },
        })
    }

    async fn reattach_to(
        &self,
        lease: &mut Lease,
        handshake: &KeptHandshake,
        session: &SessionHeaders,
        renewed: Option<&Renewed>,
        explicit: bool,
        left: usize,
    ) -> Result<Leg, DialError> {
        let backend = lease.backend().clone();
        let place = self.pool.queue(&backend).await?;
        let mut upstream = handshake.request_again(session, self.session_key.as_ref(), renewed);
        upstream.expected.explicit = explicit || self.is_explicit();
        if let Some(name) = &self.reattach_header {
            upstream.request.headers_mut().insert(name, HeaderValue::from_static("1"));
        }
        let answer = Instant::now() + self.pool.settings().connect_timeout;
        let limits = Limits { connect: dial::share(answer, left), answer };
        let dialled = self.pool.dial_now(lease, upstream, limits).await;
        drop(place);
        match dialled? {
            Dialled::Leg(leg) => handshake.is_kept_by(&leg.agreed).map(|()| leg).map_err(DialError::BadHandshake),
            Dialled::Refused(response) => Err(DialError::Status(response.status())),
        }
    }
}

impl Pool {
    /// Waits for a place among the backend's handshakes. All leave the queue at once when a dial fails while they
    /// wait: thousands behind a few dials that hang would wait for minutes, and another backend may have room.
    async fn queue(&self, backend: &Backend) -> Result<OwnedSemaphorePermit, DialError> {
        if let Some(place) = backend.free_handshake_place() {
            return Ok(place);
        }
        let mark = backend.health.failures();
        let place = backend.handshake_place().await;
        let failed = backend.health.failed_since(mark, std::time::Instant::now());
        if failed { Err(DialError::Queue) } else { Ok(place) }
    }

    /// Dials when there is a place; `request` is made only then, so that its signature is fresh.
    async fn dial(
        &self,
        lease: &mut Lease,
        request: impl FnOnce() -> Upstream,
        limits: Limits,
    ) -> Result<Dialled, DialError> {
        let backend = lease.backend().clone();
        let _place = timeout_at(limits.connect, backend.handshake_place()).await.map_err(|_| DialError::Queue)?;
        self.dial_now(lease, request(), limits).await
    }

    async fn dial_now(&self, lease: &mut Lease, upstream: Upstream, limits: Limits) -> Result<Dialled, DialError> {
        let begun = Instant::now();
        let dialled = dial_backend(lease.backend(), &self.settings().transport, upstream, limits).await;
        let failed = |failure| Dial::Failed(failure, begun.elapsed());
        let health = match &dialled {
            Ok(Dialled::Refused(response)) if dial::is_unavailable(response.status()) => {
                Some(failed(Failure::Handshake))
            }
            Ok(Dialled::Leg(_) | Dialled::Refused(_)) => Some(Dial::Answered),
            Err(error) => error.failure().map(failed),
        };
        if let Some(dial) = health {
            self.dialled(lease.backend(), dial);
        }
        if let Ok(Dialled::Leg(leg)) = &dialled {
            self.learn(lease.backend(), begun.elapsed(), &leg.response.headers);
            lease.attach();
        }
        dialled
    }

    /// What a handshake says of its backend's load.
    fn learn(&self, backend: &Backend, took: Duration, headers: &HeaderMap) {
        let smoothing = self.smoothing();
        backend.measured(took, &smoothing);
        match poll::from_headers(headers) {
            None => {}
            Some(Ok(report)) => backend.reports_load(&report, &smoothing),
            Some(Err(invalid)) => {
                tracing::debug!(backend = %backend.url, reason = invalid.what(), "no load report in a handshake");
            }
        }
    }

    /// A barrier of a leg on `backend` took `round_trip`. Of many at a time some are taken in.
    pub fn barrier_took(&self, backend: &Backend, round_trip: Duration) {
        if backend.is_sampled() {
            backend.measured(round_trip, &self.smoothing());
        }
    }
}

/// What a backend answered, checked.
enum Dialled {
    Leg(Leg),
    Refused(Response<Incoming>),
}

/// An [`Attached`] that has no lease yet.
struct Leg {
    stream: Stream,
    leftover: Bytes,
    agreed: Agreed,
    response: Box<response::Parts>,
}

impl Leg {
    fn attached(self, lease: Lease) -> Attached {
        let Self { stream, leftover, agreed: Agreed { subprotocol, deflate, explicit }, response } = self;
        Attached { stream, leftover, lease, subprotocol, deflate, explicit, response }
    }
}

async fn dial_backend(
    backend: &Backend,
    transport: &Transport,
    upstream: Upstream,
    limits: Limits,
) -> Result<Dialled, DialError> {
    let stream = dial::connect(&backend.url, transport, upstream.client, limits.connect).await?;
    match dial::exchange(stream, upstream.request, limits.answer).await? {
        Answer::Switched(response, stream, leftover) => {
            let agreed = dial::validate(&response, &upstream.expected)?;
            Ok(Dialled::Leg(Leg { stream, leftover, agreed, response }))
        }
        Answer::Other(response) => {
            check_framing(response.headers()).map_err(DialError::BadHandshake)?;
            Ok(Dialled::Refused(response))
        }
    }
}
