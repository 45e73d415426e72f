//! A backend that joins gets its part of the sessions that are there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tideover_tests::client::{Load, run};
use tideover_tests::deadline::eventually;
use tideover_tests::lock::machine_shared;
use tideover_tests::{Backend, Kind, Replaced};
use tokio::task::JoinSet;

use super::verdict::assert_unnoticed;
use super::{backends, serve, text};

const SOON: Duration = Duration::from_secs(20);
/// How soon all backends must have their part.
const MINUTE: Duration = Duration::from_secs(60);
/// Sessions that are there before the fourth backend.
const FIRST: u32 = 240;
/// Time between two that arrive.
const EVERY: Duration = Duration::from_millis(250);
/// For how long it must stay even, sessions arriving all the while.
const STAYS: Duration = Duration::from_secs(10);

fn sessions(backends: &[Backend]) -> Vec<usize> {
    backends.iter().map(Backend::connections).collect()
}

/// Whether each has what is within this part of the mean of all.
fn within(part: f64, sessions: &[usize]) -> bool {
    let mean = sessions.iter().sum::<usize>() as f64 / sessions.len() as f64;
    sessions.iter().all(|count| (*count as f64 - mean).abs() <= (part * mean).max(1.0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_joins_has_its_part_within_a_minute_while_sessions_arrive() {
    let _machine = machine_shared();
    let all = backends::<4>(Kind::Aiohttp);
    let settings = "rebalance = 'on'";
    let file = Replaced::new(&text(settings, &all[..3]));
    let proxy = serve(&file);
    let mut clients = JoinSet::new();
    let url = proxy.url("/echo");
    let mut arrives = |client: u32| {
        let url = url.clone();
        clients.spawn(async move { run(&url, client, Load { settle: SOON, ..Load::new(2, 60) }).await });
    };
    (0..FIRST).for_each(&mut arrives);
    eventually(SOON, "they are there", || {
        let now = sessions(&all);
        now.iter().sum::<usize>() == FIRST as usize && within(0.1, &now[..3])
    })
    .await;
    assert!(!all[3].has_served());

    file.replace(&text(settings, &all));
    let joined = Instant::now();
    let (mut even_after, mut arrived) = (None, 0);
    let mut due = tokio::time::interval(EVERY);
    while even_after.is_none_or(|after: Duration| joined.elapsed() < after + STAYS) {
        due.tick().await;
        arrives(FIRST + arrived);
        arrived += 1;
        let now = sessions(&all);
        match even_after {
            None if within(0.1, &now) => even_after = Some(joined.elapsed()),
            None => assert!(joined.elapsed() < MINUTE, "{now:?}\n{}", proxy.log_text()),
            // A session that is being moved has two connections.
            Some(_) => assert!(within(0.15, &now), "{now:?}"),
        }
    }
    let at_last = sessions(&all);
    let mut transcripts = clients.join_all().await;
    transcripts.sort_by_key(|transcript| transcript.client);
    let judge = assert_unnoticed(&all, transcripts);
    let mut legs: BTreeMap<u32, usize> = BTreeMap::new();
    judge.legs.iter().filter_map(|leg| leg.client).for_each(|client| *legs.entry(client).or_default() += 1);
    let moved = legs.values().filter(|legs| **legs > 1).count();
    println!("even after {even_after:?} with {arrived} more sessions, {moved} moved; {at_last:?} at last");
    assert!(legs.values().all(|legs| *legs <= 2), "no session was moved twice");
    // Without moves, the fourth would have had to wait for as many arrivals as the others have sessions.
    assert!(moved >= 20, "{moved} sessions were moved");
}
