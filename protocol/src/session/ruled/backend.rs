//! Messages of backends: what becomes of each is decided while it is received; what follows from it, afterwards.

use tideover_replay_store::Ring;

use crate::rules::{BackendVerdict, BadPacket, Key, Kind, Message};
use crate::sabotage::{self, Sabotage};
use crate::session::Session;
use crate::session::config::AckMode;
use crate::session::ending::going_away;
use crate::session::event::{HoldFailure, Side};
use crate::time::Instant;

use super::Ruled;
use super::look::{Content, Opaque, read_content};

/// What becomes of a message.
#[derive(Debug)]
pub(in crate::session) struct Ruling {
    pub(in crate::session) lot: Lot,
    /// What the client is told in its place.
    pub(in crate::session) instead: Option<Vec<u8>>,
}

/// Whether the client gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Lot {
    /// As without rules.
    Ordinary,
    /// It does. What rules see to is not seen to by de-duplication.
    Pass {
        /// It counts as an answer to a message of the leg.
        reply: bool,
    },
    /// It does not, and no rule would have it otherwise.
    Swallow,
}

impl Lot {
    fn ruling(self) -> Ruling {
        Ruling { lot: self, instead: None }
    }
}

/// Which message of the client is done with.
#[derive(Clone, Copy, Debug)]
enum Done {
    /// The oldest on the leg with this key.
    Key(Key),
    /// This one.
    Seq(u64),
}

/// What follows from the messages that were received last.
#[derive(Debug, Default)]
pub(in crate::session) struct ToDo {
    done: Vec<Done>,
    unpin: Vec<Key>,
    swallowed: u64,
    translated: u64,
    opaque: u64,
    hold_failed: bool,
    close: bool,
}

impl ToDo {
    fn is_nothing(&self) -> bool {
        let Self { done, unpin, swallowed, translated, opaque, hold_failed, close } = self;
        let counts = swallowed + translated + opaque;
        done.is_empty() && unpin.is_empty() && counts == 0 && !hold_failed && !close
    }
}

/// Who decides about messages of the backend while they are received.
pub(in crate::session) struct Judge<'a> {
    pub(in crate::session) ruled: &'a mut Ruled,
    pub(in crate::session) ring: &'a Ring,
    pub(in crate::session) now: Instant,
}

/// An answer to a pinned message.
struct Answer {
    /// Seq of that message, and whether it came first on this leg.
    seq: u64,
    prelude: bool,
    swallow: bool,
}

impl Judge<'_> {
    /// Whether the session ends by what was decided, or its leg, so that nothing more of it counts.
    pub(in crate::session) fn is_done(&self) -> bool {
        self.ruled.todo.close || self.ruled.todo.hold_failed
    }

    /// Whether a message of so many bytes is looked into.
    pub(in crate::session) fn takes(&self, len: u64) -> bool {
        self.cuts() || len <= self.ruled.inspect_bytes as u64
    }

    /// Whether messages are cut anew.
    pub(in crate::session) fn cuts(&self) -> bool {
        self.ruled.rules.packets().is_some()
    }

    /// The packets that are whole by this message. If it is no part of any, the session is to be closed.
    pub(in crate::session) fn cut(&mut self, text: bool, compressed: bool, payload: &[u8]) -> Vec<Vec<u8>> {
        let rules = self.ruled.rules.clone();
        let content = read_content(Kind::Binary, compressed, payload.to_vec(), usize::MAX >> 1);
        let cut = match (content, rules.packets()) {
            (Ok(content), Some(cutter)) if !text => self.ruled.packets.cut(false, &content.payload, cutter),
            _ => Err(BadPacket),
        };
        self.ruled.account();
        cut.unwrap_or_else(|BadPacket| {
            self.ruled.todo.close = true;
            Vec::new()
        })
    }

    /// What becomes of a message; `None` stands for a payload that is too long.
    pub(in crate::session) fn judge(&mut self, text: bool, compressed: bool, payload: Option<&[u8]>) -> Ruling {
        self.ruled.nth.1 += 1;
        let kind = if text { Kind::Text } else { Kind::Binary };
        let limit = self.ruled.inspect_bytes;
        let inflated: Content;
        let content = match payload {
            Some(payload) if !compressed && payload.len() <= limit => payload,
            Some(payload) if compressed => match read_content(kind, true, payload.to_vec(), limit) {
                Ok(content) => {
                    inflated = content;
                    &inflated.payload
                }
                Err(Opaque) => return self.judge_opaque(),
            },
            Some(_) | None => return self.judge_opaque(),
        };
        let verdict = self.ruled.rules.backend(&Message { kind, payload: content, nth: self.ruled.nth.1 });
        let mut ruling = self.decide(&verdict, content).ruling();
        match ruling.lot {
            Lot::Swallow => self.ruled.todo.swallowed += 1,
            Lot::Ordinary | Lot::Pass { .. } => {
                let at = verdict.translate.or(verdict.learn).filter(|_| !compressed);
                ruling.instead = at.and_then(|at| self.ruled.for_client(content, at));
                self.ruled.todo.translated += u64::from(ruling.instead.is_some());
            }
        }
        ruling
    }

    fn judge_opaque(&mut self) -> Ruling {
        self.ruled.todo.opaque += 1;
        if self.ruled.rules.closes_opaque(false) {
            self.ruled.todo.close = true;
            return Lot::Swallow.ruling();
        }
        Lot::Ordinary.ruling()
    }

    fn decide(&mut self, verdict: &BackendVerdict, content: &[u8]) -> Lot {
        if verdict.close {
            self.ruled.todo.close = true;
            return Lot::Swallow;
        }
        let learned = verdict.learn.clone().and_then(|at| content.get(at));
        let answer = verdict.answers.and_then(|key| self.answer(key, verdict.refuses, learned));
        if self.ruled.todo.hold_failed {
            // Another backend may say otherwise: nothing else follows from this.
            return Lot::Swallow;
        }
        let mut lot = match &answer {
            None => Lot::Ordinary,
            Some(answer) if answer.swallow => Lot::Swallow,
            Some(answer) => Lot::Pass { reply: !answer.prelude },
        };
        if let Some(rule) = verdict.swallow
            && lot != Lot::Swallow
        {
            lot = self.first_of(rule);
        }
        if let Some(key) = verdict.once
            && lot != Lot::Swallow
        {
            lot = self.once(key).unwrap_or(lot);
        }
        match (verdict.acknowledge, answer) {
            (None, _) => {}
            (Some(_), Some(answer)) if answer.prelude => self.ruled.todo.done.push(Done::Seq(answer.seq)),
            (Some(key), _) => self.ruled.todo.done.push(Done::Key(key)),
        }
        self.ruled.todo.unpin.extend(verdict.unpin);
        lot
    }

    /// Of its rule, the client does not get the first of a leg if it had one of an earlier leg. It answers nothing.
    fn first_of(&mut self, rule: u16) -> Lot {
        let ruled = &mut *self.ruled;
        let leg = Some(ruled.leg);
        let Some((_, told)) = ruled.swallowed.iter_mut().find(|(told, _)| *told == rule) else {
            ruled.swallowed.push((rule, leg));
            return Lot::Pass { reply: false };
        };
        if std::mem::replace(told, leg) == leg { Lot::Pass { reply: false } } else { Lot::Swallow }
    }

    /// While a message with this key is retained, the client does not get the first such answer of a leg if it had one of
    /// an earlier leg.
    fn once(&mut self, key: Key) -> Option<Lot> {
        let leg = self.ruled.leg;
        let mark = self.ruled.marks.oldest(key, self.ring)?;
        let told = mark.told.replace(leg);
        Some(match told {
            None => Lot::Pass { reply: true },
            Some(told) if told == leg => Lot::Pass { reply: false },
            Some(_) => Lot::Swallow,
        })
    }

    /// Which pinned message it answers that expects this key.
    fn answer(&mut self, key: Key, refuses: bool, learned: Option<&[u8]>) -> Option<Answer> {
        let ruled = &mut *self.ruled;
        let prelude = &mut ruled.prelude;
        if let Some(item) = prelude.answer(self.now, key) {
            let (pin, seq, hold, mut swallow) = (item.pin, item.seq, item.hold, item.had);
            if let Some(pin) = ruled.pins.get_mut(pin) {
                swallow |= std::mem::replace(&mut pin.state.had, true);
            }
            // What the client never had an answer to may be refused to it, as it would have been without a failover.
            if refuses && hold && swallow {
                ruled.todo.hold_failed = true;
                return Some(Answer { seq, prelude: true, swallow: true });
            }
            if let Some(id) = learned.filter(|_| !refuses) {
                ruled.learn(pin, id, !swallow);
            }
            swallow &= !sabotage::is(Sabotage::SwallowedPassed);
            return Some(Answer { seq, prelude: true, swallow });
        }
        let ring = self.ring;
        let asked = |seq: u64| !ring.retains(seq) || ring.is_given(seq);
        let pin = ruled.pins.iter_mut().find(|pin| {
            pin.state.expects == Some(key) && !pin.state.had && !prelude.has(pin.id()) && asked(pin.seq())
        })?;
        pin.state.had = true;
        let (pin, seq) = (pin.id(), pin.seq());
        if let Some(id) = learned.filter(|_| !refuses) {
            ruled.learn(pin, id, true);
        }
        Some(Answer { seq, prelude: false, swallow: false })
    }
}

impl Session {
    /// Does what follows from the messages of the backend that were received.
    pub(in crate::session) fn follow_rules(&mut self, now: Instant) {
        let Some(ruled) = self.ruled.as_deref_mut().filter(|ruled| !ruled.todo.is_nothing()) else { return };
        let todo = std::mem::take(&mut ruled.todo);
        if !self.is_deaf() {
            self.counters.ruled_swallowed += todo.swallowed;
        }
        self.counters.translated += todo.translated;
        self.counters.opaque += todo.opaque;
        let forgotten = self.counters.forgotten;
        for done in todo.done {
            self.forget_keyed(done);
        }
        for key in todo.unpin {
            self.unpin_answered(key);
        }
        if self.counters.forgotten > forgotten {
            self.deaths = 0;
            self.patience.reset();
        }
        self.settle_forgotten();
        if todo.close {
            self.close_for_rule(now, Side::Backend);
        } else if todo.hold_failed {
            self.fail_hold(now, Some(going_away()), HoldFailure::Refused);
        }
        self.check_done(now);
    }

    fn forget_keyed(&mut self, done: Done) {
        let Some(ruled) = self.ruled.as_deref() else { return };
        if self.ack != AckMode::Rules {
            return;
        }
        let seq = match done {
            Done::Seq(seq) => Some(seq),
            Done::Key(_) if sabotage::is(Sabotage::KeyForgetsAnother) => self.upstream.ring.first_retained(),
            Done::Key(key) => ruled.marks.given(key, &self.upstream.ring),
        };
        let forgotten = seq.is_some_and(|seq| self.upstream.forget_one(seq, &mut self.counters));
        self.counters.keyed += u64::from(forgotten);
    }

    /// The backend is done with a pinned message: neither is it said first to the next, nor replayed.
    fn unpin_answered(&mut self, key: Key) {
        let Some(ruled) = self.ruled.as_deref_mut() else { return };
        let seqs = ruled.pins.unpin(key.0);
        // The n-th reply acknowledges the n-th message, and backends that say what is acknowledged have the last word.
        if matches!(self.ack, AckMode::Rules | AckMode::Pong) {
            for seq in seqs.into_iter().filter(|seq| self.upstream.ring.is_given(*seq)).collect::<Vec<_>>() {
                self.upstream.forget_one(seq, &mut self.counters);
            }
        }
    }
}
