//! The load: connections of one thread that send messages and check every byte that comes back.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::client;
use crate::error::{Error, Result};
use crate::wire::{Judge, Messages};

const READ_BYTES: usize = 256 * 1024;
/// How long answers may take before the run counts as failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Connections under load.
pub(crate) struct Load {
    poll: Poll,
    messages: Messages,
    connections: Vec<Connection>,
    input: Vec<u8>,
    /// Sends a message for each answer.
    keeps_up: bool,
    /// Messages without an answer.
    pending: usize,
    tally: Tally,
}

/// What was counted since the last [`Load::reset`].
pub(crate) struct Tally {
    pub(crate) answers: u64,
    /// From sending a message to having its whole answer, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
}

pub(crate) struct Connection {
    stream: TcpStream,
    /// The port of the backend behind it.
    pub(crate) backend: u16,
    number: u32,
    judge: Judge,
    sent: u64,
    /// When the messages without an answer were sent.
    sent_at: VecDeque<Instant>,
    unsent: Vec<u8>,
    /// When the last answer came.
    pub(crate) answered: Option<Instant>,
}

impl Tally {
    fn new() -> Self {
        let latency = Histogram::new_with_bounds(100, 60_000_000_000, 3).expect("bounds of a histogram");
        Self { answers: 0, latency }
    }
}

impl Load {
    /// Opens connections one after the other.
    pub(crate) fn open(address: SocketAddr, connections: usize, bytes: usize, cookie: usize) -> Result<Self> {
        let poll = Poll::new()?;
        let mut load = Self {
            poll,
            messages: Messages::new(bytes),
            connections: Vec::with_capacity(connections),
            input: vec![0; READ_BYTES],
            keeps_up: false,
            pending: 0,
            tally: Tally::new(),
        };
        for number in 0..connections {
            load.add(number, client::open(address, cookie)?)?;
            // Those that are open may be pinged meanwhile.
            if number % 256 == 255 {
                load.turn(Some(Duration::ZERO))?;
            }
        }
        Ok(load)
    }

    fn add(&mut self, number: usize, opened: client::Opened) -> Result<()> {
        opened.stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(opened.stream);
        self.poll.registry().register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
        self.connections.push(Connection {
            stream,
            backend: opened.backend,
            number: number as u32,
            judge: Judge::default(),
            sent: 0,
            sent_at: VecDeque::new(),
            unsent: Vec::new(),
            answered: None,
        });
        Ok(())
    }

    pub(crate) fn connections(&self) -> &[Connection] {
        &self.connections
    }

    /// Sends so many messages on a connection.
    pub(crate) fn send(&mut self, index: usize, count: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        connection.queue(&self.messages, count);
        self.pending += count;
        connection.flush()
    }

    /// Keeps `window` messages on their way on each connection.
    pub(crate) fn begin(&mut self, window: usize) -> Result<()> {
        self.keeps_up = true;
        (0..self.connections.len()).try_for_each(|index| self.send(index, window))
    }

    /// Works for so long; returns how long it was.
    pub(crate) fn run_for(&mut self, time: Duration) -> Result<Duration> {
        let begin = Instant::now();
        let mut last = Last::new(self.tally.answers);
        while begin.elapsed() < time {
            self.turn(Some(time.saturating_sub(begin.elapsed()).min(Duration::from_millis(20))))?;
            last.check(self.tally.answers, self.pending)?;
        }
        Ok(begin.elapsed())
    }

    /// Works for so long, and sends `rate` messages a second on each connection, evenly spread.
    pub(crate) fn run_paced(&mut self, time: Duration, rate: f64) -> Result<Duration> {
        let all = self.connections.len();
        let gap = Duration::from_secs_f64(1.0 / (rate * all as f64));
        let begin = Instant::now();
        let (mut count, mut last) = (0_u32, Last::new(self.tally.answers));
        while begin.elapsed() < time {
            while gap * count <= begin.elapsed() {
                self.send(count as usize % all, 1)?;
                count += 1;
            }
            self.turn(Some((gap * count).saturating_sub(begin.elapsed())))?;
            last.check(self.tally.answers, self.pending)?;
        }
        Ok(begin.elapsed())
    }

    /// Sends nothing more and waits for the answers.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.keeps_up = false;
        let mut last = Last::new(self.tally.answers);
        while self.pending > 0 {
            self.turn(Some(Duration::from_millis(20)))?;
            last.check(self.tally.answers, self.pending)?;
        }
        Ok(())
    }

    /// What was counted since the last call.
    pub(crate) fn reset(&mut self) -> Tally {
        std::mem::replace(&mut self.tally, Tally::new())
    }

    fn turn(&mut self, timeout: Option<Duration>) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        match self.poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        events.iter().try_for_each(|event| self.serve(event.token().0))
    }

    fn serve(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        loop {
            let len = match connection.stream.read(&mut self.input) {
                Ok(0) => return Err(Error::Ended { connection: index }),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            };
            let answers =
                connection.judge.take(&self.messages, connection.number, &self.input[..len], &mut connection.unsent);
            let answers = answers.map_err(|wrong| Error::Wrong { connection: index, wrong })?;
            if answers > 0 {
                connection.note(answers, &mut self.tally)?;
                if self.keeps_up {
                    connection.queue(&self.messages, answers);
                } else {
                    self.pending -= answers;
                }
            }
            // A short read has emptied the socket.
            if len < READ_BYTES {
                break;
            }
        }
        connection.flush()
    }
}

/// When something last came.
struct Last {
    answers: u64,
    at: Instant,
}

impl Last {
    fn new(answers: u64) -> Self {
        Self { answers, at: Instant::now() }
    }

    fn check(&mut self, answers: u64, pending: usize) -> Result<()> {
        if answers != self.answers || pending == 0 {
            *self = Self::new(answers);
        }
        if self.at.elapsed() > PATIENCE { Err(Error::Silent { pending }) } else { Ok(()) }
    }
}

impl Connection {
    fn queue(&mut self, messages: &Messages, count: usize) {
        let now = Instant::now();
        for _ in 0..count {
            messages.push(&mut self.unsent, self.number, self.sent);
            self.sent += 1;
            self.sent_at.push_back(now);
        }
    }

    fn note(&mut self, answers: usize, tally: &mut Tally) -> Result<()> {
        let now = Instant::now();
        self.answered = Some(now);
        tally.answers += answers as u64;
        for _ in 0..answers {
            let sent = self.sent_at.pop_front().ok_or(Error::Unasked { connection: self.number })?;
            tally.latency.saturating_record((now - sent).as_nanos() as u64);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.stream.write(&self.unsent[sent..]) {
                Ok(len) => sent += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.unsent.drain(..sent);
        Ok(())
    }
}
