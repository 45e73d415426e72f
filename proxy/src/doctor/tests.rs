//! What follows from what was seen.

use tungstenite::Message;

use super::advice::{Advice, advise};
use super::findings::{Answers, Compression, Departure, Ending, Findings, Greeting, PongOrder, Spoken};
use super::profile::{self, guess};

fn answers(order: PongOrder) -> Answers {
    let [after, before] = match order {
        PongOrder::After => [6, 0],
        PongOrder::Before => [0, 6],
        PongOrder::Mixed => [3, 3],
        PongOrder::Unknown => [0, 0],
    };
    Answers {
        counts: vec![1; 6],
        took_ms: Some([1.0, 40.0]),
        pongs_after: after,
        pongs_before: before,
        pongs_missing: 0,
        order,
        lag_ms: (before > 0).then_some(40.0),
        repeatable: Some(true),
        ended: None,
    }
}

fn findings(answers: Option<Answers>) -> Findings {
    Findings {
        backend: "ws://127.0.0.1:9001/".into(),
        handshake_ms: 1.0,
        offered: Vec::new(),
        subprotocol: None,
        compression: Compression::Declined,
        explicit: false,
        greeting: Greeting::Messages { count: 0 },
        ping_ms: Some(1.0),
        answers,
        restart: None,
        profile: None,
    }
}

fn values(findings: &Findings) -> Vec<String> {
    advise(findings).iter().map(|Advice { flag, value, .. }| format!("{flag} {value}")).collect()
}

#[test]
fn a_pong_behind_the_answer_acknowledges() {
    let seen = findings(Some(answers(PongOrder::After)));
    assert_eq!(values(&seen), ["--ack pong", "--ack-linger auto", "--greeting 0", "--dedupe-replies on"]);
}

#[test]
fn an_early_pong_needs_replies_or_a_linger_time() {
    for order in [PongOrder::Before, PongOrder::Mixed] {
        let seen = findings(Some(answers(order)));
        assert_eq!(values(&seen), ["--ack reply", "--greeting 0", "--dedupe-replies off"]);
        let several = Answers { counts: vec![1, 2, 1], ..answers(order) };
        let slow = Answers { lag_ms: Some(430.0), ..several.clone() };
        assert_eq!(values(&findings(Some(several)))[..2], ["--ack pong", "--ack-linger auto"]);
        assert_eq!(values(&findings(Some(slow)))[..2], ["--ack pong", "--ack-linger 900ms"]);
    }
}

#[test]
fn a_backend_that_answers_no_pings_is_acknowledged_by_its_replies_if_they_are_one_each() {
    let mute = |answers| Findings { ping_ms: None, ..findings(answers) };
    assert_eq!(values(&mute(Some(answers(PongOrder::Unknown))))[0], "--ack reply");
    let silent = Answers { counts: vec![0; 6], repeatable: None, took_ms: None, ..answers(PongOrder::Unknown) };
    assert_eq!(values(&mute(Some(silent)))[0], "--ack pong");
    assert_eq!(values(&mute(None))[0], "--ack pong");
}

#[test]
fn what_is_pushed_is_neither_a_greeting_nor_a_reply() {
    let pushing = Findings {
        greeting: Greeting::Pushes { count: 20 },
        ..findings(Some(Answers { repeatable: None, ..answers(PongOrder::Unknown) }))
    };
    assert_eq!(values(&pushing)[..3], ["--ack pong", "--ack-linger auto", "--greeting 0"]);
    let greeting = Findings { greeting: Greeting::Messages { count: 2 }, ..findings(None) };
    assert!(values(&greeting).contains(&"--greeting 2".into()));
    let varies = Findings { greeting: Greeting::Varies { first: 1, second: 2 }, ..findings(None) };
    assert!(values(&varies).contains(&"--greeting 0".into()));
}

#[test]
fn answers_that_differ_are_not_looked_for_again() {
    let other = Answers { repeatable: Some(false), ..answers(PongOrder::After) };
    assert!(values(&findings(Some(other))).contains(&"--dedupe-replies off".into()));
}

#[test]
fn a_backend_that_opts_in_acknowledges_by_itself() {
    let explicit = Findings { explicit: true, ..findings(Some(answers(PongOrder::After))) };
    assert_eq!(values(&explicit), ["--ack explicit", "--greeting 0", "--dedupe-replies off"]);
}

#[test]
fn with_a_profile_nothing_stands_in_the_way_of_its_rules() {
    let with = |name| {
        let profile = Some(Spoken { name, why: "it was said".into() });
        values(&Findings {
            profile,
            greeting: Greeting::Messages { count: 1 },
            ..findings(Some(answers(PongOrder::Before)))
        })
    };
    let expected = ["--profile socket.io", "--ack rules", "--ack-linger auto", "--greeting 0", "--dedupe-replies off"];
    assert_eq!(with("socket.io"), expected);
    assert_eq!(with("mqtt").last().map(String::as_str), Some("--compression off"));
}

#[test]
fn with_a_profile_what_has_no_key_lingers_as_the_order_of_pongs_demands() {
    let advised = |answers: Option<Answers>| {
        let profile = Some(Spoken { name: "json-rpc", why: "it was said".into() });
        let advice = advise(&Findings { profile, ..findings(answers) });
        advice.into_iter().find(|advice| advice.flag == "--ack-linger").map(|advice| (advice.value, advice.why))
    };
    let slow = Answers { lag_ms: Some(430.0), ..answers(PongOrder::Before) };
    for (answers, value, evidence) in [
        (Some(answers(PongOrder::After)), "auto", "pongs come behind answers"),
        (Some(answers(PongOrder::Mixed)), "auto", "answers came within 40 ms of the pong"),
        (Some(slow), "900ms", "came up to 430 ms behind the pong"),
        (None, "auto", "sees by itself"),
    ] {
        let (advised, why) = advised(answers).expect("it is advised");
        assert_eq!(advised, value);
        assert!(why.starts_with("what has no answer of its own") && why.contains(evidence), "{why}");
    }
}

#[test]
fn the_profiles_are_those_that_the_program_has() {
    let known: Vec<_> = profile::all().collect();
    for shipped in &crate::profiles::PROFILES {
        assert!(known.contains(&shipped.name), "{}", shipped.name);
    }
    assert_eq!(known.len(), crate::profiles::PROFILES.len());
}

#[test]
fn how_it_left_decides_what_leads_to_a_failover() {
    let close = |code| Ending::Close { code, reason: String::new() };
    for (ending, advice) in [
        (close(1001), "--failover-codes 1001,1012,1013,1014"),
        (close(1000), "--failover-codes 1001,1012,1013,1014,1000"),
        (close(1011), "--on-ambiguous probe"),
        (Ending::Codeless, "--on-ambiguous probe"),
        (Ending::Eof, "--on-ambiguous probe"),
    ] {
        let restart = Departure { ending: Some(ending), after_ms: 5.0, command_failed: None };
        let seen = Findings { restart: Some(restart), ..findings(None) };
        assert_eq!(values(&seen).last().map(String::as_str), Some(advice));
    }
}

#[test]
fn a_protocol_is_recognised_by_its_subprotocol_its_query_or_its_messages() {
    let by = |subprotocol, query, came: &[&str]| {
        let came: Vec<_> = came.iter().map(|text| Message::text(*text)).collect();
        guess(subprotocol, query, &came).map(|guess| guess.name)
    };
    assert_eq!(by(Some("graphql-transport-ws"), None, &[]), Some("graphql-transport-ws"));
    assert_eq!(by(Some("mqtt"), None, &[]), Some("mqtt"));
    assert_eq!(by(Some("ocpp1.6"), None, &[]), Some("ocpp"));
    assert_eq!(by(Some("ocpp2.0.1"), None, &[]), Some("ocpp"));
    assert_eq!(by(None, Some("transport=websocket&EIO=4"), &[]), Some("socket.io"));
    let open = r#"0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;
    assert_eq!(by(None, None, &[open]), Some("socket.io"));
    assert_eq!(by(None, None, &["hello", r#"{"jsonrpc":"2.0","id":1,"error":{}}"#]), Some("json-rpc"));
    assert_eq!(by(None, None, &[r#"[3,"id",{"currentTime":"x"}]"#]), Some("ocpp"));
    let notification = r#"{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0x1"}}"#;
    assert_eq!(by(None, None, &[notification]), Some("eth-subscribe"));
    for other in ["", "hello", "0", "{}", "[3]", r#"{"jsonrpc":"1.0"}"#, r#"[3,"id",{},1]"#, "[1,2,3]", "42[\"x\"]"] {
        assert_eq!(by(Some("chat"), Some("a=EIO"), &[other]), None, "{other}");
    }
}
