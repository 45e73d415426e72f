//! Hooks that give no good answer, and what becomes of their sessions.

use std::time::Duration;

use tideover_tests::{
    deadline::eventually,
    hook::{Hook, Reply},
    lock::machine_shared,
    ports,
    proxy::says,
};

use super::site::{SOON, Site, assert_closed, assert_works};

/// What is no good answer, and what the log says of it.
fn bad_answers(elsewhere: &Hook) -> Vec<(Reply, &'static str)> {
    let redirect = |status| Reply::status(status, &format!("Location: {}\r\n", elsewhere.url()));
    let long = format!(r#"{{"headers": {{"A": "answer-secret{}"}}}}"#, "x".repeat(20_000));
    vec![
        (Reply::status(500, ""), "answered 500"),
        (Reply::status(403, ""), "answered 403"),
        (redirect(302), "answered 302 Found; redirects are not followed"),
        (redirect(307), "redirects are not followed"),
        (redirect(308), "redirects are not followed"),
        (Reply::json(""), "it is no JSON object"),
        (Reply::json(r#""answer-secret""#), "it is no JSON object"),
        (Reply::json(&long), "the answer is longer than reattach-hook-max-bytes"),
        (Reply::json(r#"{"header": {"A": "answer-secret"}}"#), "unknown key"),
        (Reply::json(r#"{"headers": {"Host": "answer-secret"}}"#), "the header field host cannot be set"),
        (Reply::json(r#"{"headers": {"Connection": "close"}}"#), "the header field connection cannot be set"),
        (Reply::json(r#"{"headers": {"Upgrade": "h2c"}}"#), "the header field upgrade cannot be set"),
        (Reply::json(r#"{"headers": {"Sec-WebSocket-Protocol": "x"}}"#), "sec-websocket-protocol cannot be set"),
        (Reply::json(r#"{"headers": {"tideover_session": "x"}}"#), "tideover_session cannot be set"),
        (Reply::json(r#"{"headers": {"X_Forwarded-For": "x"}}"#), "x_forwarded-for cannot be set"),
        (Reply::json(r#"{"headers": {"Transfer-Encoding": "chunked"}}"#), "transfer-encoding cannot be set"),
        (Reply::json(r#"{"headers": {"Content-Length": "5"}}"#), "content-length cannot be set"),
        (Reply::json(r#"{"headers": {"A": "x\r\nB: answer-secret"}}"#), "has bytes that no field may have"),
        (Reply::json(r#"{"delay_ms": 3600000}"#), "delay_ms is more than a minute"),
        (Reply::Bytes("answer-secret\r\n\r\n".into()), "no HTTP answer"),
        (Reply::Bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".into()), "the hook failed or broke off"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_cannot_be_followed_is_not_followed_in_part_and_its_values_are_not_logged() {
    let _machine = machine_shared();
    let (hook, elsewhere) = (Hook::start(Reply::Nothing).await, Hook::start(Reply::json("{}")).await);
    let flags = ["--on-hook-failure", "attach", "--reattach-hook-cache", "0s", "--reattach-hook-timeout", "2s"];
    let site = Site::asking(&hook, &flags).await;
    let (mut client, mut leg) = site.session("/?a=1", &["Authorization: Bearer old-secret"]).await;
    let first = leg.request.clone();
    for (reply, why) in bad_answers(&elsewhere) {
        // A body that is cut off ends with the connection, which the harness leaves open: the timeout ends that.
        let cut_off = why == "the hook failed or broke off";
        hook.reply(reply);
        leg = site.restart(leg).await;
        assert_eq!(leg.request.target(), "/?a=1", "{why}");
        let but_epoch = |head: &tideover_tests::raw::Head| {
            let fresh = ["tideover-epoch", "tideover-next-seq", "tideover-delivered", "sec-websocket-key"];
            let mut rest = head.headers.clone();
            rest.retain(|(name, _)| !fresh.contains(&name.to_ascii_lowercase().as_str()));
            rest.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
            rest.sort();
            rest
        };
        assert_eq!(but_epoch(&leg.request), but_epoch(&first), "{why}");
        let why = if cut_off { "no answer in time" } else { why };
        eventually(SOON, format_args!("the log says {why}"), || site.proxy.log_text().contains(why)).await;
    }
    assert_works(&mut client, &mut leg).await;
    assert_eq!(elsewhere.calls().len(), 0, "redirects are not followed");
    site.assert_not_logged(&["secret"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_wait_a_failing_hook_is_asked_again_until_it_answers() {
    let _machine = machine_shared();
    let hook = Hook::start(Reply::status(503, "")).await;
    let site = Site::asking(&hook, &[]).await;
    let (mut client, leg) = site.session("/", &["Authorization: old"]).await;
    site.end(leg).await;
    eventually(SOON, "it is asked again and again", || hook.calls().len() >= 3).await;
    hook.reply(Reply::json(r#"{"headers": {"Authorization": "new"}}"#));
    let mut leg = site.leg().await;
    assert_eq!(leg.request.header("Authorization"), Some("new"));
    assert_works(&mut client, &mut leg).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_wait_the_client_gets_close_1013_when_the_time_for_a_failover_is_over() {
    let _machine = machine_shared();
    let hook = Hook::start(Reply::Nothing).await;
    let site = Site::asking(&hook, &["--failover-timeout", "500ms", "--reattach-hook-timeout", "1h"]).await;
    let (mut client, leg) = site.session("/", &[]).await;
    site.end(leg).await;
    assert_closed(&mut client, 1013).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_close_a_failing_hook_ends_the_session_with_1008() {
    let _machine = machine_shared();
    let hook = Hook::start(Reply::status(503, "")).await;
    let site = Site::asking(&hook, &["--on-hook-failure", "close"]).await;
    let (mut client, leg) = site.session("/", &[]).await;
    site.end(leg).await;
    assert_closed(&mut client, 1008).await;
    let logged = || site.proxy.log_text().contains("the re-attach hook failed: answered 503");
    eventually(SOON, "the log says why", logged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_hook_is_not_waited_for_longer_than_its_timeout() {
    let _machine = machine_shared();
    let hook = Hook::start(Reply::Nothing).await;
    let flags = ["--on-hook-failure", "attach", "--reattach-hook-timeout", "300ms"];
    let site = Site::asking(&hook, &flags).await;
    let (mut client, leg) = site.session("/", &["Authorization: old"]).await;
    let begun = std::time::Instant::now();
    let mut leg = site.restart(leg).await;
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    assert_eq!(leg.request.header("Authorization"), Some("old"));
    assert_works(&mut client, &mut leg).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_queue_for_a_dead_hook_leave_the_queue_with_the_first_that_finds_nobody() {
    let _machine = machine_shared();
    let hook = Hook::start(Reply::Nothing).await;
    // One after the other, eight calls would take 24 seconds, more than the time for a failover.
    let flags = [
        "--on-hook-failure",
        "attach",
        "--reattach-hook-calls",
        "1",
        "--reattach-hook-timeout",
        "3s",
        "--failover-timeout",
        "15s",
    ];
    let site = Site::asking(&hook, &flags).await;
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(site.session("/", &[]).await);
    }
    let mut clients = Vec::new();
    for (client, leg) in sessions {
        site.end(leg).await;
        clients.push(client);
    }
    let mut legs = Vec::new();
    for _ in 0..clients.len() {
        legs.push(site.leg().await);
    }
    let gave_up = "not asked, as another call had just found nobody";
    assert!(site.proxy.log_text().contains(gave_up), "{}", site.proxy.log_text());
    assert!(hook.calls().len() < 4, "{} calls", hook.calls().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_is_not_there_is_a_failure() {
    let _machine = machine_shared();
    let nobody = ports::reserve();
    let url = format!("http://127.0.0.1:{}/", nobody.number);
    let site = Site::start(&["--reattach-hook", &url]).await;
    let (mut client, leg) = site.session("/", &[]).await;
    site.end(leg).await;
    let waits = || site.proxy.log_lines().iter().filter(|line| says(line, "no backend this time")).count();
    eventually(SOON, "it is tried more than once", || waits() >= 2).await;
    assert!(site.proxy.log_text().contains("the re-attach hook failed: cannot connect"), "{}", site.proxy.log_text());
    client.shutdown().await;
}
