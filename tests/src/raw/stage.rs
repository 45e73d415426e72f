//! The proxy between raw clients and raw backends.

use std::time::Duration;

use futures_util::future::{join, select_all};
use tokio::task::JoinHandle;

use super::{Connection, Frame, RawBackend, accept_response, opcode};
use crate::{
    deadline::{eventually, within},
    proxy::{Proxy, says},
};

/// A proxy before raw backends. Its clients connect with a query, which a probe of the proxy never has: so the test
/// knows a leg from a probe.
#[derive(Debug)]
pub struct Stage {
    /// The proxy.
    pub proxy: Proxy,
    /// Its backends.
    pub backends: Vec<RawBackend>,
}

/// A backend leg after its handshake.
#[derive(Debug)]
pub struct Leg {
    /// The backend's end of it.
    pub connection: Connection,
    /// Which of [`Stage::backends`] has it.
    pub backend: usize,
}

/// The path of a session's handshake.
pub const SESSION_PATH: &str = "/?session";

const SOON: Duration = Duration::from_secs(10);

impl Stage {
    /// Starts so many backends and the proxy before them, with more flags.
    ///
    /// # Panics
    /// When that fails.
    pub async fn start(backends: usize, flags: &[&str]) -> Self {
        let mut stage = Vec::with_capacity(backends);
        for _ in 0..backends {
            stage.push(RawBackend::bind().await);
        }
        Self { proxy: Proxy::before(stage.iter().map(RawBackend::address), flags), backends: stage }
    }

    /// A new session: its client and its first leg.
    ///
    /// # Panics
    /// When it does not come about within ten seconds.
    pub async fn session(&self) -> (Connection, Leg) {
        let client = Connection::client(self.proxy.address(), SESSION_PATH, &[]);
        join(client, self.next_leg()).await
    }

    /// The next leg, on whichever backend. Probes that come meanwhile are answered: the backend is healthy.
    ///
    /// # Panics
    /// When none comes within ten seconds.
    pub async fn next_leg(&self) -> Leg {
        within(SOON, "a backend gets a leg", self.leg()).await
    }

    /// Answers probes and waits, for ever, for the result of `work`; a further leg is a failover too many.
    ///
    /// # Panics
    /// When a leg comes before `work` is done.
    pub async fn without_failover<F: Future>(&self, work: F) -> F::Output {
        tokio::select! {
            output = work => output,
            leg = self.leg() => panic!("a failover to backend {}", leg.backend),
        }
    }

    /// Echoes on all further legs and answers probes, until `work` is done.
    pub async fn echoing_while<F: Future>(&self, work: F) -> F::Output {
        let echoing = async {
            loop {
                drop(self.leg().await.echo());
            }
        };
        tokio::select! {
            output = work => output,
            () = echoing => unreachable!("it never ends"),
        }
    }

    /// Makes a backend's process look dead: it refuses connections, and this leg of it ends as `death` says.
    pub async fn dies(&mut self, leg: Leg, death: Death) {
        self.backends[leg.backend].refuse();
        death.of(leg.connection).await;
    }

    /// Waits until the proxy has looked for a backend in vain, which its log tells.
    ///
    /// # Panics
    /// When it does not within ten seconds.
    pub async fn proxy_notices_an_absent_backend(&self) {
        let said = || self.proxy.log_lines().iter().any(|line| says(line, "no backend this time"));
        eventually(SOON, "the proxy finds no backend", said).await;
    }

    async fn leg(&self) -> Leg {
        loop {
            let (mut connection, backend) = self.connection().await;
            let Ok(request) = connection.head(SOON).await else { continue };
            let key = request.header("Sec-WebSocket-Key").expect("a handshake has a key").to_owned();
            let answered = connection.send_bytes(accept_response(&key, &[])).await.is_ok();
            if answered && request.target() == SESSION_PATH {
                return Leg { connection, backend };
            }
        }
    }

    /// The next TCP connection to any backend that listens.
    async fn connection(&self) -> (Connection, usize) {
        let listening = self.backends.iter().enumerate().filter(|(_, backend)| backend.listens());
        let waits = listening.map(|(number, backend)| {
            Box::pin(async move { (backend.connection(Duration::from_secs(3600)).await, number) })
        });
        let waits: Vec<_> = waits.collect();
        assert!(!waits.is_empty(), "a backend listens");
        select_all(waits).await.0
    }
}

/// How a backend's connection ends without a Close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// An end of stream, as the kernel makes it of a killed process.
    Eof,
    /// A reset, as the kernel makes it of a killed process that had unread bytes.
    Reset,
}

impl Death {
    /// Ends a connection so.
    pub async fn of(self, mut connection: Connection) {
        match self {
            // What was not read would make a reset of it.
            Self::Eof => {
                connection.shutdown().await;
                drop(tokio::spawn(connection.rest(SOON)));
            }
            Self::Reset => connection.reset(),
        }
    }
}

impl Leg {
    /// The next frame that is neither a ping, which is answered, nor a pong.
    ///
    /// # Panics
    /// When the leg ends before, or nothing comes within ten seconds.
    pub async fn frame(&mut self) -> Frame {
        loop {
            let frame = self.connection.next_answering_pings(SOON).await.expect("a frame before the leg's end");
            if frame.opcode != opcode::PONG {
                return frame;
            }
        }
    }

    /// Answers pings and echoes messages and the Close until the leg ends; gives what it read.
    pub fn echo(mut self) -> JoinHandle<Vec<Frame>> {
        tokio::spawn(async move {
            let mut read = Vec::new();
            while let Ok(frame) = self.connection.next_answering_pings(Duration::from_secs(3600)).await {
                if frame.opcode != opcode::PONG {
                    let _ = self.connection.send(&Frame { key: None, ..frame.clone() }).await;
                    read.push(frame);
                }
            }
            read
        })
    }
}
