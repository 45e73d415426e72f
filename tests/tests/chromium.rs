//! A page in a real browser: Debian's Chromium, headless, opens `wss://` through the proxy.

use std::time::Duration;

use tideover_tests::{
    Backend, Kind, Proxy,
    backend::{Event, What},
    client::{ForeignClients, Load},
    deadline::eventually,
    environment,
    judge::{Judge, Leg},
    lock::machine_alone,
    tls::{Authority, Files, VALID},
};

const PAGES_SOCKETS: u32 = 4;
/// Chromium takes its time to start on a loaded machine.
const STARTED_WITHIN: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_never_sees_onclose_or_onerror_when_backends_are_killed() {
    let _machine = machine_alone();
    let chromium = match environment::chromium() {
        Ok(chromium) => chromium,
        Err(needed) => return eprintln!("not run: {needed}"),
    };
    let files = Files::default();
    let pair = Authority::shared().pair(&files, "localhost", &["localhost"], VALID);
    let mut backends = [Kind::NodeSync, Kind::NodeSync].map(Backend::start);
    let proxy = Proxy::start(&backends, &pair.flags());
    let url = format!("wss://localhost:{}/echo", proxy.address().port());
    let page = ForeignClients::start_page(chromium, &pair, &url, 0..PAGES_SOCKETS, Load::new(50, 15));
    // Each kill is to meet sessions: after it, all of them are on the other backend.
    let mut kills = Vec::new();
    for victim in [0, 1, 0, 1] {
        let pid = backends[victim].pid();
        let read = |event: &Event| event.pid() == pid && matches!(event.what, What::Read(..));
        let busy = || backends[victim].events().iter().any(read);
        eventually(STARTED_WITHIN, format_args!("the page has a session on backend {victim}"), busy).await;
        kills.push(backends[victim].kill());
        backends[victim].restart();
    }
    let judge = Judge::new(&backends, page.finish().await);
    judge.assert_nothing_lost_and_nobody_closed();
    assert_eq!(judge.transcripts.len(), PAGES_SOCKETS as usize);
    let killed =
        |leg: &&Leg| leg.client.is_some() && kills.iter().any(|kill| kill.pid == leg.pid) && leg.ended.is_none();
    let met = judge.legs.iter().filter(killed).count();
    assert!(met >= PAGES_SOCKETS as usize, "{met} legs were killed");
}
