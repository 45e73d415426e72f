//! Sessions and poisoned messages in the operator's hand.

mod admin_support;

use admin_support::{Echo, Program, Scratch, chat, closed, wait_for};
use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

async fn ids(program: &Program, query: &str) -> Vec<String> {
    let page = program.get(&format!("/v1/sessions{query}")).await.json();
    page["sessions"].as_array().unwrap().iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn sessions_are_listed_in_pages_and_filtered() {
    let scratch = Scratch::new("pages");
    let (one, other) = (Echo::new().await, Echo::new().await);
    let program = Program::with_token(&scratch, &[one.address, other.address], &[]);
    let mut clients = Vec::new();
    for n in 0..7 {
        let mut client = program.client().await;
        chat(&mut client, &format!("hello {n}")).await;
        clients.push(client);
    }
    let all = ids(&program, "").await;
    assert_eq!(all.len(), 7);
    assert!(all.is_sorted());

    let mut paged = Vec::new();
    let mut query = "?limit=3".to_owned();
    loop {
        let page = program.get(&format!("/v1/sessions{query}")).await.json();
        let sessions = page["sessions"].as_array().unwrap();
        assert!(sessions.len() <= 3);
        paged.extend(sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?limit=3&after={next}");
    }
    assert_eq!(paged, all);
    assert_eq!(program.get("/v1/sessions?limit=7").await.json()["next"], Value::Null);

    let (on_one, on_other) = (ids(&program, "?backend=0").await, ids(&program, "?backend=1").await);
    assert_eq!(on_one.len() + on_other.len(), 7);
    assert_eq!(ids(&program, &format!("?backend=ws://{}", one.address)).await, on_one);
    let first = program.get("/v1/sessions?limit=1").await.json()["sessions"][0].clone();
    assert_eq!(ids(&program, &format!("?peer={}", first["peer"].as_str().unwrap())).await, all[..1]);
    assert_eq!(ids(&program, "?peer=127.0.0.1").await, all);
    assert_eq!(ids(&program, "?peer=192.0.2.1").await.len(), 0);
    for bad in ["?limit=0", "?limit=1001", "?after=x", "?limit=-1", "?other=1"] {
        let answer = program.get(&format!("/v1/sessions{bad}")).await;
        assert_eq!((answer.status, answer.error().is_empty()), (400, false), "{bad}");
    }
    assert_eq!(program.get("/v1/sessions?backend=9").await.status, 404);
}

#[tokio::test]
async fn a_session_is_inspected_moved_and_closed() {
    let scratch = Scratch::new("session");
    let (one, other) = (Echo::new().await, Echo::new().await);
    let program = Program::with_token(&scratch, &[one.address, other.address], &[]);
    let mut client = program.client().await;
    chat(&mut client, "one").await;
    let id = ids(&program, "").await.pop().unwrap();
    let path = format!("/v1/sessions/{id}");
    let detail = program.get(&path).await.json();
    let url = |echo: &Echo| format!("ws://{}", echo.address);
    assert_eq!((&detail["id"], &detail["epoch"], &detail["backend"]), (&json!(id), &json!(1), &json!(url(&one))));
    assert_eq!((&detail["counters"]["received"], &detail["counters"]["passed"]), (&json!(1), &json!(1)));

    assert_eq!(program.call("POST", &format!("{path}/failover"), None).await.status, 202);
    let detail = wait_for("the other backend", async || {
        let detail = program.get(&path).await.json();
        (detail["epoch"] == 2).then_some(detail)
    })
    .await;
    assert_eq!((&detail["backend"], &detail["counters"]["failovers"]), (&json!(url(&other)), &json!(1)));
    chat(&mut client, "two").await;
    let metrics = program.metrics().await;
    assert_eq!((metrics.sum("failovers_total"), metrics.sum("failover_duration_seconds_count")), (1, 1));

    let closing = json!({ "code": 4000, "reason": "enough" }).to_string();
    assert_eq!(program.call("POST", &format!("{path}/close"), Some(&closing)).await.status, 202);
    assert_eq!(closed(&mut client).await, Some((4000, "enough".to_owned())));
    drop(client);
    for (method, what) in [("GET", ""), ("POST", "/failover")] {
        wait_for("the end", async || {
            let answer = program.call(method, &format!("{path}{what}"), None).await;
            (answer.status == 404 && answer.error().contains(&id)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_session_is_migrated_and_who_cannot_be_is_said_why() {
    let scratch = Scratch::new("migrate");
    let (one, other) = (Echo::new().await, Echo::new().await);
    let program = Program::with_token(&scratch, &[one.address, other.address], &[]);
    let mut client = program.client().await;
    chat(&mut client, "one").await;
    let id = ids(&program, "").await.pop().unwrap();
    let path = format!("/v1/sessions/{id}/migrate");
    let url = format!("ws://{}", other.address);
    let there = json!({ "to": format!("ws://{}", one.address) }).to_string();
    let answer = program.call("POST", &path, Some(&there)).await;
    assert_eq!((answer.status, answer.error().contains("it is on that backend")), (409, true), "{answer:?}");
    let answer = program.call("POST", &path, Some(&json!({ "to": "nowhere" }).to_string())).await;
    assert_eq!(answer.status, 404);
    let answer = program.call("POST", &path, Some("{}")).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "session": id, "backend": url })));
    chat(&mut client, "two").await;
    let counters = program.get(&format!("/v1/sessions/{id}")).await.json()["counters"].clone();
    let moved = ["migrations", "migrations_failed", "failovers", "replayed"].map(|name| counters[name].as_u64());
    assert_eq!(moved, [Some(1), Some(0), Some(0), Some(0)]);
    one.kill();
    let answer = program.call("POST", &path, Some("{}")).await;
    assert_eq!((answer.status, answer.error().contains("no other backend took it")), (409, true), "{answer:?}");
    chat(&mut client, "still there").await;
    let metrics = program.metrics().await;
    assert_eq!((metrics.sum("migrations_total"), metrics.sum("migrations_failed_total")), (1, 1));
}

#[tokio::test]
async fn backends_and_readiness_show_what_dials_found() {
    let scratch = Scratch::new("backends");
    let one = Echo::new().await;
    let program = Program::with_token(&scratch, &[one.address], &["--connect-timeout", "3s"]);
    let mut client = program.client().await;
    chat(&mut client, "hello").await;
    let backend = program.get("/v1/backends").await.json()["backends"][0].clone();
    assert_eq!((&backend["legs"], &backend["failing"]), (&json!(1), &json!(false)));
    assert_eq!(program.get("/readyz").await.status, 200);
    one.kill();
    let ready = wait_for("a failed dial", async || {
        let answer = program.get("/readyz").await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert!(ready.error().contains("no backend"), "{ready:?}");
    let backend = program.get("/v1/backends").await.json()["backends"][0].clone();
    assert_eq!(backend["failing"], json!(true));
    assert_eq!(program.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_poisoned_message_is_kept_for_the_operator() {
    let scratch = Scratch::new("poison");
    // It dies twice until the message has its turn alone, and once with it.
    let echo = Echo::that_comes_back().await;
    let flags = [
        ["--max-replays", "1"],
        ["--keep-poison-payload", "on"],
        ["--on-poison", "close"],
        ["--on-ambiguous", "failover"],
    ]
    .concat();
    let program = Program::with_token(&scratch, &[echo.address], &flags);
    let mut client = program.client().await;
    chat(&mut client, "hello").await;
    let id = ids(&program, "").await.pop().unwrap();
    wait_for("its acknowledgement", async || {
        (program.get(&format!("/v1/sessions/{id}")).await.json()["retained"] == 0).then_some(())
    })
    .await;
    client.send(Message::text("kill")).await.unwrap();
    let list = wait_for("the poisoned message", async || {
        let list = program.get("/v1/poisoned").await.json()["poisoned"].clone();
        (list != json!([])).then_some(list)
    })
    .await;
    let poisoned = &list[0];
    assert_eq!((&poisoned["session"], &poisoned["seq"], &poisoned["deaths"]), (&json!(id), &json!(2), &json!(1)));
    assert_eq!((&poisoned["payload_kept"], poisoned.get("payload")), (&json!(true), None));
    let path = format!("/v1/poisoned/{id}/2");
    assert_eq!(program.get(&path).await.json()["payload"], json!({ "encoding": "text", "data": "kill" }));
    let shown = program.ctl(&scratch, &["poisoned", &id, "2"]);
    assert!(String::from_utf8(shown.stdout).unwrap().contains("text: kill"));
    program.metrics().await.assert_balance();
    assert_eq!(program.metrics().await.sum("messages_poisoned_total"), 1);

    assert_eq!(program.call("DELETE", &path, None).await.status, 204);
    assert_eq!(program.call("DELETE", &path, None).await.status, 404);
    assert_eq!(program.get(&path).await.status, 404);
    assert_eq!(program.get("/v1/poisoned").await.json(), json!({ "poisoned": [] }));
}
