//! Backends that count: how many sessions they have, and how many handshakes they are in at once.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tideover_tests::raw::{Connection, Head, RawBackend, accept_response};
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(3600);

/// A backend that takes any number of sessions and answers their pings.
pub(crate) struct Crowd {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// How it answers.
#[derive(Clone, Default)]
pub(crate) struct Manner {
    /// How long a handshake takes.
    pub(crate) handshake: Duration,
    /// More lines for its 101.
    pub(crate) headers: Vec<String>,
    /// The answer to a GET of `/load`.
    pub(crate) load: Option<String>,
}

#[derive(Default)]
struct Shared {
    manner: Mutex<Manner>,
    sessions: AtomicUsize,
    handshakes: AtomicUsize,
    most_handshakes: AtomicUsize,
    load_reports: AtomicUsize,
}

impl Crowd {
    pub(crate) async fn start(manner: Manner) -> Self {
        let backend = RawBackend::bind().await;
        let address = backend.address();
        let shared = Arc::new(Shared { manner: Mutex::new(manner), ..Shared::default() });
        let own = shared.clone();
        let accepting = tokio::spawn(async move {
            loop {
                let connection = backend.connection(LONG).await;
                tokio::spawn(own.clone().serve(connection));
            }
        });
        Self { address, shared, accepting }
    }

    /// Sessions on it now.
    pub(crate) fn sessions(&self) -> usize {
        self.shared.sessions.load(SeqCst)
    }

    /// The most handshakes that it was ever in at once.
    pub(crate) fn most_handshakes(&self) -> usize {
        self.shared.most_handshakes.load(SeqCst)
    }

    /// How often it was asked for its load.
    pub(crate) fn load_reports(&self) -> usize {
        self.shared.load_reports.load(SeqCst)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, mut connection: Connection) {
        let busy = Busy::begin(&self);
        let Ok(request) = connection.head(LONG).await else { return };
        let manner = self.manner.lock().expect("unpoisoned").clone();
        if request.target() == "/load" {
            drop(busy);
            return self.report(connection, manner.load).await;
        }
        tokio::time::sleep(manner.handshake).await;
        let _session = Session::begin(&self);
        // Counted as over before the proxy can know of it and begin the next one.
        drop(busy);
        if answer(&mut connection, &request, &manner.headers).await {
            while connection.next_answering_pings(LONG).await.is_ok() {}
        }
    }

    async fn report(&self, mut connection: Connection, load: Option<String>) {
        self.load_reports.fetch_add(1, SeqCst);
        let (status, body) = load.map_or(("404 Not Found", String::new()), |load| ("200 OK", load));
        let length = body.len();
        let _ = connection.send_bytes(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}")).await;
        let _ = connection.rest(LONG).await;
    }
}

async fn answer(connection: &mut Connection, request: &Head, headers: &[String]) -> bool {
    let key = request.header("Sec-WebSocket-Key").expect("a handshake has a key");
    let headers: Vec<_> = headers.iter().map(String::as_str).collect();
    connection.send_bytes(accept_response(key, &headers)).await.is_ok()
}

/// A handshake under way: from the TCP connection to the 101.
struct Busy<'a>(&'a Shared);

impl<'a> Busy<'a> {
    fn begin(shared: &'a Shared) -> Self {
        let now = shared.handshakes.fetch_add(1, SeqCst) + 1;
        shared.most_handshakes.fetch_max(now, SeqCst);
        Self(shared)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.handshakes.fetch_sub(1, SeqCst);
    }
}

/// A session, from its 101 to the end of its stream.
struct Session<'a>(&'a Shared);

impl<'a> Session<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.sessions.fetch_add(1, SeqCst);
        Self(shared)
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, SeqCst);
    }
}
