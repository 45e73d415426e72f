//! The same session twice, directly and through the proxy, and the comparison of what both ends saw.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tideover_tests::{
    Backend, Kind, Proxy,
    backend::What,
    client::{Client, End, Transcript},
    proxy::says,
};

use crate::{
    SHORT_TIMEOUTS,
    link::{Slow, SlowLink},
};

/// How long the backends may take to log the ends of two sessions that the clients have seen end.
const LOGGED_WITHIN: Duration = Duration::from_secs(20);

/// Two backends of a kind, the first of which also serves the direct sessions, and the proxy before both.
pub(crate) struct Scene {
    backends: [Backend; 2],
    pub(crate) proxy: Proxy,
    direct: SocketAddr,
    proxied: SocketAddr,
    sessions: AtomicU32,
    compared: Mutex<Vec<Compared>>,
    _links: Vec<SlowLink>,
}

/// The targets of one session, direct and proxied.
struct Compared {
    direct: String,
    proxied: String,
}

/// Where a session goes.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) address: SocketAddr,
    /// The path and query, unlike that of every other session.
    pub(crate) target: String,
}

/// What a client saw: each message as length and beginning, in order, and the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) got: Vec<(usize, String)>,
    pub(crate) end: SeenEnd,
}

/// How the client's connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SeenEnd {
    /// With this Close; 1005 is one without a code.
    Close(u16, String),
    /// Without a Close. A direct client may be told of a reset where the proxy's sees the end of the stream.
    NoClose,
    /// The client went away by itself.
    Left,
}

/// What a backend logged of each connection of one session.
type BackendStory = Vec<Vec<What>>;

impl Way {
    pub(crate) async fn connect(&self) -> Client {
        let url = format!("ws://{}{}", self.address, self.target);
        Client::connect(1, url).await.unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }
}

impl From<Transcript> for Seen {
    fn from(transcript: Transcript) -> Self {
        let got = transcript.got.into_iter().map(|message| (message.len, message.text)).collect();
        let end = match transcript.end {
            End::Peer { code, reason } => SeenEnd::Close(code, reason),
            End::Lost { .. } => SeenEnd::NoClose,
            End::Client => SeenEnd::Left,
        };
        Self { got, end }
    }
}

impl Scene {
    pub(crate) fn start(kind: Kind) -> Self {
        let backends = [kind; 2].map(Backend::start);
        let proxy = Proxy::start(&backends, &SHORT_TIMEOUTS);
        let (direct, proxied) = (backends[0].address(), proxy.address());
        Self::new(backends, proxy, direct, proxied, Vec::new())
    }

    /// Clients are at the end of a line that is slow in one direction, to the backend or to the proxy.
    pub(crate) fn with_slow_clients(kind: Kind, slow: Slow, bytes_per_second: usize) -> Self {
        let backends = [kind; 2].map(Backend::start);
        let proxy = Proxy::start(&backends, &SHORT_TIMEOUTS);
        let links =
            [backends[0].address(), proxy.address()].map(|server| SlowLink::start(server, slow, bytes_per_second));
        let [direct, proxied] = [links[0].address(), links[1].address()];
        Self::new(backends, proxy, direct, proxied, links.into())
    }

    /// All that backends are sent passes a slow line, from the client or from the proxy.
    pub(crate) fn with_slow_backends(kind: Kind, bytes_per_second: usize) -> Self {
        let backends = [kind; 2].map(Backend::start);
        let links =
            backends.each_ref().map(|backend| SlowLink::start(backend.address(), Slow::TowardServer, bytes_per_second));
        let proxy = Proxy::before(links.iter().map(SlowLink::address), &SHORT_TIMEOUTS);
        let (direct, proxied) = (links[0].address(), proxy.address());
        Self::new(backends, proxy, direct, proxied, links.into())
    }

    fn new(
        backends: [Backend; 2],
        proxy: Proxy,
        direct: SocketAddr,
        proxied: SocketAddr,
        links: Vec<SlowLink>,
    ) -> Self {
        let (sessions, compared) = (AtomicU32::new(0), Mutex::default());
        Self { backends, proxy, direct, proxied, sessions, compared, _links: links }
    }

    /// Runs `script` on `path` (with a query) both ways at the same time. Both clients must have seen the same, and the
    /// backends must have logged the same: one connection each, with the same messages and the same end. Gives what was
    /// seen.
    pub(crate) async fn compare(&self, path: &str, script: impl AsyncFn(Way) -> Seen) -> Seen {
        assert!(path.contains('?'), "a target without a query is a probe's");
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        let direct = Way { address: self.direct, target: format!("{path}&session=direct-{number}") };
        let proxied = Way { address: self.proxied, target: format!("{path}&session=proxied-{number}") };
        let compared = Compared { direct: direct.target.clone(), proxied: proxied.target.clone() };
        let (yardstick, seen) = tokio::join!(script(direct), script(proxied));
        assert_eq!(seen, yardstick, "{}, {path}: what the client saw, then what it would have seen", self.name());
        self.wait_for_the_same_story(&compared).await;
        self.compared.lock().expect("no one panicked").push(compared);
        seen
    }

    /// The last word, when all sessions are over: still the same stories, probes that were nothing but probes, and a
    /// proxy that says it never lost a leg.
    pub(crate) fn finish(self) {
        for compared in self.compared.lock().expect("no one panicked").iter() {
            assert_eq!(self.story(&compared.proxied), self.story(&compared.direct), "{}", compared.proxied);
        }
        self.assert_probes_do_nothing();
        let log = self.proxy.log_lines();
        let lost: Vec<_> = log.iter().filter(|line| says(line, "backend leg lost")).collect();
        assert!(lost.is_empty(), "{}: {lost:?}", self.name());
        assert!(!self.proxy.log_text().contains("panicked"), "{}", self.proxy.log_text());
    }

    /// How many connections the backends have had, direct ones and probes included.
    pub(crate) fn opened(&self) -> usize {
        self.connections().len()
    }

    fn name(&self) -> &'static str {
        self.backends[0].kind().name()
    }

    async fn wait_for_the_same_story(&self, compared: &Compared) {
        let start = Instant::now();
        loop {
            let (direct, proxied) = (self.story(&compared.direct), self.story(&compared.proxied));
            assert!(proxied.len() <= 1, "{}: attached more than once: {proxied:?}", compared.proxied);
            if proxied == direct && proxied.len() == 1 {
                return;
            }
            let late = start.elapsed() > LOGGED_WITHIN;
            assert!(!late, "{}, {}: {proxied:?}, directly: {direct:?}", self.name(), compared.proxied);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What was logged of the connections with this target, a list each.
    fn story(&self, target: &str) -> BackendStory {
        self.connections().into_values().filter(|(opened, _)| opened == target).map(|(_, events)| events).collect()
    }

    /// All connections: the target, and what was logged behind the opening.
    fn connections(&self) -> BTreeMap<String, (String, Vec<What>)> {
        let mut connections = BTreeMap::new();
        for event in self.backends.iter().flat_map(Backend::events) {
            match event.what {
                What::Ready(_) => {}
                What::Open(target) => drop(connections.insert(event.connection, (target, Vec::new()))),
                what => {
                    let (_, events) = connections.get_mut(&event.connection).expect("a connection opens first");
                    events.push(what);
                }
            }
        }
        connections
    }

    /// The proxy asks with a handshake to the path without its query and closes with 1000; no handler is given anything.
    fn assert_probes_do_nothing(&self) {
        for (target, events) in self.connections().into_values().filter(|(target, _)| !target.contains('?')) {
            let ended_well = matches!(events[..], [] | [What::Close(1000, _) | What::Eof]);
            assert!(ended_well, "{}, probe of {target}: {events:?}", self.name());
        }
    }
}
