//! Raw peers on real sockets: backends that answer as a test wants, and clients that send what it wants.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::HeaderMap;
use tideover::config::{
    Admission, BackendConfig, BackendUrl, Balancing, Compression, Config, EdgeLimits, HealthConfig, LogFormat, Mode,
    Moving, PoolConfig, PoolSettings, ReattachOrder, RenewalConfig, RouteConfig, RulesConfig, SchemesConfig, Transport,
};
use tideover::edge::{EdgeContext, serve_connection};
use tideover::pool::{Fleet, KeptHandshake, Route, SessionHeaders};
use tideover::schemes::Schemes;
use tideover::session::Start;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tungstenite::handshake::derive_accept_key;

/// A good key of a client, and the Accept for it (RFC 6455 1.3).
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Fails the test instead of hanging.
pub async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("took too long")
}

pub fn config(backends: &[SocketAddr]) -> Config {
    Config {
        listen: Vec::new(),
        tls: None,
        proxy_protocol: None,
        pools: vec![PoolConfig {
            name: "default".into(),
            backends: backends.iter().map(|addr| BackendConfig::new(BackendUrl::from(*addr))).collect(),
            file: None,
            dns: None,
            settings: PoolSettings {
                connect_timeout: Duration::from_secs(5),
                handshakes_per_backend: 64,
                transport: Transport::default(),
                balancing: Balancing::default(),
                moving: Moving::default(),
                health: HealthConfig::default(),
                dns_server: None,
                http_timeout: Duration::from_secs(60),
                mode: Mode::Proxy,
                scale: None,
            },
        }],
        routes: vec![RouteConfig {
            name: None,
            hosts: Vec::new(),
            paths: Vec::new(),
            headers: Vec::new(),
            pool: "default".into(),
            admission: Admission::default(),
            session: tideover_protocol::session::Config::default(),
            reattach_order: ReattachOrder::OtherFirst,
            reattach_header: None,
            rules: RulesConfig::default(),
            renewal: RenewalConfig::default(),
            compression: Compression::Relay,
            session_key: None,
        }],
        poison_entries: 100,
        max_handshake_bytes: 16 << 10,
        buffer_total_bytes: 1 << 30,
        max_sessions: 10_000,
        limits: EdgeLimits::default(),
        drain_timeout: Duration::from_secs(10),
        trust_forwarded: Vec::new(),
        schemes: SchemesConfig::default(),
        admin: None,
        admin_token: None,
        workers: 1,
        log: "info".into(),
        log_query: false,
        log_format: LogFormat::Text,
    }
}

/// The only route of a fleet so configured.
pub fn route_of(config: &Config) -> Arc<Route> {
    Fleet::new(config).routes().remove(0)
}

/// A backend on a port of its own, and the request heads that it got.
pub struct Fake {
    pub addr: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    /// Gives each connection that sent a request head to `handler`.
    pub async fn new<F, H>(handler: F) -> Self
    where
        F: Fn(TcpStream, String) -> H + Send + Sync + 'static,
        H: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let handler = Arc::new(handler);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (handler, log) = (handler.clone(), log.clone());
                tokio::spawn(async move {
                    let head = read_head(&mut stream).await;
                    log.lock().unwrap().push(head.clone());
                    handler(stream, head).await;
                });
            }
        });
        Self { addr, seen }
    }

    /// Answers every handshake with 101, sends `greeting` in the same segment, and then sends back what comes.
    pub async fn echo(greeting: &'static str) -> Self {
        Self::new(move |mut stream, head| async move {
            let answer = switching(&head, "") + greeting;
            stream.write_all(answer.as_bytes()).await.unwrap();
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        })
        .await
    }

    /// Answers every handshake with these words.
    pub async fn says(answer: &'static str) -> Self {
        Self::new(move |mut stream, _| async move {
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await
    }

    /// Takes every handshake and never answers.
    pub async fn silent() -> Self {
        Self::new(|stream, _| async move {
            std::future::pending::<()>().await;
            drop(stream);
        })
        .await
    }

    pub fn heads(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// An address that refuses connections.
pub async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A good 101 for a request head, with more header lines.
pub fn switching(head: &str, more: &str) -> String {
    let accept = derive_accept_key(field(head, "sec-websocket-key").unwrap().as_bytes());
    format!(
        "HTTP/1.1 101 Fine\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
}

/// The value of a header field that stands once.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut values =
        head.lines().filter_map(|line| line.split_once(": ")).filter(|(n, _)| n.eq_ignore_ascii_case(name));
    let value = values.next().map(|(_, value)| value);
    assert!(values.next().is_none(), "{name} is repeated in {head}");
    value
}

pub async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

pub async fn read_text(stream: &mut TcpStream, len: usize) -> String {
    let mut text = vec![0; len];
    soon(stream.read_exact(&mut text)).await.unwrap();
    String::from_utf8(text).unwrap()
}

pub async fn read_rest(stream: &mut TcpStream) -> String {
    let mut rest = String::new();
    soon(stream.read_to_string(&mut rest)).await.unwrap();
    rest
}

/// The edge on a port of its own; its sessions copy bytes.
pub struct Edge {
    pub addr: SocketAddr,
    pub context: Arc<EdgeContext>,
}

impl Edge {
    pub async fn new(config: Config) -> Self {
        let fleet = Arc::new(Fleet::new(&config));
        let schemes = Arc::new(Schemes::new(&config.schemes, fleet.clone()));
        let start = Box::new(|start: Start| drop(tokio::spawn(copy(start))));
        let context = Arc::new(EdgeContext::new(Arc::new(config), fleet, schemes, start));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = context.clone();
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                tokio::spawn(serve_connection(stream, peer, None, shared.clone()));
            }
        });
        Self { addr, context }
    }

    pub async fn over(backends: &[SocketAddr]) -> Self {
        Self::new(config(backends)).await
    }

    /// Sends `request` and gives the connection and the head of the answer.
    pub async fn ask(&self, request: &str) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = soon(read_head(&mut stream)).await;
        (stream, head)
    }
}

async fn copy(start: Start) {
    let Start { mut client, client_leftover, mut attached, slot: _slot, .. } = start;
    client.write_all(&attached.leftover).await.unwrap();
    attached.stream.write_all(&client_leftover).await.unwrap();
    let _ = tokio::io::copy_bidirectional(&mut client, &mut attached.stream).await;
}

/// A good handshake with more header lines.
pub fn handshake(target: &str, more: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: chat.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

/// What the first handshake of some session says.
pub fn first() -> SessionHeaders {
    SessionHeaders::first(uuid::Uuid::now_v7())
}

/// A kept handshake that offers `v1` and `v2`.
pub fn kept() -> KeptHandshake {
    let mut headers = HeaderMap::new();
    headers.insert("host", "chat.example".parse().unwrap());
    headers.insert("cookie", "secret=1".parse().unwrap());
    headers.insert("sec-websocket-protocol", "v1, v2".parse().unwrap());
    KeptHandshake::new("/room?token=secret", &headers, 16 << 10).unwrap()
}
