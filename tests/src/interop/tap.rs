//! Stands between the proxy and one server and passes every byte, until it sees the sign of a state. It tells when to kill,
//! and sees to it that the state lasts until then; what is judged is written by others.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    task::JoinHandle,
};

use super::state::{Direction, Passing, Sign};
use crate::{
    ports::{self, ReservedPort},
    raw::{Frame, opcode},
};

/// A relay on a port of its own. Dropping it ends its connections.
#[derive(Debug)]
pub(super) struct Tap {
    port: ReservedPort,
    server: SocketAddr,
    watch: Arc<Mutex<Arc<Watch>>>,
    runtime: Runtime,
    listening: Option<JoinHandle<()>>,
}

/// The sign that all taps look for. The first connection that shows it takes it: another one must not be held, as its
/// server lives.
pub(super) type Awaited = Arc<Mutex<Option<Sign>>>;

/// What is seen of the connections that began since it is there.
#[derive(Debug, Default)]
struct Watch {
    awaited: Awaited,
    seen: AtomicBool,
    sessions: AtomicUsize,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    /// What is to be held from now on, if what passes is what is awaited.
    fn meets(&self, is_sign: impl FnOnce(Passing) -> bool) -> Option<Sign> {
        let sign = locked(&self.awaited).take_if(|sign| is_sign(sign.passes))?;
        self.seen.store(true, Ordering::Release);
        Some(sign)
    }
}

impl Tap {
    /// Relays to `server`.
    ///
    /// # Panics
    /// When it cannot listen.
    pub(super) fn before(server: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let mut tap = Self {
            port: ports::reserve(),
            server,
            watch: Arc::default(),
            runtime: runtime.expect("a runtime"),
            listening: None,
        };
        tap.open();
        tap
    }

    pub(super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number).into()
    }

    /// Accepts connections, when the server does again.
    ///
    /// # Panics
    /// When it cannot listen.
    pub(super) fn open(&mut self) {
        let listener = self.runtime.block_on(TcpListener::bind(self.address())).expect("the tap's port is ours");
        self.listening = Some(self.runtime.spawn(accept(listener, self.server, self.watch.clone())));
    }

    /// Refuses connections, as the port of a dead server does.
    pub(super) fn close(&mut self) {
        let listening = self.listening.take().expect("the tap is open");
        listening.abort();
        let _ = self.runtime.block_on(listening);
    }

    /// From now on looks for the sign, in whatever connection it comes first.
    pub(super) fn await_sign(&self, sign: Sign) {
        *locked(&self.watch().awaited) = Some(sign);
    }

    /// What was seen does not count any more.
    pub(super) fn look_anew(&self) {
        self.watch().seen.store(false, Ordering::Release);
    }

    /// Looks no more.
    pub(super) fn forget_sign(&self) {
        *locked(&self.watch().awaited) = None;
    }

    /// Forgets the connections that there are: signs and sessions are those of later ones. All taps are to be given the
    /// same `awaited`.
    pub(super) fn forget_connections(&self, awaited: &Awaited) {
        *locked(&self.watch) = Arc::new(Watch { awaited: awaited.clone(), ..Watch::default() });
    }

    /// Whether the sign was seen.
    pub(super) fn has_seen(&self) -> bool {
        self.watch().seen.load(Ordering::Acquire)
    }

    /// How many WebSocket connections there are.
    pub(super) fn sessions(&self) -> usize {
        self.watch().sessions.load(Ordering::Acquire)
    }

    fn watch(&self) -> Arc<Watch> {
        locked(&self.watch).clone()
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, watch: Arc<Mutex<Arc<Watch>>>) {
    while let Ok((proxy, _)) = listener.accept().await {
        let watch = locked(&watch).clone();
        // A connection lives on when the tap is closed: the server's end ends it.
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(server).await else { return };
            let _ = (proxy.set_nodelay(true), server.set_nodelay(true));
            let connection = Connection { watch, holds_up: AtomicBool::new(false), holds_down: AtomicBool::new(false) };
            Box::pin(connection.relay(proxy, server)).await;
        });
    }
}

/// One connection, and which of its directions are held.
struct Connection {
    watch: Arc<Watch>,
    holds_up: AtomicBool,
    holds_down: AtomicBool,
}

impl Connection {
    async fn relay(&self, proxy: TcpStream, server: TcpStream) {
        let (mut from_proxy, mut to_proxy) = proxy.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let _ = tokio::join!(
            self.pass(Direction::Up, &mut from_proxy, &mut to_server),
            self.pass(Direction::Down, &mut from_server, &mut to_proxy),
        );
    }

    async fn pass<R, W>(&self, direction: Direction, from: &mut R, to: &mut W) -> io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut scanner = Scanner::default();
        let mut chunk = [0; 16 << 10];
        let mut is_session = false;
        // A read that fails is an end, too: the other side learns of it below.
        while let Ok(length @ 1..) = from.read(&mut chunk).await {
            scanner.feed(&chunk[..length]);
            while let Some(part) = scanner.next() {
                if direction == Direction::Up && matches!(part, Part::Upgrade) {
                    is_session = true;
                    self.watch.sessions.fetch_add(1, Ordering::AcqRel);
                }
                self.look(direction, &part);
            }
            if !self.hold(direction).load(Ordering::Acquire) && to.write_all(&chunk[..length]).await.is_err() {
                break;
            }
        }
        if is_session {
            self.watch.sessions.fetch_sub(1, Ordering::AcqRel);
        }
        to.shutdown().await
    }

    fn look(&self, direction: Direction, part: &Part) {
        let is_sign = |passing| match (passing, part) {
            (Passing::Request, Part::Upgrade) => direction == Direction::Up,
            (Passing::Message(way, is_sign), Part::Message(payload)) => way == direction && is_sign(payload),
            (Passing::Request, Part::Message(_)) | (Passing::Message(..), Part::Upgrade) => false,
        };
        if let Some(held) = self.watch.meets(is_sign).and_then(|sign| sign.held) {
            self.hold(held).store(true, Ordering::Release);
        }
    }

    fn hold(&self, direction: Direction) -> &AtomicBool {
        match direction {
            Direction::Up => &self.holds_up,
            Direction::Down => &self.holds_down,
        }
    }
}

/// What the tap sees in one direction.
enum Part {
    Upgrade,
    Message(Vec<u8>),
}

/// Finds the handshake's head and the messages behind it; plain HTTP is passed unread.
#[derive(Default)]
struct Scanner {
    bytes: Vec<u8>,
    mode: Mode,
    fragments: Vec<u8>,
}

#[derive(Default, PartialEq)]
enum Mode {
    #[default]
    Head,
    Frames,
    Unread,
}

impl Scanner {
    fn feed(&mut self, bytes: &[u8]) {
        if self.mode != Mode::Unread {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn next(&mut self) -> Option<Part> {
        match self.mode {
            Mode::Unread => None,
            Mode::Frames => self.message(),
            Mode::Head => self.head(),
        }
    }

    fn head(&mut self) -> Option<Part> {
        let end = self.bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.bytes[..end]).to_ascii_lowercase();
        self.bytes.drain(..end);
        if head.contains("\r\nupgrade: websocket\r\n") {
            self.mode = Mode::Frames;
            return Some(Part::Upgrade);
        }
        self.mode = Mode::Unread;
        None
    }

    fn message(&mut self) -> Option<Part> {
        while let Some(frame) = Frame::take(&mut self.bytes) {
            if !matches!(frame.opcode, opcode::TEXT | opcode::BINARY | opcode::CONTINUATION) {
                continue;
            }
            self.fragments.extend(frame.payload);
            if frame.fin {
                return Some(Part::Message(std::mem::take(&mut self.fragments)));
            }
        }
        None
    }
}
