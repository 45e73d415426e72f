//! What one run is made of: how the proxy is configured, how the backends behave and what goes wrong. Each seed draws
//! only some of the faults, so that rare ones are not drowned by the rest.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use tideover_protocol::scan::MessageLimits;
use tideover_protocol::session::{
    AckCarrier, AckMode, Commit, Config, Linger, OnAmbiguous, OnExpired, OnFull, OnPoison, Reattach, Weight,
};

use crate::dice::Dice;

/// What a backend answers to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// The message.
    Echo,
    /// Nothing, or as many as three messages: a function of the message.
    Varied,
    /// How many messages all backends together have handled.
    Counter,
    /// The message; and now and then it says something unasked.
    Push,
    /// How many messages of the session were applied; remembered with its answers in one transaction.
    Store,
}

/// When a backend answers pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pongs {
    /// In turn, behind the answers to what came before.
    Late,
    /// As soon as it has read them.
    Early,
    Never,
}

/// What may go wrong, each in one of so many steps; 0 is never.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// The backend dies: bytes on the way are cut anywhere.
    pub(crate) crash: usize,
    /// The backend closes with a code.
    pub(crate) closes: usize,
    /// The backend says nothing any more, and reads nothing.
    pub(crate) hang: usize,
    /// A pipe changes its room and its grain.
    pub(crate) slow: usize,
    /// A backend breaks the protocol.
    pub(crate) breach: usize,
    /// A leg's bytes come after it has ended.
    pub(crate) ghost: usize,
    /// A pong comes that answers nothing, or not yet.
    pub(crate) forged_pong: usize,
    /// The client closes or vanishes before the end.
    pub(crate) client_leaves: usize,
    /// Writing fails before reading does.
    pub(crate) write_error: usize,
    /// The process's memory runs short.
    pub(crate) pressure: usize,
    /// The session is to be moved to another backend.
    pub(crate) migrate: usize,
    /// A backend that a session is to be moved to ends.
    pub(crate) false_start: usize,
    /// Of three dials, so many fail.
    pub(crate) lost_dials: usize,
    /// Of four legs, so many end with 1011 at once.
    pub(crate) stillborn: usize,
    /// Of eight questions, so many are answered with "healthy" whatever is the case.
    pub(crate) healthy: usize,
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) answers: Answers,
    pub(crate) pongs: Pongs,
    /// How long a handler works on a message.
    pub(crate) delay: Duration,
    /// Messages with which a backend greets.
    pub(crate) greeting: u32,
    /// Backends speak the session protocol.
    pub(crate) carrier: Option<AckCarrier>,
    /// One message in so many kills who reads it; 0 is none.
    pub(crate) deadly: usize,
    /// In isolation, a message gets its turn in one of so many turns of the driver; 0 is never.
    pub(crate) turns: usize,
    /// How much the death of a backend says against a message that has its turn, each as likely.
    pub(crate) weights: &'static [Weight],
    /// Longest message.
    pub(crate) longest: usize,
    pub(crate) faults: Faults,
    /// Bytes of the process's budget, each way.
    pub(crate) budget: usize,
    /// Longest jump of the clock, in milliseconds.
    pub(crate) jump: usize,
}

const WEIGHTS: [Weight; 3] = [Weight::NONE, Weight::of_chance(0.2), Weight::of_chance(0.03)];

impl Plan {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let mut config = Config { max_message: MessageLimits { bytes: 20_000, frames: 1000 }, ..Config::default() };
        let mut plan = Self {
            answers: dice.of(&[Answers::Echo, Answers::Echo, Answers::Varied, Answers::Counter, Answers::Push]),
            pongs: dice.of(&[Pongs::Late, Pongs::Late, Pongs::Late, Pongs::Early, Pongs::Early, Pongs::Never]),
            delay: Duration::from_millis(dice.of(&[0, 0, 3, 30, 400])),
            greeting: dice.of(&[0, 0, 0, 1, 2]),
            carrier: None,
            deadly: if dice.one_in(4) { dice.of(&[10, 40, 100]) } else { 0 },
            turns: dice.of(&[1, 1, 4, 0]),
            weights: dice.of(&[&[Weight::WHOLE], &[Weight::WHOLE, Weight::NONE], &WEIGHTS]),
            longest: dice.of(&[3, 3, 40, 700]),
            faults: Self::faults(dice),
            budget: 1 << 20,
            jump: dice.of(&[40, 400, 20_000]),
            config: Config::default(),
        };
        if plan.pongs == Pongs::Never {
            // Who has answered one ping and answers no other is hung.
            plan.faults.forged_pong = 0;
        }
        if plan.pongs == Pongs::Never {
            // Nothing is ever acknowledged, so what kills cannot be found out: back-off and failover timeout bound it.
            plan.deadly = 0;
        }
        plan.mode(dice, &mut config);
        plan.bounds(dice, &mut config);
        config.greeting = plan.greeting;
        config.max_replays = dice.of(&[1, 2, 3, 3]);
        config.on_poison = dice.of(&[OnPoison::Close, OnPoison::Drop, OnPoison::Drop]);
        config.on_ambiguous = dice.of(&[
            OnAmbiguous::Probe,
            OnAmbiguous::Probe,
            OnAmbiguous::Probe,
            OnAmbiguous::Failover,
            OnAmbiguous::Failover,
            OnAmbiguous::End,
        ]);
        config.reattach = dice.of(&[
            Reattach::Always,
            Reattach::Always,
            Reattach::Always,
            Reattach::Always,
            Reattach::Always,
            Reattach::Whole,
            Reattach::Never,
        ]);
        config.migrate_quiet = Duration::from_millis(dice.of(&[2, 5, 50]));
        config.migrate_timeout = Duration::from_secs(dice.of(&[2, 30]));
        config.hang_timeout = dice.one_in(3).then(|| Duration::from_secs(15));
        config.failover_timeout = Duration::from_secs(dice.of(&[30, 300]));
        plan.config = config;
        plan
    }

    /// One run in four has a client that is read no faster than it may send. Drawn apart, so that seeds keep their runs.
    pub(crate) fn slowed(mut self, dice: &mut Dice) -> Self {
        let limits = &mut self.config.limits;
        limits.control_rate = None;
        if dice.one_in(4) {
            limits.message_rate = NonZeroU32::new(dice.of(&[0, 3, 40, 1000]));
            limits.byte_rate = NonZeroU64::new(dice.of(&[0, 20, 500, 20_000]));
            limits.control_rate = NonZeroU32::new(dice.of(&[0, 1, 20]));
        }
        self
    }

    fn mode(&mut self, dice: &mut Dice, config: &mut Config) {
        config.ack_linger =
            dice.of(&[Linger::Auto, Linger::Auto, Linger::For(Duration::ZERO), Linger::For(Duration::from_millis(70))]);
        match dice.below(10) {
            0 => config.ack = AckMode::None,
            1 => config.dedupe_replies = false,
            2..=4 => {}
            5 | 6 => config.commit = Commit::Barrier,
            7 | 8 => {
                config.ack = AckMode::Reply;
                config.ack_timeout = Duration::from_secs(dice.of(&[10, 60]));
            }
            _ => {
                config.ack = AckMode::Explicit;
                self.carrier = Some(dice.of(&[AckCarrier::Pong, AckCarrier::Message]));
                (self.answers, self.greeting) = (Answers::Store, 0);
            }
        }
    }

    fn bounds(&mut self, dice: &mut Dice, config: &mut Config) {
        config.buffer_messages = dice.of(&[1, 3, 8, 30, 1024]);
        config.buffer_bytes = dice.of(&[300, 3000, 1 << 20]);
        config.on_full = dice.of(&[OnFull::Block, OnFull::Block, OnFull::Block, OnFull::DropOldest, OnFull::Close]);
        if config.on_full == OnFull::DropOldest && config.ack_linger == Linger::Auto {
            // What the engine learns of the order of pongs could then not be told from outside, see the shadow.
            config.ack_linger = Linger::For(Duration::from_millis(70));
        }
        config.dedupe_entries = dice.of(&[2, 20, 4096, 4096, 4096]);
        config.commit_bytes = dice.of(&[50, 1 << 20, 1 << 20]);
        if dice.one_in(5) {
            config.replay_max_age = Some(Duration::from_millis(dice.of(&[100, 3000])));
            config.on_expired = dice.of(&[OnExpired::Close, OnExpired::DropPrefix, OnExpired::DropPrefix]);
        }
    }

    fn faults(dice: &mut Dice) -> Faults {
        if dice.one_in(10) {
            return Faults { slow: 50, ..Faults::default() };
        }
        if dice.one_in(6) {
            // Sessions that only ever move must look as if they never did.
            return Faults { slow: dice.of(&[0, 50]), migrate: dice.of(&[10, 50]), ..Faults::default() };
        }
        let mut rate = |one_in: usize, rates: &[usize]| if dice.one_in(one_in) { dice.of(rates) } else { 0 };
        Faults {
            crash: rate(1, &[0, 10, 30, 100, 100, 300]),
            closes: rate(4, &[30, 200]),
            hang: rate(5, &[300]),
            slow: rate(2, &[20, 100]),
            breach: rate(6, &[200]),
            ghost: rate(3, &[50]),
            forged_pong: rate(3, &[50]),
            client_leaves: rate(3, &[500, 3000]),
            write_error: rate(6, &[300]),
            pressure: rate(8, &[100]),
            migrate: rate(2, &[10, 40, 150]),
            false_start: rate(3, &[20]),
            lost_dials: rate(2, &[1, 2]),
            stillborn: rate(5, &[1, 2]),
            healthy: rate(8, &[1]),
        }
    }

    /// Whether an answer depends on its message only, and comes in order and before the pong behind it.
    pub(crate) fn is_pure(&self) -> bool {
        matches!(self.answers, Answers::Echo | Answers::Varied) && self.pongs == Pongs::Late
    }
}
