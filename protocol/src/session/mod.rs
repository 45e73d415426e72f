//! The session engine: one client's life in the proxy, as a value.
//!
//! It owns every decision about messages, acknowledgements, liveness and the end of legs. It owns no socket, clock,
//! randomness or task. The sub-machines have private fields; this module only dispatches between them:
//!
//! - `upstream`: the client's frames into the replay ring, and the ring onto the backend leg
//! - `downstream`: the backend's whole messages to the client
//! - `outlet`: control frames at frame borders of a leg
//! - `echoes`: what clients were told, so that a new leg's repetition can be swallowed; `inflate`: what compressed
//!   messages say, where that decides
//! - `ack`: barriers; `liveness`: what is overdue; `leg`: legs, back-off and what is between two of them
//! - `limits`: what a client may ask of the proxy
//! - `ruled`: what rules say of messages, and what follows: pinned messages on a new leg, keys, holds, ids
//! - `migration`: how a session leaves a leg that is well; `answers`: when all that was written counts as answered
//! - `ending`: what the end of a leg means, and how a session ends; `timeout`: all deadlines in one table
//!
//! # Contract
//! Methods are getters, inputs (`handle_*`, with the time), commands, or outputs (`poll_*`). After any input or
//! command the driver drains [`Session::poll_action`], writes what [`Session::poll_transmit`] gives for both sides,
//! and asks [`Session::poll_timeout`] before it waits. Bytes of a leg are offered only while
//! [`Session::wants_read`] says so; what was not consumed is offered again later. Inputs of a dead epoch change a
//! counter and nothing else.

mod ack;
mod acknowledge;
mod answers;
mod config;
mod downstream;
mod echoes;
mod ending;
mod event;
mod inflate;
mod keys;
mod leg;
mod limits;
mod liveness;
mod migration;
mod outlet;
mod poison;
mod ruled;
mod survey;
mod timeout;
mod transmit;
mod upstream;

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tideover_replay_store::Budget;

use crate::frame::FrameError;
use crate::sabotage::{self, Sabotage};
use crate::time::Instant;

pub use ack::{AckCarrier, PongOrder};
use answers::Answers;
pub use config::{
    AckMode, Commit, Config, EndCodes, Linger, OnAmbiguous, OnExpired, OnFull, OnMigrateTimeout, OnPoison, OnRate,
    Reattach, SessionLimits,
};
pub use downstream::Passed;
use downstream::{Downstream, Tally, Treatment};
use ending::Phase;
pub use event::{
    Action, AttachRequest, Counters, EndReason, Event, Hindrance, HoldFailure, Loss, Poisoned, Side, Unmovable,
};
use keys::Keys;
pub use leg::BackendTraits;
use leg::{Attachment, BackendLeg, ClientLeg, LegEnd, Patience};
pub use limits::Limit;
use limits::{Limits, Ruling};
use migration::Migration;
pub use outlet::Gather;
pub use poison::{Isolation, Weight};
use ruled::Ruled;
pub use survey::RingSurvey;
use upstream::{Taking, Upstream};

/// How soon to look again whether the process has memory for more messages.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Number of a session's backend leg, from 1.
pub type Epoch = u32;

/// Bounds on the memory of all sessions of a process together, one for each direction: what a client waits for must
/// never depend on what other clients have sent.
#[derive(Clone, Debug)]
pub struct Budgets {
    /// For the replay rings.
    pub upstream: Arc<Budget>,
    /// For what waits for the clients.
    pub downstream: Arc<Budget>,
}

impl Budgets {
    /// Half of `total` bytes for each direction.
    #[must_use]
    pub fn new(total: usize) -> Self {
        Self { upstream: Budget::new(total / 2), downstream: Budget::new(total / 2) }
    }
}

/// The answer to [`Action::Ask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The backend is proven to be dying.
    Dying,
    /// It is not.
    Healthy,
}

/// Why an attempt to attach failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachFailure {
    /// The backends deny the session, finally.
    Denied,
    /// Anything else; it is tried again.
    Failed,
}

/// One client's life in the proxy.
#[derive(Debug)]
pub struct Session {
    config: Arc<Config>,
    keys: Keys,
    began: Instant,
    phase: Phase,
    /// The level in force: `reply` may have fallen back to `pong`, and a backend may have asked for `explicit`.
    ack: AckMode,
    order: PongOrder,
    /// How much the deaths of backends since a message was last forgotten weigh.
    deaths: u32,
    /// Every message up to this one is forgotten.
    settled: u64,
    /// When to look again whether the process has memory for more messages.
    pressed: Option<Instant>,
    epoch: Epoch,
    client: ClientLeg,
    backend: Attachment,
    patience: Patience,
    migration: Option<Box<Migration>>,
    limits: Limits,
    ruled: Option<Box<Ruled>>,
    upstream: Upstream,
    downstream: Downstream,
    answers: Answers,
    counters: Counters,
    actions: VecDeque<Action>,
    /// Microseconds that the latest answer to a ping of ours took, until asked for: small, each session has it.
    round_trip: Option<NonZeroU32>,
}

impl Session {
    /// A session whose first backend leg is attached. `seed` must be unpredictable: masking keys come from it (RFC
    /// 6455 5.3).
    #[must_use]
    pub fn new(config: Arc<Config>, budgets: &Budgets, seed: [u8; 16], now: Instant, traits: BackendTraits) -> Self {
        let mut keys = Keys::new(seed);
        let patience = Patience::new(keys.next());
        let ack = match (config.ack, traits.carrier) {
            (_, Some(_)) => AckMode::Explicit,
            // Without a backend that asks for it there is nobody to be explicit.
            (AckMode::Explicit, None) => AckMode::Pong,
            // Without rules nothing has a key.
            (AckMode::Rules, None) if config.rules.is_none() => AckMode::Pong,
            (ack, None) => ack,
        };
        let mut upstream = Upstream::new(&config, budgets.upstream.clone(), traits.deflate);
        upstream.gapless = ack == AckMode::Explicit;
        upstream.frozen = upstream.gapless;
        let limits = Limits::new(&config.limits, now, keys.next());
        Self {
            ruled: Ruled::new(&config, budgets.upstream.clone()),
            upstream,
            downstream: Downstream::new(
                &config,
                budgets.downstream.clone(),
                keys.next(),
                traits.deflate,
                ack == AckMode::Explicit,
            ),
            config,
            keys,
            began: now,
            phase: Phase::Relaying,
            ack,
            order: traits.order,
            deaths: 0,
            settled: 0,
            pressed: None,
            epoch: 1,
            client: ClientLeg::new(now),
            backend: Attachment::Attached(Box::new(BackendLeg::new(now, traits))),
            patience,
            migration: None,
            limits,
            answers: Answers::default(),
            counters: Counters::default(),
            actions: VecDeque::new(),
            round_trip: None,
        }
    }

    // Getters.

    /// Number of the latest backend leg.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Counts since the session began.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Retained messages, acknowledged ones that linger included.
    #[must_use]
    pub fn retained(&self) -> usize {
        self.upstream.ring.retained()
    }

    /// Messages that no backend has acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.upstream.ring.unacknowledged()
    }

    /// Bytes of buffer memory held, both ways, and for pinned messages. Zero for an idle session that has none.
    #[must_use]
    pub fn buffered(&self) -> usize {
        let ruled = self.ruled.as_deref().map_or(0, Ruled::allocated);
        self.upstream.ring.allocated() + self.downstream.allocated() + ruled
    }

    /// Whether bytes of that leg should be read now: the level of back-pressure.
    #[must_use]
    pub fn wants_read(&self, side: Side) -> bool {
        match side {
            Side::Client => match self.phase {
                Phase::Relaying => !self.limits.is_paused() && self.upstream.wants_read(self.may_slide()),
                Phase::Closing(_) | Phase::Ending(_) => !self.client.ended,
                Phase::Orphaned { .. } | Phase::Ended => false,
            },
            Side::Backend => match &self.backend {
                Attachment::Attached(leg) => {
                    !leg.closed && !self.is_dialled_at_rest() && (self.is_muffled() || self.downstream.wants_read())
                }
                Attachment::Asking { .. }
                | Attachment::Waiting { .. }
                | Attachment::Dialling { .. }
                | Attachment::None => false,
            },
        }
    }

    /// Whether the session waits for memory of the process.
    #[must_use]
    pub fn wants_memory(&self) -> bool {
        self.upstream.memory().is_waiting() || self.downstream.memory().is_waiting()
    }

    /// Whether what the backend says no longer counts for anything.
    fn is_muffled(&self) -> bool {
        match self.phase {
            Phase::Relaying | Phase::Closing(_) | Phase::Orphaned { .. } => false,
            Phase::Ending(_) | Phase::Ended => true,
        }
    }

    /// Whether what the backend says cannot reach the client. It may acknowledge all the same.
    fn is_deaf(&self) -> bool {
        self.client.outlet.is_dead()
    }

    /// The time in milliseconds of the session: 49 days of them.
    fn millis(&self, now: Instant) -> u32 {
        u32::try_from(now.since(self.began).as_millis()).unwrap_or(u32::MAX)
    }

    fn taking(&self, now: Instant) -> Taking {
        Taking { mute: self.may_slide(), millis: self.millis(now), through: u64::MAX }
    }

    /// Whether what the leg was written makes room, because nothing will ever acknowledge it. Not once a handshake has
    /// said which message the next leg begins with.
    fn may_slide(&self) -> bool {
        self.is_mute() && !self.is_dialled_at_rest()
    }

    fn is_mute(&self) -> bool {
        matches!(&self.backend, Attachment::Attached(leg) if leg.mute)
    }

    fn leg_mut(&mut self) -> Option<&mut BackendLeg> {
        match &mut self.backend {
            Attachment::Attached(leg) => Some(leg),
            Attachment::Asking { .. } | Attachment::Waiting { .. } | Attachment::Dialling { .. } | Attachment::None => {
                None
            }
        }
    }

    // Inputs: bytes.

    /// Bytes of the client. Returns how many were consumed; the rest is to be offered again when
    /// [`Self::wants_read`] says so, or at once if it still does.
    #[must_use]
    pub fn handle_client_data(&mut self, now: Instant, data: &[u8]) -> usize {
        self.client.live.handle_moved(now);
        self.take_client_data(now, data)
    }

    fn take_client_data(&mut self, now: Instant, data: &[u8]) -> usize {
        let mut rest = data;
        while self.wants_read(Side::Client) {
            let incoming = match self.phase {
                Phase::Relaying => self.receive_input(now, &mut rest),
                Phase::Closing(_) | Phase::Ending(_) | Phase::Orphaned { .. } | Phase::Ended => {
                    self.ignore_client(&mut rest)
                }
            };
            let Some(incoming) = incoming else { break };
            self.handle_client_control(now, incoming);
        }
        self.after_receiving(now);
        data.len() - rest.len()
    }

    /// Takes what the client may send now.
    fn receive_input(&mut self, now: Instant, rest: &mut &[u8]) -> Option<upstream::Incoming> {
        let taking = self.taking(now);
        if !self.limits.count_messages() {
            return self.upstream.receive(rest, taking, &mut self.counters);
        }
        let allowance = self.limits.allowance(now, &self.config.limits);
        let offered = rest.len().min(usize::try_from(allowance.bytes).unwrap_or(usize::MAX));
        let (mut part, received) = (&rest[..offered], self.counters.received);
        let taking = Taking { through: received.saturating_add(allowance.messages), ..taking };
        let incoming = self.upstream.receive(&mut part, taking, &mut self.counters);
        // One that rules look at counts only when they have.
        let judged = matches!(incoming, Some(upstream::Incoming::Whole));
        let (used, messages) = (offered - part.len(), self.counters.received - received + u64::from(judged));
        *rest = &rest[used..];
        if messages > 0 || self.upstream.is_in_message() {
            self.limits.handle_data(now);
        }
        let ruling = self.limits.handle_taken(now, (messages, used as u64), &self.config.limits);
        self.obey(now, ruling);
        incoming
    }

    fn count_control(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Relaying) {
            let ruling = self.limits.handle_control(now, &self.config.limits);
            self.obey(now, ruling);
        }
    }

    fn obey(&mut self, now: Instant, ruling: Ruling) {
        match ruling {
            Ruling::Within => {}
            Ruling::Slowed(limit) => self.tell(Event::Slowed(limit)),
            Ruling::Over(limit) => self.end_beyond(now, limit),
        }
    }

    /// Behind its Close a client has nothing to say (RFC 6455 5.5.1).
    fn ignore_client(&mut self, rest: &mut &[u8]) -> Option<upstream::Incoming> {
        if self.client.closed {
            *rest = &[];
            return None;
        }
        self.upstream.ignore(rest)
    }

    fn after_receiving(&mut self, now: Instant) {
        self.pressed = self.upstream.is_pressed().then(|| now + LOOK_AGAIN);
        self.settle_forgotten();
        self.check_crowded();
        if self.upstream.take_before_large()
            && let Some(leg) = self.leg_mut()
        {
            leg.pings.due = true;
        }
    }

    fn handle_client_control(&mut self, now: Instant, incoming: upstream::Incoming) {
        match incoming {
            upstream::Incoming::Ping(payload) => {
                self.client.outlet.answer(payload);
                self.count_control(now);
            }
            upstream::Incoming::Pong(payload) => {
                let _ = self.client.pings.handle_pong(payload.as_bytes());
                self.count_control(now);
            }
            upstream::Incoming::TinyFragment => self.count_control(now),
            upstream::Incoming::Close(payload) => self.handle_client_close(now, payload),
            upstream::Incoming::Error(error) => self.fail_client(now, error),
            upstream::Incoming::Full => self.end_for_full_ring(now),
            upstream::Incoming::Whole => self.handle_client_message(now),
        }
    }

    /// Bytes of the backend leg of `epoch`. Offer what was not consumed again: at once while [`Self::wants_read`] says
    /// so, after what is direct has been written or kept.
    #[must_use]
    pub fn handle_backend_data(&mut self, now: Instant, epoch: Epoch, data: &[u8]) -> Passed {
        let muffled = self.is_muffled();
        let current = epoch == self.epoch || sabotage::is(Sabotage::DeadEpochAccepted);
        let Some(leg) = self.leg_mut().filter(|leg| current && !leg.closed) else {
            self.counters.dead_bytes += data.len() as u64;
            return Passed { consumed: data.len(), direct: 0..0 };
        };
        let acks = leg.carrier == Some(AckCarrier::Message);
        leg.heard = true;
        if leg.live.handle_moved(now) {
            self.tell(Event::Cleared(epoch));
        }
        let (passed, incoming) =
            if muffled { self.downstream.ignore(data) } else { self.receive_output(now, data, acks) };
        if let Some(incoming) = incoming {
            self.handle_backend_control(now, incoming);
        }
        passed
    }

    fn handle_backend_control(&mut self, now: Instant, incoming: downstream::Incoming) {
        match incoming {
            downstream::Incoming::Ping(payload) => {
                if let Some(leg) = self.leg_mut() {
                    leg.outlet.answer(payload);
                }
            }
            downstream::Incoming::Pong(payload) => self.handle_backend_pong(now, payload.as_bytes()),
            downstream::Incoming::Close(payload) => {
                if let Some(leg) = self.leg_mut() {
                    leg.closed = true;
                }
                self.handle_leg_end(now, LegEnd::Close(Box::new(payload)));
            }
            downstream::Incoming::Ack(payload) => self.handle_explicit_ack(now, payload.as_bytes()),
            downstream::Incoming::Error(error @ (FrameError::TooBig | FrameError::TooManyFrames)) => {
                self.end_over_limit(now, error);
            }
            downstream::Incoming::Error(error) => self.lose_leg(now, Loss::Protocol(error)),
        }
    }

    // Inputs: ends of streams and answers of the driver.

    /// The stream of a leg ended, with or without an error: nothing more can be read from it. `epoch` is that of the
    /// backend leg and is not looked at for the client's.
    pub fn handle_end_of_stream(&mut self, now: Instant, side: Side, epoch: Epoch) {
        match side {
            Side::Client if !self.client.ended => self.handle_client_end(now),
            Side::Backend if epoch == self.epoch && self.leg_mut().is_some_and(|leg| !leg.closed) => {
                self.handle_leg_end(now, LegEnd::EndOfStream);
            }
            Side::Client | Side::Backend => {}
        }
    }

    /// A write to a leg failed. That only stops the writing: the read side, drained to its end, decides.
    pub fn handle_write_error(&mut self, now: Instant, side: Side) {
        match side {
            Side::Client => {
                self.client.outlet.kill();
                self.downstream.discard();
                self.check_done(now);
            }
            Side::Backend => {
                if let Some(leg) = self.leg_mut() {
                    leg.outlet.kill();
                }
                self.check_done(now);
            }
        }
    }

    /// A new leg is there, or the prepared one is to be adopted. Returns its epoch, or `None` if the session no longer wants one: then the leg is the
    /// driver's to close.
    #[must_use]
    pub fn handle_attached(&mut self, now: Instant, traits: BackendTraits) -> Option<Epoch> {
        let Attachment::Dialling { since } = self.backend else { return None };
        self.epoch += 1;
        self.backend = Attachment::Attached(Box::new(BackendLeg::new(now, traits)));
        self.order = traits.order.or(self.order);
        self.upstream.rewind();
        self.upstream.frozen = self.upstream.gapless;
        self.upstream.halted = false;
        self.begin_prelude(now, since);
        self.downstream.begin_leg(self.config.greeting);
        self.answers.begin_leg();
        if matches!(self.phase, Phase::Orphaned { .. }) {
            self.upstream.abandon_tail();
        }
        if traits.mute {
            self.handle_muteness();
        }
        let replayed = self.upstream.ring.replayed();
        self.counters.replayed += replayed as u64;
        self.tell_attached(replayed);
        Some(self.epoch)
    }

    /// No leg could be had this time.
    pub fn handle_attach_failed(&mut self, now: Instant, failure: AttachFailure) {
        let Attachment::Dialling { since } = self.backend else { return };
        self.upstream.frozen = false;
        match failure {
            AttachFailure::Denied => self.end_denied(now),
            AttachFailure::Failed => {
                self.backend = Attachment::Waiting { since, until: now + self.patience.next_delay() };
            }
        }
    }

    /// The answer to [`Action::Ask`] about the leg of `epoch`. `weight` is how much the death of a leg that has ended
    /// says against the session, or in isolation against the message that has its turn.
    pub fn handle_verdict(&mut self, now: Instant, epoch: Epoch, verdict: Verdict, weight: Weight) {
        if epoch != self.epoch {
            return;
        }
        let again = now + self.config.ack_timeout;
        match (&mut self.backend, verdict) {
            (Attachment::Asking { .. }, _) => self.handle_asked(now, verdict, weight),
            (Attachment::Attached(leg), Verdict::Dying) if leg.live.is_suspect() => self.lose_leg(now, Loss::Hung),
            (Attachment::Attached(leg), _) => leg.live.handle_healthy(again),
            (Attachment::Waiting { .. } | Attachment::Dialling { .. } | Attachment::None, _) => {}
        }
    }

    /// The backend of the leg of `epoch` never answered a ping on any leg (the answer to [`Action::Mute`]).
    pub fn handle_mute(&mut self, epoch: Epoch) {
        if epoch == self.epoch
            && let Some(leg) = self.leg_mut().filter(|leg| !leg.pings.answered)
        {
            leg.mute = true;
            self.handle_muteness();
        }
    }

    /// Nothing may wait for pongs that never come.
    fn handle_muteness(&mut self) {
        self.upstream.end_isolation();
        self.release_output();
    }

    /// Memory may have come free. Returns whether the session got what it waits for.
    pub fn handle_memory(&mut self, now: Instant) -> bool {
        self.note_reading(now);
        let upstream = self.upstream.memory().is_waiting() && self.upstream.retry_memory();
        let downstream = self.downstream.memory().is_waiting() && self.downstream.retry_memory();
        // What waited may be an empty message, behind whose header nothing need ever come.
        if upstream && matches!(self.phase, Phase::Relaying) {
            self.take_client_data(now, &[]);
        }
        if downstream && !self.is_muffled() {
            let _ = self.receive_output(now, &[], false);
        }
        upstream || downstream
    }

    /// Leaves word whom to wake when memory comes free; follow it with [`Self::handle_memory`].
    pub fn park(&self, waker: &Waker) {
        self.upstream.memory().park(waker);
        self.downstream.memory().park(waker);
    }

    // Outputs.

    /// How long the backend's latest answer to a ping took, from the ping's last byte written; once an answer.
    #[must_use]
    pub fn poll_round_trip(&mut self) -> Option<Duration> {
        self.round_trip.take().map(|micros| Duration::from_micros(micros.get().into()))
    }

    /// The next thing to do, until there is none. Ask again after every input, command and write.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        if action.is_none() && self.actions.capacity() > 0 {
            self.actions = VecDeque::new();
        }
        action
    }

    fn tell(&mut self, event: Event) {
        self.actions.push_back(Action::Event(event));
    }
}
