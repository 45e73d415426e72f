//! An operator's orders, by `tideover ctl` on real processes: what becomes of sessions, old and new.

mod backends;
mod proxy;
mod schema;
mod top;

use std::time::Duration;

use tideover_tests::{
    Backend, Kind, Proxy, Scratch,
    backend::What,
    client::Client,
    deadline::eventually,
    operator::Operator,
    raw::{Connection, upgrade_request},
};

const SOON: Duration = Duration::from_secs(10);

/// A proxy with a file for its configuration, which the operator may change.
struct Stage {
    scratch: Scratch,
    operator: Operator,
    proxy: Proxy,
}

impl Stage {
    /// With this text as its configuration.
    fn new(text: &str) -> Self {
        let (scratch, operator) = (Scratch::new("configuration"), Operator::on_socket());
        let path = scratch.path("watched/tideover.toml");
        std::fs::create_dir(scratch.path("watched")).expect("a folder");
        std::fs::write(&path, text).expect("written");
        std::fs::hard_link(&path, scratch.path("tideover.toml")).expect("a link");
        let mut flags = operator.flags();
        flags.extend(["--config".to_owned(), path.display().to_string()]);
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let proxy = Proxy::before([], &flags);
        let stage = Self { scratch, operator, proxy };
        stage.wait_for_api();
        stage
    }

    fn wait_for_api(&self) {
        let there = || self.operator.tell(&["status"]).code.filter(|code| *code == 0);
        let _ = tideover_tests::deadline::wait_for(SOON, "the operator's API answers", there);
    }

    /// Changes the configuration behind the back of the proxy, which watches the folder of its own link to the file: only
    /// an order makes it read the file again.
    fn write(&self, text: &str) {
        std::fs::write(self.scratch.path("tideover.toml"), text).expect("written");
    }

    /// The status of a handshake with this target, and its head.
    async fn handshake(&self, target: &str) -> (u16, String) {
        let mut client = Connection::dial(self.proxy.address()).await.expect("the proxy accepts");
        client.send_bytes(upgrade_request(target, "proxy", &[])).await.expect("sent");
        let head = client.head(SOON).await.expect("an answer");
        (head.status(), format!("{head:?}"))
    }

    /// Which backend gets a session with a target of its own.
    async fn place(&self, backends: &[Backend], target: &str) -> usize {
        assert_eq!(self.handshake(target).await.0, 101, "{target}\n{}", self.proxy.log_text());
        // Who answered may have yet to write it down.
        let at = || backends.iter().position(|backend| opened(backend, target));
        eventually(SOON, format_args!("a backend has {target}"), || at().is_some()).await;
        at().expect("one has it")
    }

    /// Where so many new sessions go, each with a target of its own below `/echo`.
    async fn places(&self, backends: &[Backend], name: &str, count: usize) -> Vec<usize> {
        let mut places = Vec::new();
        for n in 0..count {
            places.push(self.place(backends, &format!("/echo?{name}={n}")).await);
        }
        places
    }

    async fn client(&self, path: &str) -> Client {
        let mut client = Client::connect(1, self.proxy.url(path)).await.expect("a session");
        chat(&mut client).await;
        client
    }
}

/// Whether the backend got a handshake with this target.
fn opened(backend: &Backend, target: &str) -> bool {
    backend.events().iter().any(|event| event.what == What::Open(target.to_owned()))
}

fn backends<const N: usize>() -> [Backend; N] {
    std::array::from_fn(|_| Backend::start(Kind::Rust))
}

fn url(backend: &Backend) -> String {
    format!("ws://{}", backend.address())
}

async fn chat(client: &mut Client) {
    let sent = client.send_numbered().await;
    assert_eq!(client.next(SOON).await.expect("the session goes on").text, sent);
}
