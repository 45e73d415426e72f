use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::rules::model::{
    Actions, HexTest, JsonTest, Match, Operation, PinAction, Rule, RuleError, Scalar, ValueTest,
};
use crate::rules::{BackendVerdict, Kind};

fn rule(name: &str, from: Side, matches: Match, does: Actions) -> Rule {
    Rule { name: name.into(), from, matches, goes_on: false, does }
}

fn client(matches: Match, does: Actions) -> Rule {
    rule("it", Side::Client, matches, does)
}

fn acknowledge(template: &str) -> Actions {
    Actions { acknowledge: Some(template.into()), ..Actions::default() }
}

fn closes() -> Actions {
    Actions { close: true, ..Actions::default() }
}

fn prefix(text: &str) -> Match {
    Match { text_prefix: Some(text.into()), ..Match::default() }
}

fn regex(text: &str) -> Match {
    Match { regex: Some(text.into()), ..Match::default() }
}

fn json_test(pointer: &str, test: ValueTest) -> Match {
    Match { json: vec![JsonTest { pointer: pointer.into(), test }], ..Match::default() }
}

fn equals(pointer: &str, value: &str) -> Match {
    json_test(pointer, ValueTest::OneOf(vec![Scalar::Text(value.into())]))
}

fn set(rules: &[Rule]) -> RuleSet {
    RuleSet::compile(rules).unwrap()
}

fn text(payload: &[u8]) -> Message<'_> {
    Message { kind: Kind::Text, payload, nth: 1 }
}

/// Whether a rule of these conditions matches.
fn is_match(matches: Match, message: &Message<'_>) -> bool {
    set(&[client(matches, acknowledge("key"))]).client(message).acknowledge.is_some()
}

/// The key that a template gives for a text.
fn key_of(matches: Match, template: &str, payload: &str) -> Option<Key> {
    set(&[client(matches, acknowledge(template))]).client(&text(payload.as_bytes())).acknowledge
}

fn json_key(template: &str, payload: &str) -> Option<Key> {
    key_of(Match::default(), template, payload)
}

fn key(text: &str) -> Option<Key> {
    Some(Key::of(text.as_bytes()))
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = set(&[
        client(prefix("a"), acknowledge("first")),
        client(prefix("ab"), acknowledge("second")),
        client(Match::default(), acknowledge("third")),
    ]);
    assert_eq!(rules.client(&text(b"ab")).acknowledge, key("first"));
    assert_eq!(rules.client(&text(b"b")).acknowledge, key("third"));
}

#[test]
fn a_rule_that_goes_on_adds_to_later_ones_and_goes_before_them() {
    let mut first = client(prefix("a"), acknowledge("first"));
    first.goes_on = true;
    let later = Actions { max_age: Some(Duration::from_secs(9)), ..acknowledge("second") };
    let verdict =
        set(&[first, client(Match::default(), later), client(Match::default(), closes())]).client(&text(b"a"));
    assert_eq!((verdict.acknowledge, verdict.max_age), (key("first"), Some(Duration::from_secs(9))));
    assert!(!verdict.close, "the second one decides");
}

#[test]
fn each_side_has_its_own_rules() {
    let rules = set(&[rule("it", Side::Backend, Match::default(), acknowledge("key"))]);
    assert_eq!(rules.client(&text(b"a")), ClientVerdict::default());
    assert_eq!(rules.backend(&text(b"a")).acknowledge, key("key"));
    assert!(rules.looks_at(false) && !rules.looks_at(true));
}

#[test]
fn all_conditions_of_a_rule_must_hold() {
    let matches = Match { nth: Some(1), kind: Some(Kind::Text), ..prefix("a") };
    assert!(is_match(matches.clone(), &text(b"ab")));
    assert!(!is_match(matches.clone(), &text(b"b")));
    assert!(!is_match(matches.clone(), &Message { nth: 2, ..text(b"ab") }));
    assert!(!is_match(matches, &Message { kind: Kind::Binary, ..text(b"ab") }));
}

#[test]
fn a_prefix_is_of_text_only_and_a_regex_of_any_bytes() {
    let bytes = Message { kind: Kind::Binary, ..text(b"ab\xff") };
    assert!(!is_match(prefix("a"), &bytes));
    assert!(is_match(regex(r"(?-u)^a.\xff$"), &bytes));
}

#[test]
fn bytes_are_compared_where_the_mask_has_ones() {
    let hex = |at, bytes: &[u8], mask: Option<&[u8]>| Match {
        hex: Some(HexTest { at, bytes: bytes.to_vec(), mask: mask.map(<[u8]>::to_vec) }),
        ..Match::default()
    };
    let message = text(b"\x00\x32\x05");
    assert!(is_match(hex(1, b"\x30", Some(b"\xf0")), &message));
    assert!(!is_match(hex(1, b"\x30", None), &message));
    assert!(is_match(hex(1, b"\x32\x05", None), &message));
    assert!(!is_match(hex(2, b"\x05\x00", None), &message), "behind the end");
}

#[test]
fn a_value_is_compared_by_what_it_means_and_a_string_is_no_number() {
    let is = |scalar: &Scalar, payload: &str| {
        let matches = json_test("/a", ValueTest::OneOf(vec![scalar.clone()]));
        is_match(matches, &text(payload.as_bytes()))
    };
    let word = Scalar::Text("né".into());
    assert!(is(&word, r#"{"a":"né"}"#) && is(&word, r#"{"a":"n\u00e9"}"#));
    assert!(!is(&word, r#"{"a":"ne"}"#) && !is(&word, r#"{"b":"né"}"#) && !is(&word, "né"));
    let one = Scalar::Number("1".into());
    assert!(is(&one, r#"{"a":1}"#) && !is(&one, r#"{"a":"1"}"#) && !is(&one, r#"{"a":10}"#));
    assert!(is(&Scalar::Bool(true), r#"{"a":true}"#) && !is(&Scalar::Bool(true), r#"{"a":"true"}"#));
    assert!(is(&Scalar::Null, r#"{"a":null}"#) && !is(&Scalar::Null, "{}"));
}

#[test]
fn what_is_missing_is_missing_from_json_only() {
    let missing = || json_test("/a", ValueTest::Exists(false));
    assert!(is_match(missing(), &text(b"{}")) && is_match(missing(), &text(b"[]")));
    assert!(!is_match(missing(), &text(br#"{"a":null}"#)));
    assert!(!is_match(missing(), &text(b"hello")) && !is_match(missing(), &text(b"{")));
}

#[test]
fn a_regex_looks_into_the_meaning_of_strings_and_into_nothing_else() {
    let found = |payload: &[u8]| is_match(json_test("/a", ValueTest::Matches("^b\n".into())), &text(payload));
    assert!(found(br#"{"a":"b\nc"}"#) && found(br#"{"a":"\u0062\nc"}"#));
    assert!(!found(br#"{"a":"xb\n"}"#) && !found(br#"{"a":1}"#) && !found(br#"{"a":["b\n"]}"#));
}

#[test]
fn a_graphql_operation_is_the_one_that_is_named() {
    let test = ValueTest::Operation { operation: Operation::Subscription, named: Some("/n".into()) };
    let subscribes = |value: Value| is_match(json_test("/q", test.clone()), &text(value.to_string().as_bytes()));
    assert!(subscribes(json!({"q": "subscription {\n a }"})));
    let both = "query A { a }\nsubscription B { b }";
    assert!(subscribes(json!({"q": both, "n": "B"})) && !subscribes(json!({"q": both, "n": "A"})));
    assert!(!subscribes(json!({"q": both})) && !subscribes(json!({"q": both, "n": null})));
    assert!(subscribes(json!({"q": "subscription B { b }", "n": ""})) && !subscribes(json!({"n": "B"})));
}

#[test]
fn a_key_is_made_of_what_its_template_names() {
    assert_eq!(json_key("id {/id}", r#"{"id":7}"#), key("id 7"));
    assert_eq!(json_key("{{{/a/0}}}", r#"{"a":["x"]}"#), key("{\"x}"));
    assert_eq!(json_key("b {/*/id}", r#"[{"id":2},{"id":"a"},{},{"id":10}]"#), key("b \"a\u{1f}10\u{1f}2"));
    assert_eq!(key_of(regex(r"^42(?:(/\w+),)?(\d+)"), "{1}|{2}", "42/x,13[]"), key("/x|13"));
    assert_eq!(key_of(regex(r"^42(?:(/\w+),)?(\d+)"), "{1}|{2}", "4213[]"), key("|13"));
    assert_eq!(key_of(Match::default(), "{hex 1..3}", "abcd"), key("bc"));
}

#[test]
fn a_message_that_lacks_what_a_template_names_goes_to_the_next_rule() {
    let rules = set(&[client(Match::default(), acknowledge("{/id}")), client(Match::default(), acknowledge("none"))]);
    for payload in [&b"{}"[..], b"no JSON", b"", br#"{"id":1,"id":1}"#] {
        assert_eq!(rules.client(&text(payload)).acknowledge, key("none"));
    }
    assert_eq!(key_of(Match::default(), "{hex 0..5}", "abcd"), None);
}

#[test]
fn a_span_is_where_the_value_stands_as_it_is_written() {
    let does = Actions { translate: Some("/params/0".into()), ..Actions::default() };
    let payload = br#"{"params": ["0x1f", 2]}"#;
    let verdict = set(&[client(Match::default(), does)]).client(&text(payload));
    assert_eq!(&payload[verdict.translate.unwrap()], br#""0x1f""#);
}

#[test]
fn what_cannot_be_looked_into_is_closed_where_a_rule_might_want_it() {
    let rules = set(&[client(equals("/method", "admin"), closes()), client(Match::default(), acknowledge("k"))]);
    let closed = |payload: &[u8]| rules.client(&text(payload)).close;
    assert!(closed(br#"{"method":"admin"}"#));
    for sly in [
        &br#"{"method":"x","method":"admin"}"#[..],
        br#"{"meth\u006fd":"admin"}"#,
        br#"{"method":"admin"}x"#,
        b"{\"method\":\"admin\",\"x\":\"\xff\"}",
        b"\xef\xbb\xbf{\"method\":\"admin\"}",
        b"/**/{\"method\":\"admin\"}",
        b"\x0b{\"method\":\"admin\"}",
    ] {
        assert!(closed(sly), "{}", sly.escape_ascii());
    }
    for harmless in [&b"ping"[..], b"42[\"admin\"]", b"", b"  hello {", br#"{"method":"x"}"#, br#"{"x":"\u0061"}"#] {
        assert!(!closed(harmless), "{}", harmless.escape_ascii());
    }
}

#[test]
fn what_cannot_be_looked_into_passes_where_no_rule_could_want_it() {
    let sly = br#"{"a":1,"a":2}"#;
    let earlier = [client(prefix("{"), acknowledge("k")), client(equals("/a", "x"), closes())];
    assert!(!set(&earlier).client(&text(sly)).close, "an earlier rule decides");
    let bound = Match { text_prefix: Some("{\"b".into()), ..equals("/a", "x") };
    assert!(!set(&[client(bound, closes())]).client(&text(sly)).close, "it does not begin so");
    let bound = Match { regex: Some("b".into()), ..equals("/a", "x") };
    assert!(!set(&[client(bound, closes())]).client(&text(sly)).close, "there is nothing in it to be found");
    let others = [client(equals("/a", "x"), acknowledge("k")), client(prefix("x"), closes())];
    assert!(!set(&others).client(&text(sly)).close, "what closes does not look into it");
    assert!(set(&others).closes_opaque(true) && !set(&others).closes_opaque(false));
}

fn errors(rules: &[Rule]) -> Vec<(usize, &'static str)> {
    let errors: Vec<RuleError> = RuleSet::compile(rules).unwrap_err();
    errors.iter().map(|error| (error.rule, error.key)).collect()
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let pin = PinAction { key: "{".into(), again: Again::Move, expects: None, hold: true, learns: false };
    let found = errors(&[
        client(regex("("), acknowledge("{1}")),
        client(json_test("a", ValueTest::Exists(true)), acknowledge("{nothing}")),
        client(Match { nth: Some(0), ..Match::default() }, Actions { pin: Some(pin), ..Actions::default() }),
        client(Match::default(), Actions { once: Some("k".into()), refuses: true, ..Actions::default() }),
        rule("it", Side::Backend, Match::default(), Actions { learn: Some("/*".into()), ..Actions::default() }),
    ]);
    for wanted in [
        (0, "regex"),
        (0, "acknowledge"),
        (1, "json"),
        (1, "acknowledge"),
        (2, "nth"),
        (2, "pin"),
        (3, "once"),
        (3, "refuses"),
        (4, "learn"),
    ] {
        assert!(found.contains(&wanted), "{wanted:?} of {found:?}");
    }
}

#[test]
fn bounds_on_what_is_compiled_are_kept() {
    let regexes = errors(&[client(regex(r"\w{1000}{1000}"), Actions::default())]);
    assert_eq!(regexes, [(0, "regex")]);
    let many: Vec<_> =
        (0..65).map(|n| client(json_test(&format!("/{n}"), ValueTest::Exists(true)), Actions::default())).collect();
    assert_eq!(errors(&many), [(64, "json")]);
    let never = HexTest { at: 0, bytes: vec![1], mask: Some(vec![2]) };
    assert_eq!(errors(&[client(Match { hex: Some(never), ..Match::default() }, closes())]), [(0, "hex")]);
}

#[test]
fn an_explanation_tells_each_rule_that_was_tried_and_what_comes_of_it() {
    let pin = PinAction {
        key: "s {/id}".into(),
        again: Again::Replace,
        expects: Some("a".into()),
        hold: true,
        learns: false,
    };
    let rules = set(&[
        rule("other", Side::Client, prefix("x"), closes()),
        rule("lacks", Side::Client, equals("/t", "s"), acknowledge("{/no}")),
        rule("this", Side::Client, equals("/t", "s"), Actions { pin: Some(pin), ..acknowledge("k {/id}") }),
        rule("later", Side::Client, Match::default(), closes()),
    ]);
    let (trials, opaque) = rules.explain(Side::Client, &text(br#"{"t":"s","id":1}"#));
    let names: Vec<_> = trials.iter().map(|trial| trial.rule.as_str()).collect();
    assert_eq!((names, opaque), (vec!["other", "lacks", "this"], false));
    assert_eq!(trials[0].outcome, Err("text-prefix"));
    assert_eq!(trials[1].outcome, Err("acknowledge"));
    let done = trials[2].outcome.as_ref().unwrap().join("; ");
    assert!(done.contains("pin under “s 1”, expects “a”, holds") && done.contains("acknowledge “k 1”"), "{done}");
    assert!(rules.explain(Side::Client, &text(b"{\"t\":1,\"t\":2}")).1);
}

fn id() -> impl Strategy<Value = Value> {
    prop_oneof![any::<i64>().prop_map(Value::from), "[0-9a\"\\\\/é]{0,4}".prop_map(Value::from), Just(Value::Null)]
}

proptest! {
    #[test]
    fn both_sides_give_the_same_key_for_the_same_id_and_for_no_other(ours in id(), theirs in id()) {
        let rules = set(&[
            client(Match::default(), acknowledge("id {/id}")),
            rule("it", Side::Backend, Match::default(), acknowledge("id {/a/id}")),
        ]);
        let asked = json!({"x": "\u{1f600}", "id": ours.clone()}).to_string();
        let answered = serde_json::to_string_pretty(&json!({"a": {"id": theirs.clone()}, "b": []})).unwrap();
        let (asked, answered) = (rules.client(&text(asked.as_bytes())), rules.backend(&text(answered.as_bytes())));
        prop_assert!(asked.acknowledge.is_some());
        prop_assert_eq!(asked.acknowledge == answered.acknowledge, ours == theirs);
    }

    #[test]
    fn a_batch_is_known_by_its_ids_in_any_order(mut ids in prop::collection::vec(id(), 1..5)) {
        let of = |ids: &[Value]| {
            let calls: Vec<_> = ids.iter().map(|id| json!({"id": id})).collect();
            json_key("{/*/id}", &Value::from(calls).to_string())
        };
        let before = of(&ids);
        ids.reverse();
        prop_assert!(before.is_some());
        prop_assert_eq!(before, of(&ids));
    }

    #[test]
    fn no_message_makes_rules_panic(payload in prop::collection::vec(any::<u8>(), 0..64)) {
        let rules = set(&[client(regex(r"^4(\d)"), acknowledge("{1}{hex 3..9}")), client(equals("/a/0", "x"), closes())]);
        rules.client(&text(&payload));
        prop_assert_eq!(rules.backend(&text(&payload)), BackendVerdict::default());
    }
}
