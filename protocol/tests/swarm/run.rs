//! One run: what happens in its steps, and how everything becomes well again.

use std::time::Duration;

use tideover_protocol::session::{AttachFailure, Verdict, Weight};

use crate::codec;
use crate::coverage::{Coverage, Met};
use crate::dice::Dice;
use crate::plan::Answers;
use crate::world::World;

/// Most bytes of the client that wait for the proxy.
const MOST_WAITING: usize = 4000;
/// Rounds of 200 ms after which a session in which nothing is acknowledged any more is stuck.
const MOST_IDLE: usize = 2000;
/// The ring, one message that overshoots it, what waits for the client, and partly used chunks, both ways.
const SLACK: usize = 8 * 64 * 1024 + 3 * 20_000;

pub(crate) struct Run {
    pub(crate) world: World,
    steps: u64,
}

impl Run {
    pub(crate) fn new(seed: u64, steps: u64) -> Self {
        Self { world: World::new(seed), steps }
    }

    pub(crate) fn go(mut self) -> Coverage {
        for _ in 0..self.steps {
            if self.world.over {
                break;
            }
            self.step();
            self.world.shadow.coverage.steps += 1;
        }
        self.heal();
        self.judge();
        self.world.shadow.coverage
    }

    pub(crate) fn dice(&mut self) -> &mut Dice {
        &mut self.world.dice
    }

    fn step(&mut self) {
        match self.dice().below(12) {
            0..=3 => self.client_says(),
            4 | 5 => self.time_passes(),
            6 => self.answer(),
            7 => self.push(),
            _ => {}
        }
        self.faults();
        self.world.turn();
        let bound = self.world.plan.config.buffer_bytes + self.world.plan.config.commit_bytes + SLACK;
        assert!(self.world.session.buffered() <= bound, "law 5: {} bytes", self.world.session.buffered());
    }

    // What happens.

    fn client_says(&mut self) {
        let World { client, dice, plan, .. } = &mut self.world;
        if !client.talks() || client.outbox.len() > MOST_WAITING {
            return;
        }
        let deadly = plan.deadly > 0 && dice.one_in(plan.deadly);
        client.say(dice, plan.longest, deadly);
        if client.said.last().is_some_and(|said| said.len() > plan.config.buffer_bytes) {
            self.world.shadow.coverage.meet(Met::Overshoot);
        }
    }

    fn time_passes(&mut self) {
        let jump = self.world.plan.jump;
        let most = if self.dice().one_in(20) { jump } else { 40 };
        let time = self.dice().millis_below(most);
        if self.dice().one_in(50) {
            // The clock jumps over every deadline.
            self.world.settle();
            // Backends do not work meanwhile, and are as silent as if they hung.
            self.world.hung_once |= time >= Duration::from_secs(1) && self.world.leg().due().is_some();
            self.world.now = self.world.now + time;
        } else {
            self.world.pass(time);
        }
    }

    fn answer(&mut self) {
        let World { dice, plan, legs, .. } = &mut self.world;
        let leg = legs.last().expect("a first leg");
        let dying = leg.died || leg.hung;
        let healthy = !dying || (plan.faults.healthy > 0 && dice.below(8) < plan.faults.healthy);
        self.world.answer(if healthy { Verdict::Healthy } else { Verdict::Dying });
        self.world.answer_mute();
        if self.world.preparing.is_some() {
            let lost = self.dice().below(3) < self.world.plan.faults.lost_dials;
            if lost { self.world.fail_to_prepare() } else { self.world.prepare() }
        }
        if self.world.dialling.is_some() {
            self.dial();
        }
    }

    fn dial(&mut self) {
        let faults = self.world.plan.faults;
        if self.dice().below(3) < faults.lost_dials {
            let denied = self.dice().one_in(100);
            let failure = if denied { AttachFailure::Denied } else { AttachFailure::Failed };
            return self.world.fail_to_attach(failure);
        }
        let before = self.world.legs.len();
        self.world.attach();
        if self.world.legs.len() > before && faults.stillborn > 0 && self.dice().below(4) < faults.stillborn {
            self.world.shadow.coverage.meet(Met::Stillborn);
            let leg = self.world.leg();
            leg.put(codec::FIN | codec::CLOSE, &[0x03, 0xF3]);
            (leg.gone, leg.died) = (true, true);
        }
    }

    fn push(&mut self) {
        if self.world.plan.answers == Answers::Push && self.dice().one_in(4) {
            let waiting = self.world.shadow.ledger.unacked() > 0;
            let leg = self.world.leg();
            if !leg.gone && leg.outbox.len() < MOST_WAITING {
                leg.say(b"push");
                if waiting {
                    self.world.shadow.coverage.meet(Met::PushBetweenReplies);
                }
            }
        }
    }

    // Everything is well from now on.

    fn heal(&mut self) {
        self.world.press(false);
        self.world.plan.faults = crate::plan::Faults::default();
        // Only what kills is found out from now on, and found out it is.
        (self.world.plan.turns, self.world.plan.weights) = (1, &[Weight::WHOLE]);
        let (mut quiet, mut idle, mut progress) = (0, 0, (0, 0));
        while idle < MOST_IDLE {
            if self.world.over {
                return;
            }
            let ledger = &self.world.shadow.ledger;
            let now = (ledger.forgotten as usize + ledger.fates.len(), self.world.client.outbox.len());
            idle = if now == progress { idle + 1 } else { 0 };
            progress = now;
            self.mend();
            self.world.pass(Duration::from_millis(200));
            quiet = if self.is_quiet() { quiet + 1 } else { 0 };
            if quiet == 2 && self.dice().one_in(3) {
                self.world.migrate();
            }
            if quiet == 3 {
                self.judge_settled();
                let key = self.dice().key();
                if self.world.client.talks() {
                    self.world.client.send_close(&[0x03, 0xE8], key);
                } else {
                    self.world.client.gone = true;
                }
            }
        }
        panic!("law 6: the session neither ends nor comes to rest: {:?}", self.world.session);
    }

    fn mend(&mut self) {
        if self.world.leg().dying || self.world.leg().hung {
            self.crash();
        }
        let closed = self.world.client.close.is_some();
        let World { client, legs, .. } = &mut self.world;
        let leg = legs.last_mut().expect("a first leg");
        (client.room, client.grain) = (usize::MAX, usize::MAX);
        (leg.room, leg.grain) = (usize::MAX, usize::MAX);
        // A connection that cannot be written has an end to be read.
        client.gone |= client.broken || (closed && client.closed);
        if leg.broken && !leg.gone {
            self.crash();
        }
        if self.world.asked.is_some() {
            let died = self.world.leg().died;
            self.world.answer(if died { Verdict::Dying } else { Verdict::Healthy });
        }
        self.world.answer_mute();
        self.world.prepare();
        self.world.attach();
    }

    fn is_quiet(&mut self) -> bool {
        let attached = self.world.is_attached();
        let client = self.world.client.outbox.is_empty() && self.world.shadow.ledger.is_written();
        let leg = self.world.leg();
        attached && client && leg.outbox.is_empty() && leg.inbox.is_empty() && leg.due().is_none() && !leg.gone
    }
}
