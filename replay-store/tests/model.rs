//! The ring and the byte log against plain vectors that do the same the slow way.

use proptest::collection::vec;
use proptest::prelude::*;
use tideover_replay_store::{ByteLog, CHUNK_MAX, Limits, Replay, Ring};

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
    // What rules do.
    /// The last message is acknowledged by a key only.
    MarkKeyed,
    AcknowledgeUnkeyed(u64),
    /// Forgets the message that stands so many hundredths down the ring.
    ForgetOne(usize),
    EvictKeyed,
    /// A new leg that is given every so-manieth message from elsewhere.
    RewindWithout(usize),
    /// A new leg on which every so-manieth message says something else.
    RewindReplacing(usize, usize),
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
        3 => Just(Op::MarkKeyed),
        3 => (0..60_u64).prop_map(Op::AcknowledgeUnkeyed),
        2 => (0..100_usize).prop_map(Op::ForgetOne),
        1 => Just(Op::EvictKeyed),
        1 => (1..4_usize).prop_map(Op::RewindWithout),
        1 => (1..4_usize, 1..3000_usize).prop_map(|(nth, len)| Op::RewindReplacing(nth, len)),
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
    keyed: bool,
    /// The leg is given it from elsewhere.
    left_out: bool,
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
    /// Up to which message a barrier of the leg has proven what is written read.
    proven: u64,
}

impl Model {
    fn next_bytes(&mut self, len: usize) -> Vec<u8> {
        let bytes = (self.received..self.received + len).map(|n| ((n * 31) >> 3) as u8).collect();
        self.received += len;
        bytes
    }

    /// The leg has got so far that what comes next from elsewhere is behind it.
    fn pass(&mut self) {
        let next = self.messages.iter().position(|message| !message.left_out && !message.is_written());
        // Who stands within a message has not passed what is behind it.
        let through = next.unwrap_or(self.messages.len());
        for message in self.messages.iter_mut().take(through).filter(|message| message.left_out) {
            message.written = message.bytes.len();
        }
        let touched = self.messages.iter().take(through).rposition(|message| message.left_out).map_or(0, |at| at + 1);
        self.messages.iter_mut().take(touched).for_each(|message| message.touched = true);
    }

    fn unwritten(&self) -> Vec<u8> {
        let all = self.messages.iter().filter(|message| !message.left_out).chain(Some(&self.tail));
        all.flat_map(|message| message.bytes[message.written..].iter().copied()).collect()
    }

    fn advance(&mut self, mut len: usize) {
        let left = self.messages.iter_mut().filter(|message| !message.left_out);
        for message in left.chain(Some(&mut self.tail)) {
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

    fn acknowledge_unkeyed(&mut self, seq: u64) {
        self.proven = self.proven.max(seq);
        for message in self.messages.iter_mut().take_while(|message| message.seq <= seq && message.is_written()) {
            message.acknowledged |= !message.keyed;
        }
    }

    fn forget(&mut self, seq: u64) -> usize {
        let before = self.messages.len();
        self.messages.retain(|message| !(message.acknowledged && message.seq <= seq));
        before - self.messages.len()
    }

    fn evict_keyed(&mut self) -> Option<u64> {
        let proven = self.proven;
        let read = self.messages.iter().take_while(|message| message.is_written() && message.seq <= proven);
        let index = read.enumerate().find(|(_, message)| message.keyed).map(|(index, _)| index)?;
        Some(self.messages.remove(index).seq)
    }

    fn evict(&mut self, may: impl Fn(&Message) -> bool) -> Option<u64> {
        self.messages.first().filter(|message| may(message))?;
        Some(self.messages.remove(0).seq)
    }

    fn drop_oldest(&mut self) -> Option<u64> {
        let index = self.messages.iter().position(|message| !message.touched && !message.left_out)?;
        Some(self.messages.remove(index).seq)
    }

    fn rewind(&mut self) {
        for message in &mut self.messages {
            (message.written, message.acknowledged, message.left_out) = (0, false, false);
        }
        (self.tail.written, self.proven) = (0, 0);
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
        Op::MarkKeyed => {
            // It is known of a message when it comes, and not later.
            if let Some(last) = model.messages.last_mut().filter(|last| last.written == 0 && !last.left_out) {
                ring.mark_last(true, false, Replay::Normal);
                last.keyed = true;
            }
        }
        Op::AcknowledgeUnkeyed(seq) => {
            ring.acknowledge_unkeyed(seq);
            model.acknowledge_unkeyed(seq);
        }
        Op::ForgetOne(_) if model.messages.is_empty() => {}
        Op::ForgetOne(share) => {
            let index = model.messages.len() * share / 100;
            let message = &model.messages[index];
            if message.is_written() || message.left_out {
                assert!(ring.forget_one(message.seq) && !ring.retains(message.seq));
                model.messages.remove(index);
            }
        }
        Op::EvictKeyed => assert_eq!(ring.evict_keyed(), model.evict_keyed()),
        Op::RewindWithout(nth) => {
            ring.rewind();
            model.rewind();
            let out: Vec<u64> = model.messages.iter().step_by(nth).map(|message| message.seq).collect();
            ring.leave_out(out.iter().copied());
            model.messages.iter_mut().step_by(nth).for_each(|message| message.left_out = true);
        }
        Op::RewindReplacing(nth, len) => {
            ring.rewind();
            model.rewind();
            let bytes = model.next_bytes(len);
            let changes: Vec<_> =
                model.messages.iter().step_by(nth).map(|message| (message.seq, bytes.clone())).collect();
            ring.replace(&changes);
            model.messages.iter_mut().step_by(nth).for_each(|message| message.bytes.clone_from(&bytes));
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
    let out = model.messages.iter().any(|message| message.left_out);
    assert!(out || ring.is_written() == unwritten.is_empty());
    assert_eq!(ring.retained(), model.messages.len());
    assert_eq!(ring.first_retained(), model.messages.first().map(|message| message.seq));
    assert_eq!(ring.last_seq(), model.last_seq);
    let waiting = model.messages.iter().filter(|message| !message.acknowledged).count();
    assert_eq!(ring.unacknowledged(), waiting);
    assert_eq!(ring.bytes(), model.bytes(|_| true));
    assert_eq!(ring.unacknowledged_bytes(), model.bytes(|message| !message.acknowledged));
    assert_eq!(ring.touched(), model.messages.iter().filter(|message| message.touched).count());
    let waits = |message: &Message| !message.touched && !message.left_out;
    assert_eq!(ring.has_unwritten(), model.messages.iter().any(waits));
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
            model.pass();
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
