//! Clients that send numbered messages at a rate and wait for their echoes.

use std::{ops::Range, time::Duration};

use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout_at},
};
use tokio_tungstenite::tungstenite::{
    self,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{
    End, Message, Transcript,
    single::{Received, Socket, connect, received},
};
use crate::clock::now_ns;

/// What one client of a load does: sends, waits for the echo of everything, closes with 1000.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Messages a second.
    pub rate: u32,
    /// Messages in all.
    pub messages: u32,
    /// How long it waits for outstanding echoes after the time its last message was due.
    pub settle: Duration,
}

/// How long a client waits for the answer to its Close.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

impl Load {
    /// `rate` messages a second for so many seconds, and up to 20 seconds for the last echo.
    pub const fn new(rate: u32, seconds: u32) -> Self {
        Self { rate, messages: rate * seconds, settle: Duration::from_secs(20) }
    }

    fn every(&self) -> Duration {
        Duration::from_secs(1) / self.rate
    }

    /// Clients that begin together are spread over the time between two messages, so that a fault meets each at another
    /// moment of its work.
    fn offset(&self, client: u32) -> Duration {
        self.every() * (client * 37 % 100) / 100
    }

    pub(super) fn give_up_after(&self) -> Duration {
        self.every() * self.messages + self.settle
    }
}

/// Runs the clients numbered `clients`, a task each, and waits for all.
///
/// # Panics
/// When one of them panics.
pub async fn run_many(url: &str, clients: Range<u32>, load: Load) -> Vec<Transcript> {
    let tasks: Vec<_> = clients
        .map(|client| {
            let url = url.to_owned();
            tokio::spawn(async move { run(&url, client, load).await })
        })
        .collect();
    let mut transcripts = Vec::with_capacity(tasks.len());
    for task in tasks {
        transcripts.push(task.await.expect("a client does not panic"));
    }
    transcripts
}

/// Runs one client. A refused connection is an [`End::Lost`] with nothing sent.
pub async fn run(url: &str, client: u32, load: Load) -> Transcript {
    let socket = match connect(url).await {
        Ok((socket, _)) => socket,
        Err(error) => return refused(client, &error),
    };
    let give_up = Instant::now() + load.give_up_after();
    let (sink, stream) = socket.split();
    let (progress, watched) = watch::channel(Progress::Echoes(0));
    let (sent, (got, end, ended_at)) =
        tokio::join!(write(sink, client, load, watched, give_up), read(stream, load, progress, give_up + CLOSE_WITHIN));
    let closed_by_client = sent.closed && matches!(end, Some(End::Peer { code: 1000, .. }) | None);
    let end = if closed_by_client { End::Client } else { end.unwrap_or_else(no_end) };
    Transcript { client, sent: sent.messages, got, end, ended_at }
}

fn refused(client: u32, error: &tungstenite::Error) -> Transcript {
    let end = End::Lost { error: format!("not connected: {error}") };
    Transcript { client, sent: Vec::new(), got: Vec::new(), end, ended_at: now_ns() }
}

fn no_end() -> End {
    End::Lost { error: "neither message nor end came".to_owned() }
}

/// What the reading half tells the writing half.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// So many different echoes have come.
    Echoes(u32),
    /// The connection has ended.
    Ended,
}

struct Sent {
    messages: Vec<Message>,
    closed: bool,
}

/// Sends at the rate, then waits for the echoes, then closes. It reads nothing, so that a proxy that takes nothing for
/// a while stops only the sending.
async fn write(
    mut sink: SplitSink<Socket, tungstenite::Message>,
    client: u32,
    load: Load,
    mut progress: watch::Receiver<Progress>,
    give_up: Instant,
) -> Sent {
    let mut sent = Sent { messages: Vec::with_capacity(load.messages as usize), closed: false };
    let mut due = interval_at(Instant::now() + load.offset(client), load.every());
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 1..=load.messages {
        due.tick().await;
        if *progress.borrow() == Progress::Ended {
            return sent;
        }
        let text = format!("c{client}-{number}");
        sent.messages.push(Message::new(now_ns(), text.as_bytes(), false));
        let sending = sink.send(tungstenite::Message::text(text));
        tokio::select! {
            result = sending => if result.is_err() { return sent },
            _ = progress.wait_for(|progress| *progress == Progress::Ended) => return sent,
            () = sleep_until(give_up) => return sent,
        }
    }
    let settled = |progress: &Progress| [Progress::Ended, Progress::Echoes(load.messages)].contains(progress);
    let _ = timeout_at(give_up, progress.wait_for(settled)).await;
    let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    sent.closed = *progress.borrow() != Progress::Ended;
    let _ = sink.send(tungstenite::Message::Close(Some(normal))).await;
    sent
}

/// Reads until the connection ends, or the time is up and there is no end.
async fn read(
    mut stream: SplitStream<Socket>,
    load: Load,
    progress: watch::Sender<Progress>,
    give_up: Instant,
) -> (Vec<Message>, Option<End>, u64) {
    let mut got = Vec::with_capacity(load.messages as usize);
    let mut echoed = vec![false; load.messages as usize + 1];
    let mut echoes = 0;
    let end = loop {
        let Ok(next) = timeout_at(give_up, stream.next()).await else { break None };
        match received(next) {
            Received::Message(message) => {
                if let Some(seen) = number(&message.text).and_then(|number| echoed.get_mut(number))
                    && !std::mem::replace(seen, true)
                {
                    echoes += 1;
                    progress.send_replace(Progress::Echoes(echoes));
                }
                got.push(message);
            }
            Received::Control => {}
            Received::End(end) => break Some(end),
        }
    };
    let ended_at = now_ns();
    progress.send_replace(Progress::Ended);
    // The library answers a Close while it is read on, to the end of the stream.
    let drain = async { while stream.next().await.is_some_and(|next| next.is_ok()) {} };
    let _ = tokio::time::timeout(Duration::from_secs(1), drain).await;
    (got, end, ended_at)
}

/// The number in `c<client>-<number>`.
fn number(text: &str) -> Option<usize> {
    text.rsplit_once('-')?.1.parse().ok()
}
