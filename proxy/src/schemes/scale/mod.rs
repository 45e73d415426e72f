//! Advice for an autoscaler: how many backends each pool should have, and the command that is run when that changes.
//!
//! Runs on the supervisor's runtime, never on a worker.

mod command;
mod decide;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::Schemes;
use super::counts::Command;
use crate::config::{OnScale, ScaleConfig};
use command::{Ended, Order, run};
use decide::retry_after;
pub use decide::{Advisor, Demand};

/// How often loads are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is advised for a pool, as of the last look.
#[derive(Clone, Copy, Debug)]
pub struct Advice {
    /// Backends that it should have.
    pub wanted: u32,
    /// What that was computed from.
    pub demand: Demand,
    /// And how.
    pub config: ScaleConfig,
}

/// A pool that is advised about.
#[derive(Debug)]
struct Subject {
    advisor: Advisor,
    advice: Advice,
    /// What the last command that ended well was told.
    told: u32,
    /// Not before this is a command run again that failed.
    not_before: Option<Instant>,
}

/// Looks at all pools for ever, and runs the command, one at a time.
pub(super) async fn advise(schemes: Arc<Schemes>, on_scale: Option<OnScale>) {
    let mut subjects = BTreeMap::new();
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut running = None;
    loop {
        ticks.tick().await;
        let now = Instant::now();
        look(&schemes, &mut subjects, now);
        schemes.publish(subjects.iter().map(|(pool, subject)| (pool.clone(), subject.advice)).collect());
        let Some(on_scale) = &on_scale else { continue };
        if let Some(order) = finished(&mut running).await {
            note(&schemes, &mut subjects, order, now);
        }
        if running.is_none() {
            running = next(&subjects, now).map(|order| start(on_scale.clone(), order));
        }
    }
}

/// A command under way, or its end.
type Running = JoinHandle<(Order, Ended, String)>;

/// The end of the command, if there was one and it has ended.
async fn finished(running: &mut Option<Running>) -> Option<(Order, Ended, String)> {
    let handle = running.take_if(|handle| handle.is_finished())?;
    handle.await.ok()
}

fn start(on_scale: OnScale, order: Order) -> Running {
    tokio::spawn(async move {
        let (ended, said) = run(&on_scale, &order).await;
        (order, ended, said)
    })
}

fn look(schemes: &Schemes, subjects: &mut BTreeMap<Box<str>, Subject>, now: Instant) {
    let targets = schemes.scale_targets();
    subjects.retain(|pool, _| targets.iter().any(|(target, _)| target == pool));
    for (pool, config) in targets {
        let demand = schemes.demand(&pool, now);
        let subject = subjects.entry(pool.clone()).or_insert_with(|| Subject::new(demand, config));
        subject.look(&pool, demand, config, now);
    }
}

impl Subject {
    fn new(demand: Demand, config: ScaleConfig) -> Self {
        let (present, not_before) = (demand.present, None);
        let advice = Advice { wanted: present, demand, config };
        Self { advisor: Advisor::new(present), advice, told: present, not_before }
    }

    fn look(&mut self, pool: &str, demand: Demand, config: ScaleConfig, now: Instant) {
        if self.advisor.look(&demand, &config, now) {
            let (wanted, present) = (self.advisor.wanted(), demand.present);
            tracing::info!(
                pool,
                wanted,
                present,
                sessions = demand.sessions.round(),
                "another number of backends is wanted"
            );
            self.not_before = None;
        }
        self.advice = Advice { wanted: self.advisor.wanted(), demand, config };
    }
}

/// The next command that is due.
fn next(subjects: &BTreeMap<Box<str>, Subject>, now: Instant) -> Option<Order> {
    let is_due = |subject: &Subject| {
        subject.told != subject.advice.wanted && subject.not_before.is_none_or(|not_before| now >= not_before)
    };
    subjects.iter().find(|(_, subject)| is_due(subject)).map(|(pool, subject)| Order {
        pool: pool.clone(),
        wanted: subject.advice.wanted,
        present: subject.advice.demand.present,
        sessions: subject.advice.demand.sessions.round() as u64,
    })
}

fn note(
    schemes: &Schemes,
    subjects: &mut BTreeMap<Box<str>, Subject>,
    (order, ended, said): (Order, Ended, String),
    now: Instant,
) {
    let Order { pool, wanted, present, .. } = &order;
    schemes.counts.command(match ended {
        Ended::Done => Command::Done,
        Ended::Failed(_) => Command::Failed,
        Ended::TimedOut => Command::TimedOut,
        Ended::NotStarted(_) => Command::NotStarted,
    });
    let subject = subjects.get_mut(pool);
    if ended == Ended::Done {
        tracing::info!(%pool, wanted, present, %ended, "the on-scale command has run");
        subject.into_iter().for_each(|subject| subject.told = *wanted);
    } else {
        tracing::warn!(%pool, wanted, present, %ended, said, "the on-scale command failed");
        let again = |subject: &mut Subject| subject.not_before = Some(now + retry_after(&subject.advice.config));
        subject.into_iter().for_each(again);
    }
}
