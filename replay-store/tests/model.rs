//! The ring and the byte log against plain vectors that do the same the slow way.

use proptest::collection::vec;
use proptest::prelude::*;
use tideover_replay_store::{ByteLog, CHUNK_MAX, Limits, Ring};

#[derive(Clone, Debug)]
enum Op {
    Append(usize),
    /// Two whole messages at once.
    Run(usize, usize),
    Complete,
    /// Writes so many hundredths of what is unwritten.
    Advance(usize),
    Acknowledge(u64),
    Forget(u64),
    EvictWritten,
    DropOldest,
    Rewind,
    AbandonTail,
}

fn op() -> impl Strategy<Value = Op> {
    let length = prop_oneof![4 => 1..40_usize, 2 => 400..600_usize, 1 => 1..3 * CHUNK_MAX];
    prop_oneof![
        6 => length.clone().prop_map(Op::Append),
        3 => (1..2000_usize, length).prop_map(|(first, second)| Op::Run(first, second)),
        6 => Just(Op::Complete),
        5 => (0..=100_usize).prop_map(Op::Advance),
        2 => (0..60_u64).prop_map(Op::Acknowledge),
        2 => (0..60_u64).prop_map(Op::Forget),
        1 => Just(Op::EvictWritten),
        3 => Just(Op::DropOldest),
        1 => Just(Op::Rewind),
        1 => Just(Op::AbandonTail),
    ]
}

/// A message, or at the end of the model what is being received.
#[derive(Clone, Debug, Default)]
struct Message {
    seq: u64,
    bytes: Vec<u8>,
    /// Bytes written to the current leg.
    written: usize,
    /// Whether any byte was written to any leg.
    touched: bool,
    acknowledged: bool,
}

impl Message {
    fn is_written(&self) -> bool {
        self.written == self.bytes.len()
    }
}

#[derive(Debug, Default)]
struct Model {
    messages: Vec<Message>,
    tail: Message,
    last_seq: u64,
    /// Bytes received, which gives each byte its value.
    received: usize,
}

impl Model {
    fn next_bytes(&mut self, len: usize) -> Vec<u8> {
        let bytes = (self.received..self.received + len).map(|n| ((n * 31) >> 3) as u8).collect();
        self.received += len;
        bytes
    }

    fn unwritten(&self) -> Vec<u8> {
        let all = self.messages.iter().chain(Some(&self.tail));
        all.flat_map(|message| message.bytes[message.written..].iter().copied()).collect()
    }

    fn advance(&mut self, mut len: usize) {
        for message in self.messages.iter_mut().chain(Some(&mut self.tail)) {
            let step = len.min(message.bytes.len() - message.written);
            message.written += step;
            message.touched |= step > 0;
            len -= step;
        }
    }

    fn complete(&mut self) -> u64 {
        self.last_seq += 1;
        self.messages.push(Message { seq: self.last_seq, ..std::mem::take(&mut self.tail) });
        self.last_seq
    }

    fn acknowledge(&mut self, seq: u64) {
        for message in self.messages.iter_mut().take_while(|message| message.seq <= seq && message.is_written()) {
            message.acknowledged = true;
        }
    }

    fn forget(&mut self, seq: u64) -> usize {
        let gone = |message: &&Message| message.acknowledged && message.seq <= seq;
        let count = self.messages.iter().take_while(gone).count();
        self.messages.drain(..count);
        count
    }

    fn evict(&mut self, may: impl Fn(&Message) -> bool) -> Option<u64> {
        self.messages.first().filter(|message| may(message))?;
        Some(self.messages.remove(0).seq)
    }

    fn drop_oldest(&mut self) -> Option<u64> {
        let index = self.messages.iter().position(|message| !message.touched)?;
        Some(self.messages.remove(index).seq)
    }

    fn rewind(&mut self) {
        for message in &mut self.messages {
            (message.written, message.acknowledged) = (0, false);
        }
        self.tail.written = 0;
    }

    fn bytes(&self, of: impl Fn(&Message) -> bool) -> usize {
        let whole = self.messages.iter().filter(|message| of(message));
        whole.map(|message| message.bytes.len()).sum::<usize>() + self.tail.bytes.len()
    }
}

fn apply(op: &Op, ring: &mut Ring, model: &mut Model) {
    match *op {
        Op::Append(len) => {
            let bytes = model.next_bytes(len);
            ring.append(&bytes, len / 2);
            model.tail.bytes.extend(bytes);
        }
        Op::Run(..) if !model.tail.bytes.is_empty() => {}
        Op::Run(first, second) => {
            let bytes = model.next_bytes(first + second);
            let room = ring.has_room(2, bytes.len());
            ring.append_run(&bytes, &[first as u32, (first + second) as u32], 0);
            for message in [&bytes[..first], &bytes[first..]] {
                model.tail.bytes.extend_from_slice(message);
                model.complete();
            }
            assert!(!room || !(ring.is_full() || ring.is_crowded()), "room for a run is room for each message");
        }
        Op::Complete if model.tail.bytes.is_empty() => {}
        Op::Complete => assert_eq!(ring.complete(0), model.complete()),
        Op::Advance(share) => {
            let len = model.unwritten().len() * share / 100;
            ring.advance(len);
            model.advance(len);
        }
        Op::Acknowledge(seq) => {
            ring.acknowledge(seq);
            model.acknowledge(seq);
        }
        Op::Forget(seq) => assert_eq!(ring.forget(seq), model.forget(seq)),
        Op::EvictWritten => assert_eq!(ring.evict_written(), model.evict(Message::is_written)),
        Op::DropOldest => assert_eq!(ring.drop_oldest_unwritten(), model.drop_oldest()),
        Op::Rewind => {
            ring.rewind();
            model.rewind();
        }
        Op::AbandonTail if model.tail.written > 0 => {}
        Op::AbandonTail => {
            ring.abandon_tail();
            model.tail = Message::default();
        }
    }
}

fn compare(ring: &Ring, model: &Model) {
    let unwritten: Vec<u8> = ring.unwritten(ring.end()).flatten().copied().collect();
    assert!(unwritten == model.unwritten(), "what is to be written");
    assert_eq!(ring.is_written(), unwritten.is_empty());
    assert_eq!(ring.retained(), model.messages.len());
    assert_eq!(ring.first_retained(), model.messages.first().map(|message| message.seq));
    assert_eq!(ring.last_seq(), model.last_seq);
    let waiting = model.messages.iter().filter(|message| !message.acknowledged).count();
    assert_eq!(ring.unacknowledged(), waiting);
    assert_eq!(ring.bytes(), model.bytes(|_| true));
    assert_eq!(ring.unacknowledged_bytes(), model.bytes(|message| !message.acknowledged));
    assert_eq!(ring.touched(), model.messages.iter().filter(|message| message.touched).count());
    assert_eq!(ring.has_unwritten(), model.messages.last().is_some_and(|message| !message.touched));
    assert_eq!(ring.has_written(), model.messages.first().is_some_and(Message::is_written));
    assert_eq!(ring.is_receiving(), !model.tail.bytes.is_empty());
    let full = waiting >= 8 || model.bytes(|message| !message.acknowledged) >= 100_000;
    assert_eq!(ring.is_full(), full);
    let written = model.messages.iter().take_while(|message| message.is_written()).last();
    let before_first = model.messages.first().map_or(model.last_seq, |message| message.seq - 1);
    assert_eq!(ring.written_seq(), written.map_or(before_first, |message| message.seq));
    let mut head = [0; 14];
    let _ = ring.peek(ring.message_start(), &mut head);
    if model.messages.is_empty() && model.tail.bytes.is_empty() {
        assert_eq!(ring.allocated(), 0, "an empty ring owns nothing");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_ring_is_a_list_of_messages(ops in vec(op(), 1..80)) {
        let mut ring = Ring::new(Limits { messages: 8, bytes: 100_000 });
        let mut model = Model::default();
        for op in &ops {
            apply(op, &mut ring, &mut model);
            compare(&ring, &model);
        }
    }

    #[test]
    fn a_byte_log_is_a_vector_of_bytes(ops in vec((0..3_u8, 0..200_000_usize, 0..1000_usize), 1..40)) {
        let (mut log, mut all, mut released) = (ByteLog::default(), Vec::new(), 0);
        for (kind, length, expected) in ops {
            let live = all.len() - released;
            match kind {
                0 => {
                    let bytes: Vec<u8> = (0..length % 90_000).map(|n| (n + length) as u8).collect();
                    log.append(&bytes, expected);
                    all.extend(bytes);
                }
                1 => {
                    released += length.min(live);
                    log.release_before(released as u64);
                }
                _ => {
                    all.truncate(all.len() - length.min(live));
                    log.truncate(all.len() as u64);
                }
            }
            prop_assert_eq!(log.end(), all.len() as u64);
            let kept: Vec<u8> = log.slices(released as u64, log.end()).flatten().copied().collect();
            prop_assert!(kept == all[released..]);
            prop_assert!(log.allocated() <= (all.len() - released) + 2 * CHUNK_MAX, "at most two partly used chunks");
            prop_assert!(log.end() > released as u64 || log.allocated() == 0 || kind == 2);
        }
    }
}
