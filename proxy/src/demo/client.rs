//! A client of the demo: sends numbered messages through the proxy and enters in its ledger what comes back.
//!
//! A message is `CLIENT/NUMBER`; its echo is the same, a blank, and the process id of the backend that answered.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message};

use super::fleet::lock;
use super::ledger::Ledger;

/// Time that the closing handshake may take at the end.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// The books of a client, shared with the display.
pub(super) type SharedLedger = Arc<Mutex<Ledger>>;

/// A connected client.
pub(super) struct Client {
    socket: WebSocketStream<TcpStream>,
    books: Books,
}

/// What both halves of a client write in.
struct Books {
    id: u32,
    ledger: SharedLedger,
}

impl Client {
    /// Connects client `id` to `address`.
    pub(super) async fn connect(id: u32, address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (socket, _) = client_async(format!("ws://{address}/demo"), stream)
            .await
            .map_err(|error| io::Error::other(format!("client {id} could not connect: {error}")))?;
        Ok(Self { socket, books: Books { id, ledger: SharedLedger::default() } })
    }

    /// The client's books.
    pub(super) fn ledger(&self) -> SharedLedger {
        Arc::clone(&self.books.ledger)
    }

    /// Sends `rate` messages a second, the first one after `offset`, until `stop` becomes true; then waits, without an
    /// end, for what is outstanding, and closes. Returns early if the connection ends before that.
    pub(super) async fn run(self, rate: u32, offset: Duration, stop: watch::Receiver<bool>) {
        let Self { socket, books } = self;
        let (mut sink, mut stream) = socket.split();
        // Side by side: a client that cannot send must still read.
        let ended = tokio::select! {
            ended = books.read(&mut stream, stop.clone()) => ended,
            never = books.write(&mut sink, rate, offset, stop) => match never {},
        };
        match ended {
            Ok(()) => {
                let farewell = async {
                    let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
                    sink.send(Message::Close(Some(frame))).await.ok();
                    while let Some(Ok(_)) = stream.next().await {}
                };
                // All echoes are in the books; how the farewell goes makes no difference to them.
                timeout(CLOSE_DEADLINE, farewell).await.ok();
            }
            Err(reason) => books.ledger().closed(reason),
        }
    }
}

impl Books {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// Reads until nothing is outstanding after `stop`, or the connection ends: then the error says how.
    async fn read<S>(&self, stream: &mut S, mut stop: watch::Receiver<bool>) -> Result<(), String>
    where
        S: Stream<Item = Result<Message, Error>> + Unpin,
    {
        while !(*stop.borrow_and_update() && self.ledger().outstanding() == 0) {
            tokio::select! {
                message = stream.next() => self.take(message)?,
                Ok(()) = stop.changed() => {}
            }
        }
        Ok(())
    }

    fn take(&self, message: Option<Result<Message, Error>>) -> Result<(), String> {
        match message {
            Some(Ok(Message::Text(text))) => match parse(&text) {
                Some((id, number, process)) if id == self.id => self.ledger().echo(number, process, now()),
                _ => self.ledger().foreign(),
            },
            Some(Ok(Message::Close(Some(frame)))) => return Err(format!("Close {} {}", frame.code, frame.reason)),
            Some(Ok(Message::Close(None))) => return Err("Close without a code".to_owned()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Binary(_) | Message::Frame(_))) => self.ledger().foreign(),
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("end of stream".to_owned()),
        }
        Ok(())
    }

    /// Sends until `stop`. When sending fails it waits: why the connection ended is for the reader to find out.
    async fn write<S>(&self, sink: &mut S, rate: u32, offset: Duration, mut stop: watch::Receiver<bool>) -> Infallible
    where
        S: Sink<Message> + Unpin,
    {
        let mut ticks = interval_at(tokio::time::Instant::now() + offset, Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                _ = ticks.tick() => {}
            }
            let number = self.ledger().send(now());
            if sink.send(Message::text(format!("{}/{number}", self.id))).await.is_err() {
                break;
            }
        }
        std::future::pending().await
    }
}

fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// Client, number and process of an echo.
fn parse(text: &str) -> Option<(u32, u64, u32)> {
    let (message, process) = text.split_once(' ')?;
    let (id, number) = message.split_once('/')?;
    Some((id.parse().ok()?, number.parse().ok()?, process.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::super::{echo, ledger::Totals};
    use super::*;

    #[test]
    fn an_echo_names_its_client_number_and_process() {
        assert_eq!(parse("3/17 4711"), Some((3, 17, 4711)));
        for strange in ["", "3/17", "17 4711", "3/x 4711", "3/17 4711 1"] {
            assert_eq!(parse(strange), None, "{strange:?}");
        }
    }

    #[tokio::test]
    async fn a_client_waits_for_what_is_outstanding_and_closes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(echo::serve(listener));

        let client = Client::connect(1, address).await.unwrap();
        let ledger = client.ledger();
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(client.run(1000, Duration::ZERO, stopped));
        let enough = async {
            while lock(&ledger).outstanding() == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), enough).await.expect("a message is sent");
        stop.send(true).unwrap();
        timeout(Duration::from_secs(10), running).await.expect("the client ends").unwrap();

        let totals = Totals::of([&*lock(&ledger)], now());
        assert!(totals.kept(), "{totals:?}");
        assert!(totals.sent > 0 && totals.echoed == totals.sent && totals.failovers == 0, "{totals:?}");
    }

    #[tokio::test]
    async fn a_client_whose_connection_ends_enters_why() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            let frame = CloseFrame { code: CloseCode::Library(4001), reason: "enough".into() };
            socket.close(Some(frame)).await.unwrap();
            while let Some(Ok(_)) = socket.next().await {}
        });

        let client = Client::connect(1, address).await.unwrap();
        let ledger = client.ledger();
        let (_stop, stopped) = watch::channel(false);
        timeout(Duration::from_secs(10), client.run(1, Duration::ZERO, stopped)).await.expect("the client ends");
        assert_eq!(Totals::of([&*lock(&ledger)], now()).closed, ["Close 4001 enough"]);
    }
}
