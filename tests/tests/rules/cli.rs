//! `tideover check` and `tideover profile`.

use std::process::{Command, Output};

use tideover_tests::{Replaced, Scratch, lock::machine_shared, program};

fn tideover(arguments: &[&str]) -> Output {
    let mut command = Command::new(program::tideover());
    for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEOVER_")) {
        command.env_remove(variable);
    }
    command.args(arguments).output().expect("tideover runs")
}

/// What it prints.
fn said(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = tideover(arguments);
    assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("UTF-8")
}

/// What it says to a bad call.
fn refused(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = tideover(arguments);
    assert_eq!(status.code(), Some(2), "{arguments:?}: {}", String::from_utf8_lossy(&stdout));
    String::from_utf8(stderr).expect("UTF-8")
}

#[test]
fn a_profile_that_was_printed_is_the_profile() {
    let _machine = machine_shared();
    let scratch = Scratch::new("profile");
    let list = said(&["profile", "list"]);
    let names: Vec<_> = list.lines().map(|line| line.split_whitespace().next().expect("a name")).collect();
    assert_eq!(names, ["eth-subscribe", "graphql-transport-ws", "json-rpc", "mqtt", "ocpp", "socket.io"]);
    for name in names {
        let path = scratch.path(&format!("{name}.toml"));
        std::fs::write(&path, said(&["profile", "show", name])).expect("written");
        let path = path.to_str().expect("UTF-8");
        let check = |profile| {
            let message = r#"{"id":1,"type":"subscribe","method":"a_subscribe","payload":{"query":"{a}"}}"#;
            said(&["check", "--profile", profile, "--message", message, "--hex", "c000"]).replace(profile, "it")
        };
        assert_eq!(check(path), check(name));
    }
    assert!(refused(&["profile", "show", "graphql"]).contains("there is no profile \"graphql\", only eth-subscribe, "));
}

#[test]
fn a_message_is_explained_rule_by_rule_with_its_keys() {
    let _machine = machine_shared();
    let init = r#"{"type":"connection_init"}"#;
    let text =
        said(&["check", "--profile", "graphql-transport-ws", "--message", init, "--message", r#"{"a":1,"a":2}"#]);
    let explained = "the client's message 1, 26 bytes: {\"type\":\"connection_init\"}\n  \
                     connection_init: matches\n    \
                     pin under “init”, expects “ack”, holds what follows until then\n    \
                     acknowledge “ack”\n\n\
                     the client's message 2, 13 bytes: {\"a\":1,\"a\":2}\n";
    assert!(text.contains(explained), "{text}");
    assert!(text.contains("  connection_init: no, its json does not fit\n"), "{text}");

    let complete = r#"{"id":"7","type":"complete"}"#;
    let text = said(&["check", "--profile", "graphql-transport-ws", "--from", "backend", "--message", complete]);
    assert!(text.contains("  end of an operation: matches\n    "), "{text}");
    assert!(text.contains("acknowledge “operation \"7”"), "{text}");
}

#[test]
fn where_a_pin_goes_and_what_it_learns_is_explained() {
    let _machine = machine_shared();
    let subscription = r#"{"id":"7","type":"subscribe","payload":{"query":"subscription { a }"}}"#;
    let text = said(&["check", "--profile", "graphql-transport-ws", "--message", subscription]);
    assert!(text.contains("”, goes to the end when it is said again\n"), "{text}");
    let subscribe = r#"{"id":1,"method":"eth_subscribe","params":["newHeads"]}"#;
    let text = said(&["check", "--profile", "eth-subscribe", "--message", subscribe]);
    let pin =
        "    pin under “subscription 1”, expects “id 1”, holds what follows until then, learns the id in its answer\n";
    assert!(text.contains(pin), "{text}");
    // What is pinned by an earlier rule counts.
    let rules = Replaced::new(
        "description = 'x'\n[[rule]]\nfrom = 'client'\npin = { key = 'a' }\ncontinue = true\n\
         [[rule]]\nfrom = 'client'\npin = { key = 'b', again = 'move' }\n",
    );
    let text = said(&["check", "--profile", &rules.text(), "--message", "x"]);
    assert!(text.contains("    pin under “a”\n") && text.contains("    pin under “b”\n"), "{text}");
}

#[test]
fn samples_are_tried_in_the_order_given_with_the_rules_of_the_route_that_is_named() {
    let _machine = machine_shared();
    let file = Replaced::new(
        "backend = 'ws://127.0.0.1:1'\n[[route]]\nname = 'first'\npath = '/first'\n[[route]]\nname = 'second'\n\
         [[rule]]\nname = 'second text'\nfrom = 'client'\nroute = ['first']\nkind = 'text'\nnth = 2\n\
         [[rule]]\nname = 'bytes'\nfrom = 'client'\nroute = ['first']\nhex = { bytes = 'c0' }\nclose = true\n",
    );
    let path = file.text();
    let samples = ["--hex", "c0 00", "--message", "a"];
    let call = |more: &[&'static str]| [&["check", "--config", &path], &samples[..], more].concat();
    let text = said(&call(&["--route", "first"]));
    assert!(text.starts_with("the configuration is valid\nroute 1 \"first\", /first, to pool \"default\":"), "{text}");
    let explained =
        "message 1, 2 bytes: c000\n  second text: no, its nth does not fit\n  bytes: matches\n    close the session\n";
    assert!(text.contains(explained), "{text}");
    assert!(text.contains("message 2, 1 bytes: a\n  second text: matches\n"), "{text}");
    assert_eq!(said(&call(&["--route", "2"])).matches("  the route has no rules\n").count(), 2);
    assert!(refused(&call(&[])).contains("there are 2 routes"));
    assert!(refused(&call(&["--route", "third"])).contains("there is no route \"third\""));
}

#[test]
fn what_cannot_be_looked_into_is_said_to_close_where_a_rule_that_might_match_does() {
    let _machine = machine_shared();
    let file = Replaced::new(
        "backend = 'ws://127.0.0.1:1'\ninspect-bytes = 10\n[[rule]]\nname = 'no'\nfrom = 'client'\n\
         json = [{ pointer = '/a', equals = 1 }]\nclose = true\n",
    );
    let check = |from, text| said(&["check", "--config", &file.text(), "--from", from, "--message", text]);
    assert!(check("client", r#"{"a":2}"#).contains("no rule matches"));
    let text = check("client", r#"{"a":1"#);
    assert!(text.contains("it is no JSON that says one thing only") && text.contains("  closes the session"), "{text}");
    let text = check("client", r#"{"a":2}    "#);
    assert!(text.contains("longer than inspect-bytes") && text.contains("  closes the session"), "{text}");
    let text = check("backend", r#"{"a":2}    "#);
    assert!(text.contains("no rule of this side closes sessions: it passes"), "{text}");
}

#[test]
fn packets_are_explained_one_by_one() {
    let _machine = machine_shared();
    // PINGREQ, a PUBLISH of quality 1, and the beginning of another packet.
    let text = said(&["check", "--profile", "mqtt", "--hex", "c000 3205 0001 61 0007 30"]);
    let [ping, publish] = ["  packet of 2 bytes\n    acknowledge key ", "  packet of 7 bytes\n    acknowledge key "];
    assert!(text.contains(ping) && text.contains(publish), "{text}");
    assert!(text.ends_with("  1 bytes that are no whole packet\n"), "{text}");
    let key = |text: &str, packet| text.split(packet).nth(1).expect("a packet")[..8].to_owned();
    let puback = said(&["check", "--profile", "mqtt", "--from", "backend", "--hex", "4002 0007"]);
    assert_eq!(key(&puback, "  packet of 4 bytes\n    acknowledge key "), key(&text, publish));
    // A CONNECT, and a CONNACK that refuses it.
    let connect = said(&["check", "--profile", "mqtt", "--hex", "100c 0004 4d515454 04 02 0000 0000"]);
    assert!(connect.contains(", holds what follows until then, goes to the end when it is said again\n"), "{connect}");
    let connack = said(&["check", "--profile", "mqtt", "--from", "backend", "--hex", "2002 0005"]);
    assert!(connack.contains("    refusal: where it is held for, the attempt has failed\n"), "{connack}");
}

#[test]
fn all_mistakes_are_told_at_once_with_their_places_and_exit_code_2() {
    let _machine = machine_shared();
    let rules = Replaced::new("description = 'x'\n[[rule]]\nfrom = 'clients'\nregex = '('\n");
    // A path must have a slash.
    let path = rules.text();
    let file = Replaced::new(&format!(
        "profile = '{path}'\nbuffer-bytes = 'much'\n[[rule]]\nfrom = 'client'\nacknowledge = '{{1'\n[[rule]]\nfrom = 'backend'\npin = {{}}\n"
    ));
    let config = file.text();
    let text = refused(&["check", "--config", &config, "--backend", "http://a"]);
    let places = [
        "--backend: \"http://a\" begins with neither".to_owned(),
        format!("{config}:2: buffer-bytes: \"much\""),
        format!("{config}:5: rule.acknowledge: in the rule \"rule 1\": "),
        format!("{config}:8: rule.pin: key is needed"),
        format!("{path}:3: rule.from: \"clients\" is not client or backend"),
    ];
    for place in &places {
        assert!(text.lines().any(|line| line.starts_with(place)), "{place}\nis not in\n{text}");
    }
    assert_eq!(text.lines().count(), places.len(), "{text}");
    assert!(refused(&["check", "--hex", "c"]).contains("not bytes of two hexadecimal digits each"));
}
