//! One session with rules, its client and its backends, on a virtual clock.

use std::collections::VecDeque;
use std::sync::Arc;

use tideover_protocol::session::{
    AckMode, Action, AttachFailure, BackendTraits, Budgets, Config, Gather, Isolation, Linger, OnMigrateTimeout,
    Session, Side, Verdict, Weight,
};
use tideover_protocol::time::Instant;

use crate::codec::{self, Piece, Splitter};
use crate::dice::Dice;

use super::backend::{Backend, Login};
use super::shadow::{Link, Shadow};
use super::{Letters, millis, parts};

/// What may go wrong, each in one of so many steps; 0 is never.
#[derive(Debug)]
struct Faults {
    crash: usize,
    goes_away: usize,
    slow: usize,
    migrate: usize,
    /// Of four logins on later legs, so many are not answered well.
    bad_logins: usize,
    /// Of three dials, so many fail.
    lost_dials: usize,
    /// One of the client's messages in so many allows no session.
    forbidden: usize,
}

pub(super) struct World {
    dice: Dice,
    faults: Faults,
    session: Session,
    pub(super) shadow: Shadow,
    now: Instant,
    leg: Backend,
    /// Bytes of the client on the way, and whether it has closed.
    outbox: VecDeque<u8>,
    closed: bool,
    said: usize,
    ear: Splitter,
    hearing: Vec<u8>,
    heard: Vec<String>,
    /// How many of these are known to be right.
    judged: usize,
    close: Option<Vec<u8>>,
    dialling: bool,
    preparing: bool,
    prepared: bool,
    greets: bool,
    eager: bool,
    over: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let most_messages = dice.of(&[3, 6, 1024]);
        let most_pins = dice.of(&[4, 64, 64, 64]);
        let config = Config {
            rules: Some(Arc::new(Letters)),
            ack: AckMode::Rules,
            ack_linger: Linger::For(millis(0)),
            buffer_messages: most_messages,
            pin_messages: most_pins,
            hold_timeout: millis(1500),
            failover_timeout: millis(600_000),
            dedupe_replies: false,
            max_replays: u8::MAX,
            ..Config::default()
        };
        let peace = dice.one_in(8);
        let mut rate = |rates: &[usize]| if peace { 0 } else { dice.of(rates) };
        let faults = Faults {
            crash: rate(&[0, 15, 40, 100]),
            goes_away: rate(&[0, 20, 60]),
            slow: rate(&[0, 10, 30]),
            migrate: rate(&[0, 0, 20, 60]),
            bad_logins: rate(&[0, 1, 2]),
            lost_dials: rate(&[0, 1]),
            forbidden: rate(&[0, 0, 60]),
        };
        let now = Instant::from_origin(millis(1000));
        let mut engine_seed = [0; 16];
        engine_seed[..8].copy_from_slice(&dice.next().to_be_bytes());
        let greets = dice.one_in(2);
        let session =
            Session::new(Arc::new(config), &Budgets::new(2 << 20), engine_seed, now, BackendTraits::default());
        let mut world = Self {
            shadow: Shadow::new(most_messages as usize, most_pins as usize),
            session,
            faults,
            now,
            leg: Backend::new(false, Login::Answers, greets),
            outbox: VecDeque::new(),
            closed: false,
            said: 0,
            ear: Splitter::new(false),
            hearing: Vec::new(),
            heard: Vec::new(),
            judged: 0,
            close: None,
            dialling: false,
            preparing: false,
            prepared: false,
            greets,
            eager: false,
            over: false,
            dice,
        };
        world.say('L', "");
        world
    }

    /// At most so many steps, and then everything becomes well. Returns how many it were.
    pub(super) fn go(&mut self, steps: u64) -> u64 {
        let mut done = 0;
        while done < steps.min(400) && !self.over {
            self.step();
            done += 1;
        }
        self.heal();
        self.judge();
        done.max(1)
    }

    // What happens.

    fn step(&mut self) {
        match self.dice.below(10) {
            0..=3 => self.client_says(),
            4 | 5 => {
                let most = if self.dice.one_in(20) { 3000 } else { 60 };
                let time = self.dice.below(most) as u64;
                self.pass(time);
            }
            6 => self.answer(),
            7 => {
                self.said += 1;
                let push = format!("p.{}", self.said);
                if !self.leg.gone {
                    self.leg.say(&push);
                }
            }
            _ => {}
        }
        self.break_something();
        self.turn();
    }

    fn client_says(&mut self) {
        if self.closed || self.outbox.len() > 600 {
            return;
        }
        let letter = match self.faults.forbidden {
            0 => ' ',
            one_in if self.dice.one_in(one_in) => 'X',
            _ => ' ',
        };
        let letter = if letter == ' ' { self.dice.of(&b"SSMUVQQQQRENN"[..]) as char } else { letter };
        let topic = if "SMUV".contains(letter) { self.dice.of(&["0", "1", "2"]) } else { "" };
        self.say(letter, topic);
    }

    fn say(&mut self, letter: char, topic: &str) {
        self.said += 1;
        let text = format!("{letter}{topic}.{}", self.said);
        let mut bytes = Vec::new();
        if self.dice.one_in(5) {
            let (head, tail) = text.as_bytes().split_at(self.dice.below(text.len()));
            codec::frame(&mut bytes, codec::TEXT, head, Some(self.dice.key()));
            codec::frame(&mut bytes, codec::FIN | codec::CONTINUATION, tail, Some(self.dice.key()));
        } else {
            codec::frame(&mut bytes, codec::FIN | codec::TEXT, text.as_bytes(), Some(self.dice.key()));
        }
        self.outbox.extend(bytes);
    }

    fn answer(&mut self) {
        if std::mem::take(&mut self.dialling) {
            if self.dice.below(3) < self.faults.lost_dials {
                self.session.handle_attach_failed(self.now, AttachFailure::Failed);
            } else {
                self.attach();
            }
        } else if std::mem::take(&mut self.preparing) {
            self.prepared = self.session.handle_prepared(self.now, BackendTraits::default());
        }
        self.act();
    }

    fn attach(&mut self) {
        if self.session.handle_attached(self.now, BackendTraits::default()).is_none() {
            return;
        }
        let held = self.shadow.attached();
        let bad = self.dice.below(4) < self.faults.bad_logins;
        let login =
            if bad { self.dice.of(&[Login::Refuses, Login::FallsSilent, Login::Closes]) } else { Login::Answers };
        self.leg = Backend::new(held, login, self.greets);
        if self.faults.slow > 0 && self.dice.one_in(2) {
            self.leg.grain = 1 + self.dice.below(9);
        }
    }

    fn break_something(&mut self) {
        let happens = |dice: &mut Dice, one_in: usize| one_in > 0 && dice.one_in(one_in);
        if happens(&mut self.dice, self.faults.crash) && !self.leg.gone {
            let cut = self.dice.below(self.leg.outbox.len() + 1);
            self.leg.outbox.truncate(cut);
            self.leg.gone = true;
        }
        if happens(&mut self.dice, self.faults.goes_away) && !self.leg.gone {
            self.leg.close(1012);
        }
        if happens(&mut self.dice, self.faults.slow) {
            self.leg.grain = if self.dice.one_in(3) { usize::MAX } else { 1 + self.dice.below(30) };
            self.leg.room = if self.dice.one_in(2) { usize::MAX } else { self.dice.below(60) };
        }
        if happens(&mut self.dice, self.faults.migrate) && !self.over {
            let _ = self.session.migrate(self.now, OnMigrateTimeout::Stay);
            self.act();
        }
    }

    // The driver.

    fn pass(&mut self, time: u64) {
        let until = self.now + millis(time);
        for _ in 0..1000 {
            self.settle();
            let next = self.session.poll_timeout().filter(|at| *at <= until && *at > self.now);
            let Some(next) = next else { break };
            self.now = next;
        }
        self.now = until;
        self.settle();
    }

    fn settle(&mut self) {
        for _ in 0..60 {
            if !self.turn() {
                break;
            }
        }
    }

    fn turn(&mut self) -> bool {
        if self.over {
            return false;
        }
        let mut moved = false;
        if self.session.poll_timeout().is_some_and(|at| at <= self.now) {
            self.session.handle_timeout(self.now);
            self.act();
            moved = true;
        }
        moved |= self.read_backend();
        moved |= self.read_client();
        moved |= self.write_backend();
        moved |= self.write_client(&[]);
        self.leg.work(&mut self.dice, self.eager);
        moved
    }

    fn read_backend(&mut self) -> bool {
        if self.over || !self.session.wants_read(Side::Backend) {
            return false;
        }
        let epoch = self.session.epoch();
        if self.leg.outbox.is_empty() {
            if !self.leg.gone || std::mem::replace(&mut self.leg.gone_told, true) {
                return false;
            }
            self.shadow.leg_ended();
            self.session.handle_end_of_stream(self.now, Side::Backend, epoch);
            self.act();
            return true;
        }
        let count = self.leg.outbox.len().min(self.leg.grain);
        let data: Vec<u8> = self.leg.outbox.iter().take(count).copied().collect();
        let passed = self.session.handle_backend_data(self.now, epoch, &data);
        self.leg.outbox.drain(..passed.consumed);
        self.shadow.leg_took(&data[..passed.consumed]);
        if !passed.direct.is_empty() {
            self.write_client(&data[passed.direct]);
        }
        self.act();
        passed.consumed > 0
    }

    fn read_client(&mut self) -> bool {
        if self.over || self.outbox.is_empty() || !self.session.wants_read(Side::Client) {
            return false;
        }
        let count = 1 + self.dice.below(self.outbox.len());
        let data: Vec<u8> = self.outbox.iter().take(count).copied().collect();
        let consumed = self.session.handle_client_data(self.now, &data);
        self.outbox.drain(..consumed);
        self.shadow.client_took(&data[..consumed], self.session.counters());
        self.act();
        consumed > 0
    }

    fn write_backend(&mut self) -> bool {
        if self.over || self.shadow.link != Link::Attached {
            return false;
        }
        // No other session is there that could want the turn.
        if self.session.isolation() == Isolation::Waiting {
            self.session.handle_turn(self.session.epoch());
        }
        let mut out = Gather::new();
        self.session.poll_transmit(self.now, Side::Backend, &mut out);
        let room = self.leg.room.saturating_sub(self.leg.inbox.len());
        let bytes = first_bytes(&out, out.len().min(room).min(self.leg.grain));
        self.session.handle_written(self.now, Side::Backend, bytes.len(), &[]);
        if !bytes.is_empty() {
            self.shadow.leg_written(&bytes);
            self.leg.inbox.extend(&bytes);
        }
        self.act();
        !bytes.is_empty()
    }

    fn write_client(&mut self, direct: &[u8]) -> bool {
        if self.over {
            return false;
        }
        let mut out = Gather::new();
        self.session.poll_transmit(self.now, Side::Client, &mut out);
        out.push(direct);
        let bytes = first_bytes(&out, out.len());
        self.session.handle_written(self.now, Side::Client, bytes.len(), direct);
        self.hear(&bytes);
        if direct.is_empty() {
            self.act();
        }
        !bytes.is_empty()
    }

    fn hear(&mut self, bytes: &[u8]) {
        let mut ear = std::mem::replace(&mut self.ear, Splitter::new(false));
        let mut pings = Vec::new();
        ear.feed(bytes, |piece| match piece {
            Piece::Header { .. } => {}
            Piece::Payload { plain, ends_message, .. } => {
                self.hearing.extend_from_slice(plain);
                if ends_message {
                    let text = std::mem::take(&mut self.hearing);
                    self.heard.push(String::from_utf8(text).expect("text"));
                }
            }
            Piece::Control { opcode: codec::PING, payload } => pings.push(payload.to_vec()),
            Piece::Control { opcode: codec::CLOSE, payload } => self.close = Some(payload.to_vec()),
            Piece::Control { .. } => {}
        });
        self.ear = ear;
        for ping in pings.into_iter().filter(|_| !self.closed) {
            let mut bytes = Vec::new();
            codec::frame(&mut bytes, codec::FIN | codec::PONG, &ping, Some(self.dice.key()));
            self.outbox.extend(bytes);
        }
        if let Some(close) = self.close.clone() {
            self.send_close(&close);
        }
    }

    fn send_close(&mut self, payload: &[u8]) {
        if !std::mem::replace(&mut self.closed, true) {
            let mut bytes = Vec::new();
            codec::frame(&mut bytes, codec::FIN | codec::CLOSE, payload, Some(self.dice.key()));
            self.outbox.extend(bytes);
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.session.poll_action() {
            if crate::world::trace() {
                eprintln!("{:>8?} {action:?}", self.now.since_origin());
            }
            match action {
                Action::Attach(request) => {
                    self.shadow.dials(request.pinned);
                    self.dialling = true;
                }
                Action::Prepare(_) => self.preparing = true,
                Action::Discard => (self.preparing, self.prepared) = (false, false),
                Action::Adopt => {
                    self.prepared = false;
                    self.shadow.adopts();
                    self.attach();
                }
                // Nothing is poison here, but there is isolation.
                Action::Ask { epoch, .. } => {
                    let weight = self.dice.of(&[Weight::WHOLE, Weight::WHOLE, Weight::NONE]);
                    self.session.handle_verdict(self.now, epoch, Verdict::Dying, weight);
                }
                Action::Event(event) => self.shadow.told(event),
                Action::End { .. } => {
                    self.over = true;
                    self.shadow.link = Link::Over;
                }
                Action::Mute(_)
                | Action::AnswersPings(_)
                | Action::Order(..)
                | Action::Poisoned(_)
                | Action::Retire { .. } => {}
            }
        }
        for index in self.judged..self.heard.len() {
            let expected = self.shadow.passed.get(index);
            assert_eq!(expected, self.heard.get(index), "rules: the client hears something else");
        }
        self.judged = self.heard.len();
        self.shadow.compare(&self.session);
    }

    // Everything is well from now on.

    fn heal(&mut self) {
        self.faults =
            Faults { crash: 0, goes_away: 0, slow: 0, migrate: 0, bad_logins: 0, lost_dials: 0, forbidden: 0 };
        self.eager = true;
        for _ in 0..3000 {
            if self.over {
                return;
            }
            (self.leg.room, self.leg.grain) = (usize::MAX, usize::MAX);
            self.answer();
            self.pass(100);
            let quiet = self.outbox.is_empty() && self.leg.is_done() && self.shadow.is_settled();
            if quiet && !self.closed {
                self.judge_peace();
                self.send_close(&1000_u16.to_be_bytes());
            }
        }
        panic!("law 6: the session neither ends nor comes to rest: {:?}", self.session);
    }

    /// Nothing that was asked stays unanswered, and no answer comes twice.
    fn judge_peace(&mut self) {
        assert_eq!(self.heard, self.shadow.passed, "law 6: the client is owed something");
        let counters = *self.session.counters();
        let answers: Vec<&str> =
            self.heard.iter().filter(|text| text.starts_with('a')).map(|text| parts(text).2).collect();
        let mut once = answers.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), answers.len(), "an answer comes twice");
        let asked = counters.keyed + counters.evicted_keyed;
        assert!(once.len() as u64 <= asked && counters.keyed <= once.len() as u64, "a question is not answered");
        self.shadow.note_peace(counters.failovers + counters.migrations);
    }

    fn judge(&mut self) {
        assert!(self.over, "law 8: a session opened is a session ended");
        if self.shadow.forbidden {
            let code = self.close.as_ref().map(|close| close[..2].to_vec());
            let ends = [1008_u16, 1012, 4001].map(|code| Some(code.to_be_bytes().to_vec()));
            assert!(ends.contains(&code), "a rule's close: {code:?}");
        }
    }
}

fn first_bytes(out: &Gather<'_>, most: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(most);
    for piece in out.as_slices() {
        bytes.extend_from_slice(&piece[..piece.len().min(most - bytes.len())]);
    }
    bytes
}
