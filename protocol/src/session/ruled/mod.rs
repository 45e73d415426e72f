//! What rules do in a session: what is pinned, what is known of retained messages, what the client was told.
//!
//! The rules themselves say what a message means ([`crate::rules`]); nothing here looks into one for itself.
//!
//! - `look`: what a message says, unmasked and inflated; `packets`: messages cut anew
//! - `client`: what follows from a message of the client; `backend`: what becomes of one of the backend, which is
//!   decided while it is received, and what follows from it afterwards
//! - `prelude`: the pinned messages on their way to a new leg; `hold`: the session meanwhile
//! - `marks`: what is known of retained messages; `translate`: ids that backends chose

mod backend;
mod client;
mod hold;
mod look;
mod marks;
mod packets;
mod prelude;
mod translate;

use std::sync::Arc;

use tideover_replay_store::{Budget, PinLimits, Pins, Reservation, Ring};

use crate::rules::{Again, Key, Kind, Pin, Rules};
use crate::time::Instant;

use super::Session;
use super::config::Config;
use backend::ToDo;
pub(super) use backend::{Judge, Lot};
pub(super) use look::frame;
use marks::Marks;
use packets::Packets;
use prelude::Prelude;
use translate::Translation;

/// What is known of a pinned message.
#[derive(Debug)]
struct Pinned {
    expects: Option<Key>,
    hold: bool,
    learns: bool,
    /// The client had an answer to it.
    had: bool,
    ids: Translation,
}

/// The rules of one session and what came of them. Boxed, so that a session without rules is no larger.
#[derive(Debug)]
pub(super) struct Ruled {
    rules: Arc<dyn Rules>,
    inspect_bytes: usize,
    pins: Pins<Pinned>,
    marks: Marks,
    /// Of the current leg or, while one is dialled, of the next.
    prelude: Prelude,
    packets: Packets,
    /// Rules of which the client had a message, and the leg that last said one; `None`: somewhere else.
    swallowed: Vec<(u16, Option<u32>)>,
    /// Counts legs.
    leg: u32,
    /// Messages of the client so far, and of the backend on this leg.
    nth: (u64, u64),
    /// What follows from the messages of the backend that were received last.
    todo: ToDo,
    /// A pin learnt, or may learn, an id.
    learns: bool,
    /// A message could not be pinned: another backend would not know enough.
    incomplete: bool,
    /// The last leg was closed by its backend while an answer was waited for.
    closed_in_hold: bool,
    memory: Reservation,
}

impl Ruled {
    pub(super) fn new(config: &Config, budget: Arc<Budget>) -> Option<Box<Self>> {
        let rules = config.rules.clone()?;
        let limits = PinLimits { messages: config.pin_messages as usize, bytes: config.pin_bytes };
        Some(Box::new(Self {
            rules,
            inspect_bytes: config.inspect_bytes,
            pins: Pins::new(limits),
            marks: Marks::default(),
            prelude: Prelude::default(),
            packets: Packets::new(config.max_message.bytes),
            swallowed: Vec::new(),
            leg: 0,
            nth: (0, 0),
            todo: ToDo::default(),
            learns: false,
            incomplete: false,
            closed_in_hold: false,
            memory: Reservation::new(budget),
        }))
    }

    /// Whether messages of backends are looked at.
    pub(super) fn looks_at_backends(&self) -> bool {
        self.rules.looks_at(false) || self.rules.packets().is_some()
    }

    /// Whether messages of backends are looked at as they are, not cut anew.
    pub(super) fn looks_whole(&self) -> bool {
        self.rules.looks_at(false) && self.rules.packets().is_none()
    }

    /// Whether a message could not be pinned.
    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Of so many replies, how many are to pinned messages of which it is not said what answers them.
    pub(super) fn take_unmatched(&mut self, replies: u64) -> u64 {
        self.prelude.take_unmatched(replies)
    }

    /// Whether the backend stands inside a packet.
    pub(super) fn is_inside_packet(&self) -> bool {
        self.packets.is_backend_inside()
    }

    /// Bytes of memory held.
    pub(super) fn allocated(&self) -> usize {
        // For every message: where nothing learns ids, nothing has any, however many pins there are.
        let ids: usize = if self.learns { self.pins.iter().map(|pin| pin.state.ids.allocated()).sum() } else { 0 };
        self.pins.allocated() + self.marks.allocated() + self.packets.allocated() + ids
    }

    fn account(&mut self) {
        let held = self.allocated();
        self.memory.cover(held);
        self.memory.shrink(held);
    }

    /// Pins a message. Returns whether there was room.
    fn pin(&mut self, pin: &Pin, (seq, frames): (u64, Vec<u8>), had: bool, ring: &Ring) -> bool {
        let state =
            Pinned { expects: pin.expects, hold: pin.hold, learns: pin.learns, had, ids: Translation::default() };
        let to_end = pin.again == Again::Move;
        self.learns |= pin.learns;
        self.pins.pin(pin.key.0, to_end, (seq, frames), state, |seq| ring.retains(seq)).is_ok()
    }

    /// Messages may have been acknowledged or forgotten.
    pub(super) fn settle(&mut self, ring: &Ring) {
        for key in self.marks.settle(ring) {
            self.pins.unpin(key.0);
        }
        self.pins.settle(|seq| ring.retains(seq));
        self.account();
    }

    /// A message is set aside because backends die of it.
    pub(super) fn remove(&mut self, seq: u64) {
        self.pins.remove_seq(seq);
    }

    // Legs.

    /// Pinned messages that the leg is written first.
    pub(super) fn prelude_len(&self) -> usize {
        self.prelude.len()
    }

    /// A handshake is about to say how many pinned messages come first. Returns how many.
    pub(super) fn freeze(&mut self, ring: &Ring, gapless: bool) -> u32 {
        self.prelude = Prelude::freeze(&self.pins, ring, gapless);
        self.prelude.len() as u32
    }

    /// Nothing comes of that handshake, and the session stays on its leg.
    pub(super) fn thaw(&mut self) {
        self.prelude = Prelude::default();
    }

    /// A leg begins, after a wait since then.
    pub(super) fn begin_leg(&mut self, now: Instant, waiting_since: Instant) {
        self.prelude.begin(now, waiting_since);
        self.nth.1 = 0;
        self.leg = self.leg.wrapping_add(1);
        for pin in self.pins.iter_mut() {
            pin.state.ids.begin_leg();
        }
    }

    /// The leg is over.
    pub(super) fn end_leg(&mut self) {
        self.prelude = Prelude::default();
        self.packets.end_leg();
        self.todo = ToDo::default();
        self.account();
    }
}

impl Session {
    /// The client said this elsewhere before its session began, and had its answer there: it is pinned as if it had been
    /// the first message. To be called before any byte of the client is taken. Without [`Config::rules`], or without
    /// room, nothing is pinned; returns whether it was.
    pub fn pin_ahead(&mut self, kind: Kind, payload: &[u8], pin: &Pin) -> bool {
        let mask = self.keys.mask();
        let Some(ruled) = self.ruled.as_deref_mut() else { return false };
        let pinned = ruled.pin(pin, (0, frame(kind, payload, Some(mask))), true, &self.upstream.ring);
        ruled.incomplete |= !pinned;
        ruled.account();
        self.counters.pinned += u64::from(pinned);
        pinned
    }

    /// The client had a message of this rule (a [`BackendVerdict::swallow`](crate::rules::BackendVerdict)) elsewhere before
    /// its session began: what further legs say of it is swallowed. Of no effect without [`Config::rules`].
    pub fn swallow_ahead(&mut self, rule: u16) {
        if let Some(ruled) = self.ruled.as_deref_mut()
            && !ruled.swallowed.iter().any(|(told, _)| *told == rule)
        {
            ruled.swallowed.push((rule, None));
        }
    }
}
