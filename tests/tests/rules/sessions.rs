//! Sessions of a proxy with rules.

use std::time::Duration;

use tideover_tests::{
    Proxy, Replaced,
    deadline::eventually,
    lock::machine_shared,
    proxy::says,
    raw::{Connection, Frame, Head, RawBackend, opcode},
};

const SOON: Duration = Duration::from_secs(30);

/// The proxy and its one backend.
struct Site {
    backend: RawBackend,
    proxy: Proxy,
}

/// A backend leg.
struct Leg {
    connection: Connection,
    request: Head,
}

impl Site {
    async fn start(flags: &[&str]) -> Self {
        let backend = RawBackend::bind().await;
        let proxy = Proxy::before([backend.address()], flags);
        Self { backend, proxy }
    }

    async fn session(&self, target: &str) -> (Connection, Leg) {
        tokio::join!(Connection::client(self.proxy.address(), target, &[]), self.leg())
    }

    /// The next leg. The proxy's own probes are answered and let go.
    async fn leg(&self) -> Leg {
        loop {
            let mut connection = self.backend.connection(SOON).await;
            let request = connection.accept(&[]).await;
            if request.header("Tideover-Session").is_some() {
                return Leg { connection, request };
            }
        }
    }

    /// Ends a leg as a backend does that is restarted, and gives the next one.
    async fn restart(&self, mut leg: Leg) -> Leg {
        leg.connection.send(&Frame::close(1012, "restart")).await.expect("sent");
        tokio::spawn(leg.connection.rest(SOON));
        self.leg().await
    }

    async fn logs(&self, what: &str, times: usize) {
        let count = || self.proxy.log_lines().iter().filter(|line| says(line, what)).count();
        eventually(SOON, format_args!("the log says {what:?} {times} times"), || count() >= times).await;
    }
}

async fn send(connection: &mut Connection, text: &str) {
    connection.send(&Frame::text(text)).await.expect("sent");
}

/// The next message, as text.
async fn next(connection: &mut Connection) -> String {
    loop {
        let frame = connection.next_answering_pings(SOON).await.expect("a frame");
        match frame.opcode {
            opcode::TEXT => return frame.as_text().to_owned(),
            opcode::PONG => {}
            _ => panic!("no message: {frame:?}"),
        }
    }
}

/// The legs' side of a message that must come next, answered.
async fn is_asked(leg: &mut Leg, question: &str, answer: &str) {
    assert_eq!(next(&mut leg.connection).await, question);
    send(&mut leg.connection, answer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_backend_is_told_the_login_and_the_subscriptions_and_the_client_hears_nothing_twice() {
    let _machine = machine_shared();
    let site = Site::start(&["--profile", "graphql-transport-ws"]).await;
    let (mut client, mut leg) = site.session("/graphql").await;
    let (init, ack) = (r#"{"type":"connection_init"}"#, r#"{"type":"connection_ack"}"#);
    let subscribe =
        |id: u8| format!(r#"{{"id":"{id}","type":"subscribe","payload":{{"query":"subscription {{ a }}"}}}}"#);
    let event = |id: u8, data: u8| format!(r#"{{"id":"{id}","type":"next","payload":{{"data":{data}}}}}"#);
    send(&mut client, init).await;
    is_asked(&mut leg, init, ack).await;
    assert_eq!(next(&mut client).await, ack);
    for id in [1, 2] {
        send(&mut client, &subscribe(id)).await;
        is_asked(&mut leg, &subscribe(id), &event(id, 0)).await;
        assert_eq!(next(&mut client).await, event(id, 0));
    }

    let mut leg = site.restart(leg).await;
    assert_eq!(leg.request.header("Tideover-Pinned"), Some("3"));
    // Were anything said before the acknowledgement, it would come before it here.
    is_asked(&mut leg, init, ack).await;
    for id in [1, 2] {
        is_asked(&mut leg, &subscribe(id), &event(id, 1)).await;
        assert_eq!(next(&mut client).await, event(id, 1), "the second acknowledgement is swallowed");
    }
    let query = r#"{"id":"3","type":"subscribe","payload":{"query":"{ a }"}}"#;
    send(&mut client, query).await;
    assert_eq!(next(&mut leg.connection).await, query);

    // It was not answered.
    let mut leg = site.restart(leg).await;
    is_asked(&mut leg, init, ack).await;
    for id in [1, 2] {
        is_asked(&mut leg, &subscribe(id), &event(id, 2)).await;
        assert_eq!(next(&mut client).await, event(id, 2));
    }
    is_asked(&mut leg, query, &event(3, 0)).await;
    assert_eq!(next(&mut client).await, event(3, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_began_by_polling_is_connected_again_without_its_session_id() {
    let _machine = machine_shared();
    let site = Site::start(&["--profile", "socket.io"]).await;
    let (mut client, mut leg) = site.session("/socket.io/?EIO=4&transport=websocket&sid=abc").await;
    assert_eq!(
        leg.request.target(),
        "/socket.io/?EIO=4&transport=websocket&sid=abc",
        "the first attach is the client's own"
    );
    send(&mut client, "2probe").await;
    is_asked(&mut leg, "2probe", "3probe").await;
    assert_eq!(next(&mut client).await, "3probe");
    send(&mut client, "5").await;
    assert_eq!(next(&mut leg.connection).await, "5");

    let mut leg = site.restart(leg).await;
    assert_eq!(leg.request.target(), "/socket.io/?EIO=4&transport=websocket");
    send(&mut leg.connection, r#"0{"sid":"def"}"#).await;
    is_asked(&mut leg, "40", r#"40{"sid":"ghi"}"#).await;
    send(&mut client, r#"42["said"]"#).await;
    is_asked(&mut leg, r#"42["said"]"#, r#"42["heard"]"#).await;
    assert_eq!(next(&mut client).await, r#"42["heard"]"#, "neither a new open packet nor a new connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forbidden_message_closes_the_session_and_reaches_no_backend() {
    let _machine = machine_shared();
    let file = Replaced::new("description = 'x'\n[[rule]]\nfrom = 'client'\nregex = '^ADMIN'\nclose = true\n");
    let site = Site::start(&["--profile", &file.text()]).await;
    let (mut client, mut leg) = site.session("/").await;
    send(&mut client, "HELLO").await;
    assert_eq!(next(&mut leg.connection).await, "HELLO");
    send(&mut client, "ADMIN").await;
    let close = client.next_answering_pings(SOON).await.expect("a Close");
    assert_eq!(close.close_code().map(|(code, _)| code), Some(1008), "{close:?}");
    while let Ok(frame) = leg.connection.next_answering_pings(SOON).await {
        assert!([opcode::PONG, opcode::CLOSE].contains(&frame.opcode), "{frame:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_file_that_changes_is_for_new_sessions_and_a_bad_one_changes_nothing() {
    let _machine = machine_shared();
    let rules = |word: &str| {
        format!("description = 'x'\n[[rule]]\nfrom = 'client'\ntext-prefix = '{word}'\npin = {{ key = 'a' }}\n")
    };
    let file = Replaced::new(&rules("one"));
    let site = Site::start(&["--profile", &file.text()]).await;
    let says_both = async |client: &mut Connection, leg: &mut Leg| {
        for text in ["one", "two"] {
            send(client, text).await;
            assert_eq!(next(&mut leg.connection).await, text);
        }
    };
    let (mut old, mut leg_of_old) = site.session("/").await;
    says_both(&mut old, &mut leg_of_old).await;

    file.replace("description = 'x'\n[[rule]]\nfrom = 'nobody'\n");
    site.logs("configuration not reloaded: nothing was changed", 1).await;
    let (mut same, mut leg_of_same) = site.session("/").await;
    says_both(&mut same, &mut leg_of_same).await;

    file.replace(&rules("two"));
    site.logs("configuration reloaded", 1).await;
    let (mut new, mut leg_of_new) = site.session("/").await;
    says_both(&mut new, &mut leg_of_new).await;

    for (leg, pinned) in [(leg_of_old, "one"), (leg_of_same, "one"), (leg_of_new, "two")] {
        let mut leg = site.restart(leg).await;
        assert_eq!(leg.request.header("Tideover-Pinned"), Some("1"));
        assert_eq!(next(&mut leg.connection).await, pinned);
    }
}

/// Of each backend's two greetings the client gets those of the first one, and of all else everything.
async fn is_greeted_once(site: Site) {
    let (mut client, mut leg) = site.session("/").await;
    for text in ["welcome 1", "news 1", "more 1"] {
        send(&mut leg.connection, text).await;
        assert_eq!(next(&mut client).await, text);
    }
    let mut leg = site.restart(leg).await;
    for text in ["welcome 2", "news 2", "more 2"] {
        send(&mut leg.connection, text).await;
    }
    assert_eq!(next(&mut client).await, "more 2");
    let leg = site.restart(leg).await;
    let mut leg = site.restart(leg).await;
    for text in ["welcome 4", "news 4", "more 4"] {
        send(&mut leg.connection, text).await;
    }
    assert_eq!(next(&mut client).await, "more 4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_greetings_are_swallowed_by_their_numbers() {
    let _machine = machine_shared();
    let nth = |n: u8| format!("[[rule]]\nfrom = 'backend'\nnth = {n}\nswallow = true\n");
    let file = Replaced::new(&format!("description = 'x'\n{}{}", nth(1), nth(2)));
    is_greeted_once(Site::start(&["--profile", &file.text()]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_greeting_that_no_rule_swallows_is_counted_beside_one_that_a_rule_does() {
    let _machine = machine_shared();
    let file = Replaced::new(
        "description = 'x'\n[[rule]]\nfrom = 'backend'\ntext-prefix = 'welcome'\nnth = 1\nswallow = true\n",
    );
    is_greeted_once(Site::start(&["--profile", &file.text(), "--greeting", "1"]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_greeting_that_the_first_backend_did_not_live_to_say_comes_from_the_next() {
    let _machine = machine_shared();
    let nth = |n: u8| format!("[[rule]]\nfrom = 'backend'\nnth = {n}\nswallow = true\n");
    let file = Replaced::new(&format!("description = 'x'\n{}{}", nth(1), nth(2)));
    let site = Site::start(&["--profile", &file.text()]).await;
    let (mut client, mut leg) = site.session("/").await;
    send(&mut leg.connection, "welcome 1").await;
    assert_eq!(next(&mut client).await, "welcome 1");
    let mut leg = site.restart(leg).await;
    for text in ["welcome 2", "news 2"] {
        send(&mut leg.connection, text).await;
    }
    assert_eq!(next(&mut client).await, "news 2");
}
