//! `graphql-transport-ws`: messages as npm's graphql-ws writes them.

use tideover_protocol::rules::Again;

use super::{Profile, now};

const INIT: &str = r#"{"type":"connection_init","payload":{"token":"t"}}"#;
const SUBSCRIBE: &str = r#"{"id":"a","type":"subscribe","payload":{"query":"subscription {\n  ticks\n}"}}"#;
const QUERY: &str =
    r#"{"id":"a","type":"subscribe","payload":{"variables":{"id":"1"},"query":"query ($id: ID!) { echo(id: $id) }"}}"#;
const COMPLETE: &str = r#"{"id":"a","type":"complete"}"#;
const NEXT: &str = r#"{"id":"a","type":"next","payload":{"data":{"echo":"1"}}}"#;

fn graphql() -> Profile {
    Profile::new("graphql-transport-ws")
}

#[test]
fn the_login_is_held_until_it_is_acknowledged() {
    let rules = graphql();
    for init in [INIT, r#"{"type":"connection_init"}"#] {
        let pin = rules.pin(init);
        assert!(pin.hold && pin.expects.is_some());
        for ack in [r#"{"type":"connection_ack"}"#, r#"{"type":"connection_ack","payload":{"a":1}}"#] {
            let verdict = rules.backend(ack);
            assert_eq!((verdict.answers, verdict.refuses), (pin.expects, false));
            assert_eq!(verdict.acknowledge, Some(rules.waits_for(init)));
        }
    }
}

#[test]
fn a_subscription_is_pinned_until_either_side_ends_it() {
    let rules = graphql();
    let verdict = rules.client(SUBSCRIBE);
    let pin = verdict.pin.unwrap();
    assert_eq!((pin.again, pin.hold, verdict.acknowledge), (Again::Move, false, None), "it is silent until an event");
    assert_eq!(rules.client(COMPLETE).unpin, now(pin.key));
    assert_eq!(rules.backend(COMPLETE).unpin, Some(pin.key));
    assert_eq!(rules.backend(r#"{"id":"a","type":"error","payload":[{"message":"no"}]}"#).unpin, Some(pin.key));
    assert_ne!(rules.pin(&SUBSCRIBE.replace(r#""a""#, r#""b""#)).key, pin.key);
}

#[test]
fn a_query_is_acknowledged_by_its_end_and_its_result_told_once() {
    let rules = graphql();
    let verdict = rules.client(QUERY);
    assert!(verdict.pin.is_none());
    assert_eq!(rules.is_done_with(COMPLETE), verdict.acknowledge.unwrap());
    let next = rules.backend(NEXT);
    assert_eq!((next.once, next.acknowledge), (verdict.acknowledge, None), "more may follow");
}

#[test]
fn what_the_client_completes_is_not_waited_for() {
    let rules = graphql();
    assert_eq!(rules.client(COMPLETE).gives_up, Some(rules.waits_for(QUERY)));
}

#[test]
fn which_operation_is_meant_is_read_from_the_document_and_its_name() {
    let rules = graphql();
    let is_pinned = |payload: &str| {
        rules.client(&format!(r#"{{"id":"1","type":"subscribe","payload":{{{payload}}}}}"#)).pin.is_some()
    };
    let both = r#""query":"query Q { a } subscription S { b }""#;
    assert!(is_pinned(&format!(r#"{both},"operationName":"S""#)));
    assert!(!is_pinned(&format!(r#"{both},"operationName":"Q""#)));
    assert!(is_pinned(r#""operationName":null,"query":"subscription S { b }""#));
    assert!(!is_pinned(r#""query":"{ user { subscription { plan } } }""#), "a field of that name");
    assert!(!is_pinned(r#""query":"mutation { a(text: \"subscription { b }\") }""#), "a text that says so");
    assert!(is_pinned(r#""extensions":{"persistedQuery":{"sha256Hash":"0"}}"#), "it may be one");
}

#[test]
fn the_parts_of_a_result_all_pass() {
    let part = r#"{"id":"a","type":"next","payload":{"incremental":[],"hasNext":false}}"#;
    assert!(graphql().passes(part));
}

#[test]
fn pings_of_either_side_concern_one_leg() {
    let rules = graphql();
    assert_eq!(rules.waits_for(r#"{"type":"ping"}"#), rules.is_done_with(r#"{"type":"pong"}"#));
    assert!(rules.passes(r#"{"type":"ping","payload":{}}"#));
    assert!(rules.is_leg_local(r#"{"type":"pong"}"#));
}
