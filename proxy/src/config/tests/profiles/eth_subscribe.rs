//! `eth-subscribe`: messages as Ethereum's nodes and jsonrpsee write them.

use tideover_protocol::rules::UnpinWhen;

use super::Profile;

const SUBSCRIBE: &str = r#"{"jsonrpc":"2.0","id":3,"method":"eth_subscribe","params":["newHeads"]}"#;
const UNSUBSCRIBE: &str = r#"{"jsonrpc":"2.0","id":4,"method":"eth_unsubscribe","params":["0x9cef"]}"#;
const EVENT: &str =
    r#"{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0x9cef","result":{"number":"0x1"}}}"#;

fn eth() -> Profile {
    Profile::new("eth-subscribe")
}

#[test]
fn a_subscription_is_held_and_learns_the_id_from_its_answer() {
    let rules = eth();
    let pin = rules.pin(SUBSCRIBE);
    assert!(pin.hold && pin.learns);
    let answer = r#"{"jsonrpc":"2.0","id":3,"result":"0x9cef"}"#;
    let verdict = rules.backend(answer);
    assert_eq!((verdict.answers, verdict.acknowledge), (pin.expects, Some(rules.waits_for(SUBSCRIBE))));
    assert_eq!(&answer[verdict.learn.unwrap()], r#""0x9cef""#);
}

#[test]
fn a_refused_subscription_is_none() {
    let rules = eth();
    let pin = rules.pin(SUBSCRIBE);
    let verdict = rules.backend(r#"{"jsonrpc":"2.0","id":3,"error":{"code":-32601,"message":"no"}}"#);
    assert_eq!((verdict.answers, verdict.unpin, verdict.learn), (pin.expects, Some(pin.key), None));
    assert!(verdict.refuses && verdict.acknowledge == Some(rules.waits_for(SUBSCRIBE)));
}

#[test]
fn ids_are_translated_where_they_stand_and_end_with_an_answered_unsubscription() {
    let rules = eth();
    assert_eq!(&EVENT[rules.backend(EVENT).translate.unwrap()], r#""0x9cef""#);
    let verdict = rules.client(UNSUBSCRIBE);
    assert_eq!(&UNSUBSCRIBE[verdict.translate.unwrap()], r#""0x9cef""#);
    assert_eq!(verdict.unpin.unwrap().when, UnpinWhen::Acknowledged);
    assert!(verdict.pin.is_none() && verdict.acknowledge.is_some());
}

#[test]
fn methods_of_other_nodes_are_known_by_their_words() {
    let rules = eth();
    let method = |method: &str| SUBSCRIBE.replace("eth_subscribe", method);
    for known in ["state_subscribeStorage", "chain_subscribe_newHead", "subscribe", "say_subscribe"] {
        assert!(rules.client(&method(known)).pin.is_some(), "{known}");
    }
    for other in ["eth_call", "list_subscribers", "state_unsubscribeStorage", "resubscribed"] {
        assert!(rules.client(&method(other)).pin.is_none(), "{other}");
    }
}

#[test]
fn requests_and_batches_wait_for_their_answers_and_answers_to_the_server_are_for_it() {
    let rules = eth();
    let call = r#"{"jsonrpc":"2.0","id":"x","method":"eth_call","params":[]}"#;
    assert_eq!(rules.waits_for(call), rules.is_done_with(r#"{"id":"x","jsonrpc":"2.0","result":null}"#));
    let batch = r#"[{"id":1,"method":"eth_chainId"},{"id":2,"method":"eth_call"}]"#;
    assert_eq!(rules.waits_for(batch), rules.is_done_with(r#"[{"id":2,"result":1},{"id":1,"result":2}]"#));
    assert!(rules.is_leg_local(r#"{"id":1,"result":true}"#));
    assert!(rules.is_leg_local(r#"[{"result":7,"id":2},{"result":8,"id":3}]"#));
}

#[test]
fn whatever_json_rpc_says_of_messages_that_are_no_subscriptions_it_says_too() {
    let (eth, json_rpc) = (eth(), Profile::new("json-rpc"));
    for client in [
        r#"{"jsonrpc":"2.0","id":1,"method":"eth_call"}"#,
        r#"{"jsonrpc":"2.0","method":"notify"}"#,
        r#"[{"id":1,"method":"a"},{"method":"notify"}]"#,
        r#"[{"method":"notify"},{"method":"notify"}]"#,
        r#"{"jsonrpc":"2.0","id":"x","result":19}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#,
        r#"[{"id":2,"result":7},{"id":3,"error":{"code":1,"message":""}}]"#,
    ] {
        assert_eq!(eth.client(client), json_rpc.client(client), "{client}");
    }
    for backend in
        [r#"{"id":1,"result":19}"#, r#"[{"id":2,"result":7},{"id":1,"result":8}]"#, r#"{"id":1,"method":"ask"}"#]
    {
        assert_eq!(eth.backend(backend).acknowledge, json_rpc.backend(backend).acknowledge, "{backend}");
    }
}
