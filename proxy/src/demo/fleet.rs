//! The echo backends: started, killed with SIGKILL, started again on the same port.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Child;
use tokio::time::{Instant, sleep_until, timeout};

use super::child::{self, Port};
use super::rng::Rng;

/// Time that a backend may take to listen.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// A backend as the display shows it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Its process id; `None` while it is down.
    pub(super) process: Option<u32>,
    /// How often it was killed.
    pub(super) kills: u32,
}

/// What the display may look at while the fleet is being wrecked.
pub(super) type Rows = Arc<Mutex<Vec<Row>>>;

/// All backends; killed when dropped.
pub(super) struct Fleet {
    backends: Vec<Backend>,
    rows: Rows,
}

struct Backend {
    port: Port,
    child: Option<Child>,
}

impl Fleet {
    /// Starts `count` backends and waits until they listen.
    pub(super) async fn start(count: u32) -> io::Result<Self> {
        let mut fleet = Self { backends: Vec::new(), rows: Rows::default() };
        for _ in 0..count {
            let port = Port::free()?;
            fleet.rows().push(Row { address: port.address, process: None, kills: 0 });
            fleet.backends.push(Backend { port, child: None });
        }
        fleet.revive().await?;
        Ok(fleet)
    }

    /// Where the backends listen.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.backends.iter().map(|backend| backend.port.address)
    }

    /// A view of the backends that stays up to date.
    pub(super) fn view(&self) -> Rows {
        Arc::clone(&self.rows)
    }

    /// Kills a random backend about every `interval`, starts it again after half of that, and so on. Returns only if
    /// one cannot be started. May be dropped at any moment; `revive` then starts what is down.
    pub(super) async fn wreck(&mut self, interval: Duration, mut rng: Rng) -> io::Result<std::convert::Infallible> {
        let mut due = Instant::now();
        loop {
            // Counted from the last kill, unless starting took longer than that.
            due = (due + rng.about(interval)).max(Instant::now());
            sleep_until(due).await;
            self.kill(rng.below(self.backends.len())).await?;
            sleep_until(due + interval / 2).await;
            self.revive().await?;
        }
    }

    /// Starts all backends that are down, also those that ended by themselves.
    pub(super) async fn revive(&mut self) -> io::Result<()> {
        for (index, backend) in self.backends.iter_mut().enumerate() {
            let down = match &mut backend.child {
                Some(child) => child.try_wait()?.is_some(),
                None => true,
            };
            if down {
                let child = start(backend.port.address).await?;
                lock(&self.rows)[index].process = child.id();
                backend.child = Some(child);
            }
        }
        Ok(())
    }

    async fn kill(&mut self, index: usize) -> io::Result<()> {
        let Some(mut child) = self.backends[index].child.take() else { return Ok(()) };
        {
            let row = &mut self.rows()[index];
            row.process = None;
            row.kills += 1;
        }
        child.kill().await
    }

    fn rows(&self) -> MutexGuard<'_, Vec<Row>> {
        lock(&self.rows)
    }
}

/// Locks a value that is whole after every statement, so a panic elsewhere has left it whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a backend and waits until it listens.
async fn start(address: SocketAddr) -> io::Result<Child> {
    let mut child = child::command(["echo", "--listen", &address.to_string()])?.spawn()?;
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    match timeout(START_DEADLINE, stdout.read_line(&mut line)).await {
        Ok(Ok(1..)) => Ok(child),
        Ok(Ok(0)) => {
            let mut complaint = String::new();
            child.stderr.take().expect("stderr is piped").read_to_string(&mut complaint).await?;
            Err(io::Error::other(format!("backend {address} ended at its start: {}", complaint.trim())))
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::other(format!("backend {address} did not listen within {START_DEADLINE:?}"))),
    }
}
