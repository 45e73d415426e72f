//! Values from a file that is read again.

use tideover_tests::{
    Replaced,
    deadline::eventually,
    hook::{Hook, Reply},
    lock::machine_shared,
    proxy::says,
};

use super::site::{SOON, Site, assert_works};

const LOADED: &str = "values for re-attaches loaded again";
const NOT_TAKEN: &str = "the values for re-attaches are not taken: those before stay";

async fn said(site: &Site, what: &str, times: usize) {
    let count = || site.proxy.log_lines().iter().filter(|line| says(line, what)).count();
    eventually(SOON, format_args!("the log says {what:?} {times} times"), || count() >= times).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reattaches_get_what_the_file_says_then_and_a_bad_file_changes_nothing() {
    let _machine = machine_shared();
    let file = Replaced::new("[headers]\nAuthorization = 'Bearer secret-1'\n[query]\ntoken = 'secret-1'\n");
    let site = Site::start(&["--reattach-values-file", &file.text()]).await;
    let (mut client, leg) = site.session("/?a=%20&token=0", &["Authorization: Bearer secret-0", "x-a: 1"]).await;
    assert_eq!(leg.request.target(), "/?a=%20&token=0", "a first attach is the client's own");
    let has = |leg: &super::site::Leg, number: u32| {
        assert_eq!(leg.request.header("Authorization"), Some(format!("Bearer secret-{number}").as_str()));
        assert_eq!(leg.request.target(), format!("/?a=%20&token=secret-{number}"));
        assert_eq!(leg.request.header("X-A"), Some("1"));
    };
    let leg = site.restart(leg).await;
    has(&leg, 1);

    file.replace("[headers]\nAuthorization = 'Bearer secret-2'\n[query]\ntoken = 'secret-2'\n");
    said(&site, LOADED, 1).await;
    let mut leg = site.restart(leg).await;
    has(&leg, 2);

    let wrong = ["[headers]\nHost = 'secret-3'", "[headers]\nA = \"secret-3\\n\"", "[query]\ntoken = secret-3"];
    for (times, wrong) in (1..).zip(wrong) {
        file.replace(wrong);
        said(&site, NOT_TAKEN, times).await;
        leg = site.restart(leg).await;
        has(&leg, 2);
    }
    file.replace("");
    said(&site, LOADED, 2).await;
    let mut leg = site.restart(leg).await;
    assert_eq!(leg.request.target(), "/?a=%20&token=0");
    assert_works(&mut client, &mut leg).await;
    site.assert_not_logged(&["secret-"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_older_than_a_reload_gets_what_the_file_says_now() {
    let _machine = machine_shared();
    let file = Replaced::new("[headers]\nX-Key = '1'\n");
    let site = Site::start(&["--reattach-values-file", &file.text()]).await;
    let (_client, leg) = site.session("/", &[]).await;
    site.proxy.hang_up();
    said(&site, "configuration reloaded", 1).await;
    file.replace("[headers]\nX-Key = '2'\n");
    said(&site, LOADED, 1).await;
    let leg = site.restart(leg).await;
    assert_eq!(leg.request.header("X-Key"), Some("2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_hook_answers_goes_before_the_file() {
    let _machine = machine_shared();
    let file = Replaced::new("[headers]\nX-A = 'file'\nX-B = 'file'\n[query]\na = 'file'\nb = 'file'\n");
    let hook = Hook::start(Reply::json(r#"{"headers": {"x_a": "hook"}, "query": {"a": "hook"}}"#)).await;
    let site = Site::asking(&hook, &["--reattach-values-file", &file.text()]).await;
    let (_client, leg) = site.session("/", &[]).await;
    let leg = site.restart(leg).await;
    assert_eq!(leg.request.target(), "/?a=hook&b=file");
    let fields = ["x-a", "x_a", "x-b"].map(|name| leg.request.header(name));
    assert_eq!(fields, [None, Some("hook"), Some("file")]);
}
