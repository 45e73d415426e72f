//! Random walks: thousands of sessions with random peers, cuts, verdicts, blocked pipes and clock jumps. What must hold
//! is judged from outside, by what the backends read and what the client got.
//!
//! A failing walk prints its seed; `TIDEOVER_SEED=n` walks it alone, `TIDEOVER_SEEDS=n` walks so many.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tideover_protocol::session::{AckMode, Budgets, EndReason, Linger, OnFull, Verdict};
use tideover_replay_store::Reservation;

use crate::world::wire::{self, Heard};
use crate::world::{Peer, World, millis, seconds};

const DEFAULT_SEEDS: u64 = 300;
const STEPS: usize = 120;
/// Longest message of the client and of a backend.
const LONGEST: usize = 30_000;
const BUFFER_BYTES: usize = 20_000;
/// The ring, one message that overshoots it, what waits for the client, and partly used chunks, both ways.
const MOST_BUFFERED: usize = BUFFER_BYTES + LONGEST + 3 * 64 * 1024 + 2 * LONGEST + 4 * 64 * 1024;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, chance: usize) -> bool {
        self.below(chance) == 0
    }

    /// Mostly small, sometimes as large as `most`.
    fn length(&mut self, most: usize) -> usize {
        let cap = [2, 20, 200, most][self.below(4)];
        self.below(cap.min(most))
    }
}

/// What is known of one leg from outside.
#[derive(Default)]
struct Leg {
    /// Messages that its backend has said.
    said: usize,
    /// The client's messages that were acknowledged when it began.
    floor: usize,
    /// Pongs: the offset in the backend's bytes behind one, and how many client messages its ping followed.
    pongs: Vec<(usize, usize)>,
    /// How many of the things that its backend heard are accounted for below.
    seen: usize,
    /// Numbers of the client messages it read, in order.
    read: Vec<usize>,
    /// The latest ping, and the last client message before it.
    ping: Option<(Vec<u8>, usize)>,
}

struct Walk {
    dice: Dice,
    world: World,
    /// The client's messages, numbered from 1.
    sent: Vec<String>,
    legs: Vec<Leg>,
    /// The last client message that a backend acknowledged to a living session.
    acknowledged: usize,
    /// Messages may be missing on a leg: dropped, slid, or acknowledged by being written.
    gaps: bool,
    /// Acknowledged messages may be replayed.
    lingers: bool,
    budgets: Budgets,
    /// Another session's share of the memory.
    hog: Reservation,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let (drops, mute, unacknowledged) = (dice.one_in(4), dice.one_in(6), dice.one_in(8));
        let lingers = dice.one_in(4);
        let budgets = Budgets::new(2 * 300_000);
        let mut world = World::sharing(&budgets, |config| {
            config.buffer_messages = 1 + dice.below(40) as u32;
            config.buffer_bytes = BUFFER_BYTES;
            config.max_message.bytes = LONGEST + 20;
            config.failover_timeout = seconds(20 + dice.below(200) as u64);
            config.hang_timeout = dice.one_in(3).then(|| seconds(15));
            config.on_full = if drops { OnFull::DropOldest } else { OnFull::Block };
            config.ack = if unacknowledged { AckMode::None } else { AckMode::Pong };
            config.ack_linger = Linger::For(if lingers { seconds(2) } else { seconds(0) });
        });
        world.dial_succeeds = None;
        *world.backend() = Peer::silent_backend();
        if mute {
            world.session.handle_mute(1);
        }
        let hog = Reservation::new(if dice.one_in(2) { &budgets.upstream } else { &budgets.downstream }.clone());
        let (legs, gaps) = (vec![Leg::default()], drops || mute || unacknowledged);
        Self { dice, world, sent: Vec::new(), legs, acknowledged: 0, gaps, lingers, budgets, hog }
    }

    fn go(mut self) {
        for _ in 0..STEPS {
            self.step();
            if self.world.over {
                break;
            }
        }
        self.settle();
        self.judge();
    }

    fn step(&mut self) {
        let client_leaves = self.client_is_there() && self.dice.one_in(300);
        match self.dice.below(16) {
            0..=4 => self.client_says(),
            5 | 6 => self.backend_says(),
            7 => self.pipes_change(),
            8 | 9 => self.backend_pongs(),
            10 if self.dice.one_in(4) => self.backend_ends(),
            11 => self.driver_answers(),
            14 => self.memory_is_short(),
            12 if client_leaves => self.client_leaves(),
            13 => {
                let most = [30, 300, 20_000][self.dice.below(3)];
                let time = millis(self.dice.below(most) as u64);
                self.world.pass(time);
            }
            _ => {}
        }
        for _ in 0..self.dice.below(8) {
            self.world.turn();
            self.observe();
        }
    }

    // What happens.

    fn client_is_there(&self) -> bool {
        !self.world.client.gone && self.world.client.closed().is_none()
    }

    fn client_says(&mut self) {
        if !self.client_is_there() || self.world.client.outbox.len() > 100_000 {
            return;
        }
        let message = format!("{}:{}", self.sent.len() + 1, "x".repeat(self.dice.length(LONGEST)));
        let client = &mut self.world.client;
        if self.dice.one_in(3) {
            let middle = self.dice.below(message.len());
            let (head, tail) = message.split_at(middle);
            let key = client.mask();
            client.send(&wire::frame(wire::TEXT, head.as_bytes(), key));
            if self.dice.one_in(2) {
                client.ping(b"between");
            }
            client.send(&wire::frame(wire::FIN | wire::CONTINUATION, tail.as_bytes(), key));
        } else {
            client.say(&message);
        }
        self.sent.push(message);
    }

    fn backend_says(&mut self) {
        let epoch = self.legs.len();
        let leg = &mut self.legs[epoch - 1];
        let backend = self.world.backends.last_mut().expect("a leg");
        if backend.gone || backend.outbox.len() > 100_000 {
            return;
        }
        leg.said += 1;
        let message = format!("{epoch}.{}:{}", leg.said, "y".repeat(self.dice.length(LONGEST)));
        if self.dice.one_in(3) {
            let (head, tail) = message.split_at(self.dice.below(message.len()));
            backend.say_in_parts(&[head, "", tail]);
        } else {
            backend.say(&message);
        }
        if self.dice.one_in(5) {
            backend.ping(b"are you there");
        }
    }

    fn pipes_change(&mut self) {
        let grains = [1, 7, 100, 3000, usize::MAX];
        let rooms = [0, 1, 50, 5000, usize::MAX, usize::MAX];
        let dice = &mut self.dice;
        for peer in [&mut self.world.client, self.world.backends.last_mut().expect("a leg")] {
            (peer.grain, peer.room) = (grains[dice.below(5)], rooms[dice.below(6)]);
        }
        if self.dice.one_in(60) {
            self.world.backend().broken = true;
        }
        if self.dice.one_in(400) {
            self.world.client.broken = true;
        }
    }

    fn backend_pongs(&mut self) {
        self.observe();
        let leg = self.legs.last_mut().expect("a leg");
        let backend = self.world.backend();
        if backend.gone {
            return;
        }
        if let Some((payload, before)) = leg.ping.take() {
            backend.pong(&payload);
            leg.pongs.push((backend.taken + backend.outbox.len(), before));
        }
    }

    fn backend_ends(&mut self) {
        let codes = [1001, 1012, 1011, 4001, 1000, 1001, 1012];
        let payload = wire::code(codes[self.dice.below(codes.len())], "");
        let cut = self.dice.below(self.world.backend().outbox.len() + 1);
        let closes = self.dice.one_in(3);
        let backend = self.world.backend();
        if backend.gone {
            return;
        }
        if closes {
            backend.close(&payload);
        } else {
            backend.outbox.truncate(cut);
        }
        backend.vanish();
    }

    fn driver_answers(&mut self) {
        if !self.world.asked.is_empty() {
            let healthy = self.dice.one_in(12);
            self.world.answer(if healthy { Verdict::Healthy } else { Verdict::Dying });
        }
        self.attach(self.world.dialling);
    }

    fn attach(&mut self, wanted: bool) {
        if !wanted || self.world.over {
            return;
        }
        if self.dice.one_in(3) {
            return self.world.fail_to_attach(tideover_protocol::session::AttachFailure::Failed);
        }
        self.observe();
        self.world.attach_to(Peer::silent_backend());
        if self.world.backends.len() > self.legs.len() {
            self.legs.push(Leg { floor: self.acknowledged, ..Leg::default() });
        }
    }

    fn memory_is_short(&mut self) {
        let wanted = self.dice.below(400_000);
        if !self.hog.try_cover(wanted) {
            self.hog.leave_line();
        }
        if self.dice.one_in(3) {
            self.hog.shrink(0);
        }
    }

    fn client_leaves(&mut self) {
        if self.dice.one_in(2) {
            self.world.client.close(&wire::code(1000, "done"));
        }
        self.world.client.closes = false;
        self.world.client.vanish();
    }

    /// Everything is well from now on.
    fn settle(&mut self) {
        self.world.verdict = Some(Verdict::Dying);
        self.hog.shrink(0);
        for _ in 0..200 {
            if self.world.over {
                return;
            }
            for peer in [&mut self.world.client, self.world.backends.last_mut().expect("a leg")] {
                (peer.grain, peer.room) = (usize::MAX, usize::MAX);
                // A connection that cannot be written has an end to be read.
                peer.gone |= peer.broken;
            }
            self.world.pass(millis(500));
            self.observe();
            self.backend_pongs();
            self.attach(self.world.dialling);
        }
    }

    // What is seen of it.

    fn observe(&mut self) {
        for (leg, backend) in self.legs.iter_mut().zip(&self.world.backends) {
            for heard in &backend.heard[leg.seen..] {
                match heard {
                    Heard::Message(message) => leg.read.push(number_of(message, &self.sent)),
                    Heard::Ping(payload) => {
                        leg.ping = Some((payload.clone(), leg.read.last().copied().unwrap_or(leg.floor)))
                    }
                    Heard::Pong(_) | Heard::Close(_) => {}
                }
            }
            leg.seen = backend.heard.len();
            let answered = leg.pongs.iter().filter(|pong| pong.0 <= backend.taken);
            self.acknowledged = answered.map(|pong| pong.1).max().unwrap_or(0).max(self.acknowledged);
        }
        let buffered = self.world.session.buffered();
        assert!(buffered <= MOST_BUFFERED, "law 5: {buffered} bytes");
    }

    fn judge(&mut self) {
        self.observe();
        if self.world.over {
            let (up, down) = (&self.budgets.upstream, &self.budgets.downstream);
            assert_eq!((up.used(), down.used(), up.waiting(), down.waiting()), (0, 0, 0, 0), "law 5: memory is back");
        }
        self.judge_order();
        self.judge_downstream();
        self.judge_loss();
    }

    /// Law 2: each leg reads every message once and in order, from the first that is not acknowledged.
    fn judge_order(&self) {
        for (index, leg) in self.legs.iter().enumerate() {
            let epoch = index + 1;
            assert!(leg.read.is_sorted_by(|a, b| a < b), "law 2: order on leg {epoch}: {:?}", leg.read);
            let Some(&first) = leg.read.first() else { continue };
            let replayed = first <= leg.floor;
            assert!(self.lingers || !replayed, "{first} was acknowledged before leg {epoch} and is replayed");
            if !self.gaps {
                assert!(first <= leg.floor + 1, "law 2: leg {epoch} misses what is before {first}");
                assert!(leg.read.windows(2).all(|pair| pair[1] == pair[0] + 1), "law 2: a gap on leg {epoch}");
            }
        }
    }

    /// Laws 3 and 7: whole messages, by leg and in order, and none of a leg that has ended. (The client's ear and the
    /// world judge the rest.)
    fn judge_downstream(&self) {
        let heard = self.world.client.messages();
        let (mut epoch, mut number) = (1, 0);
        for message in &heard {
            let (tag, _) = message.split_once(':').expect("a tag");
            let (its_epoch, its_number) = tag.split_once('.').expect("two numbers");
            let (its_epoch, its_number): (usize, usize) = (its_epoch.parse().unwrap(), its_number.parse().unwrap());
            assert!(its_epoch >= epoch, "law 7: {tag} after leg {epoch}");
            number = if its_epoch == epoch { number + 1 } else { 1 };
            epoch = its_epoch;
            assert_eq!(its_number, number, "law 3: order on leg {epoch}");
        }
        let passed = self.world.session.counters().passed as usize;
        assert!(heard.len() <= passed);
        if !self.world.client.gone && !self.world.client.broken && self.world.client.room > 0 {
            assert_eq!(heard.len(), passed, "law 3: what was passed on reached the client");
        }
        if self.client_is_there() && !self.world.over {
            let last = self.legs.last().expect("a leg");
            assert!(last.said == 0 || (epoch, number) == (self.legs.len(), last.said), "law 6: the last leg is heard");
        }
    }

    /// Laws 1 and 8.
    fn judge_loss(&self) {
        let counters = self.world.session.counters();
        let reads = |number: &usize| self.legs.iter().any(|leg| leg.read.contains(number));
        let received = counters.received as usize;
        assert!(received <= self.sent.len());
        let lost = (1..=received).filter(|number| !reads(number)).count() as u64;
        let accounted = counters.dropped + counters.abandoned;
        let reads = &self.legs.iter().map(|leg| (leg.floor, &leg.read)).collect::<Vec<_>>();
        assert!(
            lost <= accounted,
            "law 1: {lost} messages are lost, {accounted} accounted for: {counters:?}, {reads:?}, {:?}",
            self.world.events
        );
        match self.world.reason() {
            None => {
                assert_eq!(received, self.sent.len(), "law 6: the session takes what the client says");
                assert!(self.gaps || self.world.session.retained() == 0, "law 6: all is delivered");
            }
            Some(EndReason::ClientClosed) if self.world.client.close_code() == Some(1000) => {
                assert_eq!(counters.abandoned, 0, "law 1: a Close that looks like success");
            }
            Some(_) => {}
        }
    }
}

fn number_of(message: &[u8], sent: &[String]) -> usize {
    let text = std::str::from_utf8(message).expect("text");
    let number = text.split_once(':').and_then(|(number, _)| number.parse::<usize>().ok());
    let number = number.unwrap_or_else(|| panic!("not a message of the client: {text:.80}"));
    assert_eq!(text, sent[number - 1], "the backend reads what the client said");
    number
}

fn walk(seed: u64) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| Walk::new(seed).go())) {
        eprintln!("a walk failed: TIDEOVER_SEED={seed}");
        resume_unwind(panic);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the engine's configuration is an argument, a test's is not")]
fn random_walks_keep_the_laws() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("TIDEOVER_SEED") {
        return walk(seed);
    }
    for seed in 0..number("TIDEOVER_SEEDS").unwrap_or(DEFAULT_SEEDS) {
        walk(seed);
    }
}
