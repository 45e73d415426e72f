//! A backend, deterministic, and the pipes between it and the proxy.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tideover_protocol::session::AckCarrier;
use tideover_protocol::time::Instant;

use crate::codec::{self, Piece, Splitter};
use crate::plan::{Answers, Plan, Pongs};

/// What all backends share: their database.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Messages handled by any backend.
    pub(crate) handled: u64,
    /// Of the session: the last seq that was applied, and the answers to all.
    pub(crate) applied: Vec<u64>,
    pub(crate) answers: Vec<Vec<u8>>,
}

#[derive(Debug)]
enum Item {
    /// The seq as the shadow knows it, and the payload.
    Message(u64, Vec<u8>),
    Ping(Vec<u8>),
    Close(Vec<u8>),
}

/// A message whose payload begins with this kills who reads it.
pub(crate) const DEADLY: u8 = b'!';

/// The backend at the far end of one leg.
#[derive(Debug)]
pub(crate) struct Backend {
    answers: Answers,
    pongs: Pongs,
    delay: Duration,
    carrier: Option<AckCarrier>,
    /// Bytes on the way to it.
    pub(crate) inbox: VecDeque<u8>,
    /// Bytes on the way from it.
    pub(crate) outbox: VecDeque<u8>,
    /// Bytes of control frames behind the last message in the outbox.
    control: usize,
    /// Most bytes in the inbox.
    pub(crate) room: usize,
    /// Most bytes that the proxy reads or writes at once.
    pub(crate) grain: usize,
    /// Messages that are on the wire and not read, by the shadow's numbers.
    pub(crate) coming: VecDeque<u64>,
    /// Messages it has read.
    pub(crate) read: Vec<u64>,
    splitter: Splitter,
    payload: Vec<u8>,
    queue: VecDeque<Item>,
    /// When the message at work is done.
    busy_until: Instant,
    begun: bool,
    /// The seq it handles next (session protocol).
    next_seq: u64,
    /// It has read and handled nothing since.
    pub(crate) hung: bool,
    /// Its end of the stream is closed behind the outbox.
    pub(crate) gone: bool,
    pub(crate) gone_told: bool,
    /// Writing to it fails.
    pub(crate) broken: bool,
    pub(crate) broken_told: bool,
    /// It has read a deadly message.
    pub(crate) dying: bool,
    /// Its stream ended by a death of the process, not by a decision.
    pub(crate) died: bool,
}

impl Backend {
    pub(crate) fn new(plan: &Plan, now: Instant) -> Self {
        let mut new = Self {
            answers: plan.answers,
            pongs: plan.pongs,
            delay: plan.delay,
            carrier: plan.carrier,
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            control: 0,
            room: usize::MAX,
            grain: usize::MAX,
            coming: VecDeque::new(),
            read: Vec::new(),
            splitter: Splitter::new(true),
            payload: Vec::new(),
            queue: VecDeque::new(),
            busy_until: now,
            begun: false,
            next_seq: 1,
            hung: false,
            gone: false,
            gone_told: false,
            broken: false,
            broken_told: false,
            dying: false,
            died: false,
        };
        for _ in 0..plan.greeting {
            new.say(b"hello");
        }
        new
    }

    /// What its handshake was told (session protocol): it says again what the client was not passed.
    pub(crate) fn begin_session(&mut self, shared: &Shared, next_seq: u64, delivered: u64, greeting: u32) {
        self.next_seq = next_seq;
        let had = (delivered as usize).saturating_sub(greeting as usize);
        for answer in shared.answers.iter().skip(had).cloned().collect::<Vec<_>>() {
            self.say(&answer);
        }
    }

    /// The proxy has left it on purpose: it reads what is on the way to it, and handles it.
    pub(crate) fn finish(&mut self, now: Instant, shared: &mut Shared) {
        if self.gone || self.hung {
            return;
        }
        self.listen(usize::MAX);
        // A newer leg of its session fences it off.
        while self.carrier.is_none() && !self.queue.is_empty() && !self.dying {
            self.begun = false;
            self.busy_until = now;
            let Some(item) = self.queue.pop_front() else { break };
            self.handle(item, shared);
        }
    }

    /// Whether it has said everything that it will say to what it was sent.
    pub(crate) fn is_done(&self) -> bool {
        let waits = self.queue.iter().any(|item| matches!(item, Item::Message(..)));
        !waits && !self.begun && self.coming.is_empty() && self.outbox.len() <= self.control
    }

    // Saying.

    pub(crate) fn say(&mut self, payload: &[u8]) {
        self.put(codec::FIN | codec::TEXT, payload);
    }

    /// In two frames.
    pub(crate) fn say_in_parts(&mut self, payload: &[u8]) {
        let (head, tail) = payload.split_at(payload.len() / 2);
        self.put(codec::TEXT, head);
        self.put(codec::FIN | codec::CONTINUATION, tail);
    }

    pub(crate) fn put(&mut self, first: u8, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(payload.len() + 10);
        codec::frame(&mut bytes, first, payload, None);
        self.control = if first & 0x8 == 0 { 0 } else { self.control + bytes.len() };
        self.outbox.extend(bytes);
    }

    fn acknowledge(&mut self, seq: u64) {
        let text = format!("tideover:ack:{seq}");
        match self.carrier {
            Some(AckCarrier::Pong) => self.put(codec::FIN | codec::PONG, text.as_bytes()),
            Some(AckCarrier::Message) => self.say(text.as_bytes()),
            None => {}
        }
    }

    // Working.

    /// Reads what has come and handles what is due.
    pub(crate) fn work(&mut self, now: Instant, shared: &mut Shared) {
        if self.gone || self.hung {
            return;
        }
        self.listen(usize::MAX);
        while !self.dying && !self.gone {
            let Some(item) = self.queue.front() else { break };
            let takes_time = matches!(item, Item::Message(..)) && !self.delay.is_zero();
            if takes_time && !self.begun {
                (self.begun, self.busy_until) = (true, now + self.delay);
            }
            if self.begun && self.busy_until > now {
                break;
            }
            self.begun = false;
            let Some(item) = self.queue.pop_front() else { break };
            self.handle(item, shared);
        }
    }

    /// When it will have something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        (self.begun && !self.gone && !self.hung).then_some(self.busy_until)
    }

    /// Reads up to `most` bytes.
    pub(crate) fn listen(&mut self, most: usize) {
        if self.inbox.is_empty() {
            return;
        }
        let count = most.min(self.inbox.len());
        let (one, two) = self.inbox.as_slices();
        let mut splitter = std::mem::replace(&mut self.splitter, Splitter::new(true));
        let first = one.len().min(count);
        let mut heard = Heard { queue: &mut self.queue, payload: &mut self.payload, coming: &mut self.coming };
        splitter.feed(&one[..first], |piece| heard.take(piece, &mut self.read));
        splitter.feed(&two[..count - first], |piece| heard.take(piece, &mut self.read));
        self.splitter = splitter;
        self.inbox.drain(..count);
        if self.pongs == Pongs::Early {
            self.answer_pings();
        }
    }

    fn answer_pings(&mut self) {
        let mut rest = VecDeque::with_capacity(self.queue.len());
        for item in std::mem::take(&mut self.queue) {
            match item {
                Item::Ping(payload) => self.put(codec::FIN | codec::PONG, &payload),
                other => rest.push_back(other),
            }
        }
        self.queue = rest;
    }

    fn handle(&mut self, item: Item, shared: &mut Shared) {
        match item {
            Item::Message(seq, payload) => {
                if payload.first() == Some(&DEADLY) {
                    self.dying = true;
                    return;
                }
                shared.handled += 1;
                self.answer(seq, &payload, shared);
            }
            Item::Ping(payload) if self.pongs == Pongs::Late => self.put(codec::FIN | codec::PONG, &payload),
            Item::Ping(_) => {}
            Item::Close(payload) => {
                self.put(codec::FIN | codec::CLOSE, &payload);
                self.gone = true;
            }
        }
    }

    fn answer(&mut self, seq: u64, payload: &[u8], shared: &mut Shared) {
        if self.answers == Answers::Store {
            return self.apply(seq, shared);
        }
        for answer in answers_of(self.answers, payload, shared.handled) {
            if answer.len() % 5 == 4 { self.say_in_parts(&answer) } else { self.say(&answer) }
        }
    }

    /// The transaction: the work, the last seq done and the answer.
    fn apply(&mut self, seq: u64, shared: &mut Shared) {
        assert_eq!(seq, self.next_seq, "law 2: Tideover-Next-Seq and what comes on the leg");
        self.next_seq += 1;
        if shared.applied.last().is_none_or(|last| *last < seq) {
            shared.applied.push(seq);
            let answer = format!("{}", shared.applied.len()).into_bytes();
            self.say(&answer);
            shared.answers.push(answer);
        }
        self.acknowledge(seq);
    }
}

/// What a backend that never died answers to a message.
pub(crate) fn answers_of(answers: Answers, payload: &[u8], handled: u64) -> Vec<Vec<u8>> {
    match answers {
        Answers::Echo | Answers::Push => vec![payload.to_vec()],
        Answers::Counter => vec![handled.to_string().into_bytes()],
        Answers::Varied => {
            let sum: usize = payload.iter().map(|byte| usize::from(*byte)).sum();
            vec![payload.to_vec(); [1, 0, 3, 1][(sum + payload.len()) % 4]]
        }
        Answers::Store => Vec::new(),
    }
}

struct Heard<'a> {
    queue: &'a mut VecDeque<Item>,
    payload: &'a mut Vec<u8>,
    coming: &'a mut VecDeque<u64>,
}

impl Heard<'_> {
    fn take(&mut self, piece: Piece<'_>, read: &mut Vec<u64>) {
        match piece {
            Piece::Header { .. } => {}
            Piece::Payload { plain, ends_message, .. } => {
                self.payload.extend_from_slice(plain);
                if ends_message {
                    let seq = self.coming.pop_front().expect("the shadow has seen the message on the wire");
                    read.push(seq);
                    self.queue.push_back(Item::Message(seq, std::mem::take(self.payload)));
                }
            }
            Piece::Control { opcode: codec::PING, payload } => self.queue.push_back(Item::Ping(payload.to_vec())),
            Piece::Control { opcode: codec::CLOSE, payload } => self.queue.push_back(Item::Close(payload.to_vec())),
            Piece::Control { .. } => {}
        }
    }
}

/// Counts how often each message was read, by seq.
pub(crate) fn readings(legs: &[Backend]) -> BTreeMap<u64, usize> {
    let mut readings = BTreeMap::new();
    for seq in legs.iter().flat_map(|leg| &leg.read) {
        *readings.entry(*seq).or_default() += 1;
    }
    readings
}
