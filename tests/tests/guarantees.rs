//! A small guarantee matrix: what must hold for servers that answer in order and before the pong of a later ping.
//! The whole one: `cargo run --release -p tideover-tests --bin guarantees`.

use tideover_tests::{
    Kind,
    lock::machine_alone,
    matrix::{Cell, Counts, Mode, Plan},
};

/// Small enough for every test run: the load is that of the whole matrix.
fn plan() -> Plan {
    Plan { sessions: 20, in_replay: 1, ..Plan::FULL.with_kills(12) }
}

#[test]
fn tokio_tungstenite_loses_and_repeats_nothing() {
    holds_for(Kind::Rust);
}

#[test]
fn node_with_a_sync_handler_loses_and_repeats_nothing() {
    holds_for(Kind::NodeSync);
}

#[test]
fn aiohttp_loses_and_repeats_nothing() {
    holds_for(Kind::Aiohttp);
}

/// Each of the modes whose view of the client is that of a backend that never died.
#[track_caller]
fn holds_for(kind: Kind) {
    let _machine = machine_alone();
    for mode in [Mode::Default, Mode::Commit, Mode::Reply] {
        let cell = Cell { kind, mode, handler_ms: 0 };
        let plan = plan();
        let counts = cell.run(plan).counts;
        let Counts { lost, lost_answers, repeated_client, disordered, strange, closed, .. } = counts;
        let breaches = [lost, lost_answers, repeated_client, disordered, strange, closed];
        assert_eq!(breaches, [0; 6], "{kind:?} with {mode:?}: {counts:?}");
        assert!(plan.void(mode, &counts).is_empty(), "{kind:?} with {mode:?}: {:?}", plan.void(mode, &counts));
    }
}
