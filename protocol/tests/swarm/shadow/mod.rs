//! The shadow: what a proxy must do, computed from what goes over the wires, beside the engine and without its code.
//!
//! It is told of every byte that the engine took or wrote and when, of verdicts and dials, and it computes which
//! messages are retained, what each leg must be written and what the client must be told. It does not foresee when a
//! deadline is met or a control frame is sent, nor how far the engine reads: it judges whether that was allowed.
//!
//! Three counts of the engine are taken as its word for *how many* messages made room (evicted, slid, dropped),
//! because that depends on how many bytes the engine looked at before it stopped. *Which* ones they are, and whether
//! room was needed, is computed.

mod ends;
mod ledger;
mod migration;
mod output;
mod told;

use std::sync::Arc;

use tideover_protocol::session::{
    AckCarrier, AckMode, BackendTraits, Commit, Config, Counters, Linger, OnFull, PongOrder, Session, Side,
};
use tideover_protocol::time::Instant;

use crate::codec::{self, Piece, Splitter};
use crate::coverage::{Coverage, Met};

pub(crate) use ends::Goodbye;
use ends::{Expected, LegEnd};
pub(crate) use ledger::{Fate, Ledger};
use migration::Move;
use told::{Collector, Said, Tape, Window};

/// How long the messages of a leg wait for their turns.
const TURN_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Relaying,
    /// The client has closed, with this, at that time.
    Closing(Vec<u8>, Instant),
    Orphaned(Instant),
    Ending,
    Ended,
}

/// Where the session stands with its backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Attached,
    Asking(LegEnd),
    Waiting,
    Dialling,
    None,
}

/// A ping of the proxy on the wire.
#[derive(Clone, Debug)]
struct Ping {
    payload: Vec<u8>,
    /// The last whole message before it on the leg, and how many there are.
    seq: u64,
    count: u64,
}

/// What is seen of one backend leg.
#[derive(Debug)]
struct Leg {
    /// What the proxy writes.
    upstream: Splitter,
    collector: Collector,
    ping: Option<Ping>,
    number: u64,
    answered_any: bool,
    /// The backend has sent something.
    heard: bool,
    /// What a barrier has proven read; how many messages of the leg.
    proven: u64,
    proven_count: u64,
    /// Answers, greetings left out.
    replies: u64,
    streak: u32,
    /// When the last barrier was answered or the last answer came.
    answered: Instant,
    /// When the backend last moved a byte.
    moved: Instant,
    /// Greetings of the leg so far.
    greetings: u32,
    mute: bool,
    suspect: bool,
    carrier: Option<AckCarrier>,
    /// The client's Close is wholly on it.
    close_written: bool,
    closed: bool,
    /// When it was attached, and which message had its turn on it last.
    began: Instant,
    turn: Option<u64>,
    /// When the last message was wholly on it, and when its backend last said something.
    given: Option<Instant>,
    spoke: Option<Instant>,
}

pub(crate) struct Shadow {
    config: Arc<Config>,
    began: Instant,
    /// Greetings that the client has had.
    greeted: u32,
    pub(crate) now: Instant,
    pub(crate) mode: AckMode,
    order: PongOrder,
    deaths: u32,
    /// Up to here every message was gone when it was last looked at.
    gone: u64,
    pub(crate) epoch: u32,
    pub(crate) phase: Phase,
    pub(crate) link: Link,
    pub(crate) ledger: Ledger,
    pub(crate) tape: Tape,
    window: Window,
    held: Vec<Said>,
    leg: Leg,
    /// The client's frames.
    client: Splitter,
    /// Legs that were left on purpose.
    pub(crate) moves: u64,
    /// The session is to be on another backend.
    moving: Option<Move>,
    /// What the engine has yet to say.
    expected: Vec<Expected>,
    pub(crate) goodbye: Option<Goodbye>,
    /// The client can no longer be told anything.
    pub(crate) deaf: bool,
    counters: Counters,
    pub(crate) swallowed: u64,
    /// The client has closed while nothing else had ended its session.
    pub(crate) closed_by_client: bool,
    /// Behind the end of relaying, the frame that the client was sending is over.
    frame_over: bool,
    /// What was held went out before a barrier, or a memory overflowed: repeats are allowed from here on.
    pub(crate) blurred: bool,
    /// The process's memory is short.
    pub(crate) short: bool,
    /// A backend answered a ping that it may not have read.
    pub(crate) lied: bool,
    pub(crate) coverage: Coverage,
}

impl Leg {
    fn new(now: Instant, traits: BackendTraits) -> Self {
        Self {
            upstream: Splitter::new(true),
            collector: Collector::new(),
            ping: None,
            number: 0,
            answered_any: false,
            heard: false,
            proven: 0,
            proven_count: 0,
            replies: 0,
            streak: 0,
            answered: now,
            moved: now,
            greetings: 0,
            mute: traits.mute,
            suspect: false,
            carrier: traits.carrier,
            close_written: false,
            closed: false,
            began: now,
            turn: None,
            given: None,
            spoke: None,
        }
    }
}

impl Shadow {
    pub(crate) fn new(config: Arc<Config>, now: Instant, traits: BackendTraits) -> Self {
        let mode = if traits.carrier.is_some() { AckMode::Explicit } else { config.ack };
        Self {
            began: now,
            greeted: 0,
            now,
            mode,
            order: traits.order,
            deaths: 0,
            gone: 0,
            epoch: 1,
            phase: Phase::Relaying,
            link: Link::Attached,
            ledger: Ledger::default(),
            tape: Tape::default(),
            window: Window::default(),
            held: Vec::new(),
            leg: Leg::new(now, traits),
            client: Splitter::new(true),
            moves: 0,
            moving: None,
            expected: Vec::new(),
            goodbye: None,
            deaf: false,
            counters: Counters::default(),
            swallowed: 0,
            closed_by_client: false,
            frame_over: false,
            blurred: false,
            lied: false,
            short: false,
            coverage: Coverage::new(),
            config,
        }
    }

    fn meet(&mut self, met: Met) {
        self.coverage.meet(met);
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ending | Phase::Ended)
    }

    // From the client.

    /// The engine took these bytes of the client; `received` is how many messages it says to have received in all.
    /// `full` is whether it says to end for a full ring.
    pub(crate) fn client_took(&mut self, now: Instant, bytes: &[u8], counters: &Counters, full: bool) {
        self.now = now;
        let mut splitter = std::mem::replace(&mut self.client, Splitter::new(true));
        splitter.feed(bytes, |piece| self.client_piece(&piece, counters, full));
        self.client = splitter;
        if full && !self.is_over() {
            self.ring_full();
        }
        self.make_room(counters);
        self.settle();
    }

    fn client_piece(&mut self, piece: &Piece<'_>, counters: &Counters, full: bool) {
        if self.phase != Phase::Relaying {
            // The leg may be written the rest of the frame in which it stands, so that a Close can follow.
            match piece {
                Piece::Payload { raw, .. } if !self.frame_over => self.ledger.tail.extend_from_slice(raw),
                Piece::Header { .. } => self.frame_over = true,
                _ => {}
            }
            return;
        }
        // The message for which there was no room.
        if let Piece::Header { opcode: codec::TEXT | codec::BINARY, .. } = piece
            && full
            && self.ledger.last == counters.received
        {
            return self.ring_full();
        }
        match *piece {
            Piece::Header { raw, .. } => self.ledger.tail.extend_from_slice(raw),
            Piece::Payload { raw, ends_message, .. } => {
                self.ledger.tail.extend_from_slice(raw);
                if ends_message {
                    let received = self.now.since(self.began).as_millis() as u64;
                    self.ledger.complete(received);
                    self.coverage.messages += 1;
                }
            }
            Piece::Control { opcode: codec::CLOSE, payload } => {
                if self.link != Link::Attached {
                    self.meet(Met::CloseWhileWaiting);
                }
                if self.moving.is_some() {
                    self.meet(Met::ClosedMigrating);
                }
                self.closed_by_client = true;
                self.phase = Phase::Closing(payload.to_vec(), self.now);
            }
            Piece::Control { .. } => {}
        }
    }

    fn ring_full(&mut self) {
        assert_eq!(self.config.on_full, OnFull::Close, "law 10: it ends for a full ring");
        assert!(self.is_full(), "law 10: the ring is not full");
        self.expected.push(Expected::RingFull);
        self.settle_end(Goodbye::Code(1013));
    }

    fn is_full(&self) -> bool {
        self.ledger.unacked() >= self.config.buffer_messages as usize
            || self.ledger.unacked_bytes() >= self.config.buffer_bytes
    }

    /// What the engine says to have removed for room: so many, and these.
    fn make_room(&mut self, counters: &Counters) {
        let (evicted, slid, dropped) = (
            counters.evicted - self.counters.evicted,
            counters.slid - self.counters.slid,
            counters.dropped - self.counters.dropped,
        );
        let crowded = self.ledger.kept.len() >= self.config.buffer_messages as usize
            || self.ledger.bytes + self.ledger.tail.len() >= self.config.buffer_bytes;
        if evicted > 0 {
            assert!(crowded, "law 1: lingering messages are evicted where there is room");
            self.meet(Met::Eviction);
            self.evict(evicted);
        }
        if slid > 0 {
            assert!(self.leg.mute && self.link == Link::Attached, "law 1: a window slides under a leg that answers");
            self.meet(Met::Slid);
        }
        for _ in 0..slid {
            assert!(self.ledger.first().is_some_and(|first| first <= self.ledger.whole), "law 1: slid, not written");
            self.ledger.remove(0, Fate::Slid);
        }
        if dropped > 0 {
            assert_eq!(self.config.on_full, OnFull::DropOldest, "law 1: dropped");
            assert_ne!(self.link, Link::Dialling, "law 2: dropped what a handshake has announced");
            self.meet(Met::Dropped);
        }
        for _ in 0..dropped {
            let oldest = self.ledger.kept.partition_point(|kept| kept.seq <= self.ledger.touched);
            assert!(oldest < self.ledger.kept.len(), "law 1: what was written is dropped");
            self.ledger.remove(oldest, Fate::Dropped);
        }
        self.counters = *counters;
    }

    /// Lingering messages go a barrier interval at a time.
    fn evict(&mut self, count: u64) {
        let mut gone = 0;
        while gone < count {
            let (seq, _) = self.ledger.lingering.pop_front().expect("law 1: what does not linger is evicted");
            gone += self.ledger.forget(seq) as u64;
        }
        assert_eq!(gone, count, "law 1: part of an interval is evicted");
    }

    pub(crate) fn client_ended(&mut self, now: Instant) {
        self.now = now;
        self.deaf = true;
        if self.phase == Phase::Relaying {
            if self.moving.is_some() {
                self.meet(Met::VanishedMigrating);
            }
            self.meet(Met::Orphaned);
            self.phase = Phase::Orphaned(now);
            self.forget_held();
            if !self.ledger.is_tail_written() {
                self.ledger.tail.clear();
            }
        }
    }

    fn forget_held(&mut self) {
        self.held.clear();
    }

    // To the backend.

    /// These bytes are on the wire. Returns the messages that are now wholly on it, and the payload of a Close.
    pub(crate) fn leg_written(&mut self, now: Instant, bytes: &[u8]) -> Vec<u64> {
        self.now = now;
        let mut whole = Vec::new();
        let mut splitter = std::mem::replace(&mut self.leg.upstream, Splitter::new(true));
        splitter.feed(bytes, |piece| match piece {
            Piece::Header { raw, .. } | Piece::Payload { raw, .. } => {
                assert!(!self.is_left(), "law 2: a message is written to a leg that is left");
                self.judge_turn(raw);
                whole.extend(self.ledger.written(raw));
            }
            Piece::Control { opcode, payload } => self.leg_control(opcode, payload),
        });
        self.ledger.set_in_header(splitter.is_in_header());
        self.leg.upstream = splitter;
        if !whole.is_empty() {
            self.leg.given = Some(now);
        }
        if self.mode == AckMode::None {
            let seq = self.ledger.whole;
            self.acknowledge(seq);
            self.settle();
        }
        whole
    }

    /// Poison: in isolation a message waits for its turn, but for no more than five seconds of a leg.
    fn judge_turn(&mut self, raw: &[u8]) {
        if raw.is_empty() || !self.ledger.is_isolated() || self.leg.turn == self.ledger.first() {
            return;
        }
        assert!(self.now.since(self.leg.began) >= TURN_PATIENCE, "poison: a message does not wait for its turn");
        self.meet(Met::TurnWaived);
    }

    /// It is the turn of the message that comes next.
    pub(crate) fn turn_given(&mut self) {
        self.leg.turn = self.ledger.first();
    }

    fn leg_control(&mut self, opcode: u8, payload: &[u8]) {
        match opcode {
            codec::PING => self.leg_ping(payload),
            codec::CLOSE if !self.is_over() => {
                let Phase::Closing(ref close, _) = self.phase else {
                    panic!("law 10: a Close the client did not send")
                };
                assert_eq!(payload, close, "law 10: the Close that the client sent");
                assert!(self.ledger.is_written(), "law 1: the client's Close overtakes its messages");
                self.leg.close_written = true;
            }
            _ => {}
        }
    }

    fn leg_ping(&mut self, payload: &[u8]) {
        assert!(self.leg.ping.is_none(), "barrier: a second ping in flight");
        assert!(payload.len() == 20 && payload.starts_with(b"tide"), "barrier: {payload:?}");
        let number = u64::from_be_bytes(payload[4..12].try_into().unwrap_or_default());
        let seq = u64::from_be_bytes(payload[12..].try_into().unwrap_or_default());
        assert!(number > self.leg.number, "barrier: numbers rise");
        let before = self.ledger.whole;
        // A message that is dropped behind a placed barrier is still named by it.
        let exact =
            seq == before || (seq > before && (before + 1..=seq).all(|seq| self.ledger.fates.contains_key(&seq)));
        assert!(exact, "barrier: it names message {seq} and stands behind {before}");
        if self.ledger.is_inside() {
            self.meet(Met::BarrierInsideMessage);
        }
        self.leg.number = number;
        self.leg.ping = Some(Ping { payload: payload.to_vec(), seq: before, count: self.ledger.count });
    }

    // Acknowledging.

    fn linger(&self) -> std::time::Duration {
        let zero = std::time::Duration::ZERO;
        match (self.mode, self.config.ack_linger) {
            (AckMode::None | AckMode::Reply | AckMode::Explicit | AckMode::Rules, _) => zero,
            (AckMode::Pong, _) if self.config.commit == Commit::Barrier => zero,
            (AckMode::Pong, Linger::For(linger)) => linger,
            (AckMode::Pong, Linger::Auto) if self.order == PongOrder::Late => zero,
            (AckMode::Pong, Linger::Auto) => std::time::Duration::from_millis(250),
        }
    }

    fn acknowledge(&mut self, seq: u64) {
        let linger = self.linger();
        let until = (!linger.is_zero()).then(|| self.now + linger);
        self.ledger.acknowledge(seq, until);
        self.progress();
    }

    /// A message less to replay is what makes a session forget earlier deaths, if a leg that speaks brought it so far.
    pub(super) fn progress(&mut self) {
        let gone = self.ledger.gone();
        if gone > self.gone && self.link == Link::Attached && self.leg.heard {
            self.deaths = 0;
        }
        self.gone = gone;
    }

    /// What nothing retained can bring again need not be remembered.
    fn settle(&mut self) {
        self.progress();
        self.window.forget(self.ledger.gone(), self.ledger.kept.is_empty());
    }

    // Time.

    pub(crate) fn time_passed(&mut self, now: Instant) {
        self.now = now;
        if self.link == Link::Attached && !self.leg.closed && self.ledger.expire_lingering(now) > 0 {
            self.meet(Met::Lingered);
            self.settle();
        }
        if self.link == Link::Waiting && !self.is_over() {
            self.expire();
        }
    }

    pub(crate) fn mute(&mut self, epoch: u32) {
        if epoch == self.epoch && self.link == Link::Attached && !self.leg.answered_any {
            self.leg.mute = true;
            self.muted();
        }
    }

    /// Nothing waits for pongs that never come.
    fn muted(&mut self) {
        self.ledger.isolated = 0;
        self.release();
    }

    /// The payload of the ping with this number, counted from the one before the last.
    pub(crate) fn forged(&mut self, from: u64) -> Vec<u8> {
        let number = (self.leg.number + from).saturating_sub(1);
        // It may come when its ping is on the wire, and then it is a lie.
        let lie = from == 1 || from == 2;
        (self.blurred, self.lied) = (self.blurred | lie, self.lied | lie);
        let mut payload = b"tide".to_vec();
        payload.extend(number.to_be_bytes());
        payload.extend(self.ledger.last.to_be_bytes());
        payload
    }

    // What must be the same after every step.

    /// Laws 5 and 8, and equality of the books.
    pub(crate) fn compare(&mut self, session: &Session) {
        assert!(self.expected.is_empty(), "{:?} was expected", self.expected);
        let c = session.counters();
        let out = c.slid + c.dropped + c.abandoned + c.expired + c.poisoned;
        assert_eq!(c.received, c.forgotten + session.retained() as u64 + out, "law 8: the accounts balance: {c:?}");
        if self.phase == Phase::Ended {
            return;
        }
        let ledger = &self.ledger;
        assert_eq!(c.received, ledger.last, "law 1: received");
        assert_eq!(session.retained(), ledger.kept.len(), "law 1: retained");
        assert_eq!(session.unacknowledged(), ledger.unacked(), "law 1: unacknowledged");
        assert_eq!(c.forgotten, ledger.forgotten, "law 8: forgotten");
        assert!(ledger.unacked() <= self.config.buffer_messages as usize, "law 5: messages");
        self.compare_move(session);
        // How long a client is held back for its rate is told in the stories.
        let limits = &self.config.limits;
        let slowed = limits.message_rate.is_some() || limits.byte_rate.is_some() || limits.control_rate.is_some();
        if self.phase == Phase::Relaying && !self.is_full() && !self.short && !slowed {
            assert!(session.wants_read(Side::Client), "law 10: the client is held back while there is room");
        }
        if !self.deaf {
            assert_eq!(c.passed, self.tape.passed, "law 4: passed");
            assert_eq!(c.swallowed, self.swallowed, "law 4: swallowed");
        }
        let open = self.link == Link::Attached && !self.leg.closed;
        if let Some((_, until)) = ledger.lingering.front().filter(|_| open) {
            assert!(session.poll_timeout().is_some_and(|at| at <= *until), "law 5: nobody wakes to forget");
        }
        self.counters = *c;
    }
}
