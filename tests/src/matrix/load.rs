//! Sessions that keep so many messages in flight and record every answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::{sync::watch, time::timeout};
use tokio_tungstenite::tungstenite::{
    self,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::{
    client::{End, Received, Socket, connect, received},
    clock::now_ns,
    judge::message_id,
};

/// How the sessions of a cell work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Messages that a session keeps unanswered.
    pub(super) in_flight: u32,
    /// After so long without an answer the session takes what is in flight for lost and goes on.
    pub(super) stall: Duration,
}

/// What one session did and saw.
#[derive(Debug)]
pub(super) struct Session {
    /// Its number, which is in its messages.
    pub(super) client: u32,
    /// When each message was handed to the client library; the first is number 1.
    pub(super) sent: Vec<u64>,
    /// Every answer as it came.
    pub(super) got: Vec<Answer>,
    /// What came and was no answer of this session.
    pub(super) strange: Vec<String>,
    /// The end, if it was not the session's own Close.
    pub(super) end: Option<End>,
}

/// An answer to the message `number`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) number: u32,
    pub(super) at: u64,
}

/// The newest answered number, or `ENDED`.
type Newest = u32;
const ENDED: Newest = Newest::MAX;

/// Counts itself as `connected`, works until `cease` is true; then sends one more window, which nothing disturbs, waits for its last answer, and
/// closes.
pub(super) async fn work(
    url: String,
    client: u32,
    load: Load,
    connected: Arc<AtomicU32>,
    cease: watch::Receiver<bool>,
) -> Session {
    let mut session = Session { client, sent: Vec::new(), got: Vec::new(), strange: Vec::new(), end: None };
    let socket = match connect(&*url).await {
        Ok((socket, _)) => socket,
        Err(error) => {
            session.end = Some(End::Lost { error: format!("not connected: {error}") });
            return session;
        }
    };
    connected.fetch_add(1, Ordering::Relaxed);
    let (sink, stream) = socket.split();
    let (progress, newest) = watch::channel(0);
    let writer = Writer { sink, client, load, newest, sent: Vec::new() };
    let ((sent, closed), end) = tokio::join!(writer.run(cease), read(stream, &mut session, progress));
    session.sent = sent;
    session.end = (!closed).then_some(end);
    session
}

struct Writer {
    sink: SplitSink<Socket, tungstenite::Message>,
    client: u32,
    load: Load,
    newest: watch::Receiver<Newest>,
    sent: Vec<u64>,
}

impl Writer {
    /// Gives the times of what was sent, and whether the session closed of its own accord.
    async fn run(mut self, mut cease: watch::Receiver<bool>) -> (Vec<u64>, bool) {
        let mut settled = 0; // up to here everything is answered or taken for lost
        let mut last = u32::MAX;
        while self.number() < last {
            if last == u32::MAX && *cease.borrow() {
                last = self.number() + self.load.in_flight;
            }
            let until = last.min(settled + self.load.in_flight);
            if self.send_up_to(until).await.is_err() {
                return (self.sent, false);
            }
            if self.number() == last {
                break;
            }
            let before = settled;
            tokio::select! {
                newest = timeout(self.load.stall, self.newest.wait_for(|newest| *newest > before)) => {
                    settled = newest.map_or(self.sent.len() as u32, |newest| newest.map_or(ENDED, |newest| *newest));
                }
                _ = cease.wait_for(|cease| *cease), if last == u32::MAX => {}
            }
            if settled == ENDED {
                return (self.sent, false);
            }
        }
        self.settle_and_close().await
    }

    fn number(&self) -> u32 {
        self.sent.len() as u32
    }

    async fn send_up_to(&mut self, last: u32) -> Result<(), tungstenite::Error> {
        while self.number() < last {
            let text = format!("c{}-{}", self.client, self.number() + 1);
            self.sent.push(now_ns());
            self.sink.feed(tungstenite::Message::text(text)).await?;
        }
        self.sink.flush().await
    }

    async fn settle_and_close(mut self) -> (Vec<u64>, bool) {
        let last = self.number();
        let settle = self.load.stall + Duration::from_secs(30);
        let _ = timeout(settle, self.newest.wait_for(|newest| *newest >= last)).await;
        if *self.newest.borrow() == ENDED {
            return (self.sent, false);
        }
        let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let _ = self.sink.send(tungstenite::Message::Close(Some(normal))).await;
        (self.sent, true)
    }
}

async fn read(mut stream: SplitStream<Socket>, session: &mut Session, progress: watch::Sender<Newest>) -> End {
    let mut newest = 0;
    let end = loop {
        match received(stream.next().await) {
            Received::Message(message) => match number(&message.text, session.client) {
                Some(number) => {
                    session.got.push(Answer { number, at: message.at });
                    newest = newest.max(number);
                    progress.send_replace(newest);
                }
                None => session.strange.push(message.text),
            },
            Received::Control => {}
            Received::End(end) => break end,
        }
    };
    progress.send_replace(ENDED);
    end
}

/// The number in `re:c<client>-<number>`.
fn number(answer: &str, client: u32) -> Option<u32> {
    let (owner, number) = message_id(answer.strip_prefix("re:")?)?;
    (owner == client).then_some(number)
}
