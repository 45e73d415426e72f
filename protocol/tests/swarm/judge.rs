//! What must be true when everything is well again, and at the end of a session.

use tideover_protocol::session::{AckMode, Commit, OnFull, Reattach};

use crate::backend::{answers_of, readings};
use crate::coverage::Met;
use crate::plan::{Answers, Pongs};
use crate::run::Run;
use crate::shadow::{Fate, Goodbye, Link};
use crate::world::World;

impl Run {
    /// Law 6: with a healthy backend everything is delivered.
    pub(crate) fn judge_settled(&self) {
        let World { shadow, plan, .. } = &self.world;
        if shadow.is_over() {
            return;
        }
        assert!(shadow.ledger.is_written(), "law 6: something is not delivered");
        assert!(shadow.deaf || shadow.tape.is_read_off(), "law 6: the client is owed something");
        let answers = plan.pongs != Pongs::Never;
        if answers && matches!(shadow.mode, AckMode::Pong | AckMode::None) {
            assert_eq!(shadow.ledger.unacked(), 0, "law 6: something is not acknowledged");
        }
    }

    pub(crate) fn judge(&mut self) {
        assert!(self.world.over, "law 8: a session opened is a session ended");
        self.judge_loss();
        self.judge_goodbye();
        self.judge_transparency();
        self.judge_explicit();
        self.judge_moves();
    }

    /// Law 10: a session that was only ever moved is as if it had stayed: no message is read twice.
    fn judge_moves(&mut self) {
        let World { shadow, legs, session, plan, .. } = &mut self.world;
        let counters = session.counters();
        assert_eq!(counters.migrations, shadow.moves, "law 8: migrations");
        assert!(u64::from(session.epoch()) <= 1 + counters.migrations + counters.failovers, "law 8: legs");
        if counters.failovers > 0 || counters.migrations == 0 || plan.carrier.is_some() {
            return;
        }
        shadow.coverage.meet(Met::AlwaysMoved);
        assert_eq!(counters.replayed, 0, "law 10: a message is replayed for a migration");
        let twice = readings(legs).into_iter().find(|(_, times)| *times > 1);
        assert_eq!(twice, None, "law 10: a message is read twice, and no backend failed");
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
        let World { shadow, plan, client, session, hung_once, .. } = &mut self.world;
        let counters = session.counters();
        let pong =
            plan.config.ack == AckMode::Pong && (plan.config.commit == Commit::Barrier || plan.config.dedupe_replies);
        let reply = plan.config.ack == AckMode::Reply && plan.answers == Answers::Echo;
        let kept = counters.slid + counters.dropped + counters.expired + counters.poisoned == 0;
        // Without any fault of a backend, answers that come one a message are never lost nor repeated, whatever is
        // promised for deaths.
        let one_each = matches!(plan.answers, Answers::Echo) && plan.pongs != Pongs::Never;
        let moved = one_each && counters.failovers == 0 && !*hung_once && !shadow.lied;
        let promised = plan.is_pure() && (pong || reply) && !shadow.blurred;
        if !(promised || moved) || !kept || shadow.deaf {
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
        let own = client.close.is_some() && shadow.closed_by_client && counters.abandoned == 0 && success && healed;
        assert!(
            !(own && promised) || heard.len() == direct.len(),
            "law 4: {} messages are missing",
            direct.len() - heard.len()
        );
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
