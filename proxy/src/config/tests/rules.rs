//! Rules and profiles.

use tideover_protocol::rules::model::Side;
use tideover_protocol::rules::{Key, Kind, Message, Rules as _};

use super::*;
use crate::config::Look;
use crate::profiles::PROFILES;
use crate::renewal::QueryEdit;

fn rule_file(test: &str, text: &str) -> Scratch {
    Scratch::new(&format!("rules-{test}"), &format!("description = 'a test'\n{text}"))
}

/// A configuration's file with a backend and this.
fn with_file(test: &str, text: &str) -> (Scratch, Result<Config, Problems>) {
    let file = Scratch::new(&format!("ruled-{test}"), &format!("backend = 'ws://a'\n{text}"));
    let result = config(&[("config", file.path())], &[]);
    (file, result)
}

fn set(route: &RouteConfig) -> &tideover_protocol::rules::RuleSet {
    match &route.rules.look {
        Look::Rules(rules) => rules,
        look @ (Look::Not | Look::Code(_)) => panic!("no rules: {look:?}"),
    }
}

/// The names of the rules that are tried with a text of the client.
fn tried(route: &RouteConfig, text: &str) -> Vec<String> {
    let message = Message { kind: Kind::Text, payload: text.as_bytes(), nth: 1 };
    set(route).explain(Side::Client, &message).0.into_iter().map(|trial| trial.rule).collect()
}

#[test]
fn every_profile_is_valid_and_acknowledges() {
    for profile in &PROFILES {
        let config = config(&[BACKEND, ("profile", profile.name)], &[]).unwrap_or_else(|wrong| panic!("{wrong}"));
        let route = &config.routes[0];
        assert!(route.session.rules.is_some(), "{}", profile.name);
        assert_eq!(route.session.ack, AckMode::Rules, "{}", profile.name);
        assert!(!route.session.dedupe_replies, "{}", profile.name);
        let changes = ["mqtt", "eth-subscribe"].contains(&profile.name);
        assert_eq!(route.compression == Compression::Off, changes, "{}", profile.name);
    }
}

#[test]
fn what_is_said_of_acknowledgement_and_compression_goes_before_what_follows_from_rules() {
    let flags = [BACKEND, ("profile", "json-rpc"), ("ack", "pong"), ("compression", "relay")];
    let route = config(&flags, &[]).unwrap().routes.swap_remove(0);
    assert_eq!((route.session.ack, route.compression), (AckMode::Pong, Compression::Relay));
    assert!(route.session.rules.is_some() && route.session.dedupe_replies);
}

#[test]
fn what_does_not_fit_rules_is_reported_with_the_place_of_the_rules() {
    let wrong = |flags: &[(&'static str, &str)]| report(config(&[&[BACKEND], flags].concat(), &[]), None);
    let cases: [(&[(&str, &str)], &str); 7] = [
        (&[("profile", "mqtt"), ("compression", "relay")], "--compression, --profile: rules that translate"),
        (&[("profile", "eth-subscribe"), ("compression", "relay")], "--compression, --profile: rules that translate"),
        (&[("profile", "ocpp"), ("ack", "explicit")], "--ack, --profile: a backend that acknowledges explicitly"),
        (&[("profile", "ocpp"), ("commit", "barrier")], "--commit, --profile: output commit may drop"),
        (&[("ack", "rules")], "--ack, --profile (default): no rule acknowledges"),
        (&[("profile", "graphql")], "--profile: \"graphql\" is no profile: there are eth-subscribe, "),
        (&[("profile", "./none.toml")], "--profile: cannot read \"./none.toml\": "),
    ];
    for (flags, start) in cases {
        let lines = wrong(flags);
        assert!(lines.len() == 1 && lines[0].starts_with(start), "{flags:?}: {lines:?}");
    }
}

#[test]
fn everything_wrong_with_a_rule_file_is_reported_at_once_with_its_place() {
    let file = rule_file(
        "wrong",
        r#"
[[rule]]
from = "server"
text_prefix = "a"
regexp = "b"
nth = 0
pin = { key = "a {/id", hold = "yes", of = 1 }

[[rule]]
name = "second"
from = "client"
route = ["x"]
json = [{ pointer = "/a" }, { equals = 1 }, { pointer = "/b", equals = [1], exists = true }, 5]
hex = { at = -1, mask = "f" }
leg-local = true
ephemeral = true
max-age = "0s"
unpin = { when = "later" }

[[rule]]
name = "third"
from = "client"
regex = "("
json = [{ pointer = "a", exists = true }]
acknowledge = "{/id"
learn = "/result"

[rewrite-query]
remove = ["sid", 5]
set = { sid = "x", transport = 1 }

[[inject]]
text = "40"
pin = { key = "{/id}" }

[[inject]]
when-query = "sid"
text = "40"
had = ["third"]
pin = { key = "a" }
"#,
    );
    let lines = report(config(&[BACKEND, ("profile", file.path())], &[]), Some(&file));
    let expected = [
        "tideover.toml:4: rule.from: \"server\" is not client or backend",
        "tideover.toml:5: rule.text_prefix: unknown key; did you mean text-prefix?",
        "tideover.toml:6: rule.regexp: unknown key; did you mean regex?",
        "tideover.toml:7: rule.nth: 0 is not from 1 to 4294967295",
        "tideover.toml:8: rule.pin.hold: \"yes\" is of type string, not true or false",
        "tideover.toml:8: rule.pin.of: unknown key; there are key, again, expects, hold, learns",
        "tideover.toml:13: rule.route: unknown key; there are name, from, ",
        "tideover.toml:14: rule.json: one of equals, one-of, exists, matches, null, operation is needed, and no more",
        "tideover.toml:14: rule.json: pointer is needed",
        "tideover.toml:14: rule.json.equals: [1] is of type array, not a string, a number, true or false",
        "tideover.toml:14: rule.json: 5 is of type integer, not a table",
        "tideover.toml:15: rule.hex: bytes is needed",
        "tideover.toml:15: rule.hex.at: -1 is not from 0 to",
        "tideover.toml:15: rule.hex.mask: \"f\" is not bytes of two hexadecimal digits each",
        "tideover.toml:17: rule.ephemeral: leg-local and ephemeral",
        "tideover.toml:18: rule.max-age: \"0s\" is not a duration up to 30days",
        "tideover.toml:19: rule.unpin: key is needed",
        "tideover.toml:19: rule.unpin.when: \"later\" is not now or acknowledged",
        "tideover.toml:24: rule.regex: in the rule \"third\": regex parse error",
        "tideover.toml:25: rule.json: in the rule \"third\": ",
        "tideover.toml:26: rule.acknowledge: in the rule \"third\": ",
        "tideover.toml:27: rule.learn: in the rule \"third\": only for messages of a backend",
        "tideover.toml:27: rule.learn: in the rule \"third\": needs answers",
        "tideover.toml:30: rewrite-query.remove: 5 is of type integer, not a string",
        "tideover.toml:31: rewrite-query.set.transport: 1 is of type integer, not a string",
        "tideover.toml:33: [[inject]]: when-query is needed",
        "tideover.toml:37: [[inject]]: had: there is no rule \"third\" that swallows",
    ];
    for start in expected {
        assert!(lines.iter().any(|line| line.starts_with(start)), "{start}\nis not in\n{}", lines.join("\n"));
    }
    assert_eq!(lines.len(), expected.len(), "{}", lines.join("\n"));
}

#[test]
fn a_rule_file_that_is_no_toml_says_where() {
    let file = Scratch::new("rules-broken", "description = 'x'\n[[rule]\n");
    let lines = report(config(&[BACKEND, ("profile", file.path())], &[]), Some(&file));
    assert!(lines.iter().all(|line| line.starts_with("tideover.toml:2: ")), "{lines:?}");
    let file = Scratch::new("rules-empty", "");
    let lines = report(config(&[BACKEND, ("profile", file.path())], &[]), Some(&file));
    assert_eq!(lines, ["tideover.toml:1: description is needed: a line that says what the rules are for"]);
    let file = rule_file("code-and-rules", "code = 'mqtt'\n[[rule]]\nfrom = 'client'\n");
    let lines = report(config(&[BACKEND, ("profile", file.path())], &[]), Some(&file));
    assert_eq!(lines, ["tideover.toml:3: rule: code and rules do not go together"]);
}

#[test]
fn rules_of_the_configuration_are_tried_before_those_of_the_profile() {
    let file = rule_file("later", "[[rule]]\nname = 'profile'\nfrom = 'client'\n");
    let text = format!(
        "profile = '{}'\n[[rule]]\nname = 'own'\nfrom = 'client'\ncontinue = true\n[[rule]]\nfrom = 'client'\nregex = 'x'\n",
        file.path()
    );
    let (_file, config) = with_file("order", &text);
    let config = config.unwrap();
    assert_eq!(tried(&config.routes[0], "a"), ["own", "rule 2", "profile"]);
    assert_eq!(tried(&config.routes[0], "x"), ["own", "rule 2"]);
}

#[test]
fn what_was_said_in_the_handshake_or_elsewhere_stands_in_rule_files_only() {
    let text = "[rewrite-query]\nremove = ['sid']\n[[inject]]\nwhen-query = 'sid'\ntext = '40'\npin = { key = 'a' }\n";
    let (file, result) = with_file("elsewhere", text);
    let lines = report(result, Some(&file));
    for start in ["tideover.toml:2: rewrite-query: unknown key", "tideover.toml:4: inject: unknown key"] {
        assert!(lines.iter().any(|line| line.starts_with(start)), "{start}\nis not in\n{}", lines.join("\n"));
    }
    assert_eq!(lines.len(), 2, "{lines:?}");
    let file = rule_file("elsewhere-file", text);
    let route = config(&[BACKEND, ("profile", file.path())], &[]).unwrap().routes.swap_remove(0);
    assert_eq!((route.rules.ahead.len(), route.renewal.query), (1, QueryEdit::default().remove("sid")));
}

#[test]
fn a_rule_is_for_the_routes_that_it_names_or_for_all() {
    let text = "[[route]]\nname = 'one'\npath = '/one'\n[[route]]\nname = 'two'\npath = '/two'\n[[route]]\n\
                [[rule]]\nname = 'of one'\nfrom = 'client'\nroute = ['one']\n[[rule]]\nname = 'of all'\nfrom = 'client'\n";
    let (_file, config) = with_file("routes", text);
    let config = config.unwrap();
    let names: Vec<_> = config.routes.iter().map(|route| route.name.as_deref()).collect();
    assert_eq!(names, [Some("one"), Some("two"), None]);
    // The first decides.
    let first: Vec<_> = config.routes.iter().map(|route| tried(route, "a").swap_remove(0)).collect();
    assert_eq!(first, ["of one", "of all", "of all"]);
}

#[test]
fn routes_that_are_not_there_and_names_given_twice_are_reported() {
    let text = "[[route]]\nname = 'a'\npath = '/a'\n[[route]]\nname = 'a'\n[[rule]]\nfrom = 'client'\nroute = ['b', 'a']\n\
                [[rule]]\nfrom = 'client'\nroute = []\n";
    let (file, result) = with_file("unknown-routes", text);
    let expected = [
        "tideover.toml:12: rule.route: names no route; leave it away for all of them",
        "tideover.toml:3: route.name, tideover.toml:6: route.name: there are two routes \"a\"",
        "tideover.toml:9: rule.route: there is no route \"b\": only a, a",
    ];
    assert_eq!(report(result, Some(&file)), expected);
}

#[test]
fn no_rule_can_be_added_to_a_profile_in_code() {
    let text = "[[route]]\nname = 'm'\npath = '/m'\nprofile = 'mqtt'\n[[route]]\n[[rule]]\nfrom = 'client'\n";
    let (file, result) = with_file("code", text);
    let lines = report(result, Some(&file));
    assert_eq!(lines.len(), 1, "{lines:?}");
    let start = "tideover.toml:5: route.profile, tideover.toml:7: [[rule]]: this profile is code";
    assert!(lines[0].starts_with(start), "{lines:?}");
    let (_file, config) = with_file(
        "code-named",
        &format!("{}route = ['x']\n", text.replace("[[route]]\n[[rule]]", "[[route]]\nname='x'\n[[rule]]")),
    );
    assert!(matches!(config.unwrap().routes[0].rules.look, Look::Code(Code::Mqtt)));
}

#[test]
fn every_key_of_a_rule_reaches_its_verdict() {
    let text = r#"
[[rule]]
from = "client"
kind = "text"
text-prefix = "{"
regex = '"n":(\d+)'
json = [
    { pointer = "/a", one-of = ["x", 1, true] },
    { pointer = "/b", matches = "^y" },
    { pointer = "/c", null = true },
    { pointer = "/d", exists = false },
    { pointer = "/e", equals = 1.5 },
    { pointer = "/q", operation = "subscription", named = "/o" },
]
hex = { at = 1, bytes = "22", mask = "ff" }
nth = 7
pin = { key = "p {1}", again = "move", expects = "e {/a}", hold = true, learns = true }
unpin = { key = "u", when = "acknowledged" }
acknowledge = "k {hex 0..1}"
gives-up = "g"
max-age = "1m"
ephemeral = true
translate = "/a"

[[rule]]
from = "backend"
kind = "binary"
answers = "e"
refuses = true
once = "o"
swallow = true
close = true
unpin = "u"
learn = "/id"
"#;
    let (_file, config) = with_file("keys", text);
    let config = config.unwrap();
    let rules = set(&config.routes[0]);
    let payload = br#"{"a":1,"b":"yes","c":null,"e":1.5,"q":"{a} subscription S{b}","o":"S","n":42}"#;
    let mut message = Message { kind: Kind::Text, payload, nth: 7 };
    let verdict = rules.client(&message);
    let pin = verdict.pin.expect("it matches");
    assert_eq!((pin.key, pin.expects), (Key::of(b"p 42"), Some(Key::of(b"e 1"))));
    assert!(pin.hold && pin.learns && pin.again == tideover_protocol::rules::Again::Move);
    assert_eq!(verdict.unpin.map(|unpin| unpin.when), Some(tideover_protocol::rules::UnpinWhen::Acknowledged));
    assert_eq!(verdict.gives_up, Some(Key::of(b"g")));
    assert_eq!((verdict.acknowledge, verdict.max_age), (Some(Key::of(b"k {")), Some(Duration::from_secs(60))));
    assert_eq!((verdict.replay, verdict.translate), (tideover_protocol::rules::Replay::Ephemeral, Some(5..6)));
    message.nth = 8;
    assert_eq!(rules.client(&message), Default::default());

    let message = Message { kind: Kind::Binary, payload: br#"{"id":9}"#, nth: 1 };
    let verdict = rules.backend(&message);
    assert_eq!(
        (verdict.answers, verdict.once, verdict.unpin),
        (Some(Key::of(b"e")), Some(Key::of(b"o")), Some(Key::of(b"u")))
    );
    assert!(verdict.refuses && verdict.close && verdict.swallow == Some(1));
    assert_eq!(verdict.learn, Some(6..7));
}

#[test]
fn what_was_said_ahead_knows_the_rules_by_their_numbers_behind_those_of_the_configuration() {
    let text = format!("profile = 'socket.io'\n{}", "[[rule]]\nfrom = 'client'\ntext-prefix = 'x'\n".repeat(3));
    let (_file, config) = with_file("ahead", &text);
    let route = config.unwrap().routes.swap_remove(0);
    let [ahead] = &route.rules.ahead[..] else { panic!("one message: {:?}", route.rules.ahead) };
    assert_eq!((ahead.when_query.as_str(), ahead.text.as_str()), ("sid", "40"));
    let connect = Message { kind: Kind::Text, payload: b"40", nth: 1 };
    assert_eq!(set(&route).client(&connect).pin.as_ref(), Some(&ahead.pin), "as if it had been said here");
    let open = Message { kind: Kind::Text, payload: b"0{\"sid\":\"a\"}", nth: 1 };
    assert_eq!(ahead.had, [set(&route).backend(&open).swallow.expect("it is swallowed")]);
    assert_eq!(route.renewal.query, QueryEdit::default().remove("sid").set("transport", "websocket"));
}

#[test]
fn the_document_names_every_key_of_a_rule_file() {
    let document = include_str!("../../../../docs/rules.md");
    let file = rule_file(
        "tidy",
        "zz = 1\n[rewrite-query]\nzz = 1\n[[inject]]\nwhen-query='a'\ntext='b'\nzz = 1\npin = {key='a', zz = 1}\n[[rule]]\nfrom='client'\nzz = 1\n\
         unpin = {key = 'a', zz = 1}\nhex = {bytes = '00', zz = 1}\njson = [{pointer = '/a', exists = true, zz = 1}]\n",
    );
    let lines = report(config(&[BACKEND, ("profile", file.path())], &[]), Some(&file));
    assert_eq!(lines.len(), 8, "a line for each table: {lines:?}");
    for key in lines.iter().flat_map(|line| line.split("there are ").nth(1).expect("keys").split(", ")) {
        assert!(document.contains(&format!("`{key}`")), "docs/rules.md does not name `{key}`");
    }
    for profile in &PROFILES {
        assert!(document.contains(&format!("`{}`", profile.name)), "{}", profile.name);
    }
}
