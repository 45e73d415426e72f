//! With its profile, software that none of us wrote does not notice that its server was killed, in whatever state.
//! The whole measurement: `cargo run --release -p tideover-tests --bin profiles`.

use std::time::Duration;

use tideover_tests::{
    interop::{Plan, Software},
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
    assert_eq!(counts.breaches(), [0; 6], "{}: {counts:?}\n{:#?}", software.name(), outcome.notes);
    assert_eq!(counts.kills.len(), software.states().len(), "each state was reached: {counts:?}");
}
