//! `tideover serve`: the listeners, the workers, and the end of the process.
//!
//! A worker is a thread with a runtime of its own; a session stays on the worker that accepted it. All workers accept
//! from the same listeners.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::accept::{Accepting, accept};
use crate::admin::{self, Operator};
use crate::config::{Config, Listen, Sources};
use crate::edge::EdgeContext;
use crate::mover::Mover;
use crate::pool::{Fleet, survey};
use crate::reload::Reloader;
use crate::schemes::{Dns, Schemes};
use crate::session::{self, Context};
use crate::tls;

/// Handshakes that may wait to be accepted, as far as the system allows.
const BACKLOG: i32 = 4096;
/// How often it is looked whether the last session has ended.
const DRAIN_POLL: Duration = Duration::from_millis(20);
/// What the last words of ended sessions may take beyond `--close-timeout`.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How far the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Serving,
    /// Nothing is accepted any more.
    Draining,
    /// Workers end.
    Over,
}

/// What all workers share.
struct Shared {
    config: Arc<Config>,
    edge: Arc<EdgeContext>,
    fleet: Arc<Fleet>,
    schemes: Arc<Schemes>,
    sessions: Arc<Context>,
    reloader: Arc<Reloader>,
}

/// Serves until a signal ends it. SIGTERM and SIGINT drain: no new sessions, Close 1001 for who is left after
/// `--drain-timeout`, then exit code 0. A second signal ends at once, with exit code 1. So does a listener that cannot
/// be opened. SIGHUP takes a new configuration from the `sources` that `config` came from.
#[must_use]
pub fn run(config: Config, sources: Sources) -> ExitCode {
    match serve(config, sources) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(%error, "cannot serve");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config, sources: Sources) -> io::Result<ExitCode> {
    let accepting = Accepting::prepared();
    let listeners: Vec<_> =
        config.listen.iter().map(|place| Listener::open(place, &config)).collect::<io::Result<_>>()?;
    let admin = config.admin.as_ref().map(admin::Listener::bind).transpose()?;
    let shared = Arc::new(Shared::new(config, sources, accepting));
    let dns = shared.config.schemes.dns.as_ref();
    let dns = dns.map(|config| Dns::bind(config, shared.schemes.clone())).transpose()?;
    let (stage, stages) = watch::channel(Stage::Serving);
    let over = start_workers(&shared, &listeners, &stages)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    // Before anybody can know that the process runs: unhandled, it would end it.
    let hangup = runtime.block_on(async { signal(SignalKind::hangup()) })?;
    for listener in &listeners {
        let (addr, tls) = (listener.socket.local_addr()?, listener.tls.is_some());
        tracing::info!(%addr, tls, workers = shared.config.workers, "listening");
    }
    // The port closes with the workers' handles: else it would take connections in a drain that nobody accepts.
    drop(listeners);
    let code = runtime.block_on(async {
        tokio::spawn(shared.schemes.clone().advise(shared.config.schemes.on_scale.clone()));
        if let Some(dns) = dns {
            for addr in dns.addresses()? {
                tracing::info!(%addr, "DNS");
            }
            tokio::spawn(dns.serve());
        }
        if let Some(listener) = admin {
            tracing::info!(addr = %listener.address()?, "operator's API");
            tokio::spawn(serve_admin(listener, shared.clone()));
        }
        tokio::spawn(survey(shared.fleet.clone()));
        tokio::spawn(shared.fleet.clone().watch_health());
        tokio::spawn(Mover::new(shared.fleet.clone(), shared.sessions.clone()).run());
        let reloader = shared.reloader.clone();
        tokio::spawn(async move { reloader.run(hangup).await });
        supervise(&shared, &stage).await
    })?;
    // Workers end with their runtimes; a thread that is stuck must not keep the process.
    let _ = stage.send(Stage::Over);
    // Nothing is ever sent: the channel closes with the last worker.
    let _ = over.recv_timeout(LAST_WORDS);
    Ok(code)
}

impl Shared {
    fn new(config: Config, sources: Sources, accepting: Accepting) -> Self {
        let fleet = Arc::new(Fleet::new(&config));
        let schemes = Arc::new(Schemes::new(&config.schemes, fleet.clone()));
        let sessions = Arc::new(Context::new(&config));
        let reloader = Arc::new(Reloader::new(sources, config.clone(), fleet.clone()));
        let config = Arc::new(config);
        let context = sessions.clone();
        let start = Box::new(move |start| session::spawn(start, context.clone()));
        let edge =
            Arc::new(EdgeContext::new(config.clone(), fleet.clone(), schemes.clone(), start).accepting_with(accepting));
        Self { config, edge, fleet, schemes, sessions, reloader }
    }
}

/// A socket that clients connect to, and what they speak there.
struct Listener {
    socket: StdListener,
    tls: Option<Arc<tls::Server>>,
}

impl Listener {
    fn open(place: &Listen, config: &Config) -> io::Result<Self> {
        Ok(Self { socket: listen(place.address)?, tls: config.tls.clone().filter(|_| place.tls) })
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, tls: self.tls.clone() })
    }
}

/// One socket for all workers, without SO_REUSEPORT: a second process on the same port must fail, not share.
fn listen(addr: SocketAddr) -> io::Result<StdListener> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("--listen {addr}: {error}"));
    let open = || {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Ok(StdListener::from(socket))
    };
    open().map_err(named)
}

/// The returned channel closes when the last worker has ended.
fn start_workers(
    shared: &Arc<Shared>,
    listeners: &[Listener],
    stages: &watch::Receiver<Stage>,
) -> io::Result<mpsc::Receiver<()>> {
    let (alive, over) = mpsc::channel();
    for number in 0..shared.config.workers {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listeners = listeners.iter().map(Listener::try_clone).collect::<io::Result<_>>()?;
        let (shared, stages, alive) = (shared.clone(), stages.clone(), alive.clone());
        std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            session::become_worker(number);
            work(&runtime, &shared, listeners, stages);
            drop((runtime, alive));
        })?;
    }
    Ok(over)
}

fn work(runtime: &Runtime, shared: &Shared, listeners: Vec<Listener>, mut stages: watch::Receiver<Stage>) {
    runtime.block_on(async {
        for Listener { socket, tls } in listeners {
            match TcpListener::from_std(socket) {
                Ok(listener) => {
                    drop(tokio::spawn(accept_while_serving(listener, tls, shared.edge.clone(), stages.clone())))
                }
                Err(error) => tracing::error!(%error, "a worker cannot accept"),
            }
        }
        // An error means that the supervisor is gone, which is the end as well.
        let _ = stages.wait_for(|stage| *stage == Stage::Over).await;
    });
}

/// Accepts until nothing more is to be.
async fn accept_while_serving(
    listener: TcpListener,
    tls: Option<Arc<tls::Server>>,
    edge: Arc<EdgeContext>,
    mut stages: watch::Receiver<Stage>,
) {
    tokio::select! {
        () = accept(listener, tls, edge) => {}
        _ = stages.wait_for(|stage| *stage != Stage::Serving) => {}
    }
}

/// Waits for the signals and sees the drain through.
async fn supervise(shared: &Shared, stage: &watch::Sender<Stage>) -> io::Result<ExitCode> {
    let mut signals =
        Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
    let name = signals.next().await;
    let sessions = shared.sessions.registry().len();
    tracing::info!(signal = name, sessions, drain_timeout = ?shared.config.drain_timeout, "draining");
    shared.edge.drain();
    let _ = stage.send(Stage::Draining);
    let code = tokio::select! {
        () = drain(shared) => ExitCode::SUCCESS,
        name = signals.next() => {
            tracing::warn!(signal = name, "second signal: ending at once");
            ExitCode::FAILURE
        }
    };
    let sums = shared.sessions.totals().get();
    tracing::info!(sessions = sums.ended, counters = ?sums.counters, "ended");
    Ok(code)
}

async fn serve_admin(listener: admin::Listener, shared: Arc<Shared>) {
    let Shared { sessions, edge, fleet, reloader, .. } = &*shared;
    let operator = Operator::new(sessions.clone(), edge.clone(), fleet.clone(), reloader.clone());
    if let Err(error) = listener.serve(operator, shared.config.admin_token.clone()).await {
        tracing::error!(%error, "the operator's API cannot be served");
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

async fn drain(shared: &Shared) {
    if wait_until_idle(&shared.edge, shared.config.drain_timeout, || {}).await {
        return;
    }
    let registry = shared.sessions.registry();
    tracing::info!(sessions = registry.len(), "closing the sessions that are left");
    let at_most = shared.fleet.close_timeout() + LAST_WORDS;
    // Over and over: a handshake that was under way becomes a session.
    wait_until_idle(&shared.edge, at_most, || registry.shutdown_all()).await;
}

/// Waits until neither a session nor a handshake is left, and calls `meanwhile` each time that it looks.
async fn wait_until_idle(edge: &EdgeContext, at_most: Duration, meanwhile: impl Fn()) -> bool {
    let idle = async {
        while !edge.is_idle() {
            meanwhile();
            tokio::time::sleep(DRAIN_POLL).await;
        }
    };
    tokio::time::timeout(at_most, idle).await.is_ok()
}
