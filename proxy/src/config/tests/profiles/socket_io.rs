//! `socket.io`: packets of Engine.IO 4 and Socket.IO 5 (the protocol of Socket.IO 4).

use tideover_protocol::rules::{BackendVerdict, ClientVerdict, Kind, Message};

use super::{Profile, now, route};

const OPEN: &str = r#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;

fn socket_io() -> Profile {
    Profile::new("socket.io")
}

#[test]
fn each_namespace_is_connected_again_before_anything_else() {
    let rules = socket_io();
    for (connect, answer) in [
        ("40", r#"40{"sid":"wZX3oN0bSVIhsaknAAAI"}"#),
        (r#"40{"token":"123"}"#, r#"40{"sid":"wZX3oN0bSVIhsaknAAAI","pid":"p"}"#),
        ("40/admin,", r#"40/admin,{"sid":"oSO0OpakMV_3jnilAAAA"}"#),
        (r#"40/admin,{"token":"1,2"}"#, r#"40/admin,{"sid":"oSO0OpakMV_3jnilAAAA"}"#),
    ] {
        let pin = rules.pin(connect);
        let verdict = rules.backend(answer);
        assert!(pin.hold, "{connect}");
        assert_eq!((verdict.answers, verdict.refuses), (pin.expects, false), "{connect}");
        assert_eq!(verdict.acknowledge, Some(rules.waits_for(connect)), "{connect}");
    }
    assert_eq!(rules.pin("40").key, rules.pin(r#"40{"token":"1"}"#).key);
    assert_ne!(rules.pin("40").key, rules.pin("40/admin,").key);
}

#[test]
fn a_namespace_that_either_side_leaves_is_not_connected_again() {
    let rules = socket_io();
    let [main, admin] = [rules.pin("40").key, rules.pin("40/admin,").key];
    assert_eq!((rules.client("41").unpin, rules.client("41/admin,").unpin), (now(main), now(admin)));
    assert_eq!((rules.backend("41").unpin, rules.backend("41/admin,").unpin), (Some(main), Some(admin)));
    let refused = rules.backend(r#"44/admin,{"message":"Not authorized"}"#);
    assert_eq!((refused.unpin, refused.answers), (Some(admin), rules.pin("40/admin,").expects));
    assert!(refused.refuses && refused.acknowledge == Some(rules.waits_for("40/admin,")));
}

#[test]
fn an_event_that_wants_an_acknowledgement_waits_for_it() {
    let rules = socket_io();
    for (event, acknowledgement) in [
        (r#"4212["hello"]"#, "4312[]"),
        (r#"4212["hello",{"a":[1]}]"#, r#"461-12[{"_placeholder":true,"num":0}]"#),
        (r#"42/admin,456["project:delete",123]"#, r#"43/admin,456[{"ok":true}]"#),
        (r#"42/admin,456["download"]"#, r#"461-/admin,456[{"_placeholder":true,"num":0}]"#),
    ] {
        assert_eq!(rules.waits_for(event), rules.is_done_with(acknowledgement), "{event}");
    }
    assert_ne!(rules.waits_for(r#"4212["a"]"#), rules.is_done_with("43/admin,12[]"));
    assert!(rules.is_ordinary(r#"42["hello",1]"#) && rules.is_ordinary(r#"42/admin,["hello"]"#));
    assert!(rules.is_ordinary(r#"451-7["upload",{"_placeholder":true,"num":0}]"#), "its attachments follow it");
}

#[test]
fn what_answers_one_server_is_not_said_to_another() {
    let rules = socket_io();
    for local in ["3", "2probe", "5", "4313[]", r#"43/admin,1["yes"]"#] {
        assert!(rules.is_leg_local(local), "{local}");
    }
    assert!(rules.is_ordinary(r#"461-1[{"_placeholder":true,"num":0}]"#), "its attachments follow it");
}

#[test]
fn the_open_packet_of_a_later_server_is_swallowed_and_its_pings_pass() {
    let rules = socket_io();
    assert!(rules.backend(OPEN).swallow.is_some());
    for passed in ["2", "3probe", r#"42["hello"]"#, r#"421["a question"]"#] {
        assert!(rules.passes(passed), "{passed}");
    }
}

#[test]
fn attachments_are_no_packets_whatever_they_say() {
    let rules = socket_io();
    for payload in [&b"3"[..], b"40", b"41", b"4312[]", OPEN.as_bytes()] {
        let message = Message { kind: Kind::Binary, payload, nth: 1 };
        assert_eq!(rules.0.client(&message), ClientVerdict::default());
        assert_eq!(rules.0.backend(&message), BackendVerdict::default());
    }
}

#[test]
fn what_came_by_polling_counts_as_said_and_had() {
    let route = route("socket.io");
    let [ahead] = &route.rules.ahead[..] else { panic!("one message: {:?}", route.rules.ahead) };
    let rules = socket_io();
    assert_eq!((ahead.when_query.as_str(), ahead.text.as_str()), ("sid", "40"));
    assert_eq!(ahead.pin, rules.pin("40"), "it is known by the same key as one that is said");
    assert_eq!(ahead.had, [rules.backend(OPEN).swallow.unwrap()]);
}
