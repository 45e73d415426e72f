//! Asking the backends of the fleet for what they report, for as long as they are in it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Uri;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::backend::{Backend, BackendId};
use super::score::poll::{self, PollError};
use super::{Fleet, Pool};
use crate::config::Reporting;

/// How often it is looked which backends there are, and which of them report.
const LOOK: Duration = Duration::from_millis(250);

/// A task that ends with this.
struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Asks each backend of the fleet, until the future is dropped. What is asked follows the configuration.
pub async fn survey(fleet: Arc<Fleet>) {
    let mut followers: HashMap<BackendId, Follower> = HashMap::new();
    loop {
        let backends = fleet.backends();
        followers.retain(|id, _| backends.iter().any(|(_, backend)| backend.id == *id));
        for (pool, backend) in backends {
            followers.entry(backend.id).or_insert_with(|| Follower(tokio::spawn(follow(pool, backend))));
        }
        sleep(LOOK).await;
    }
}

async fn follow(pool: Arc<Pool>, backend: Arc<Backend>) {
    tokio::join!(follow_agent(&pool, &backend), follow_load(&pool, &backend));
}

async fn follow_agent(pool: &Pool, backend: &Backend) {
    let mut silence = Silence::default();
    loop {
        let (settings, reporting) = (pool.settings(), backend.reporting());
        let by = &settings.balancing;
        let Some(address) = agent_address(&reporting, backend, by.agent_port) else {
            sleep(LOOK).await;
            continue;
        };
        let begun = Instant::now();
        match poll::agent(&address, reporting.agent_send.as_bytes(), by.agent_interval).await {
            Ok(line) => {
                silence.ended(backend, "agent");
                backend.agent_says(&line);
            }
            Err(error) => silence.goes_on(backend, "agent", &error),
        }
        pause(by.agent_interval, begun).await;
    }
}

async fn follow_load(pool: &Pool, backend: &Backend) {
    let mut silence = Silence::default();
    loop {
        let (settings, reporting) = (pool.settings(), backend.reporting());
        let by = &settings.balancing;
        let Some(url) = load_url(&reporting, backend, by.load_path.as_deref()) else {
            sleep(LOOK).await;
            continue;
        };
        let begun = Instant::now();
        match poll::load(&url, by.load_interval).await {
            Ok(report) => {
                silence.ended(backend, "load report");
                backend.reports_load(&report, &pool.smoothing());
            }
            Err(error) => silence.goes_on(backend, "load report", &error),
        }
        pause(by.load_interval, begun).await;
    }
}

fn agent_address(reporting: &Reporting, backend: &Backend, port: Option<u16>) -> Option<String> {
    let on_its_host = || {
        let url = crate::config::BackendUrl { port: port?, ..backend.url.clone() };
        Some(url.authority())
    };
    reporting.agent.clone().or_else(on_its_host)
}

fn load_url(reporting: &Reporting, backend: &Backend, path: Option<&str>) -> Option<Uri> {
    let on_itself = || format!("http://{}{}", backend.url.authority(), path?).parse().ok();
    reporting.load_url.clone().or_else(on_itself)
}

/// Waits for what is left of an interval, a tenth more or less, so that many backends are not asked in step.
async fn pause(interval: Duration, begun: Instant) {
    let jitter = 0.9 + 0.2 * f64::from(super::random() as u32) / f64::from(u32::MAX);
    sleep(interval.mul_f64(jitter).saturating_sub(begun.elapsed())).await;
}

/// Logs the beginning and the end of a silence, not each question in it.
#[derive(Default)]
struct Silence(bool);

impl Silence {
    fn goes_on(&mut self, backend: &Backend, what: &str, error: &PollError) {
        if !std::mem::replace(&mut self.0, true) {
            tracing::warn!(backend = %backend.url, reason = %error, "no {what}");
        }
    }

    fn ended(&mut self, backend: &Backend, what: &str) {
        if std::mem::take(&mut self.0) {
            tracing::info!(backend = %backend.url, "{what} is back");
        }
    }
}
