//! The two bodies of a plain HTTP exchange, passed on as they come, and the clock that says whether anything moves.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::{fmt, io};

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use hyper::Request;
use hyper::StatusCode;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::pool::Connection;

/// How long a client that expects 100 (RFC 9110 10.1.1) waits for its backend to say so. Then the body is passed on, for
/// backends that do not know of it.
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// When something moved last.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Moved>);

#[derive(Debug)]
struct Moved {
    origin: Instant,
    /// Milliseconds since then.
    last: AtomicU64,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self(Arc::new(Moved { origin: Instant::now(), last: AtomicU64::new(0) }))
    }

    fn moved(&self) {
        self.0.last.store(self.0.origin.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Until nothing has moved for so long.
    pub(super) async fn stalled(self, patience: Duration) {
        loop {
            let by = self.0.origin + Duration::from_millis(self.0.last.load(Ordering::Relaxed)) + patience;
            if by <= Instant::now() {
                return;
            }
            sleep_until(by).await;
        }
    }
}

/// A future that is over when an exchange stands still for too long.
pub(super) type Stalled = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// The client's body on its way to the backend.
pub(super) struct Upload {
    body: Incoming,
    progress: Progress,
    gate: Option<Gate>,
}

/// Keeps a body that the client holds back until it is asked for it.
struct Gate {
    asked: Arc<Asked>,
    patience: Pin<Box<Sleep>>,
}

#[derive(Default)]
struct Asked {
    done: AtomicBool,
    waker: AtomicWaker,
}

impl Upload {
    /// `request` with its body to be passed on. With `Expect: 100-continue` that is when the backend asks for it: reading
    /// it is what asks the client.
    pub(super) fn of(request: Request<Incoming>, expects: bool, progress: Progress) -> Request<Self> {
        let mut request = request.map(|body| Self { body, progress, gate: None });
        if expects {
            let asked = Arc::<Asked>::default();
            request.body_mut().gate = Some(Gate { asked: asked.clone(), patience: Box::pin(sleep(CONTINUE_PATIENCE)) });
            hyper::ext::on_informational(&mut request, move |informational| {
                if informational.status() == StatusCode::CONTINUE {
                    asked.done.store(true, Ordering::Release);
                    asked.waker.wake();
                }
            });
        }
        request
    }
}

impl Gate {
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.asked.waker.register(cx.waker());
        if self.asked.done.load(Ordering::Acquire) { Poll::Ready(()) } else { self.patience.as_mut().poll(cx) }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        if let Some(gate) = &mut this.gate {
            ready!(gate.poll_open(cx));
            this.gate = None;
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        this.progress.moved();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A backend's body on its way to the client.
pub(super) struct Download {
    body: Incoming,
    exchange: Option<UnderWay>,
}

/// What an exchange keeps until its answer's body is over.
pub(super) struct UnderWay {
    pub(super) progress: Progress,
    pub(super) stalled: Stalled,
    /// Dropped, it ends the connection to the backend.
    pub(super) _connection: Connection,
    /// Its place among `--max-http-requests`.
    pub(super) _permit: OwnedSemaphorePermit,
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download").field("body", &self.body).finish_non_exhaustive()
    }
}

impl Download {
    /// Of an exchange.
    pub(super) fn new(body: Incoming, exchange: UnderWay) -> Self {
        Self { body, exchange: Some(exchange) }
    }
}

/// The body of a handshake's refusal.
impl From<Incoming> for Download {
    fn from(body: Incoming) -> Self {
        Self { body, exchange: None }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            if let Some(exchange) = &this.exchange {
                exchange.progress.moved();
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)));
        }
        if let Some(exchange) = &mut this.exchange {
            ready!(exchange.stalled.as_mut().poll(cx));
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
