//! One run: what happens in its steps, how everything becomes well again, and what must be true at the end.

use std::time::Duration;

use tideover_protocol::session::{AckMode, AttachFailure, Commit, OnFull, Reattach, Verdict};

use crate::backend::{answers_of, readings};
use crate::codec;
use crate::coverage::{Coverage, Met};
use crate::dice::Dice;
use crate::plan::Answers;
use crate::shadow::{Fate, Goodbye, Link};
use crate::world::World;

/// Most bytes of the client that wait for the proxy.
const MOST_WAITING: usize = 4000;
/// Rounds of 200 ms after which a session in which nothing is acknowledged any more is stuck.
const MOST_IDLE: usize = 2000;
/// The ring, one message that overshoots it, what waits for the client, and partly used chunks, both ways.
const SLACK: usize = 8 * 64 * 1024 + 3 * 20_000;

pub(crate) struct Run {
    world: World,
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

    fn dice(&mut self) -> &mut Dice {
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

    // What goes wrong.

    fn faults(&mut self) {
        let faults = self.world.plan.faults;
        let mut strikes = |one_in: usize| one_in > 0 && self.world.dice.one_in(one_in);
        let (crash, closes, hang) = (strikes(faults.crash), strikes(faults.closes), strikes(faults.hang));
        let (slow, breach, ghost) = (strikes(faults.slow), strikes(faults.breach), strikes(faults.ghost));
        let (forged, leaves) = (strikes(faults.forged_pong), strikes(faults.client_leaves));
        let (write_error, pressure) = (strikes(faults.write_error), strikes(faults.pressure));
        if self.world.leg().dying || crash {
            self.crash();
        }
        if closes {
            self.backend_closes();
        }
        if hang {
            self.world.leg().hung = true;
        }
        if slow {
            self.slow();
        }
        if breach {
            self.breach();
        }
        if ghost {
            self.ghost();
        }
        if forged {
            self.forge_pong();
        }
        if leaves {
            self.client_leaves();
        }
        if write_error {
            self.write_error();
        }
        if pressure {
            self.pressure();
        }
    }

    /// The backend's process dies: what is on the way is cut at any byte, both ways.
    pub(crate) fn crash(&mut self) {
        let World { legs, dice, now, shared, breach, .. } = &mut self.world;
        let leg = legs.last_mut().expect("a first leg");
        if leg.gone {
            return;
        }
        let read = dice.below(leg.inbox.len() + 1);
        leg.listen(read);
        if dice.one_in(2) && !leg.hung {
            leg.work(*now, shared);
        }
        if leg.gone {
            return;
        }
        let cut = dice.below(leg.outbox.len() + 1);
        let cut = if breach.is_some() { leg.outbox.len() } else { cut };
        leg.outbox.truncate(cut);
        (leg.gone, leg.died) = (true, true);
    }

    fn backend_closes(&mut self) {
        let code: u16 = self.dice().of(&[1001, 1012, 1013, 1011, 0, 1, 4001, 1000]);
        if code == 4001 && !self.dice().one_in(3) {
            return;
        }
        let died = self.dice().one_in(2);
        let leg = self.world.leg();
        if leg.gone {
            return;
        }
        match code {
            0 => leg.put(codec::FIN | codec::CLOSE, b""),
            1 => {}
            code => leg.put(codec::FIN | codec::CLOSE, &code.to_be_bytes()),
        }
        (leg.gone, leg.died) = (true, died);
    }

    fn slow(&mut self) {
        let rooms = [0, 1, 50, 5000, usize::MAX, usize::MAX];
        let grains = [1, 7, 100, 3000, usize::MAX];
        let World { client, legs, dice, .. } = &mut self.world;
        let leg = legs.last_mut().expect("a first leg");
        (client.room, client.grain) = (dice.of(&rooms), dice.of(&grains));
        (leg.room, leg.grain) = (dice.of(&rooms), dice.of(&grains));
    }

    fn breach(&mut self) {
        let frames: [&[u8]; 4] = [&[0xC1, 0], &[0x83, 0], &[0x09, 0], &[0x89, 126, 0, 126]];
        let ahead = self.dice().one_in(2) && self.world.plan.carrier.is_some();
        let frame = self.dice().of(&frames);
        let attached = self.world.is_attached();
        let leg = self.world.leg();
        if leg.gone || !attached {
            return;
        }
        if ahead {
            return leg.put(codec::FIN | codec::PONG, b"tideover:ack:1000000");
        }
        leg.gone = true;
        let valid = leg.outbox.len();
        leg.outbox.extend(frame);
        self.world.breach = Some(valid);
    }

    fn ghost(&mut self) {
        let mut bytes = Vec::new();
        codec::frame(&mut bytes, codec::FIN | codec::TEXT, b"ghost", None);
        self.world.haunt(&bytes);
    }

    /// A pong that answers no ping of ours, one that is answered already, or the next.
    fn forge_pong(&mut self) {
        let number = self.world.dice.of(&[0, 1, 2, 1_000_000]);
        let next = self.world.shadow.forged(number);
        let leg = self.world.leg();
        if !leg.gone {
            leg.put(codec::FIN | codec::PONG, &next);
            self.world.shadow.coverage.meet(Met::ForgedPong);
        }
    }

    fn client_leaves(&mut self) {
        let closes = self.dice().one_in(2);
        let key = self.dice().key();
        if !self.world.client.talks() {
            return;
        }
        if closes {
            self.world.client.send_close(&[0x03, 0xE8], key);
        } else {
            let cut = self.world.dice.below(self.world.client.outbox.len() + 1);
            self.world.client.outbox.truncate(cut);
            self.world.client.gone = true;
        }
    }

    fn write_error(&mut self) {
        self.world.shadow.coverage.meet(Met::WriteError);
        if self.dice().one_in(8) {
            self.world.client.broken = true;
        } else {
            self.world.leg().broken = true;
        }
    }

    fn pressure(&mut self) {
        let short = self.dice().one_in(2);
        self.world.press(short);
        if short {
            self.world.shadow.coverage.meet(Met::ShortMemory);
        }
    }

    // Everything is well from now on.

    fn heal(&mut self) {
        self.world.press(false);
        self.world.plan.faults = crate::plan::Faults::default();
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
        self.world.attach();
    }

    fn is_quiet(&mut self) -> bool {
        let attached = self.world.is_attached();
        let client = self.world.client.outbox.is_empty() && self.world.shadow.ledger.is_written();
        let leg = self.world.leg();
        attached && client && leg.outbox.is_empty() && leg.inbox.is_empty() && leg.due().is_none() && !leg.gone
    }

    // What must be true.

    /// Law 6: with a healthy backend everything is delivered.
    fn judge_settled(&self) {
        let World { shadow, plan, .. } = &self.world;
        if shadow.is_over() {
            return;
        }
        assert!(shadow.ledger.is_written(), "law 6: something is not delivered");
        assert!(shadow.deaf || shadow.tape.is_read_off(), "law 6: the client is owed something");
        let answers = plan.pongs != crate::plan::Pongs::Never;
        if answers && matches!(shadow.mode, AckMode::Pong | AckMode::None) {
            assert_eq!(shadow.ledger.unacked(), 0, "law 6: something is not acknowledged");
        }
    }

    fn judge(&mut self) {
        assert!(self.world.over, "law 8: a session opened is a session ended");
        self.judge_loss();
        self.judge_goodbye();
        self.judge_transparency();
        self.judge_explicit();
    }

    /// Laws 1 and 8: who was not read was accounted for, and every account is right.
    fn judge_loss(&self) {
        let World { shadow, legs, session, plan, .. } = &self.world;
        let readings = readings(legs);
        let counters = session.counters();
        let mut sums = [0_u64; 5];
        for (seq, fate) in &shadow.ledger.fates {
            assert!(*seq <= shadow.ledger.last, "law 8");
            sums[*fate as usize] += 1;
        }
        let told = [counters.slid, counters.dropped, counters.expired, counters.poisoned, counters.abandoned];
        assert_eq!(told, sums, "law 8: slid, dropped, expired, poisoned, abandoned");
        // `reply` takes any message for the answer to the next: where it is not, nothing is promised.
        let one_each = matches!(plan.answers, Answers::Echo | Answers::Counter);
        let misled = shadow.lied || (plan.config.ack == AckMode::Reply && !one_each);
        let unproven = plan.config.ack == AckMode::None || misled;
        for seq in 1..=shadow.ledger.last {
            let read = readings.contains_key(&seq);
            let fate = shadow.ledger.fates.get(&seq);
            assert!(
                read || fate.is_some() || unproven,
                "law 1: message {seq} was read by nobody and is accounted for by nothing"
            );
            assert!(fate != Some(&Fate::Dropped) || !read, "law 1: message {seq} counts as dropped and was read");
        }
    }

    /// Law 3: the last that the client hears is what the end of the session means.
    fn judge_goodbye(&self) {
        let World { shadow, client, plan, .. } = &self.world;
        // Who does not read is not waited for longer than `--close-timeout`.
        let timeout = plan.config.close_timeout;
        let reads = client.blocked.is_none_or(|at| self.world.now.since(at) >= 2 * timeout);
        if shadow.deaf || client.broken || !reads {
            return;
        }
        assert!(client.splitter.is_between_messages(), "law 3: the client is left with half a message");
        let heard = client.close.as_deref();
        let code = heard.and_then(|payload| Some(u16::from_be_bytes(payload.get(..2)?.try_into().ok()?)));
        match shadow.goodbye.as_ref().expect("law 3: an end has a meaning") {
            Goodbye::Exactly(close) => assert_eq!(heard, Some(&close[..]), "law 10: the Close as it came"),
            Goodbye::Code(wanted) => assert_eq!(code, Some(*wanted), "law 1: a Close that can be told from success"),
            Goodbye::Eof => assert_eq!(heard, None, "law 10: an end of stream"),
            Goodbye::Nobody => {}
        }
        assert!(shadow.tape.is_read_off(), "law 3: what was passed on has reached the client");
    }

    /// Law 4: where it is promised, the client's transcript is that of a backend that never died.
    fn judge_transparency(&mut self) {
        let healed = self.world.is_healed();
        let World { shadow, plan, client, session, .. } = &mut self.world;
        let counters = session.counters();
        let pong =
            plan.config.ack == AckMode::Pong && (plan.config.commit == Commit::Barrier || plan.config.dedupe_replies);
        let reply = plan.config.ack == AckMode::Reply && plan.answers == Answers::Echo;
        let kept = counters.slid + counters.dropped + counters.expired + counters.poisoned == 0;
        if !plan.is_pure() || !(pong || reply) || !kept || shadow.blurred || shadow.deaf {
            return;
        }
        shadow.coverage.meet(if session.epoch() == 1 { Met::Peaceful } else { Met::Transparent });
        let mut direct: Vec<Vec<u8>> = vec![b"hello".to_vec(); plan.greeting as usize];
        for said in client.said.iter().take(shadow.ledger.last as usize) {
            direct.extend(answers_of(plan.answers, said, 0));
        }
        let heard: Vec<&Vec<u8>> = shadow.tape.transcript.iter().map(|(_, payload)| payload).collect();
        assert!(heard.len() <= direct.len(), "law 4: {} messages in place of {}", heard.len(), direct.len());
        assert!(heard.iter().zip(&direct).all(|(heard, direct)| *heard == direct), "law 4: the client's transcript");
        let success = matches!(&shadow.goodbye, Some(Goodbye::Exactly(close)) if close[..] == [0x03, 0xE8]);
        let own = client.close.is_some() && counters.abandoned == 0 && success && healed;
        assert!(!own || heard.len() == direct.len(), "law 4: {} messages are missing", direct.len() - heard.len());
    }

    /// The session protocol: applied once, answered once, in order.
    fn judge_explicit(&self) {
        let World { shadow, plan, shared, .. } = &self.world;
        if plan.carrier.is_none() {
            return;
        }
        assert!(shared.applied.is_sorted_by(|a, b| a < b), "session protocol: applied twice or out of order");
        if shadow.deaf {
            return;
        }
        let texts = shadow.tape.transcript.iter().map(|(_, payload)| payload);
        let heard: Vec<&Vec<u8>> = texts.collect();
        assert!(heard.len() <= shared.answers.len(), "session protocol: an answer twice");
        let same = heard.iter().zip(&shared.answers).all(|(heard, answer)| *heard == answer);
        assert!(same, "session protocol: the client's transcript");
    }
}

impl World {
    /// Whether the session came to its end by the client's wish, on a healthy leg.
    fn is_healed(&self) -> bool {
        let leg = self.legs.last().expect("a first leg");
        self.shadow.link != Link::None
            && !leg.died
            && self.plan.config.reattach != Reattach::Never
            && self.plan.config.on_full != OnFull::Close
    }
}
