//! Backends in the operator's hand: what is taken, and what is refused with what words.

mod admin_support;

use admin_support::{Program, Scratch, nobody_listens};
use serde_json::{Value, json};

/// All that is said of the backends but what changes by itself.
async fn backends(program: &Program) -> Vec<(Value, Value, Value, Value)> {
    let all = program.get("/v1/backends").await.json();
    let all = all["backends"].as_array().unwrap().clone();
    let of = |one: Value| (one["id"].clone(), one["url"].clone(), one["weight"].clone(), one["state"].clone());
    all.into_iter().map(of).collect()
}

#[tokio::test]
async fn what_is_wrong_with_a_backend_is_said_by_field_and_nothing_is_changed() {
    let scratch = Scratch::new("wrong");
    let backend = nobody_listens().await;
    let program = Program::with_token(&scratch, &[backend], &[]);
    let before = backends(&program).await;
    let twice = format!(r#"{{"url":"ws://{backend}"}}"#);
    let named = format!(r#"{{"url":"ws://a","name":"{backend}"}}"#);
    let cases: [(&str, u16, &[&str]); 16] = [
        ("", 415, &["application/json"]),
        ("{", 400, &["EOF"]),
        ("[]", 422, &["NewBackend"]),
        ("{}", 422, &["missing field `url`"]),
        (r#"{"url":"http://a"}"#, 422, &["url: ", "begins with neither ws:// nor wss://"]),
        (r#"{"url":"ws://a/chat"}"#, 422, &["url: ", "has a path"]),
        (r#"{"url":"ws://me:secret@a"}"#, 422, &["url: ", "has a user or password"]),
        (r#"{"url":7}"#, 422, &["url: invalid type"]),
        (r#"{"url":"ws://a","weight":257}"#, 422, &["weight: ", "from 0 to 256"]),
        (r#"{"url":"ws://a","weight":-1}"#, 422, &["weight: ", "not negative"]),
        (r#"{"url":"ws://a","max_sessions":0}"#, 422, &["max_sessions: 0"]),
        (r#"{"url":"ws://a/","name":"a b","weight":1000}"#, 422, &["name: \"a b\"", "weight: \"1000\""]),
        (r#"{"url":"ws://a","wait":1}"#, 422, &["wait: unknown field `wait`"]),
        (r#"{"url":"ws://a","pool":"nowhere"}"#, 404, &["there is no pool \"nowhere\", only default"]),
        (&twice, 409, &["with this id or URL"]),
        (&named, 409, &["with this id or URL"]),
    ];
    for (body, status, parts) in cases {
        let answer = match body {
            "" => program.call("POST", "/v1/backends", None).await,
            body => program.call("POST", "/v1/backends", Some(body)).await,
        };
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        for part in parts {
            assert!(answer.error().contains(part), "{body}: {part} is not in {}", answer.error());
        }
    }
    let several = program.call("POST", "/v1/backends", Some(cases[11].0)).await.json();
    assert_eq!(several["problems"].as_array().unwrap().len(), 2, "{several}");
    assert_eq!(backends(&program).await, before);
}

#[tokio::test]
async fn a_change_takes_what_it_names_and_leaves_the_rest() {
    let scratch = Scratch::new("change");
    let program = Program::with_token(&scratch, &[nobody_listens().await], &[]);
    let change = async |body: &str| program.call("PATCH", "/v1/backends/0", Some(body)).await;
    let of = |answer: &Value| [answer["weight"].clone(), answer["max_sessions"].clone(), answer["priority"].clone()];
    let steps = [
        ("{}", [json!(100), Value::Null, json!(0)]),
        (r#"{"weight":7}"#, [json!(7), Value::Null, json!(0)]),
        (r#"{"max_sessions":5,"priority":2}"#, [json!(7), json!(5), json!(2)]),
        (r#"{"max_sessions":null}"#, [json!(7), Value::Null, json!(2)]),
    ];
    for (body, expected) in steps {
        let answer = change(body).await;
        assert_eq!((answer.status, of(&answer.json())), (200, expected), "{body}");
    }
    let wrong = [
        (r#"{"weight":257,"max_sessions":0}"#, "max_sessions: 0"),
        (r#"{"weight":257,"max_sessions":0}"#, "weight: 257 is more than 256"),
        (r#"{"weight":null}"#, "weight: invalid type: null"),
        (r#"{"priority":65536}"#, "priority: 65536 is more than 65535"),
        (r#"{"max_sessions":10000001}"#, "max_sessions: 10000001 is more than"),
        (r#"{"url":"ws://a"}"#, "unknown field `url`"),
    ];
    for (body, part) in wrong {
        let answer = change(body).await;
        assert!(answer.status == 422 && answer.error().contains(part), "{body}: {answer:?}");
    }
    assert_eq!(of(&program.get("/v1/backends/0").await.json()), [json!(7), Value::Null, json!(2)]);
}

#[tokio::test]
async fn a_removed_backend_is_not_found_and_one_that_never_was_neither() {
    let scratch = Scratch::new("removed");
    let program = Program::with_token(&scratch, &[nobody_listens().await, nobody_listens().await], &[]);
    assert_eq!(program.call("DELETE", "/v1/backends/0", None).await.status, 202);
    for id in ["0", "7", "4294967295"] {
        for order in ["enable", "disable", "drain", "reset", "failover"] {
            let answer = program.call("POST", &format!("/v1/backends/{id}/{order}"), None).await;
            assert_eq!(answer.status, 404, "{id} {order}: {answer:?}");
        }
        for method in ["GET", "DELETE"] {
            assert_eq!(program.call(method, &format!("/v1/backends/{id}"), None).await.status, 404);
        }
    }
    for id in ["x", "-1", "4294967296"] {
        let answer = program.call("POST", &format!("/v1/backends/{id}/drain"), None).await;
        assert_eq!((answer.status, answer.error().is_empty()), (400, false), "{id}");
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_answered_with_those_that_it_does() {
    let scratch = Scratch::new("methods");
    let program = Program::with_token(&scratch, &[nobody_listens().await], &[]);
    let answer = program.call("PUT", "/v1/backends/0", None).await;
    assert_eq!(answer.status, 405);
    for method in ["get", "patch", "delete"] {
        assert!(answer.head.contains("allow: ") && answer.head.contains(method), "{answer:?}");
    }
}
