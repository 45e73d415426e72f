//! The demo from its start to its summary.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, sleep};

use super::Options;
use super::client::{Client, SharedLedger};
use super::display::{Display, Snapshot, summary};
use super::fleet::{Fleet, Rows, lock};
use super::ledger::Totals;
use super::proxy::Proxy;
use super::rng::Rng;

/// Time that outstanding echoes are given at the end: the proxy's default `--failover-timeout`, and some.
const SETTLE_DEADLINE: Duration = Duration::from_secs(35);

/// Runs the demo; whether the promise was kept. An error means that it could not be set up or broke down.
pub(super) async fn run(options: Options) -> io::Result<bool> {
    let mut interrupts = Interrupts::new()?;
    let cast = tokio::select! {
        cast = Cast::gather(&options) => cast?,
        () = interrupts.next() => return Err(io::ErrorKind::Interrupted.into()),
    };
    cast.perform(&options, &mut interrupts).await
}

/// Everybody on the stage. Dropping it ends them.
struct Cast {
    fleet: Fleet,
    proxy: Proxy,
    clients: Vec<Client>,
}

impl Cast {
    /// Starts everything, in the order in which it depends on each other.
    async fn gather(options: &Options) -> io::Result<Self> {
        let fleet = Fleet::start(options.backends).await?;
        let mut proxy = Proxy::start(fleet.addresses()).await?;
        let address = proxy.address;
        let connected = async {
            let mut clients = Vec::new();
            for id in 0..options.clients {
                clients.push(Client::connect(id, address).await?);
            }
            Ok(clients)
        };
        let clients = tokio::select! {
            clients = connected => clients,
            broken = proxy.watch() => Err(broken),
        }?;
        Ok(Self { fleet, proxy, clients })
    }

    /// Lets the clients send while backends are killed, settles, and prints the summary.
    async fn perform(self, options: &Options, interrupts: &mut Interrupts) -> io::Result<bool> {
        let Self { mut fleet, mut proxy, clients } = self;
        let seed = match options.seed {
            Some(seed) => seed,
            None => getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?,
        };
        let mut display = Display::new();
        display.say(&introduction(options, &proxy, seed))?;
        let (stop, stopped) = watch::channel(false);
        let scene = Scene::new(&clients, fleet.view());
        let mut clients = send(clients, options.rate, &stopped);

        let broken = tokio::select! {
            broken = fleet.wreck(options.kill_every, Rng::new(seed)) => broken.map(|never| match never {}),
            broken = proxy.watch() => Err(broken),
            broken = scene.show(&mut display) => broken,
            () = time_up(options.run_for) => Ok(()),
            () = all_ended(&mut clients) => Ok(()),
            () = interrupts.next() => Ok(()),
        };
        let elapsed = scene.began.elapsed();

        stop.send_replace(true);
        let settled = match broken {
            Ok(()) => {
                tokio::select! {
                    () = settle(&mut fleet, &mut clients) => Ok(()),
                    broken = proxy.watch() => Err(broken),
                    () = interrupts.next() => Ok(()),
                }
            }
            broken => broken,
        };
        let mut end = Snapshot { elapsed, ..scene.snapshot() };
        display.redraw(&end)?;
        end.totals.settle();
        display.say(&summary(&end))?;
        proxy.stop().await;
        settled.map(|()| end.totals.kept())
    }
}

/// What there is to see.
struct Scene {
    began: Instant,
    ledgers: Vec<SharedLedger>,
    backends: Rows,
}

impl Scene {
    fn new(clients: &[Client], backends: Rows) -> Self {
        Self { began: Instant::now(), ledgers: clients.iter().map(Client::ledger).collect(), backends }
    }

    fn snapshot(&self) -> Snapshot {
        let ledgers: Vec<_> = self.ledgers.iter().map(|ledger| lock(ledger)).collect();
        let totals = Totals::of(ledgers.iter().map(|ledger| &**ledger), std::time::Instant::now());
        Snapshot { elapsed: self.began.elapsed(), backends: lock(&self.backends).clone(), totals }
    }

    /// Draws until that fails.
    async fn show(&self, display: &mut Display) -> io::Result<()> {
        let interval = display.interval();
        let mut ticks = interval_at(self.began + interval, interval);
        loop {
            ticks.tick().await;
            display.draw(&self.snapshot())?;
        }
    }
}

/// Lets the clients send, spread evenly over the time between two messages.
fn send(clients: Vec<Client>, rate: u32, stopped: &watch::Receiver<bool>) -> JoinSet<()> {
    let step = Duration::from_secs(1) / rate / (clients.len().max(1) as u32);
    let mut tasks = JoinSet::new();
    for (client, index) in clients.into_iter().zip(0..) {
        tasks.spawn(client.run(rate, step * index, stopped.clone()));
    }
    tasks
}

/// Brings all backends back and waits for the clients, who end when nothing is outstanding. Not for ever.
async fn settle(fleet: &mut Fleet, clients: &mut JoinSet<()>) {
    let settled = async {
        // A backend that stays down leaves its work to the others; what it costs, the books will show.
        fleet.revive().await.ok();
        all_ended(clients).await;
    };
    tokio::time::timeout(SETTLE_DEADLINE, settled).await.ok();
}

async fn all_ended(clients: &mut JoinSet<()>) {
    while clients.join_next().await.is_some() {}
}

async fn time_up(run_for: Option<Duration>) {
    match run_for {
        Some(duration) => sleep(duration).await,
        None => std::future::pending().await,
    }
}

fn introduction(options: &Options, proxy: &Proxy, seed: u64) -> String {
    format!(
        "Proxy: {} (process {}). Echo backends: {}. Clients: {}, sending {} messages a second each.\n\
         About every {:?} a backend is killed; it is back {:?} later. Seed {seed}. Ctrl-C ends the demo.\n\n",
        proxy.address,
        proxy.process,
        options.backends,
        options.clients,
        options.rate,
        options.kill_every,
        options.kill_every / 2,
    )
}

/// Ctrl-C or SIGTERM.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
