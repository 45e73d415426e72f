//! Metrics that balance, that are documented, and an API that is.

mod admin_support;

use std::collections::{BTreeMap, BTreeSet};

use admin_support::{Echo, Program, Scratch, chat, nobody_listens, soon, wait_for};
use futures_util::SinkExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

const DOCS: &str = include_str!("../../docs/metrics.md");

#[tokio::test]
async fn the_accounts_balance_while_sessions_live_and_when_they_have_ended() {
    let scratch = Scratch::new("balance");
    let (one, other) = (Echo::new().await, Echo::new().await);
    let program = Program::with_token(&scratch, &[one.address, other.address], &["--workers", "2"]);
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(program.client().await);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for (n, mut client) in clients.into_iter().enumerate() {
        tasks.spawn(async move {
            for message in 0..200 {
                chat(&mut client, &format!("{n} {message}")).await;
            }
            client
        });
    }
    // In the middle of it, one backend dies.
    wait_for("half of the messages", async || {
        let metrics = program.metrics().await;
        metrics.assert_balance();
        (metrics.sum("messages_received_total") >= 1000).then_some(())
    })
    .await;
    one.kill();
    let mut clients = Vec::new();
    while let Some(client) = soon(tasks.join_next()).await {
        clients.push(client.unwrap());
        program.metrics().await.assert_balance();
    }
    let metrics = wait_for("all sessions on the other backend", async || {
        let metrics = program.metrics().await;
        let failovers = metrics.sum("failovers_total");
        let counted = failovers >= 1 && metrics.sum("failover_duration_seconds_count") >= failovers;
        (counted && metrics.sum("backend_legs") == 10 && metrics.sum("sessions_detached") == 0).then_some(metrics)
    })
    .await;
    assert_eq!(metrics.sum("messages_received_total"), 2000);
    assert_eq!((metrics.sum("sessions_live"), metrics.sum("sessions_opened_total")), (10, 10));
    assert_eq!(metrics.sum("sessions_ended_total"), 0);

    drop(clients);
    let metrics = wait_for("the end of all sessions", async || {
        let metrics = program.metrics().await;
        metrics.assert_balance();
        // A session is counted as ended a moment before its task gives back what it held.
        let gone = metrics.sum("sessions_live") == 0 && metrics.sum("buffer_used_bytes") == 0;
        (gone && metrics.sum("sessions_ended_total") == 10).then_some(metrics)
    })
    .await;
    assert_eq!((metrics.sum("sessions_live"), metrics.sum("messages_retained")), (0, 0));
    assert_eq!((metrics.sum("sessions_detached"), metrics.sum("buffer_used_bytes")), (0, 0));
}

#[tokio::test]
async fn what_a_session_still_held_at_its_end_is_abandoned() {
    let scratch = Scratch::new("abandoned");
    let echo = Echo::new().await;
    let program = Program::with_token(&scratch, &[echo.address], &[]);
    let mut client = program.client().await;
    chat(&mut client, "hello").await;
    echo.kill();
    wait_for("the loss of the leg", async || (program.metrics().await.sum("sessions_detached") == 1).then_some(()))
        .await;
    for n in 0..5 {
        client.send(Message::text(format!("{n}"))).await.unwrap();
    }
    let metrics = wait_for("five messages in the ring", async || {
        let metrics = program.metrics().await;
        metrics.assert_balance();
        (metrics.sum("messages_received_total") == 6).then_some(metrics)
    })
    .await;
    let retained = metrics.sum("messages_retained");
    assert!(retained >= 5, "{metrics:?}");
    let id = program.get("/v1/sessions").await.json()["sessions"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(program.get(&format!("/v1/sessions/{id}")).await.json()["retained"], retained);
    program.call("POST", &format!("/v1/sessions/{id}/close"), Some("{\"code\":1001}")).await;
    drop(client);
    let metrics = wait_for("the end of the session", async || {
        let metrics = program.metrics().await;
        metrics.assert_balance();
        (metrics.sum("sessions_ended_total") == 1).then_some(metrics)
    })
    .await;
    assert_eq!((metrics.sum("messages_retained"), metrics.sum("sessions_detached")), (0, 0));
    assert!(metrics.sum("messages_abandoned_total") >= 5, "{metrics:?}");
}

#[tokio::test]
async fn refused_handshakes_are_counted_by_reason() {
    let scratch = Scratch::new("refused");
    let program = Program::with_token(&scratch, &[nobody_listens().await], &["--http", "reject"]);
    for request in ["GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "nonsense\r\n\r\n"] {
        let mut stream = tokio::net::TcpStream::connect(program.listen).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        soon(stream.read_to_end(&mut Vec::new())).await.unwrap();
    }
    assert!(Box::pin(tokio_tungstenite::connect_async(format!("ws://{}", program.listen))).await.is_err());
    let metrics = wait_for("three refusals", async || {
        let metrics = program.metrics().await;
        (metrics.sum("handshakes_refused_total") == 3).then_some(metrics)
    })
    .await;
    for reason in ["not_websocket", "bad", "no_backend"] {
        assert!(
            metrics.0.contains(&format!("tideover_handshakes_refused_total{{reason=\"{reason}\"}} 1\n")),
            "{reason}"
        );
    }
}

/// Name, type, labels.
type Metric = (String, String, BTreeSet<String>);

fn documented() -> BTreeSet<Metric> {
    let rows = DOCS.lines().filter(|line| line.starts_with("| `tideover_"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let labels = cells[4].split(',').map(|label| label.trim().trim_matches('`').to_owned());
        (cells[1].trim_matches('`').to_owned(), cells[2].to_owned(), labels.filter(|label| !label.is_empty()).collect())
    })
    .collect()
}

fn scraped(text: &str) -> BTreeSet<Metric> {
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let kinds: BTreeMap<_, _> = kinds.map(|line| line.split_once(' ').unwrap()).collect();
    let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let metric = |(family, kind): (&&str, &&str)| {
        let name = match *kind {
            "counter" => format!("{family}_total"),
            "info" => format!("{family}_info"),
            _ => (*family).to_owned(),
        };
        let own = samples.iter().filter_map(|line| line.strip_prefix(&name)?.strip_prefix('{'));
        let labels = own.flat_map(|labels| labels.split_once('}').unwrap().0.split(','));
        (name.clone(), (*kind).to_owned(), labels.map(|label| label.split_once('=').unwrap().0.to_owned()).collect())
    };
    kinds.iter().map(metric).collect()
}

#[tokio::test]
async fn each_metric_is_documented_and_each_documented_one_exists() {
    let scratch = Scratch::new("docs");
    let target = ["--sessions-per-backend", "100"];
    let program = Program::with_token(&scratch, &[nobody_listens().await], &target);
    let text = program.metrics().await.0;
    assert_eq!(scraped(&text), documented());
    for (name, unit) in DOCS.lines().filter(|line| line.starts_with("| `tideover_")).map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        (cells[1].trim_matches('`').trim_end_matches("_total"), cells[3])
    }) {
        assert_eq!(text.contains(&format!("# UNIT {name} {unit}\n")), ["seconds", "bytes"].contains(&unit), "{name}");
    }
    assert!(text.ends_with("# EOF\n") && text.contains("le=\"+Inf\""), "{text}");
}

#[tokio::test]
async fn every_route_is_in_the_document_and_nothing_else_is() {
    let scratch = Scratch::new("openapi");
    let program = Program::with_token(&scratch, &[nobody_listens().await], &[]);
    let document = program.get("/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap();
    let listed: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| format!("{method} {path}")))
        .collect();
    let expected = [
        "delete /v1/backends/{id}",
        "delete /v1/poisoned/{session}/{seq}",
        "get /healthz",
        "get /metrics",
        "get /openapi.json",
        "get /readyz",
        "get /v1/backends",
        "get /v1/backends/{id}",
        "get /v1/poisoned",
        "get /v1/poisoned/{session}/{seq}",
        "get /v1/proxy",
        "get /v1/sessions",
        "get /v1/sessions/{id}",
        "patch /v1/backends/{id}",
        "post /v1/backends",
        "post /v1/backends/{id}/disable",
        "post /v1/backends/{id}/drain",
        "post /v1/backends/{id}/enable",
        "post /v1/backends/{id}/failover",
        "post /v1/backends/{id}/reset",
        "post /v1/proxy/pause",
        "post /v1/proxy/reload",
        "post /v1/proxy/resume",
        "post /v1/sessions/{id}/close",
        "post /v1/sessions/{id}/failover",
        "post /v1/sessions/{id}/migrate",
    ];
    assert_eq!(listed, expected.map(str::to_owned).into());
    let mut operations = BTreeSet::new();
    for (path, item) in paths {
        let real = path.replace("{id}", "0190b2c4-0000-7000-8000-000000000000");
        let real = real.replace("{session}", "0190b2c4-0000-7000-8000-000000000000").replace("{seq}", "1");
        for method in ["get", "post", "delete", "put", "patch"] {
            let status = program.call(&method.to_uppercase(), &real, None).await.status;
            match item.get(method) {
                Some(operation) => {
                    assert!(operation["responses"].get(status.to_string()).is_some(), "{method} {path}: {status}");
                    assert!(operations.insert(operation["operationId"].to_string()), "{operation}");
                }
                None => assert_eq!(status, 405, "{method} {path}"),
            }
        }
    }
    for unknown in ["/", "/v1", "/v1/nope", "/healthz/", "/v1/sessions/"] {
        let answer = program.get(unknown).await;
        assert_eq!((answer.status, answer.error().is_empty()), (404, false), "{unknown}");
    }
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document["components"]["schemas"].get(reference).is_some(), "{reference} is not defined");
    }
}
