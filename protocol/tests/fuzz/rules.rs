//! Target `rules`: any message through rules that look into it in every way, against serde_json; any bytes as MQTT; and
//! any text as a pointer, a template and a regular expression.

use arbitrary::{Arbitrary, Unstructured};
use serde_json::Value;
use tideover_protocol::rules::model::{Actions, HexTest, JsonTest, Match, Operation, Rule, Scalar, Side, ValueTest};
use tideover_protocol::rules::{Key, Kind, Message, Mqtt, Packets, RuleSet, Rules};

/// Where values are looked for.
const POINTERS: [&str; 4] = ["/a", "/a/0", "/0/a", ""];

/// How the bytes behind it are looked at.
#[derive(Debug, Arbitrary)]
struct Setting {
    text: bool,
    nth: u8,
    pointer: u8,
}

/// Panics where what is found in `data` is not what stands there.
pub(crate) fn check(data: &[u8]) {
    let mut unstructured = Unstructured::new(data);
    let Ok(setting) = Setting::arbitrary(&mut unstructured) else { return };
    let payload = unstructured.take_rest();
    let kind = if setting.text { Kind::Text } else { Kind::Binary };
    let message = Message { kind, payload, nth: setting.nth.into() };
    check_json(&message, POINTERS[usize::from(setting.pointer) % POINTERS.len()]);
    check_all(&message);
    check_packets(&message);
    check_compiling(payload);
}

fn rule(matches: Match, does: Actions) -> Rule {
    Rule { name: String::new(), from: Side::Client, matches, goes_on: false, does }
}

fn test(pointer: &str, test: ValueTest) -> Match {
    Match { json: vec![JsonTest { pointer: pointer.into(), test }], ..Match::default() }
}

/// A value is found where serde_json finds it, or it is not told because two readers could differ.
fn check_json(message: &Message<'_>, pointer: &str) {
    let exists = || test(pointer, ValueTest::Exists(true));
    let found = Actions { acknowledge: Some(format!("{{{pointer}}}")), ..Actions::default() };
    let span = Actions { translate: Some(pointer.into()), ..Actions::default() };
    let close = Actions { close: true, ..Actions::default() };
    // There is no template for the whole text, only a span.
    let first = if pointer.is_empty() { span } else { found };
    let rules = RuleSet::compile(&[rule(exists(), first), rule(exists(), close)]).expect("they are well-formed");
    let verdict = rules.client(message);
    let is_found = verdict.acknowledge.is_some() || verdict.translate.is_some();
    match serde_json::from_slice::<Value>(message.payload) {
        Ok(value) if is_found => {
            let there = value.pointer(pointer).expect("it is found, so it is there");
            if let (Value::String(text), Some(key)) = (there, verdict.acknowledge) {
                assert_eq!(key, Key::of(format!("\"{text}").as_bytes()));
            }
        }
        Ok(value) if verdict.close => {
            let text = String::from_utf8_lossy(message.payload);
            let plain = !text.contains('\\') && members(&value) == colons(&text);
            assert!(!plain, "nothing about it is ambiguous");
        }
        Ok(value) => assert_eq!(value.pointer(pointer), None),
        Err(error) if is_found => {
            let beyond = ["out of range", "surrogate", "recursion", "hex escape"];
            let error = error.to_string();
            assert!(beyond.iter().any(|limit| error.contains(limit)), "{error}");
        }
        Err(_) => {}
    }
}

/// Members of all objects; of two with one name only one counts.
fn members(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(members).sum(),
        Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Colons outside of the strings of a JSON text without escapes: one for each member.
fn colons(text: &str) -> usize {
    text.split('"').step_by(2).map(|outside| outside.matches(':').count()).sum()
}

/// Whatever matches, an explanation tells the same.
fn check_all(message: &Message<'_>) {
    let matches = [
        Match { text_prefix: Some("42[".into()), ..Match::default() },
        Match { regex: Some(r"^4([0-6])(?:(/[^,]*),)?(\d*)".into()), ..Match::default() },
        Match {
            hex: Some(HexTest { at: 1, bytes: vec![0x30], mask: Some(vec![0xf0]) }),
            kind: Some(Kind::Binary),
            ..Match::default()
        },
        test("/type", ValueTest::OneOf(vec![Scalar::Text("next".into()), Scalar::Number("2".into()), Scalar::Null])),
        test("/*/id", ValueTest::Matches("^.$".into())),
        test("/q", ValueTest::Operation { operation: Operation::Subscription, named: Some("/n".into()) }),
        Match { nth: Some(3), ..Match::default() },
    ];
    let keys = ["a", "{1} {2} {3}", "{hex 0..4}", "{/id}", "{/*/id}", "{/n}", "n"];
    let acknowledge = |key: &str| Actions { acknowledge: Some(key.into()), ..Actions::default() };
    let rules: Vec<_> = matches.into_iter().zip(keys).map(|(matches, key)| rule(matches, acknowledge(key))).collect();
    let rules = RuleSet::compile(&rules).expect("they are well-formed");
    let (trials, _) = rules.explain(Side::Client, message);
    let explained = trials.last().is_some_and(|trial| trial.outcome.is_ok());
    assert_eq!(explained, rules.client(message).acknowledge.is_some());
}

/// A packet is as long as it is however much of what follows is there, and its verdicts need no more than it.
fn check_packets(message: &Message<'_>) {
    let bytes = message.payload;
    let whole = Mqtt.len(bytes);
    if let Ok(Some(len)) = whole {
        assert!(len > 1, "it has a header");
    }
    for end in 0..bytes.len().min(8) {
        match Mqtt.len(&bytes[..end]) {
            Ok(None) => {}
            told => assert_eq!(told, whole, "of {end} bytes"),
        }
    }
    let _verdicts = (Mqtt.client(message), Mqtt.backend(message));
}

/// What is written in a rule is taken or refused.
fn check_compiling(payload: &[u8]) {
    let Ok(text) = std::str::from_utf8(&payload[..payload.len().min(48)]) else { return };
    let does = Actions { acknowledge: Some(text.into()), ..Actions::default() };
    let matches = Match { regex: Some(text.into()), ..test(text, ValueTest::Matches(text.into())) };
    if let Ok(rules) = RuleSet::compile(&[rule(matches, does)]) {
        rules.client(&Message { kind: Kind::Text, payload, nth: 1 });
    }
}
