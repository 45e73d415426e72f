//! Pools and routes, and how they change while sessions go on: routes, reloads good and bad, lists of backends, DNS.

use std::{net::Ipv4Addr, time::Duration};

use tideover_tests::{
    Backend, Kind, Proxy, Replaced, Scratch,
    backend::What,
    client::{Client, End},
    deadline::eventually,
    dns::{Dns, a, srv},
    lock::machine_shared,
    proxy::says,
    raw::{Connection, upgrade_request},
};

const SOON: Duration = Duration::from_secs(20);

fn serve(file: &Replaced) -> Proxy {
    Proxy::before([], &["--config", &file.text()])
}

fn backends<const N: usize>() -> [Backend; N] {
    std::array::from_fn(|_| Backend::start(Kind::Rust))
}

fn url(backend: &Backend) -> String {
    format!("ws://{}", backend.address())
}

/// The status of a handshake.
async fn status(proxy: &Proxy, host: &str, path: &str, headers: &[&str]) -> u16 {
    let mut client = Connection::dial(proxy.address()).await.expect("the proxy accepts");
    client.send_bytes(upgrade_request(path, host, headers)).await.expect("sent");
    client.head(SOON).await.expect("an answer").status()
}

/// Whether the backend got a handshake with this target.
fn opened(backend: &Backend, target: &str) -> bool {
    backend.events().iter().any(|event| event.what == What::Open(target.to_owned()))
}

/// Which backend gets a session with a target of its own.
async fn place(proxy: &Proxy, backends: &[Backend], target: &str) -> Option<usize> {
    assert_eq!(status(proxy, "proxy", target, &[]).await, 101, "{target}");
    // Who answered may have yet to write it down.
    let at = || backends.iter().position(|backend| opened(backend, target));
    eventually(SOON, format_args!("a backend has {target}"), || at().is_some()).await;
    at()
}

/// Opens sessions until the newest one is on that backend.
async fn until_sessions_go_to(proxy: &Proxy, backends: &[Backend], wanted: usize) {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let start = std::time::Instant::now();
    loop {
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let target = format!("/echo?looking={number}");
        if status(proxy, "proxy", &target, &[]).await == 101 && opened(&backends[wanted], &target) {
            return;
        }
        assert!(start.elapsed() < SOON, "no session goes to backend {wanted}:\n{}", proxy.log_text());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn chat(client: &mut Client) {
    let sent = client.send_numbered().await;
    assert_eq!(client.next(SOON).await.expect("the session goes on").text, sent);
}

async fn client(proxy: &Proxy, path: &str) -> Client {
    let mut client = Client::connect(1, proxy.url(path)).await.expect("a session");
    chat(&mut client).await;
    client
}

async fn logged(proxy: &Proxy, what: &str) {
    eventually(SOON, format!("the log says {what}"), || proxy.log_lines().iter().any(|line| says(line, what))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_goes_where_the_first_route_that_takes_it_leads() {
    let _machine = machine_shared();
    let all = backends::<3>();
    let [chat, feed, admin] = all.each_ref().map(url);
    let file = Replaced::new(&format!(
        "[[pool]]\nname = 'chat'\nbackend = '{chat}'\n[[pool]]\nname = 'feed'\nbackend = '{feed}'\n\
         [[pool]]\nname = 'admin'\nbackend = '{admin}'\n\
         [[route]]\nheader = 'X-Admin=yes'\npool = 'admin'\n\
         [[route]]\nhost = '*.example.com'\npath = '/echo/chat'\npool = 'chat'\n\
         [[route]]\nhost = 'feed.test'\npool = 'feed'\n"
    ));
    let proxy = serve(&file);
    let cases: [(&str, &str, &[&str], Option<usize>); 9] = [
        ("a.example.com", "/echo/chat", &[], Some(0)),
        ("A.B.example.com:8080", "/echo/chat/1", &[], Some(0)),
        ("example.com", "/echo/chat/2", &[], None),
        ("a.example.com", "/echo/chatter", &[], None),
        ("a.example.com", "/echo/chat/../3", &[], None),
        ("feed.test", "/echo/4", &[], Some(1)),
        ("other.test", "/echo/5", &[], None),
        ("a.example.com", "/echo/chat/6", &["X-Admin: yes"], Some(2)),
        ("feed.test", "/echo/7", &["X-Admin: no"], Some(1)),
    ];
    let place = |path: &str| all.iter().position(|backend| opened(backend, path));
    for (host, path, headers, pool) in cases {
        let got = status(&proxy, host, path, headers).await;
        if pool.is_some() {
            // The backend's answer, which may be that it knows no such path; it may have yet to write down that it was asked.
            assert!([101, 404, 502].contains(&got), "{host}{path}: {got}");
            eventually(SOON, format_args!("a backend has {host}{path}"), || place(path).is_some()).await;
        } else {
            assert_eq!(got, 404, "{host}{path}");
        }
        assert_eq!(place(path), pool, "{host}{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_routes_settings_are_those_of_its_sessions_only() {
    let _machine = machine_shared();
    let [backend] = backends();
    let file = Replaced::new(&format!(
        "backend = '{}'\n[[route]]\npath = '/echo/small'\nmax-message-bytes = 200\n[[route]]\n",
        url(&backend)
    ));
    let proxy = serve(&file);
    let long = "x".repeat(300);
    let mut large = Client::connect(1, proxy.url("/echo")).await.expect("a session");
    large.send(long.as_str()).await;
    assert_eq!(large.next(SOON).await.expect("an echo").len, 300);
    let mut small = Client::connect(2, proxy.url("/echo/small")).await.expect("a session");
    small.send(long.as_str()).await;
    assert!(matches!(small.finish(SOON).await.end, End::Peer { code: 1009, .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_never_leaves_its_pool() {
    let _machine = machine_shared();
    let mut all = backends::<2>();
    let [own, other] = all.each_ref().map(url);
    let file = Replaced::new(&format!(
        "backend = '{own}'\nfailover-timeout = '1s'\n[[pool]]\nname = 'other'\nbackend = '{other}'\n\
         [[route]]\npath = '/other'\npool = 'other'\n[[route]]\n"
    ));
    let proxy = serve(&file);
    let session = client(&proxy, "/echo").await;
    all[0].kill();
    assert!(matches!(session.finish(SOON).await.end, End::Peer { code: 1013, .. }));
    assert!(!all[1].has_served(), "the other pool was not asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_moves_new_sessions_at_once_and_old_ones_without_their_notice() {
    let _machine = machine_shared();
    let all = backends::<2>();
    let [first, second] = all.each_ref().map(url);
    let file = Replaced::new(&format!("backend = '{first}'\n"));
    let proxy = serve(&file);
    let mut session = client(&proxy, "/echo?old").await;

    file.replace(&format!("backend = '{second}'\n"));
    until_sessions_go_to(&proxy, &all, 1).await;
    for _ in 0..20 {
        chat(&mut session).await;
    }
    for n in 0..5 {
        assert_eq!(place(&proxy, &all, &format!("/echo?new={n}")).await, Some(1));
    }
    logged(&proxy, "backend forgotten").await;
    let moved = || opened(&all[1], "/echo?old");
    eventually(SOON, "the old session is on the new backend", moved).await;
    chat(&mut session).await;
    assert_eq!(session.close(1000, "", SOON).await.end, End::Client);

    // And back, by a signal: the file is the same when it is looked at.
    file.replace(&format!("backend = '{first}'\n"));
    proxy.hang_up();
    until_sessions_go_to(&proxy, &all, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_changes_nothing_and_says_what_is_wrong_and_where() {
    let _machine = machine_shared();
    let all = backends::<2>();
    let [first, second] = all.each_ref().map(url);
    let file = Replaced::new(&format!("backend = '{first}'\n"));
    let proxy = serve(&file);
    let mut session = client(&proxy, "/echo?old").await;

    file.replace(&format!("backend = '{second}'\n\n[[route]]\npool = 'nowhere'\nack_interval = '1s'\n"));
    logged(&proxy, "configuration not reloaded: nothing was changed").await;
    let log = proxy.log_text();
    for problem in
        ["file:4: route.pool: there is no pool", "file:5: route.ack_interval: unknown key; did you mean ack-interval?"]
    {
        assert!(log.contains(problem), "{problem} is not in\n{log}");
    }
    chat(&mut session).await;
    assert_eq!(place(&proxy, &all, "/echo?after").await, Some(0));
    assert!(!all[1].has_served());

    file.replace(&format!("backend = '{second}'\n"));
    until_sessions_go_to(&proxy, &all, 1).await;
    chat(&mut session).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_a_restart_is_named() {
    let _machine = machine_shared();
    let all = backends::<2>();
    let [first, second] = all.each_ref().map(url);
    let file = Replaced::new(&format!("backend = '{first}'\n"));
    let proxy = serve(&file);
    file.replace(&format!("backend = '{second}'\nmax-sessions = 5\nbuffer-total-bytes = '2GiB'\n"));
    logged(&proxy, "these settings take a restart").await;
    let lines = proxy.log_lines();
    let line = lines.iter().find(|line| says(line, "these settings take a restart")).expect("logged");
    assert!(line.to_string().contains("buffer-total-bytes, max-sessions"), "{line}");
    until_sessions_go_to(&proxy, &all, 1).await;
    // What only the new total could hold would block sessions for ever.
    file.replace(&format!("backend = '{first}'\nbuffer-total-bytes = '4GiB'\nmax-message-bytes = '1GiB'\n"));
    logged(&proxy, "configuration not reloaded: nothing was changed").await;
    assert!(proxy.log_text().contains("the 1GiB in force are less than"), "{}", proxy.log_text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_a_backend_change_in_place() {
    let _machine = machine_shared();
    let all = backends::<2>();
    let [first, second] = all.each_ref().map(url);
    let text = |settings: &str| {
        format!("[[backend]]\nurl = '{first}'\nid = 'a'\n{settings}\n[[backend]]\nurl = '{second}'\npriority = 1\n")
    };
    let file = Replaced::new(&text(""));
    let proxy = serve(&file);
    let mut session = client(&proxy, "/echo?old").await;
    assert!(opened(&all[0], "/echo?old"), "the lower priority number goes first");
    for settings in ["weight = 0", "max-sessions = 1"] {
        file.replace(&text(settings));
        until_sessions_go_to(&proxy, &all, 1).await;
        chat(&mut session).await;
        file.replace(&text(""));
        until_sessions_go_to(&proxy, &all, 0).await;
    }
    // Another URL under the same id is another backend.
    file.replace(&text("").replace(&first, &second).replacen(&second, "ws://127.0.0.1:1", 1));
    until_sessions_go_to(&proxy, &all, 1).await;
    chat(&mut session).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_kubernetes_swaps_is_taken() {
    let _machine = machine_shared();
    let all = backends::<2>();
    let scratch = Scratch::new("mount");
    let mount = |version: &str, backend: &Backend| {
        std::fs::create_dir(scratch.path(version)).expect("a folder");
        std::fs::write(scratch.path(version).join("config"), format!("backend = '{}'\n", url(backend)))
            .expect("written");
        std::os::unix::fs::symlink(version, scratch.path("..data_tmp")).expect("a link");
        std::fs::rename(scratch.path("..data_tmp"), scratch.path("..data")).expect("renamed");
    };
    mount("..1", &all[0]);
    std::os::unix::fs::symlink("..data/config", scratch.path("config")).expect("a link");
    let proxy = Proxy::before([], &["--config", scratch.path("config").to_str().expect("UTF-8")]);
    assert_eq!(place(&proxy, &all, "/echo?first").await, Some(0));
    mount("..2", &all[1]);
    std::fs::remove_dir_all(scratch.path("..1")).expect("removed");
    until_sessions_go_to(&proxy, &all, 1).await;
    mount("..3", &all[0]);
    until_sessions_go_to(&proxy, &all, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_backends_is_followed_and_a_wrong_one_is_not() {
    let _machine = machine_shared();
    let all = backends::<2>();
    let [first, second] = all.each_ref().map(url);
    let list = Replaced::new(&format!("# the first\n{first} weight=50\n"));
    let proxy = Proxy::before([], &["--backends-file", &list.text()]);
    let mut session = client(&proxy, "/echo?old").await;
    list.replace(&format!("{second} weight=1000\n"));
    logged(&proxy, "the list of backends is not taken: nothing was changed").await;
    assert!(proxy.log_text().contains("is wrong in line 1: weight:"), "{}", proxy.log_text());
    assert_eq!(place(&proxy, &all, "/echo?after").await, Some(0));
    list.replace(&format!("{second} weight=100\n"));
    until_sessions_go_to(&proxy, &all, 1).await;
    chat(&mut session).await;
    list.replace(&format!("{first}\n{second} priority=1\n"));
    until_sessions_go_to(&proxy, &all, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn srv_records_are_backends_with_their_priorities() {
    let _machine = machine_shared();
    let mut all = backends::<2>();
    let dns = Dns::start();
    let zone = |first: u16, second: u16| {
        let service = |n: usize, priority| srv("_ws._tcp.test.", priority, 10, all[n].address().port(), "host.test.");
        vec![service(0, first), service(1, second), a("host.test.", Ipv4Addr::LOCALHOST)]
    };
    dns.say(zone(1, 2));
    let changed = zone(2, 1);
    let server = dns.address().to_string();
    let proxy = Proxy::before([], &["--backends-dns", "srv:_ws._tcp.test", "--dns-server", &server]);
    until_sessions_go_to(&proxy, &all, 0).await;
    assert!(!all[1].has_served(), "the other one waits until this one fails");
    let mut session = client(&proxy, "/echo?old").await;
    dns.say(changed);
    until_sessions_go_to(&proxy, &all, 1).await;
    chat(&mut session).await;
    assert!(!opened(&all[1], "/echo?old"));
    all[1].kill();
    until_sessions_go_to(&proxy, &all, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_answer_stays_while_the_name_cannot_be_resolved() {
    let _machine = machine_shared();
    let all = backends::<1>();
    let dns = Dns::start();
    let (server, name) = (dns.address().to_string(), format!("ws.test:{}", all[0].address().port()));
    let proxy = Proxy::before([], &["--backends-dns", &name, "--dns-server", &server]);
    assert_eq!(status(&proxy, "proxy", "/echo", &[]).await, 503, "nobody yet");
    let failing = || proxy.log_lines().iter().filter(|line| line.to_string().contains("its last answer stays")).count();
    eventually(SOON, "the name fails", || failing() > 0).await;
    dns.say(vec![a("ws.test.", Ipv4Addr::LOCALHOST)]);
    until_sessions_go_to(&proxy, &all, 0).await;
    assert_eq!(failing(), 1, "there was no such name, which is said once");
    for fail in [|dns: &Dns| dns.say(Vec::new()), |dns: &Dns| dns.set_silent(true)] {
        let (asked, before) = (dns.asked(), failing());
        fail(&dns);
        eventually(SOON, "the name fails", || failing() > before).await;
        assert!(dns.asked() > asked);
        assert_eq!(place(&proxy, &all, &format!("/echo?failing={before}")).await, Some(0));
        dns.set_silent(false);
        dns.say(vec![a("ws.test.", Ipv4Addr::LOCALHOST)]);
        let again = |line: &serde_json::Value| says(line, "the name is resolved again");
        eventually(SOON, "it is resolved again", || {
            proxy.log_lines().iter().filter(|line| again(line)).count() > before
        })
        .await;
    }
}
