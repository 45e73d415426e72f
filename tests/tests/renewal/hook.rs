//! The hook: when it is asked and what, and what its answer does.

use std::time::Duration;

use serde_json::json;
use tideover_tests::{
    Proxy, Scratch,
    clock::now_ns,
    deadline::eventually,
    hook::{Hook, Reply},
    lock::machine_shared,
    operator::Operator,
    raw::{Connection, RawBackend},
    tls::{Authority, Files, VALID, acceptor, path_text},
};

use super::site::{SOON, Site, assert_closed, assert_works};

const ODD: &str = "/a%2Fb?user=a+b&sid=1&flag&&x=%7e&token=old";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hook_is_asked_once_a_reattach_and_the_next_backend_gets_what_it_answered_and_the_rest_as_it_was() {
    let _machine = machine_shared();
    let answer = r#"{"headers": {"Authorization": "Bearer fresh-secret", "X-Gone": null},
                     "query": {"token": "new secret&", "sid": null}}"#;
    let hook = Hook::start(Reply::json(answer)).await;
    let site = Site::asking(&hook, &["--reattach-hook-cache", "0s"]).await;
    let headers =
        ["Authorization: Bearer old-secret", "Cookie: a=cookie-secret", "X-Tenant: t\u{e9}", "x_gone: 1", "X-Kept: 2"];
    let (mut client, leg) = site.session(ODD, &headers).await;
    let first = leg.request.clone();
    assert_eq!(first.target(), ODD);
    assert!(hook.calls().is_empty(), "a first attach asks nobody");
    let mut leg = site.restart(leg).await;
    for epoch in [2, 3] {
        assert_eq!(leg.request.target(), "/a%2Fb?user=a+b&flag&&x=%7e&token=new%20secret%26");
        assert_eq!(leg.request.header("Authorization"), Some("Bearer fresh-secret"));
        assert_eq!(leg.request.header("x_gone"), None);
        for kept in ["Cookie", "X-Tenant", "X-Kept", "Host", "X-Forwarded-For", "Forwarded", "Tideover-Session"] {
            assert_eq!(leg.request.header(kept), first.header(kept), "{kept}");
        }
        assert_eq!(leg.request.header("Tideover-Epoch"), Some(epoch.to_string().as_str()));
        assert_works(&mut client, &mut leg).await;
        let calls = hook.calls();
        assert_eq!(calls.len(), epoch - 1);
        let call = calls.last().expect("a call");
        assert_eq!(call.head.first_line, "POST /renew?key=hook-secret HTTP/1.1");
        assert_eq!(call.head.header("Content-Type"), Some("application/json"));
        assert_eq!(call.head.header("Host"), Some(hook.address().to_string().as_str()));
        let told = json!({"authorization": ["Bearer old-secret"], "x-tenant": ["t\u{c3}\u{a9}"]});
        let session = first.header("Tideover-Session").expect("each backend is told the session");
        assert_eq!(call.body, json!({"session": session, "epoch": epoch, "headers": told}));
        leg = site.restart(leg).await;
    }
    site.assert_not_logged(&["secret"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_the_hook_denies_gets_close_1008_and_no_backend() {
    let _machine = machine_shared();
    let hook = Hook::start(Reply::json(r#"{"deny": true}"#)).await;
    let site = Site::asking(&hook, &[]).await;
    let (mut client, leg) = site.session("/", &[]).await;
    site.end(leg).await;
    assert_closed(&mut client, 1008).await;
    assert_eq!(hook.calls().len(), 1);
    // A session of another client is the next that the backend hears of.
    let (_client, leg) = site.session("/next", &[]).await;
    assert_eq!(leg.request.target(), "/next");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_content_attaches_as_the_client_came() {
    let _machine = machine_shared();
    let hook = Hook::start(Reply::status(204, "")).await;
    let site = Site::asking(&hook, &[]).await;
    let (mut client, leg) = site.session(ODD, &["Authorization: Bearer 1"]).await;
    let mut leg = site.restart(leg).await;
    assert_eq!((leg.request.target(), leg.request.header("Authorization")), (ODD, Some("Bearer 1")));
    assert_works(&mut client, &mut leg).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_that_the_hook_asks_for_is_kept() {
    let _machine = machine_shared();
    let hook = Hook::start(Reply::json(r#"{"delay_ms": 700}"#)).await;
    let site = Site::asking(&hook, &[]).await;
    let (mut client, leg) = site.session("/", &[]).await;
    let mut leg = site.restart(leg).await;
    let waited = Duration::from_nanos(now_ns() - hook.calls()[0].at);
    assert!(waited >= Duration::from_millis(700), "{waited:?}");
    assert_works(&mut client, &mut leg).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_good_for_its_time_and_session_and_until_a_backend_denies_it() {
    let _machine = machine_shared();
    let hook = Hook::start(Reply::json(r#"{"headers": {"Authorization": "1"}}"#)).await;
    let site = Site::asking(&hook, &["--reattach-hook-cache", "1h"]).await;
    let (mut client, leg) = site.session("/", &[]).await;
    let leg = site.restart(leg).await;
    hook.reply(Reply::json(r#"{"headers": {"Authorization": "2"}}"#));
    let mut leg = site.restart(leg).await;
    assert_eq!((leg.request.header("Authorization"), hook.calls().len()), (Some("1"), 1), "the answer is still good");
    assert_works(&mut client, &mut leg).await;

    let (_other, other) = site.session("/other", &[]).await;
    let other = site.restart(other).await;
    assert_eq!((other.request.header("Authorization"), hook.calls().len()), (Some("2"), 2), "each session has its own");

    site.end(leg).await;
    let mut denying = site.backend.connection(SOON).await;
    let request = denying.head(SOON).await.expect("a request");
    assert_eq!(request.header("Authorization"), Some("1"));
    denying.send_bytes("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n").await.expect("sent");
    // One backend in all that denies is believed: the session is over, and its answer with it.
    assert_closed(&mut client, 1008).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_one_backend_denies_are_asked_for_again_before_the_next_round() {
    let _machine = machine_shared();
    let hook = Hook::start(Reply::json(r#"{"query": {"token": "1"}}"#)).await;
    let backends = [RawBackend::bind().await, RawBackend::bind().await];
    let url = hook.url();
    let flags = ["--reattach-hook", &url, "--reattach-hook-cache", "1h", "--balance", "round-robin"];
    let proxy = Proxy::before(backends.iter().map(RawBackend::address), &flags);
    let client = Connection::client(proxy.address(), "/", &[]);
    let first = async {
        tokio::select! {
            leg = backends[0].session(SOON) => (leg, 0),
            leg = backends[1].session(SOON) => (leg, 1),
        }
    };
    let (_client, (mut leg, on)) = tokio::join!(client, first);
    let other = &backends[1 - on];
    leg.send(&tideover_tests::raw::Frame::close(1012, "")).await.expect("sent");
    let mut denying = other.connection(SOON).await;
    let request = denying.head(SOON).await.expect("a request");
    assert_eq!(request.target(), "/?token=1");
    hook.reply(Reply::json(r#"{"query": {"token": "2"}}"#));
    denying.send_bytes("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").await.expect("sent");
    // The round goes on with the other backend, which is broken for now.
    let mut broken = backends[on].connection(SOON).await;
    assert_eq!(broken.head(SOON).await.expect("a request").target(), "/?token=1");
    drop(broken);
    let mut again = other.connection(SOON).await;
    assert_eq!(again.accept(&[]).await.target(), "/?token=2");
    assert_eq!(hook.calls().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_asks_the_hook_and_one_that_is_denied_leaves_the_session_where_it_is() {
    let _machine = machine_shared();
    let hook = Hook::start(Reply::json(r#"{"deny": true}"#)).await;
    let backends = [RawBackend::bind().await, RawBackend::bind().await];
    let (operator, url) = (Operator::on_socket(), hook.url());
    let admin = operator.flags();
    let flags: Vec<&str> = admin.iter().map(String::as_str).chain(["--reattach-hook", &url]).collect();
    let proxy = Proxy::before(backends.iter().map(RawBackend::address), &flags);
    let client = Connection::client(proxy.address(), "/", &[]);
    let first = async {
        tokio::select! {
            leg = backends[0].session(SOON) => (leg, 0),
            leg = backends[1].session(SOON) => (leg, 1),
        }
    };
    let (mut client, (connection, on)) = tokio::join!(client, first);
    let other = &backends[1 - on];
    let id = operator.json(&["sessions"])["sessions"][0]["id"].as_str().expect("a session").to_owned();
    let refused = tokio::task::block_in_place(|| operator.tell(&["migrate", &id]));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(hook.calls().len(), 1);
    let mut leg = super::site::Leg { connection, request: hook.calls()[0].head.clone() };
    assert_works(&mut client, &mut leg).await;

    hook.reply(Reply::json(r#"{"headers": {"Authorization": "new"}}"#));
    let order = operator.command(&["migrate", &id]).spawn().expect("tideover starts");
    let old = tokio::spawn(async move { while leg.connection.next_answering_pings(SOON).await.is_ok() {} });
    let mut connection = other.connection(SOON).await;
    let request = connection.accept(&[]).await;
    assert_eq!(request.header("Authorization"), Some("new"));
    let moved = tokio::task::spawn_blocking(move || order.wait_with_output());
    assert!(moved.await.expect("no panic").expect("it ends").status.success(), "{}", proxy.log_text());
    assert_works(&mut client, &mut super::site::Leg { connection, request }).await;
    old.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_calls_are_under_way_than_allowed_and_each_session_gets_its_answer() {
    let _machine = machine_shared();
    let slow = Reply::Json(r#"{"headers": {"Authorization": "new"}}"#.into(), Duration::from_millis(500));
    let hook = Hook::start(slow).await;
    let site = Site::asking(&hook, &["--reattach-hook-calls", "2", "--reattach-hook-timeout", "10s"]).await;
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(site.session("/", &[]).await);
    }
    let mut clients = Vec::new();
    for (client, leg) in sessions {
        site.end(leg).await;
        clients.push(client);
    }
    for _ in 0..clients.len() {
        assert_eq!(site.leg().await.request.header("Authorization"), Some("new"));
    }
    assert_eq!((hook.calls().len(), hook.most_under_way()), (8, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_begin_at_their_rate_and_each_session_gets_its_answer() {
    let _machine = machine_shared();
    let hook = Hook::start(Reply::json(r#"{"headers": {"Authorization": "new"}}"#)).await;
    let site = Site::asking(&hook, &["--reattach-hook-rate", "4"]).await;
    let mut sessions = Vec::new();
    for _ in 0..6 {
        sessions.push(site.session("/", &[]).await);
    }
    let (begun, mut clients) = (std::time::Instant::now(), Vec::new());
    for (client, leg) in sessions {
        site.end(leg).await;
        clients.push(client);
    }
    for _ in 0..clients.len() {
        assert_eq!(site.leg().await.request.header("Authorization"), Some("new"));
    }
    // The first begins at once, each of the others a quarter of a second behind the one before.
    assert!(begun.elapsed() >= Duration::from_millis(1250 - 5), "{:?}", begun.elapsed());
    assert_eq!(hook.calls().len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_signed_with_the_session_key() {
    let _machine = machine_shared();
    let hook = Hook::start(Reply::json("{}")).await;
    let scratch = Scratch::new("key");
    std::fs::write(scratch.path("key"), "correct horse battery staple").expect("written");
    let site = Site::asking(&hook, &["--session-key-file", path_text(&scratch.path("key"))]).await;
    let (_client, leg) = site.session("/", &[]).await;
    site.restart(leg).await;
    let calls = hook.calls();
    let signature = calls[0].head.header("Tideover-Signature").expect("signed");
    let (time, mac) = signature.strip_prefix("t=").and_then(|rest| rest.split_once(", v1=")).expect("t=…, v1=…");
    assert!(time.parse::<u64>().is_ok_and(|time| time > 1_700_000_000), "{time}");
    assert!(mac.len() == 64 && mac.bytes().all(|digit| digit.is_ascii_hexdigit()), "{mac}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_with_tls_must_have_a_certificate_that_is_trusted() {
    let _machine = machine_shared();
    let (files, authority, strangers) = (Files::default(), Authority::shared(), Authority::new("strangers"));
    let ca = authority.ca(&files, "ca.pem");
    let good = authority.pair(&files, "good", &["localhost"], VALID);
    let strange = strangers.pair(&files, "strange", &["localhost"], VALID);
    for (pair, trusted) in [(&good, true), (&strange, false)] {
        let answer = Reply::json(r#"{"headers": {"Authorization": "new"}}"#);
        let hook = Hook::start_tls(answer, acceptor(pair, None)).await;
        let url = format!("https://localhost:{}/", hook.address().port());
        let flags = ["--reattach-hook", &url, "--reattach-hook-ca", path_text(&ca), "--on-hook-failure", "attach"];
        let site = Site::start(&flags).await;
        let (_client, leg) = site.session("/", &["Authorization: old"]).await;
        let leg = site.restart(leg).await;
        let expected = if trusted { "new" } else { "old" };
        assert_eq!(leg.request.header("Authorization"), Some(expected), "{}", site.proxy.log_text());
        assert_eq!(hook.calls().len(), usize::from(trusted));
        let why = "its certificate is of an authority that is not trusted here";
        eventually(SOON, why, || trusted || site.proxy.log_text().contains(why)).await;
    }
}
