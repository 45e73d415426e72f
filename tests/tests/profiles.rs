//! With its profile, software that none of us wrote does not notice that its server was killed, in whatever state.
//! The whole measurement: `cargo run --release -p tideover-tests --bin profiles`.

use std::time::Duration;

use tideover_tests::{
    interop::{Counts, Kills, Plan, Software, State},
    lock::machine_shared,
};

#[test]
fn graphql_operations_outlive_their_server() {
    notices_nothing(Software::Graphql);
}

#[test]
fn ocpp_calls_in_both_directions_outlive_their_central_system() {
    notices_nothing(Software::Ocpp16);
    notices_nothing(Software::Ocpp201);
}

#[test]
fn socket_io_rooms_and_acknowledgements_outlive_their_server() {
    notices_nothing(Software::SocketIo);
}

#[test]
fn socket_io_that_began_with_polling_outlives_its_server() {
    notices_nothing(Software::SocketIoPolling);
}

#[test]
fn socket_io_rooms_that_span_servers_still_do_when_one_was_killed() {
    notices_nothing(Software::SocketIoRooms);
}

#[test]
fn mqtt_messages_and_subscriptions_outlive_a_broker_that_keeps_its_state() {
    notices_nothing(Software::Mqtt);
}

#[test]
fn mqtt_messages_and_subscriptions_go_on_with_a_bridged_broker() {
    notices_nothing(Software::MqttBridged);
}

#[test]
fn json_rpc_subscriptions_keep_the_ids_that_the_first_server_chose() {
    notices_nothing(Software::Jsonrpsee);
    notices_nothing(Software::Ethers);
}

/// One kill in each state.
#[track_caller]
fn notices_nothing(software: Software) {
    let _machine = machine_shared();
    let plan = Plan { profile: true, kills: 1, later_legs: false, sessions: 2, patience: Duration::from_secs(60) };
    let outcome = software.run(plan);
    let counts = &outcome.counts;
    let complaints = counts.complaints(&software.states(), plan.kills);
    assert!(complaints.is_empty(), "{}: {complaints:?}: {counts:?}\n{:#?}", software.name(), outcome.notes);
}

#[test]
fn whatever_a_client_noticed_and_each_state_that_was_not_reached_is_complained_of() {
    let states = [State::Unacknowledged, State::Streaming, State::ServerAsks, State::Idle];
    let kills = |all| Kills { all, on_a_later_leg: 0 };
    let clean = Counts { kills: states.iter().map(|state| (*state, kills(2))).collect(), ..Counts::default() };
    assert_eq!(clean.complaints(&states, 2), [""; 0]);
    // What a server does twice, or pushes again, no client need be spared.
    let again = Counts { pushed_again: 1, done_again: 1, ..clean.clone() };
    assert_eq!(again.complaints(&states, 2), [""; 0]);

    let seldom = Counts { kills: [(State::Streaming, kills(1)), (State::Idle, kills(2))].into(), ..clean.clone() };
    let expected =
        ["subscribe unacknowledged: 0 of 2 kills", "streaming: 1 of 2 kills", "server's call pending: 0 of 2 kills"];
    assert_eq!(seldom.complaints(&states, 2), expected);
    for (wrong, complaint) in [
        (Counts { unanswered: 1, ..clean.clone() }, "1 unanswered"),
        (Counts { answered_again: 2, ..clean.clone() }, "2 answered again"),
        (Counts { server_unanswered: 1, ..clean.clone() }, "1 unanswered questions of a server"),
        (Counts { strays: 1, ..clean.clone() }, "1 strays"),
        (Counts { missed: 1, ..clean.clone() }, "1 missed"),
        (Counts { faults: 3, ..clean.clone() }, "3 faults"),
    ] {
        assert_eq!(wrong.complaints(&states, 2), [complaint]);
    }
}
