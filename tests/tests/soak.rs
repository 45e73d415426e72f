//! A short run of `cargo run --release -p tideover-tests --bin soak`.

use std::time::Duration;

use tideover_tests::{
    judge::assert_none,
    lock::machine_alone,
    soak::{Plan, run},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mixed_load_with_kills_leaves_memory_descriptors_and_accounts_as_they_should_be() {
    let _machine = machine_alone();
    let (time, kill_every, away) = (Duration::from_secs(20), Duration::from_secs(2), Duration::from_millis(200));
    let report = run(Plan { time, kill_every, away, sessions: 40 }).await;
    eprintln!("{report}");
    assert_none("what should not be", &report.breaches());
}
