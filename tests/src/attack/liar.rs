//! A backend that lies in its handshake, and the sessions that are to come about all the same.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};

use super::{Core, Done, hold_to, preferred};
use crate::raw::{Head, accept_response, upgrade_request};

/// What is wrong with the answer to a good handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// A Sec-WebSocket-Accept for another key.
    WrongAccept,
    /// None.
    NoAccept,
    /// Two of them.
    TwoAccepts,
    /// A subprotocol that was not offered.
    Subprotocol,
    /// An extension that was not offered.
    Extension,
    /// A 101 that announces a body, and has it.
    Body,
    /// A 101 in chunks.
    Chunked,
    /// Fields without an end, as fast as they go.
    EndlessFields,
    /// Fields without an end, a byte now and then.
    SlowFields,
    /// A further field behind a bare CR.
    BareCr,
    /// A further field behind a NUL.
    Nul,
    /// A further field in a folded line.
    Folded,
    /// HTTP/1.0.
    OldVersion,
    /// No Upgrade.
    NoUpgrade,
    /// An upgrade to something else.
    OtherUpgrade,
    /// Informational answers without an end, and no final one.
    EndlessInformation,
    /// The end of the stream in the middle of the head.
    CutOff,
    /// No HTTP.
    Noise,
}

impl Lie {
    /// Those that are not told to the end: whoever waits for an answer waits in vain, as for a handler that takes its time.
    pub const WITHHELD: [Self; 2] = [Self::SlowFields, Self::EndlessInformation];

    /// Those that are seen at once.
    pub const SEEN: [Self; 16] = [
        Self::WrongAccept,
        Self::NoAccept,
        Self::TwoAccepts,
        Self::Subprotocol,
        Self::Extension,
        Self::Body,
        Self::Chunked,
        Self::EndlessFields,
        Self::BareCr,
        Self::Nul,
        Self::Folded,
        Self::OldVersion,
        Self::NoUpgrade,
        Self::OtherUpgrade,
        Self::CutOff,
        Self::Noise,
    ];

    /// What is sent first, and what is sent again and again after so long.
    fn words(self, key: &str) -> (String, Option<(&'static str, Duration)>) {
        let good = |fields: &[&str]| accept_response(key, fields);
        let open = || good(&[]).trim_end().to_owned() + "\r\n";
        let another = accept_response("YW5vdGhlciBrZXkgYWx0bw==", &[]);
        let accept = another.lines().find(|line| line.starts_with("Sec-WebSocket-Accept")).unwrap_or_default();
        match self {
            Self::WrongAccept => (another, None),
            Self::NoAccept => (good(&[]).replace("Sec-WebSocket-Accept", "X-Accept"), None),
            Self::TwoAccepts => (good(&[accept]), None),
            Self::Subprotocol => (good(&["Sec-WebSocket-Protocol: evil"]), None),
            Self::Extension => (good(&["Sec-WebSocket-Extensions: x-evil"]), None),
            Self::Body => (good(&["Content-Length: 5"]) + "\u{1}\u{3}evil", None),
            Self::Chunked => (good(&["Transfer-Encoding: chunked"]) + "4\r\nevil\r\n0\r\n\r\n", None),
            Self::EndlessFields => (open(), Some(("X-More: evil\r\n", Duration::ZERO))),
            Self::SlowFields => (open() + "X-Slow: ", Some(("e", Duration::from_millis(200)))),
            Self::BareCr => (good(&["X-A: 1\rSet-Cookie: evil=1"]), None),
            Self::Nul => (good(&["X-A: 1\0Set-Cookie: evil=1"]), None),
            Self::Folded => (good(&["X-A: 1\r\n Set-Cookie: evil=1"]), None),
            Self::OldVersion => (good(&[]).replace("HTTP/1.1", "HTTP/1.0"), None),
            Self::NoUpgrade => (good(&[]).replace("Upgrade: websocket\r\n", ""), None),
            Self::OtherUpgrade => (good(&[]).replace("Upgrade: websocket", "Upgrade: h2c"), None),
            Self::EndlessInformation => {
                (String::new(), Some(("HTTP/1.1 103 Early Hints\r\nX: evil\r\n\r\n", Duration::from_millis(1))))
            }
            Self::CutOff => ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: webs".to_owned(), None),
            Self::Noise => ("evil\u{0}\u{1}\r\n\r\n".to_owned(), None),
        }
    }
}

/// A backend that tells these lies in turn. Dropping it closes its port.
#[derive(Debug)]
pub struct Liar {
    address: SocketAddr,
    stop: watch::Sender<bool>,
}

impl Liar {
    /// Listens, on a thread of its own that is held to the attacker's core.
    ///
    /// # Panics
    /// When it cannot.
    pub fn telling(lies: &'static [Lie]) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("a socket of the runtime");
        let address = listener.local_addr().expect("bound");
        let (stop, mut stopped) = watch::channel(false);
        std::thread::spawn(move || {
            hold_to(Core::Last);
            preferred(false);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a socket of the runtime");
                tokio::select! {
                    () = serve(&listener, lies) => {}
                    _ = stopped.wait_for(|stopped| *stopped) => {}
                }
            });
            runtime.shutdown_background();
        });
        Self { address, stop }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

async fn serve(listener: &TcpListener, lies: &'static [Lie]) {
    for lie in lies.iter().cycle() {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(tell(stream, *lie));
        }
    }
}

/// Reads a handshake and answers it with a lie.
async fn tell(mut stream: TcpStream, lie: Lie) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = Head::parse(&String::from_utf8_lossy(&head));
    let (first, more) = lie.words(head.header("Sec-WebSocket-Key").unwrap_or_default());
    if stream.write_all(first.as_bytes()).await.is_err() {
        return;
    }
    if let Some((more, after)) = more {
        while stream.write_all(more.as_bytes()).await.is_ok() {
            if !after.is_zero() {
                sleep(after).await;
            }
        }
    } else if lie == Lie::CutOff {
        let _ = stream.shutdown().await;
    }
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

/// How long a handshake may take while others are lied to.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sessions one after the other; each must come about, for there is an honest backend, too.
pub(super) async fn sessions(proxy: SocketAddr, done: Arc<Done>) {
    loop {
        let open = done.opened();
        match timeout(PATIENCE, handshake(proxy)).await {
            Ok(Some(head)) if head.starts_with("HTTP/1.1 101 ") && !head.contains("evil") => {
                done.answered.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                done.wrong.fetch_add(1, Ordering::Relaxed);
            }
        }
        drop(open);
        sleep(Duration::from_millis(20)).await;
    }
}

/// The head of the answer to a good handshake; the connection is then closed.
async fn handshake(proxy: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(proxy).await.ok()?;
    stream.write_all(upgrade_request("/echo", "proxy", &[]).as_bytes()).await.ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}
