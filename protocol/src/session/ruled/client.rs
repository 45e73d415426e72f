//! Messages of the client: what rules say of each when it is whole, and what follows.

use crate::rules::{ClientVerdict, Kind, Message, Replay, UnpinWhen};
use crate::session::Session;
use crate::session::config::AckMode;
use crate::session::event::{Event, Side};
use crate::session::leg::Attachment;
use crate::time::Instant;

use super::Ruled;
use super::look::{Content, Opaque, frame, read_frames};
use super::marks::Mark;

impl Ruled {
    /// What rules say of a message of the client; `Err` if they allow no session with it.
    fn judge_client(&mut self, content: Option<&Content>) -> Result<ClientVerdict, Opaque> {
        self.nth.0 += 1;
        match content {
            Some(content) => {
                let message = Message { kind: content.kind, payload: &content.payload, nth: self.nth.0 };
                let verdict = self.rules.client(&message);
                if verdict.close { Err(Opaque) } else { Ok(verdict) }
            }
            None if self.rules.closes_opaque(true) => Err(Opaque),
            None => Ok(ClientVerdict::default()),
        }
    }
}

impl Session {
    /// A message of the client is whole, in the ring's tail, and does not count yet.
    pub(in crate::session) fn handle_client_message(&mut self, now: Instant) {
        let Some(ruled) = self.ruled.as_deref() else { return };
        let ring = &self.upstream.ring;
        let place = (ring.complete_end(), ring.end());
        let cuts = ruled.rules.packets().is_some();
        let limit = if cuts { usize::MAX } else { ruled.inspect_bytes };
        let content = read_frames(place, limit, |at, out| ring.peek(at, out), |from, to| ring.slices(from, to));
        if cuts { self.cut_client_message(now, content) } else { self.take_client_message(now, content.ok()) }
    }

    /// Each packet is a message of its own.
    fn cut_client_message(&mut self, now: Instant, content: Result<Content, Opaque>) {
        self.upstream.refuse_tail();
        let Some(ruled) = self.ruled.as_deref_mut() else { return };
        let rules = ruled.rules.clone();
        let cut = match (content, rules.packets()) {
            (Ok(content), Some(cutter)) if content.kind == Kind::Binary => {
                ruled.packets.cut(true, &content.payload, cutter).ok()
            }
            _ => None,
        };
        ruled.account();
        let Some(packets) = cut else { return self.close_for_rule(now, Side::Client) };
        for payload in packets {
            let mask = self.keys.mask();
            self.upstream.ring.append(&frame(Kind::Binary, &payload, Some(mask)), 0);
            let limit = self.config.inspect_bytes;
            let content = Content { kind: Kind::Binary, compressed: false, payload };
            self.take_client_message(now, Some(content).filter(|content| content.payload.len() <= limit));
            if !matches!(self.phase, crate::session::ending::Phase::Relaying) {
                break;
            }
        }
    }

    /// Takes the message in the tail on, which says this; `None` if it cannot be told.
    fn take_client_message(&mut self, now: Instant, content: Option<Content>) {
        let Some(ruled) = self.ruled.as_deref_mut() else { return };
        self.counters.opaque += u64::from(content.is_none());
        match ruled.judge_client(content.as_ref()) {
            Err(Opaque) => {
                self.upstream.refuse_tail();
                self.close_for_rule(now, Side::Client);
            }
            Ok(verdict) if verdict.replay == Replay::LegLocal && self.is_between_legs() => {
                self.upstream.refuse_tail();
                self.counters.received += 1;
                self.counters.skipped += 1;
            }
            Ok(verdict) => self.retain_client_message(now, verdict, content),
        }
    }

    /// Whether the leg that the client may be answering is gone.
    fn is_between_legs(&self) -> bool {
        matches!(self.backend, Attachment::Waiting { .. } | Attachment::Dialling { .. })
    }

    fn retain_client_message(&mut self, now: Instant, verdict: ClientVerdict, content: Option<Content>) {
        let translates = self.is_past_prelude();
        let taking = self.taking(now);
        let Some(ruled) = self.ruled.as_deref_mut() else { return };
        let mut frames = Vec::new();
        if verdict.pin.is_some() {
            self.upstream.ring.tail().for_each(|piece| frames.extend_from_slice(piece));
        }
        let mut id = None;
        if let (Some(at), Some(content)) = (verdict.translate, content.filter(|content| !content.compressed)) {
            id = ruled.find_id(&content.payload, at);
            if let Some(payload) = id.as_mut().filter(|_| translates).and_then(|id| ruled.for_leg(&content.payload, id))
            {
                self.upstream.ring.replace_tail(&frame(content.kind, &payload, Some(self.keys.mask())));
                self.counters.translated += 1;
            }
        }
        if let Some(seq) = verdict.gives_up.and_then(|key| ruled.marks.give_up(key, &self.upstream.ring)) {
            self.upstream.ring.unkey(seq);
        }
        let seq = self.upstream.complete(taking, &mut self.counters);
        let ring = &self.upstream.ring;
        let named = id.as_ref().and_then(|id| ruled.key_of_id(&id.clients));
        let (unpin, later) = match verdict.unpin.map(|unpin| (named.unwrap_or(unpin.key), unpin.when)) {
            Some((key, UnpinWhen::Now)) => (Some(key), None),
            Some((key, UnpinWhen::Acknowledged)) => (None, Some(key)),
            None => (None, None),
        };
        unpin.map(|key| ruled.pins.unpin(key.0));
        let pinned = verdict.pin.as_ref().map(|pin| ruled.pin(pin, (seq, frames), false, ring));
        ruled.marks.add(Mark {
            seq,
            key: verdict.acknowledge,
            unpin: later,
            max_age: verdict.max_age,
            told: None,
            id: id.map(Box::new),
        });
        ruled.incomplete |= pinned == Some(false);
        ruled.account();
        let keyed = verdict.acknowledge.is_some() && self.ack == AckMode::Rules;
        self.upstream.ring.mark_last(keyed, pinned == Some(true), verdict.replay.into());
        match pinned {
            Some(true) => self.counters.pinned += 1,
            Some(false) => {
                self.counters.pins_refused += 1;
                self.tell(Event::PinRefused);
            }
            None => {}
        }
    }

    // Between two legs.

    /// A leg is lost: what concerned it only, and what must not be said twice, is not replayed.
    pub(in crate::session) fn drop_leg_local(&mut self) {
        if let Some(ruled) = self.ruled.as_deref_mut()
            && !crate::sabotage::is(crate::sabotage::Sabotage::LegLocalReplayed)
        {
            let ring = &mut self.upstream.ring;
            self.counters.skipped += ring.drop_leg_local(self.upstream.gapless) as u64;
            ruled.settle(ring);
        }
    }

    /// Before a leg is looked for: messages are not replayed that are older than a rule allows.
    pub(in crate::session) fn drop_aged(&mut self, now: Instant) {
        let millis = self.millis(now);
        let Some(ruled) = self.ruled.as_deref_mut() else { return };
        let ring = &mut self.upstream.ring;
        for (seq, age) in ruled.marks.with_ages() {
            let gap = self.upstream.gapless && ring.first_retained() != Some(seq);
            let age = u32::try_from(age.as_millis()).unwrap_or(u32::MAX);
            let old = ring.received(seq).is_some_and(|received| received.saturating_add(age) <= millis);
            if old && !gap {
                self.counters.expired += u64::from(ring.drop_one(seq));
            }
        }
        ruled.settle(ring);
    }
}

impl From<Replay> for tideover_replay_store::Replay {
    fn from(replay: Replay) -> Self {
        match replay {
            Replay::Normal => Self::Normal,
            Replay::LegLocal => Self::LegLocal,
            Replay::Ephemeral => Self::Ephemeral,
        }
    }
}
