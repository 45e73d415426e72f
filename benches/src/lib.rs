//! What the micro benchmarks share: frames, and a session with peers made of as little as possible.
//!
//! `cargo bench -p tideover-benches` runs those that take the time. Each asserts its result once before it is timed.
//! The program `instructions` counts instead, and compares with what is kept in `baseline.txt`; the program `relay`
//! sets the whole proxy beside others.

use std::sync::Arc;
use std::time::Duration;

use tideover_protocol::frame::{FrameHeader, apply_mask};
use tideover_protocol::rules::Rules;
use tideover_protocol::session::{
    AckMode, Action, BackendTraits, Budgets, Config, Counters, Gather, Session, Side, Verdict, Weight,
};
use tideover_protocol::time::Instant;

/// The masking key of the client's frames.
pub const KEY: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// A whole binary message in one frame.
#[must_use]
pub fn message(payload: usize, mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut frame = head(0x82, payload, mask);
    frame.resize(frame.len() + payload, b'x');
    frame
}

/// A whole text message in one frame, its payload as it is or DEFLATE (RFC 7692).
#[must_use]
pub fn text(payload: &[u8], compressed: bool, mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut frame = head(if compressed { 0xC1 } else { 0x81 }, payload.len(), mask);
    let start = frame.len();
    frame.extend_from_slice(payload);
    if let Some(mask) = mask {
        apply_mask(&mut frame[start..], mask, 0);
    }
    frame
}

fn head(first: u8, payload: usize, mask: Option<[u8; 4]>) -> Vec<u8> {
    let bit = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload {
        0..=125 => frame.push(bit | payload as u8),
        126..=0xFFFF => frame.extend([&[bit | 126][..], &(payload as u16).to_be_bytes()].concat()),
        _ => frame.extend([&[bit | 127][..], &(payload as u64).to_be_bytes()].concat()),
    }
    frame.extend(mask.iter().flatten());
    frame
}

/// A session whose peers answer within the same turn.
#[derive(Debug)]
pub struct Rig {
    session: Session,
    now: Instant,
    /// What the client sends in a turn, and what the backend makes of it.
    request: Vec<u8>,
    answer: Vec<u8>,
    /// Where the backend's bytes of a turn are put together, kept for its memory.
    backend: Vec<u8>,
}

impl Rig {
    /// A session that relays messages of `payload` bytes both ways, one a turn.
    #[must_use]
    pub fn new(payload: usize) -> Self {
        Self::batched(payload, 1)
    }

    /// A session that relays `count` messages of `payload` bytes both ways in a turn.
    #[must_use]
    pub fn batched(payload: usize, count: usize) -> Self {
        let request = message(payload, Some(KEY)).repeat(count);
        Self::of(Config::default(), BackendTraits::default(), request, message(payload, None).repeat(count))
    }

    /// A session that relays these frames both ways, one turn like the next, permessage-deflate agreed to; with rules, they
    /// acknowledge.
    #[must_use]
    pub fn compressing(rules: Option<Arc<dyn Rules>>, request: Vec<u8>, answer: Vec<u8>) -> Self {
        let ack = if rules.is_some() { AckMode::Rules } else { AckMode::Pong };
        let config = Config { rules, ack, dedupe_replies: false, ..Config::default() };
        Self::of(config, BackendTraits { deflate: true, ..BackendTraits::default() }, request, answer)
    }

    fn of(config: Config, traits: BackendTraits, request: Vec<u8>, answer: Vec<u8>) -> Self {
        let now = Instant::from_origin(Duration::from_secs(1));
        let config = Arc::new(Config { buffer_messages: 1 << 20, buffer_bytes: 1 << 30, ..config });
        let session = Session::new(config, &Budgets::new(2 << 30), [7; 16], now, traits);
        Self { session, now, request, answer, backend: Vec::new() }
    }

    /// Counts since the session began.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        self.session.counters()
    }

    /// Messages that no backend has acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.session.unacknowledged()
    }

    /// The messages of a turn in, a barrier behind them, answers and a pong back. Returns the bytes that the client
    /// got.
    pub fn turn(&mut self) -> usize {
        self.now = self.now + Duration::from_millis(20);
        self.timeout();
        assert_eq!(self.session.handle_client_data(self.now, &self.request), self.request.len());
        self.backend.clear();
        self.backend.extend_from_slice(&self.answer);
        self.write_backend();
        let backend = std::mem::take(&mut self.backend);
        let mut got = 0;
        let mut rest = &backend[..];
        while !rest.is_empty() {
            let passed = self.session.handle_backend_data(self.now, self.session.epoch(), rest);
            got += self.write_client(&rest[passed.direct]);
            rest = &rest[passed.consumed..];
        }
        self.backend = backend;
        while self.session.poll_action().is_some() {}
        got
    }

    /// `count` messages in, which no backend acknowledges.
    pub fn retain(&mut self, count: usize) {
        for _ in 0..count {
            assert_eq!(self.session.handle_client_data(self.now, &self.request), self.request.len());
        }
        self.write_backend();
        self.backend.clear();
    }

    /// The backend dies and another one takes over. Returns the bytes written to it.
    pub fn fail_over(&mut self) -> usize {
        self.session.handle_end_of_stream(self.now, Side::Backend, self.session.epoch());
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Ask { epoch, .. } => self.session.handle_verdict(self.now, epoch, Verdict::Dying, Weight::NONE),
                Action::Attach(_) => {
                    assert!(self.session.handle_attached(self.now, BackendTraits::default()).is_some());
                }
                _ => {}
            }
        }
        self.write_backend()
    }

    fn timeout(&mut self) {
        if self.session.poll_timeout().is_some_and(|deadline| deadline <= self.now) {
            self.session.handle_timeout(self.now);
        }
    }

    /// Writes all there is to the backend, which answers a ping if there is one.
    fn write_backend(&mut self) -> usize {
        let mut total = 0;
        loop {
            let mut out = Gather::new();
            self.session.poll_transmit(self.now, Side::Backend, &mut out);
            if out.is_empty() {
                return total;
            }
            for piece in out.as_slices() {
                answer_ping(piece, &mut self.backend);
            }
            let len = out.len();
            self.session.handle_written(self.now, Side::Backend, len, &[]);
            total += len;
        }
    }

    fn write_client(&mut self, direct: &[u8]) -> usize {
        let mut out = Gather::new();
        self.session.poll_transmit(self.now, Side::Client, &mut out);
        out.push(direct);
        let len = out.len();
        self.session.handle_written(self.now, Side::Client, len, direct);
        len
    }
}

/// A ping of the proxy is a piece of its own.
fn answer_ping(piece: &[u8], out: &mut Vec<u8>) {
    if piece[0] != 0x89 {
        return;
    }
    let Ok(Some(FrameHeader { mask: Some(mask), len, .. })) = FrameHeader::parse(piece) else { return };
    out.extend_from_slice(&[0x8A, (piece.len() - len) as u8]);
    let start = out.len();
    out.extend_from_slice(&piece[len..]);
    apply_mask(&mut out[start..], mask, 0);
}
