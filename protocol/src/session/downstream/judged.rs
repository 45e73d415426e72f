//! Messages of backends where rules look at each before it counts.

use crate::rules;
use crate::session::ruled::{Judge, Lot, frame};

use super::{Collected, Downstream, Fate, Incoming, Kind, Passed, Tally, Treatment, for_payload, read_ack};

/// The whole messages of one kind that one of the backend comes to: itself, or its packets.
const PACKET: Kind = Kind { text: false, compressed: false };

impl Downstream {
    /// Takes one message at most, and has it judged. As [`Downstream::receive`] otherwise; nothing is held back.
    ///
    /// `run`: whole messages before it that the client is to get as they came, and that nobody has written yet. They are
    /// kept, and no longer the caller's, unless all that comes of this message is that it is passed as it came, too.
    pub(in crate::session) fn receive_judged(
        &mut self,
        (run, data): (&[u8], &[u8]),
        treatment: Treatment,
        tally: &mut Tally,
        judge: &mut Judge<'_>,
    ) -> (Passed, Option<Incoming>) {
        let Some(header) = self.scanner.whole_message(data) else {
            debug_assert!(run.is_empty());
            return self.collect_judged(data, treatment, tally, judge);
        };
        let len = header.frame_len() as usize;
        let (kind, payload) = (Kind::of(&header), &data[header.len..len]);
        let consumed = |direct| Passed { consumed: len, direct };
        if judge.cuts() {
            debug_assert!(run.is_empty());
            self.pass_packets(kind, payload, treatment, tally, judge);
            return (consumed(0..0), None);
        }
        let (fate, instead) = self.decide_judged(kind, Some(payload), treatment, tally, judge);
        if matches!((&fate, &instead), (Fate::Pass | Fate::Greet, None)) {
            return (consumed(0..len), None);
        }
        if !run.is_empty() {
            self.put(run);
        }
        match (fate, instead) {
            (Fate::Pass | Fate::Greet, frame) => frame.iter().for_each(|frame| self.put(frame)),
            (Fate::Swallow, _) => {}
            (Fate::Ack(payload), _) => return (consumed(0..0), Some(Incoming::Ack(payload))),
        }
        (consumed(0..0), None)
    }

    /// Whether a whole message is next, and all of it there.
    pub(in crate::session) fn begins_whole(&self, data: &[u8]) -> bool {
        self.scanner.whole_message(data).is_some()
    }

    fn collect_judged(
        &mut self,
        data: &[u8],
        treatment: Treatment,
        tally: &mut Tally,
        judge: &mut Judge<'_>,
    ) -> (Passed, Option<Incoming>) {
        let mut rest = data;
        let incoming = match self.collect_from(&mut rest) {
            Collected::Whole => self.finish_judged(treatment, tally, judge),
            Collected::Starved => None,
            Collected::Other(incoming) => Some(incoming),
        };
        (Passed { consumed: data.len() - rest.len(), direct: 0..0 }, incoming)
    }

    /// The message behind `whole` is complete.
    fn finish_judged(&mut self, treatment: Treatment, tally: &mut Tally, judge: &mut Judge<'_>) -> Option<Incoming> {
        self.memory.cover(self.allocated());
        let mut len = 0;
        let kind = for_payload(&self.log, self.whole, &mut |piece| len += piece.len() as u64);
        let payload = judge.takes(len).then(|| self.collected_payload().1);
        if judge.cuts() {
            self.log.truncate(self.whole);
            self.pass_packets(kind, &payload.unwrap_or_default(), treatment, tally, judge);
            return None;
        }
        let (fate, instead) = self.decide_judged(kind, payload.as_deref(), treatment, tally, judge);
        match (fate, instead) {
            (Fate::Pass | Fate::Greet, None) => self.keep_whole(false),
            (Fate::Pass | Fate::Greet, Some(frame)) => {
                self.log.truncate(self.whole);
                self.put(&frame);
            }
            (Fate::Swallow, _) => self.log.truncate(self.whole),
            (Fate::Ack(payload), _) => {
                self.log.truncate(self.whole);
                return Some(Incoming::Ack(payload));
            }
        }
        None
    }

    /// What becomes of a message, and the frame that the client gets in its place. `payload` is `None` for one behind
    /// `whole` that is too long to be looked into.
    fn decide_judged(
        &mut self,
        kind: Kind,
        payload: Option<&[u8]>,
        treatment: Treatment,
        tally: &mut Tally,
        judge: &mut Judge<'_>,
    ) -> (Fate, Option<Vec<u8>>) {
        if treatment.acks
            && let Some(ack) = payload.and_then(|payload| read_ack(kind, payload))
        {
            return (Fate::Ack(ack), None);
        }
        let ruling = judge.judge(kind.text, kind.compressed, payload);
        let side = if kind.text { rules::Kind::Text } else { rules::Kind::Binary };
        let instead = ruling.instead.as_ref().map(|payload| frame(side, payload, None));
        let fate = match ruling.lot {
            Lot::Swallow => Fate::Swallow,
            Lot::Pass { reply } => {
                tally.replies += u64::from(reply);
                tally.passed += 1;
                Fate::Pass
            }
            Lot::Ordinary => match ruling.instead.as_deref().or(payload) {
                Some(payload) => self.decide(kind, payload, Treatment { acks: false, ..treatment }, tally),
                None => {
                    let digest = self.seed.map(|seed| (seed, self.collected_digest(seed)));
                    self.decide_digest(digest, None, treatment, tally)
                }
            },
        };
        (fate, instead)
    }

    /// Each packet that is whole by this message is a message of its own.
    fn pass_packets(
        &mut self,
        kind: Kind,
        payload: &[u8],
        treatment: Treatment,
        tally: &mut Tally,
        judge: &mut Judge<'_>,
    ) {
        for packet in judge.cut(kind.text, kind.compressed, payload) {
            let (fate, instead) = self.decide_judged(PACKET, Some(&packet), treatment, tally, judge);
            if matches!(fate, Fate::Pass | Fate::Greet) {
                self.put(&instead.unwrap_or_else(|| frame(rules::Kind::Binary, &packet, None)));
            }
            if judge.is_done() {
                break;
            }
        }
    }

    /// Whole messages that are not written from where they came.
    fn put(&mut self, frames: &[u8]) {
        self.log.append(frames, 0);
        self.keep_whole(false);
    }
}
