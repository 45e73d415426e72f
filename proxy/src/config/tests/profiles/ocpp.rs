//! `ocpp`: messages of OCPP-J 1.6 and 2.0.1.

use std::time::Duration;

use super::Profile;

const BOOT: &str = r#"[2,"19223201","BootNotification",{"chargePointVendor":"V","chargePointModel":"M"}]"#;
const ACCEPTED: &str = r#"[3,"19223201",{"status":"Accepted","currentTime":"2013-02-01T20:53:32Z","interval":300}]"#;

fn ocpp() -> Profile {
    Profile::new("ocpp")
}

#[test]
fn a_call_waits_for_its_result_or_error() {
    let rules = ocpp();
    let key = rules.waits_for(BOOT);
    assert_eq!(rules.is_done_with(ACCEPTED), key);
    assert_eq!(rules.is_done_with(r#"[4,"19223201","GenericError","",{}]"#), key);
    assert_ne!(rules.is_done_with(r#"[3,"19223202",{}]"#), key);
    assert!(rules.client(BOOT).pin.is_none(), "whoever needs that uncomments it");
}

#[test]
fn an_answer_to_the_central_system_is_for_that_one() {
    let rules = ocpp();
    assert!(rules.passes(r#"[2,"8","RemoteStartTransaction",{"idTag":"1"}]"#));
    assert!(rules.is_leg_local(r#"[3,"8",{"status":"Accepted"}]"#));
    assert!(rules.is_leg_local(r#"[4,"8","NotSupported","",{}]"#));
}

#[test]
fn a_heartbeat_grows_stale_and_nothing_else_does() {
    let rules = ocpp();
    assert_eq!(rules.client(r#"[2,"9","Heartbeat",{}]"#).max_age, Some(Duration::from_secs(300)));
    assert_eq!(rules.client(r#"[2,"9","TransactionEvent",{"eventType":"Ended"}]"#).max_age, None);
    assert_eq!(rules.waits_for(r#"[2,"9","Heartbeat",{}]"#), rules.is_done_with(r#"[3,"9",{"currentTime":"t"}]"#));
}

/// The profile with a rule that is commented out in it.
fn with(name: &str) -> Profile {
    let text = crate::profiles::named("ocpp").unwrap().text;
    let begin = text.find(&format!("# [[rule]]\n# name = \"{name}\"")).expect("the rule is there");
    let (rule, rest) = text[begin..].split_once("\n\n").unwrap();
    let rule: String = rule.lines().map(|line| format!("{}\n", line.trim_start_matches("# "))).collect();
    let file = super::super::Scratch::new(&format!("ocpp-{name}"), &format!("{}{rule}\n{rest}", &text[..begin]));
    Profile::new(file.path())
}

#[test]
fn the_rule_for_cards_that_is_commented_out_is_valid_and_lets_nothing_else_grow_stale() {
    let authorize = r#"[2,"7","Authorize",{"idTag":"1"}]"#;
    let (shipped, rules) = (ocpp(), with("authorize"));
    assert_eq!(shipped.client(authorize).max_age, None, "whoever needs that uncomments it");
    assert_eq!(rules.client(authorize).max_age, Some(Duration::from_secs(60)));
    assert_eq!(rules.waits_for(authorize), rules.is_done_with(r#"[3,"7",{"idTagInfo":{"status":"Accepted"}}]"#));
    for action in ["StartTransaction", "StopTransaction", "TransactionEvent", "MeterValues", "StatusNotification"] {
        let call = format!(r#"[2,"7","{action}",{{}}]"#);
        assert_eq!(rules.client(&call), shipped.client(&call), "{action}");
    }
}

#[test]
fn the_boot_rule_that_is_commented_out_is_valid_and_pins() {
    let rules = with("boot");
    let pin = rules.pin(BOOT);
    assert!(pin.hold);
    let verdict = rules.backend(ACCEPTED);
    assert_eq!((verdict.answers, verdict.acknowledge), (pin.expects, Some(rules.waits_for(BOOT))));
}
