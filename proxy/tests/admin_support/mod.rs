//! The program with its operator's API, backends that echo, and callers that say what a test wants.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub const TOKEN: &str = "correct-horse-battery-staple";
const DEADLINE: Duration = Duration::from_secs(10);

pub type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Fails the test instead of hanging.
pub async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("took too long")
}

/// Asks again until the answer is good, with a deadline.
pub async fn wait_for<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A folder of a test, gone with the value.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tideover-admin-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file with [`TOKEN`].
    pub fn token(&self) -> PathBuf {
        let path = self.path("token");
        std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn tideover() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tideover"));
    for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEOVER_")) {
        command.env_remove(variable);
    }
    command
}

/// `tideover serve`; killed when dropped.
pub struct Program {
    pub child: Child,
    pub listen: SocketAddr,
    /// Where the API is, as the log says it.
    pub admin: String,
    _log: std::thread::JoinHandle<()>,
}

impl Program {
    /// With the API on a free loopback port, and a token.
    pub fn with_token(scratch: &Scratch, backends: &[SocketAddr], flags: &[&str]) -> Self {
        let token = scratch.token();
        let more = ["--admin", "127.0.0.1:0", "--admin-token-file", token.to_str().unwrap()];
        Self::start(backends, &[&more, flags].concat())
    }

    pub fn start(backends: &[SocketAddr], flags: &[&str]) -> Self {
        let mut command = tideover();
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]).args(flags);
        for backend in backends {
            command.arg("--backend").arg(format!("ws://{backend}"));
        }
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut listen, mut admin) = (None, None);
        while listen.is_none() || admin.is_none() {
            let line = log.next().expect("the program said where it listens").unwrap();
            let line: Value = serde_json::from_str(&line).unwrap();
            let address = line["addr"].as_str().map(str::to_owned);
            match line["message"].as_str() {
                Some("listening") => listen = address.map(|address| address.parse().unwrap()),
                Some("operator's API") => admin = address,
                _ => {}
            }
        }
        // The pipe must not fill.
        let reader = std::thread::spawn(move || log.for_each(drop));
        Self { child, listen: listen.unwrap(), admin: admin.unwrap(), _log: reader }
    }

    /// A client, through the proxy.
    pub async fn client(&self) -> Client {
        let url = format!("ws://{}/chat", self.listen);
        Box::pin(soon(tokio_tungstenite::connect_async(url))).await.unwrap().0
    }

    /// A call with the token, as a good caller makes it.
    pub async fn call(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        let token = format!("Authorization: Bearer {TOKEN}\r\n");
        match body {
            Some(body) => {
                let fields = format!("Content-Type: application/json\r\nContent-Length: {}\r\n{token}", body.len());
                self.say(method, path, &self.admin, &fields, body).await
            }
            None => self.say(method, path, &self.admin, &token, "").await,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None).await
    }

    /// A call with just this Host and these fields.
    pub async fn say(&self, method: &str, path: &str, host: &str, fields: &str, body: &str) -> Answer {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n{body}");
        match self.admin.strip_prefix("unix:") {
            Some(path) => exchange(UnixStream::connect(path).await.unwrap(), &request).await,
            None => exchange(TcpStream::connect(&self.admin).await.unwrap(), &request).await,
        }
    }

    pub async fn metrics(&self) -> Metrics {
        Metrics(self.get("/metrics").await.body)
    }

    /// `tideover ctl` against it.
    pub fn ctl(&self, scratch: &Scratch, arguments: &[&str]) -> Output {
        let mut command = tideover();
        command.args(["ctl", "--admin", &self.admin, "--token-file"]).arg(scratch.token());
        command.args(arguments).output().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The text of an error, which every bad answer has.
    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_else(|| panic!("no error in {self:?}")).to_owned()
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// What `/metrics` said.
#[derive(Debug)]
pub struct Metrics(pub String);

impl Metrics {
    /// The sum of a metric over its labels.
    pub fn sum(&self, name: &str) -> u64 {
        let name = format!("tideover_{name}");
        let values: Vec<u64> = self
            .0
            .lines()
            .filter(|line| line.strip_prefix(&name).is_some_and(|rest| rest.starts_with([' ', '{'])))
            .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
            .collect();
        assert!(!values.is_empty(), "{name} is not in {}", self.0);
        values.iter().sum()
    }

    /// Law 8, of messages.
    pub fn assert_balance(&self) {
        let parts = ["forgotten", "slid", "dropped", "abandoned", "expired", "poisoned"];
        let accounted: u64 = parts.iter().map(|part| self.sum(&format!("messages_{part}_total"))).sum();
        assert_eq!(self.sum("messages_received_total"), accounted + self.sum("messages_retained"), "{}", self.0);
    }
}

/// A backend that echoes, on a port of its own. On the text `kill` it is gone: its port and all its connections.
pub struct Echo {
    pub address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Echo {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, task: tokio::spawn(serve(listener, false)) }
    }

    /// One that is there again at once: on `kill` only its connections are gone.
    pub async fn that_comes_back() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, task: tokio::spawn(serve(listener, true)) }
    }

    /// The port and all connections are closed.
    pub fn kill(&self) {
        self.task.abort();
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn serve(listener: TcpListener, comes_back: bool) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => drop(connections.spawn(echo(stream))),
            Some(Ok(killed)) = connections.join_next() => match (killed, comes_back) {
                (true, true) => connections.abort_all(),
                (true, false) => return,
                (false, _) => {}
            },
        }
    }
}

/// Whether it was told to kill the backend.
async fn echo(stream: TcpStream) -> bool {
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return false };
    while let Some(Ok(message)) = socket.next().await {
        if message == Message::text("kill") {
            return true;
        }
        if message.is_text() && socket.send(message).await.is_err() {
            return false;
        }
    }
    false
}

/// Sends a text and waits for its echo.
pub async fn chat(client: &mut Client, text: &str) {
    client.send(Message::text(text)).await.unwrap();
    loop {
        match soon(client.next()).await.unwrap().unwrap() {
            Message::Text(echo) if echo == text => return,
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?} is no echo of {text}"),
        }
    }
}

/// What the client gets as Close.
pub async fn closed(client: &mut Client) -> Option<(u16, String)> {
    while let Some(Ok(message)) = soon(client.next()).await {
        if let Message::Close(frame) = message {
            return frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
        }
    }
    None
}

pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// An address that refuses connections.
pub async fn nobody_listens() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
