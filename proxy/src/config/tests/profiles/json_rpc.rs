//! `json-rpc`: messages of the specification's examples.

use super::Profile;

const CALL: &str = r#"{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}"#;

fn json_rpc() -> Profile {
    Profile::new("json-rpc")
}

#[test]
fn a_request_waits_for_the_answer_with_its_id() {
    let rules = json_rpc();
    let key = rules.waits_for(CALL);
    assert_eq!(rules.is_done_with(r#"{"jsonrpc": "2.0", "result": 19, "id": 1}"#), key);
    assert_eq!(rules.is_done_with(r#"{"id":1,"error":{"code":-32601,"message":"?"},"jsonrpc":"2.0"}"#), key);
    assert_ne!(rules.is_done_with(r#"{"jsonrpc": "2.0", "result": 19, "id": 2}"#), key);
    assert_ne!(rules.is_done_with(r#"{"jsonrpc": "2.0", "result": 19, "id": "1"}"#), key, "a string is no number");
}

#[test]
fn a_notification_waits_for_nothing() {
    let rules = json_rpc();
    let notification = r#"{"jsonrpc": "2.0", "method": "update", "params": [1]}"#;
    assert!(rules.is_ordinary(notification) && rules.passes(notification));
}

#[test]
fn a_batch_waits_for_the_answers_to_all_its_requests_in_any_order() {
    let rules = json_rpc();
    let batch = r#"[{"method":"a","id":"1"},{"method":"notify"},{"method":"b","id":2}]"#;
    let answers = r#"[{"result":7,"id":2},{"error":{"code":1,"message":""},"id":"1"}]"#;
    assert_eq!(rules.waits_for(batch), rules.is_done_with(answers));
    assert_ne!(rules.waits_for(batch), rules.is_done_with(r#"[{"result":7,"id":2}]"#));
    assert!(rules.is_ordinary(r#"[{"method":"notify"},{"method":"notify"}]"#));
}

#[test]
fn an_answer_to_the_server_is_for_that_server() {
    let rules = json_rpc();
    assert!(rules.passes(CALL), "the server asks");
    assert!(rules.is_leg_local(r#"{"jsonrpc": "2.0", "result": 19, "id": 1}"#));
    assert!(rules.is_leg_local(r#"{"jsonrpc": "2.0", "error": {"code": 1, "message": ""}, "id": "x"}"#));
    assert!(rules.is_leg_local(r#"[{"result":7,"id":2},{"result":8,"id":3}]"#));
}
