//! A long run of mixed load with kills: sessions plain, over TLS and compressed, small messages and large ones, clients that
//! stay, that come and go, and that read slowly, plain requests beside them. Judged from what the clients saw; from what the
//! kernel says of the proxy's memory and descriptors; and, for law 8, from `/metrics`.

mod account;
mod clients;
mod metrics;
mod report;
mod samples;
mod scene;

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

pub use report::Report;

use crate::{clock::now_ns, deadline::eventually, environment::raise_descriptor_limit, random::Random};
use clients::Crowd;
use samples::Samples;
use scene::Scene;

/// What a run is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long there is load.
    pub time: Duration,
    /// Time between two kills, up to a tenth more.
    pub kill_every: Duration,
    /// How long a killed backend is away.
    pub away: Duration,
    /// Sessions that stay from the beginning to the end. Others come with them: see [`Report`].
    pub sessions: u32,
}

/// When the clients have left, the proxy has this long to give back what they took.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(30);
/// Rows of [`Report`], about.
const ROWS: u32 = 180;

/// Runs it.
///
/// # Panics
/// When a process does not start, or a client is stuck.
pub async fn run(plan: Plan) -> Report {
    raise_descriptor_limit();
    let mut scene = Scene::set();
    let empty = scene.sample().await;
    let mut crowd = Crowd::come(&scene, plan);
    let mut samples = Samples::default();
    let (began, mut kills) = (Instant::now(), 0);
    let mut random = Random::new(now_ns());
    let mut looks = interval((plan.time / ROWS).max(Duration::from_millis(250)));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due = began + plan.kill_every;
    while began.elapsed() < plan.time {
        tokio::select! {
            _ = looks.tick() => samples.add(began.elapsed(), scene.sample().await),
            () = sleep_until(due) => {
                let killed = scene.kill_one(&mut random);
                tokio::time::sleep(plan.away).await;
                scene.restart(killed);
                kills += 1;
                due = Instant::now() + plan.kill_every + random.up_to(plan.kill_every / 10);
            }
        }
    }
    let account = crowd.leave().await;
    let mut last = scene.sample().await;
    let given_back = async {
        while !last.is_like(&empty) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            last = scene.sample().await;
        }
    };
    let given_back = tokio::time::timeout(GIVEN_BACK_WITHIN, given_back).await.is_ok();
    eventually(GIVEN_BACK_WITHIN, "the proxy runs", || scene.proxy.is_running()).await;
    let panicked = scene.proxy.log_text().contains("panicked");
    Report { plan, kills, empty, samples, last, given_back, account, panicked }
}
