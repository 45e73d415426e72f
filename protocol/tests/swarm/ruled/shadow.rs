//! What must be, computed from what passes over the wires and from the words of the rules, without the engine's code.

use std::collections::BTreeMap;

use tideover_protocol::session::{Counters, EndReason, Event, HoldFailure, Session};

use crate::codec::{self, Piece, Splitter};

use super::{Coverage, Met, parts};

/// A message of the client that is retained.
#[derive(Clone, Debug)]
struct Kept {
    text: String,
    /// The client had the word that it is to have once.
    told: bool,
    /// Wholly on this leg.
    on_leg: bool,
    /// The topic that is unsubscribed from when this is acknowledged.
    unpins: Option<String>,
}

/// A message that every leg begins with.
#[derive(Clone, Debug)]
struct Pinned {
    seq: u64,
    text: String,
    /// Which answer is its.
    expects: String,
    had: bool,
    /// A newer one has its place.
    older: bool,
}

/// One of them on its way to a leg.
#[derive(Clone, Debug)]
struct Sent {
    pin: Pinned,
    answered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Attached,
    Detached,
    Over,
}

pub(super) struct Shadow {
    pub(super) coverage: Coverage,
    pub(super) link: Link,
    most_messages: usize,
    most_pins: usize,
    seq: u64,
    kept: BTreeMap<u64, Kept>,
    pins: Vec<Pinned>,
    refused: bool,
    /// The prelude of the leg, or of the next.
    prelude: Vec<Sent>,
    dialled: bool,
    // The leg.
    /// Messages of the prelude that are wholly written.
    preluded: usize,
    last: u64,
    touched: u64,
    proven: u64,
    ping: Option<(Vec<u8>, u64)>,
    upstream: Splitter,
    heard: Vec<u8>,
    backend: Splitter,
    said: Vec<u8>,
    client: Splitter,
    saying: Vec<u8>,
    // The client.
    pub(super) passed: Vec<String>,
    greeted: bool,
    closed_in_hold: bool,
    failing: Option<HoldFailure>,
    pub(super) forbidden: bool,
    counts: Counters,
}

impl Shadow {
    pub(super) fn new(most_messages: usize, most_pins: usize) -> Self {
        Self {
            coverage: Coverage::new(),
            link: Link::Attached,
            most_messages,
            most_pins,
            seq: 0,
            kept: BTreeMap::new(),
            pins: Vec::new(),
            refused: false,
            prelude: Vec::new(),
            dialled: false,
            preluded: 0,
            last: 0,
            touched: 0,
            proven: 0,
            ping: None,
            upstream: Splitter::new(true),
            heard: Vec::new(),
            backend: Splitter::new(false),
            said: Vec::new(),
            client: Splitter::new(true),
            saying: Vec::new(),
            passed: Vec::new(),
            greeted: false,
            closed_in_hold: false,
            failing: None,
            forbidden: false,
            counts: Counters::default(),
        }
    }

    fn meet(&mut self, met: Met) {
        self.coverage.meet(met);
    }

    // From the client.

    pub(super) fn client_took(&mut self, bytes: &[u8], counters: &Counters) {
        let mut splitter = std::mem::replace(&mut self.client, Splitter::new(true));
        let mut messages = Vec::new();
        splitter.feed(bytes, |piece| collect(&piece, &mut self.saying, &mut messages));
        self.client = splitter;
        for _ in self.counts.evicted_keyed..counters.evicted_keyed {
            self.evict();
        }
        for text in messages {
            self.client_said(text);
        }
        self.settle();
    }

    /// Law 1: what makes room for others was read, and the oldest of its kind.
    fn evict(&mut self) {
        self.meet(Met::EvictedKeyed);
        let read = |(seq, kept): &(&u64, &Kept)| **seq <= self.proven && kept.text.starts_with('Q');
        let seq = self.kept.iter().find(read).map(|(seq, _)| *seq).expect("law 1: what was not read is evicted");
        self.forget(seq);
        self.counts.evicted_keyed += 1;
    }

    fn client_said(&mut self, text: String) {
        if self.forbidden {
            return;
        }
        let (letter, topic, _) = parts(&text);
        if letter == 'X' {
            self.meet(Met::RuleClose);
            self.forbidden = true;
            return;
        }
        self.counts.received += 1;
        if letter == 'R' && self.link == Link::Detached {
            self.meet(Met::LegLocalRefused);
            self.counts.skipped += 1;
            return;
        }
        self.seq += 1;
        let topic = topic.to_owned();
        if letter == 'U' && self.unpin(&topic) {
            self.meet(Met::Unpinned);
        }
        if matches!(letter, 'L' | 'S' | 'M') {
            self.pin(letter, &topic, &text);
        }
        let unpins = (letter == 'V').then_some(topic);
        let kept = Kept { text, told: false, on_leg: false, unpins };
        self.kept.insert(self.seq, kept);
    }

    fn pin(&mut self, letter: char, topic: &str, text: &str) {
        let expects = if letter == 'L' { "l".to_owned() } else { format!("s{topic}") };
        let place = self.pins.iter().position(|pin| pin.expects == expects && !pin.older);
        let stays = place.is_some_and(|place| self.kept.contains_key(&self.pins[place].seq));
        let count = self.pins.len() + usize::from(place.is_none() || stays);
        if count > self.most_pins {
            self.meet(Met::PinRefused);
            self.refused = true;
            self.counts.pins_refused += 1;
            return;
        }
        if self.dialled {
            self.meet(Met::PinArrivedWhileDialling);
        }
        self.counts.pinned += 1;
        let new = Pinned { seq: self.seq, text: text.to_owned(), expects, had: false, older: false };
        let end = self.pins.len();
        match place {
            Some(place) if stays => {
                self.meet(Met::Superseded);
                self.pins[place].older = true;
                self.pins.insert(if letter == 'M' { end } else { place + 1 }, new);
            }
            Some(place) => {
                self.pins.remove(place);
                self.pins.insert(if letter == 'M' { end - 1 } else { place }, new);
            }
            None => self.pins.push(new),
        }
    }

    fn unpin(&mut self, topic: &str) -> bool {
        let before = self.pins.len();
        self.pins.retain(|pin| pin.expects != format!("s{topic}"));
        self.pins.len() < before
    }

    // Forgetting.

    fn forget(&mut self, seq: u64) {
        if let Some(kept) = self.kept.remove(&seq) {
            self.acknowledged(&kept);
            self.counts.forgotten += 1;
        }
    }

    fn acknowledged(&mut self, kept: &Kept) {
        if let Some(topic) = &kept.unpins
            && self.unpin(topic)
        {
            self.meet(Met::UnpinnedLater);
        }
    }

    fn settle(&mut self) {
        let kept = &self.kept;
        self.pins.retain(|pin| !pin.older || kept.contains_key(&pin.seq));
    }

    // To the backend.

    pub(super) fn leg_written(&mut self, bytes: &[u8]) {
        let mut splitter = std::mem::replace(&mut self.upstream, Splitter::new(true));
        splitter.feed(bytes, |piece| match piece {
            Piece::Header { .. } => self.begin(),
            Piece::Payload { plain, ends_message, .. } => {
                self.heard.extend_from_slice(plain);
                if ends_message {
                    self.written();
                }
            }
            Piece::Control { opcode: codec::PING, payload } => self.pinged(payload),
            Piece::Control { .. } => {}
        });
        if splitter.is_in_header() {
            self.begin();
        }
        self.upstream = splitter;
    }

    /// What comes next in the ring on this leg: the first retained behind the last, which the prelude has not.
    fn next(&self) -> Option<u64> {
        let preluded = |seq: u64| self.prelude.iter().any(|sent| sent.pin.seq == seq);
        self.kept.range(self.last + 1..).map(|(seq, _)| *seq).find(|seq| !preluded(*seq))
    }

    fn begin(&mut self) {
        if self.preluded == self.prelude.len()
            && let Some(seq) = self.next()
        {
            self.touched = self.touched.max(seq);
        }
    }

    /// Law 2: the pinned messages first, in order, each once; then what is retained, in order, each once.
    fn written(&mut self) {
        let text = String::from_utf8(std::mem::take(&mut self.heard)).expect("text");
        if let Some(sent) = self.prelude.get(self.preluded) {
            assert_eq!(text, sent.pin.text, "pins: the wrong message");
            self.preluded += 1;
            self.counts.pins_sent += 1;
            return;
        }
        let waits = self.prelude.iter().any(|sent| sent.pin.expects == "l" && !sent.answered);
        assert!(!waits, "hold: {text} is written before the login is answered");
        let seq = self.next().unwrap_or_else(|| panic!("law 2: {text} is written, and nothing is to be"));
        let kept = self.kept.get_mut(&seq).expect("found above");
        assert_eq!(text, kept.text, "law 2: the wrong message");
        kept.on_leg = true;
        self.last = seq;
        self.touched = self.touched.max(seq);
    }

    fn pinged(&mut self, payload: &[u8]) {
        let seq = u64::from_be_bytes(payload[12..].try_into().expect("a barrier"));
        let unwritten = self.next().filter(|next| *next <= seq);
        assert_eq!(unwritten, None, "barrier: it names {seq} and stands before a message up to that");
        let through = self.preluded == self.prelude.len();
        assert!(seq == 0 || through, "barrier: it stands before pinned messages and names others");
        self.ping = Some((payload.to_vec(), seq));
    }

    // From the backend.

    pub(super) fn leg_took(&mut self, bytes: &[u8]) {
        let mut splitter = std::mem::replace(&mut self.backend, Splitter::new(false));
        let mut heard = Vec::new();
        splitter.feed(bytes, |piece| match piece {
            Piece::Control { opcode, payload } => heard.push((opcode, payload.to_vec())),
            piece => {
                let mut texts = Vec::new();
                collect(&piece, &mut self.said, &mut texts);
                heard.extend(texts.into_iter().map(|text| (codec::TEXT, text.into_bytes())));
            }
        });
        self.backend = splitter;
        for (opcode, payload) in heard {
            match opcode {
                codec::TEXT => self.backend_said(String::from_utf8(payload).expect("text")),
                codec::PONG => self.ponged(&payload),
                codec::CLOSE => self.leg_closed(&payload),
                _ => {}
            }
        }
        self.settle();
    }

    fn ponged(&mut self, payload: &[u8]) {
        let Some((_, seq)) = self.ping.take_if(|(ping, _)| ping == payload) else { return };
        self.proven = self.proven.max(seq);
        let read: Vec<u64> =
            self.kept.range(..=seq).filter(|(_, kept)| !kept.text.starts_with('Q')).map(|(seq, _)| *seq).collect();
        for seq in read {
            self.forget(seq);
        }
    }

    fn backend_said(&mut self, text: String) {
        if self.link != Link::Attached || self.failing.is_some() {
            return;
        }
        let (letter, topic, number) = parts(&text);
        let passes = match letter {
            'l' | 's' => {
                let answer = if letter == 'l' { "l".to_owned() } else { text.clone() };
                let (refused, passes) = (topic == "!", self.answers(&answer, topic == "!"));
                if refused && self.failing.is_none() {
                    self.ended("0");
                }
                passes
            }
            'g' => {
                let again = std::mem::replace(&mut self.greeted, true);
                if again {
                    self.meet(Met::GreetedAgain);
                }
                !again
            }
            'o' => self.once(number),
            'a' => {
                self.answered(number);
                true
            }
            'e' => {
                self.ended(topic);
                true
            }
            _ => true,
        };
        if passes {
            self.passed.push(text);
        } else {
            self.counts.ruled_swallowed += 1;
        }
    }

    /// An answer to a pinned message: whether the client gets it.
    fn answers(&mut self, answer: &str, refused: bool) -> bool {
        let written = self.preluded;
        let open = |sent: &&mut Sent| sent.pin.expects == answer && !sent.answered;
        if let Some(sent) = self.prelude.iter_mut().take(written).find(open) {
            sent.answered = true;
            let (seq, had) = (sent.pin.seq, sent.pin.had);
            let pin = self.pins.iter_mut().find(|pin| pin.seq == seq);
            let had = pin.is_some_and(|pin| std::mem::replace(&mut pin.had, true)) || had;
            if refused && had {
                self.failing = Some(HoldFailure::Refused);
                return false;
            }
            if refused {
                self.meet(Met::RefusedToTheClient);
            } else if answer == "l" {
                self.meet(Met::HoldPassed);
            }
            self.meet(if had { Met::Swallowed } else { Met::FirstAnswerOnALaterLeg });
            return !had;
        }
        let preluded: Vec<u64> = self.prelude.iter().map(|sent| sent.pin.seq).collect();
        let Self { pins, kept, .. } = self;
        let asked = |seq: u64| kept.get(&seq).is_none_or(|kept| kept.on_leg);
        let own = pins
            .iter_mut()
            .find(|pin| pin.expects == answer && !pin.had && !preluded.contains(&pin.seq) && asked(pin.seq));
        if let Some(pin) = own {
            pin.had = true;
        }
        true
    }

    fn question(&self, number: &str) -> Option<u64> {
        self.kept.iter().find(|(_, kept)| kept.text == format!("Q.{number}")).map(|(seq, _)| *seq)
    }

    fn once(&mut self, number: &str) -> bool {
        let Some(kept) = self.question(number).and_then(|seq| self.kept.get_mut(&seq)) else { return true };
        let told = std::mem::replace(&mut kept.told, true);
        if told {
            self.meet(Met::OnceSwallowed);
        }
        !told
    }

    fn answered(&mut self, number: &str) {
        let Some(seq) = self.question(number) else { return };
        if self.kept.range(..seq).any(|(_, kept)| kept.text.starts_with('Q')) {
            self.meet(Met::OutOfOrder);
        }
        self.forget(seq);
        self.counts.keyed += 1;
    }

    /// The backend has ended a subscription: nothing of it is said again.
    fn ended(&mut self, topic: &str) {
        let expects = format!("s{topic}");
        let seqs: Vec<u64> = self.pins.iter().filter(|pin| pin.expects == expects).map(|pin| pin.seq).collect();
        if self.unpin(topic) {
            self.meet(Met::UnpinnedByBackend);
        }
        for seq in seqs {
            let preluded = self.prelude.iter().any(|sent| sent.pin.seq == seq);
            if preluded || self.kept.get(&seq).is_some_and(|kept| kept.on_leg) {
                self.forget(seq);
            }
        }
    }

    // Legs.

    fn is_in_hold(&self) -> bool {
        self.prelude.iter().any(|sent| sent.pin.expects == "l" && !sent.answered)
    }

    fn leg_closed(&mut self, payload: &[u8]) {
        let own = payload.starts_with(&4001_u16.to_be_bytes());
        self.ends(own);
    }

    pub(super) fn leg_ended(&mut self) {
        self.ends(false);
    }

    fn ends(&mut self, own: bool) {
        if self.link != Link::Attached || self.failing.is_some() || !self.is_in_hold() {
            return;
        }
        if own && self.closed_in_hold {
            self.meet(Met::ClosedTwiceInHolds);
            self.link = Link::Over;
            return;
        }
        self.closed_in_hold = own;
        self.failing = Some(HoldFailure::Ended);
    }

    pub(super) fn told(&mut self, event: Event) {
        match event {
            Event::LegLost { .. } => {
                assert!(!self.is_in_hold(), "hold: its failure is taken for a death");
                assert!(!self.refused, "pins: a session without all its pins is attached again");
                self.meet(Met::Failover);
                self.closed_in_hold = false;
                self.lost();
            }
            Event::HoldFailed { why, .. } => {
                match (why, self.failing.take()) {
                    (HoldFailure::TimedOut, None) => {
                        assert!(self.is_in_hold(), "hold: nothing is waited for");
                        self.closed_in_hold = false;
                        self.meet(Met::HoldTimedOut);
                    }
                    (HoldFailure::Refused, Some(HoldFailure::Refused)) => {
                        self.closed_in_hold = false;
                        self.meet(Met::HoldRefused);
                    }
                    (HoldFailure::Ended, Some(HoldFailure::Ended)) => self.meet(Met::HoldEnded),
                    other => panic!("hold: it fails for another reason: {other:?}"),
                }
                self.counts.holds_failed += 1;
                self.lost();
            }
            Event::Ending(reason) => {
                if reason == EndReason::NotWhole {
                    assert!(self.refused, "pins: the session could be attached again");
                    self.meet(Met::NotAttachedAgain);
                }
                assert!(self.failing.is_none() || reason != EndReason::ClientClosed, "hold: {reason}");
                self.link = Link::Over;
            }
            Event::PinRefused => assert!(self.refused, "pins: there was room"),
            _ => {}
        }
    }

    fn lost(&mut self) {
        if self.preluded < self.prelude.len() && !self.heard.is_empty() {
            self.meet(Met::CutInPrelude);
        }
        self.link = Link::Detached;
        self.drop_leg_local();
    }

    /// What no other leg is told.
    fn drop_leg_local(&mut self) {
        let touched = self.touched;
        let goes = |seq: u64, kept: &Kept| match kept.text.as_bytes()[0] {
            b'R' => Some(Met::LegLocalDropped),
            b'E' if seq <= touched => Some(Met::EphemeralDropped),
            _ => None,
        };
        let gone: Vec<_> = self.kept.iter().filter_map(|(seq, kept)| Some((*seq, goes(*seq, kept)?))).collect();
        for (seq, met) in gone {
            self.meet(met);
            self.kept.remove(&seq);
            self.counts.skipped += 1;
        }
        self.settle();
    }

    /// A handshake is about to say how many messages are pinned.
    pub(super) fn dials(&mut self, pinned: Option<u32>) {
        self.freeze();
        assert_eq!(pinned, Some(self.prelude.len() as u32), "pins: Tideover-Pinned");
        self.dialled = true;
    }

    fn freeze(&mut self) {
        self.settle();
        self.prelude = self.pins.iter().map(|pin| Sent { pin: pin.clone(), answered: false }).collect();
    }

    /// The prepared leg takes the place of the old one.
    pub(super) fn adopts(&mut self) {
        if self.link == Link::Attached {
            self.meet(Met::Migrated);
            let written: Vec<u64> = self
                .kept
                .iter()
                .filter(|(seq, kept)| kept.on_leg || self.is_preluded(**seq))
                .map(|(seq, _)| *seq)
                .collect();
            for seq in written {
                assert!(!self.kept[&seq].text.starts_with('Q'), "law 10: a leg is left that owes an answer");
                self.forget(seq);
            }
            self.link = Link::Detached;
            self.closed_in_hold = false;
            self.drop_leg_local();
        } else {
            self.meet(Met::FellToPrepared);
        }
        self.freeze();
    }

    fn is_preluded(&self, seq: u64) -> bool {
        self.prelude.iter().any(|sent| sent.pin.seq == seq)
    }

    /// A new leg. Returns whether it is told the login first.
    pub(super) fn attached(&mut self) -> bool {
        self.link = Link::Attached;
        self.dialled = false;
        if !self.prelude.is_empty() {
            self.meet(Met::Prelude);
        }
        if self.prelude.iter().any(|sent| self.kept.contains_key(&sent.pin.seq)) {
            self.meet(Met::PinnedAndRetained);
        }
        (self.preluded, self.last, self.proven, self.ping) = (0, 0, 0, None);
        (self.upstream, self.backend) = (Splitter::new(true), Splitter::new(false));
        (self.heard, self.said) = (Vec::new(), Vec::new());
        for kept in self.kept.values_mut() {
            kept.on_leg = false;
        }
        self.is_in_hold()
    }

    // Comparing.

    /// Law 8, and that the engine retains what it must.
    pub(super) fn compare(&mut self, session: &Session) {
        if self.link == Link::Over || self.forbidden {
            return;
        }
        let told = session.counters();
        assert_eq!(session.retained(), self.kept.len(), "law 1: retained: {:?}", self.kept);
        let out = told.skipped + told.abandoned + told.expired + told.poisoned + told.slid + told.dropped;
        assert_eq!(told.received, told.forgotten + self.kept.len() as u64 + out, "law 8: {told:?}");
        let pairs = [
            (told.received, self.counts.received, "received"),
            (told.forgotten, self.counts.forgotten, "forgotten"),
            (told.skipped, self.counts.skipped, "skipped"),
            (told.keyed, self.counts.keyed, "keyed"),
            (told.pinned, self.counts.pinned, "pinned"),
            (told.pins_refused, self.counts.pins_refused, "pins refused"),
            (told.pins_sent, self.counts.pins_sent, "pins sent"),
            (told.holds_failed, self.counts.holds_failed, "holds failed"),
            (told.ruled_swallowed, self.counts.ruled_swallowed, "swallowed"),
        ];
        for (told, counted, name) in pairs {
            assert_eq!(told, counted, "law 8: {name}");
        }
        if told.isolations > self.counts.isolations {
            self.counts.isolations = told.isolations;
            self.meet(Met::Isolation);
        }
        let bound = self.most_messages + 1;
        assert!(session.unacknowledged() <= bound, "law 5: {} messages", session.unacknowledged());
    }

    /// Whether nothing is owed any more.
    pub(super) fn is_settled(&self) -> bool {
        self.link == Link::Attached && self.kept.is_empty()
    }

    /// A run without faults.
    pub(super) fn note_peace(&mut self, failovers: u64) {
        if failovers == 0 {
            self.meet(Met::Peaceful);
        }
    }
}

fn collect(piece: &Piece<'_>, partial: &mut Vec<u8>, out: &mut Vec<String>) {
    if let Piece::Payload { plain, ends_message, .. } = piece {
        partial.extend_from_slice(plain);
        if *ends_message {
            out.push(String::from_utf8(std::mem::take(partial)).expect("text"));
        }
    }
}
