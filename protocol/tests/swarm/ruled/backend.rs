//! A backend that wants the login first, and judges what it reads by that alone.

use std::collections::VecDeque;

use crate::codec::{self, Piece, Splitter};
use crate::dice::Dice;

use super::parts;

/// What it does with a login that its leg begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login {
    Answers,
    Refuses,
    FallsSilent,
    Closes,
}

#[derive(Debug)]
pub(super) struct Backend {
    /// Bytes on the way to it, and from it.
    pub(super) inbox: VecDeque<u8>,
    pub(super) outbox: VecDeque<u8>,
    /// Most bytes in the inbox, and most that go either way at once.
    pub(super) room: usize,
    pub(super) grain: usize,
    /// Its stream ends behind the outbox.
    pub(super) gone: bool,
    pub(super) gone_told: bool,
    /// The login is among the pinned messages of the leg.
    held: bool,
    login: Login,
    logged_in: bool,
    /// It has read the login and has not answered it.
    asked: bool,
    splitter: Splitter,
    payload: Vec<u8>,
    read: usize,
    /// Questions without their first word, and without their last.
    open: Vec<String>,
    half: Vec<String>,
    topics: Vec<String>,
}

impl Backend {
    pub(super) fn new(held: bool, login: Login, greets: bool) -> Self {
        let mut new = Self {
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            room: usize::MAX,
            grain: usize::MAX,
            gone: false,
            gone_told: false,
            held,
            login: if held { login } else { Login::Answers },
            logged_in: false,
            asked: false,
            splitter: Splitter::new(true),
            payload: Vec::new(),
            read: 0,
            open: Vec::new(),
            half: Vec::new(),
            topics: Vec::new(),
        };
        if greets {
            new.say("g");
        }
        new
    }

    pub(super) fn say(&mut self, text: &str) {
        let mut bytes = Vec::new();
        if text.len() % 3 == 1 {
            let (head, tail) = text.as_bytes().split_at(text.len() / 2);
            codec::frame(&mut bytes, codec::TEXT, head, None);
            codec::frame(&mut bytes, codec::FIN | codec::CONTINUATION, tail, None);
        } else {
            codec::frame(&mut bytes, codec::FIN | codec::TEXT, text.as_bytes(), None);
        }
        self.outbox.extend(bytes);
    }

    pub(super) fn close(&mut self, code: u16) {
        let mut bytes = Vec::new();
        codec::frame(&mut bytes, codec::FIN | codec::CLOSE, &code.to_be_bytes(), None);
        self.outbox.extend(bytes);
        self.gone = true;
    }

    /// Whether it owes nothing.
    pub(super) fn is_done(&self) -> bool {
        self.inbox.is_empty() && self.outbox.is_empty() && self.open.is_empty() && self.half.is_empty() && !self.asked
    }

    /// Reads what has come, and answers some of it, in any order.
    pub(super) fn work(&mut self, dice: &mut Dice, eager: bool) {
        if self.gone {
            return;
        }
        let bytes: Vec<u8> = self.inbox.drain(..).collect();
        let mut splitter = std::mem::replace(&mut self.splitter, Splitter::new(true));
        let mut heard = Vec::new();
        splitter.feed(&bytes, |piece| match piece {
            Piece::Header { .. } => {}
            Piece::Payload { plain, ends_message, .. } => {
                self.payload.extend_from_slice(plain);
                if ends_message {
                    heard.push((codec::TEXT, std::mem::take(&mut self.payload)));
                }
            }
            Piece::Control { opcode, payload } => heard.push((opcode, payload.to_vec())),
        });
        self.splitter = splitter;
        for (opcode, payload) in heard {
            self.hear(opcode, &payload, dice);
        }
        self.answer(dice, eager);
    }

    fn hear(&mut self, opcode: u8, payload: &[u8], dice: &mut Dice) {
        let mut bytes = Vec::new();
        match opcode {
            codec::PING => {
                codec::frame(&mut bytes, codec::FIN | codec::PONG, payload, None);
                self.outbox.extend(bytes);
            }
            codec::CLOSE => {
                codec::frame(&mut bytes, codec::FIN | codec::CLOSE, payload, None);
                self.outbox.extend(bytes);
                self.gone = true;
            }
            codec::TEXT => self.read(std::str::from_utf8(payload).expect("text"), dice),
            _ => {}
        }
    }

    fn read(&mut self, text: &str, dice: &mut Dice) {
        let (letter, topic, number) = parts(text);
        assert!(self.read > 0 || letter == 'L', "pins: {text} comes before the login");
        assert!(self.read == 0 || !self.held || self.logged_in, "hold: {text} comes before the login is answered");
        self.read += 1;
        match letter {
            'L' => self.asked = true,
            'S' | 'M' if !dice.one_in(4) => {
                self.say(&format!("s{topic}"));
                self.topics.push(topic.to_owned());
            }
            'Q' => self.open.push(number.to_owned()),
            _ => {}
        }
    }

    fn answer(&mut self, dice: &mut Dice, eager: bool) {
        if self.asked && (eager || dice.one_in(3)) {
            self.answer_login();
        }
        while !self.open.is_empty() && (eager || dice.one_in(4)) {
            let number = self.open.swap_remove(dice.below(self.open.len()));
            self.say(&format!("o.{number}"));
            self.half.push(number);
        }
        while !self.half.is_empty() && (eager || dice.one_in(4)) {
            let number = self.half.swap_remove(dice.below(self.half.len()));
            self.say(&format!("a.{number}"));
        }
        if !self.topics.is_empty() && dice.one_in(60) {
            let topic = self.topics.swap_remove(dice.below(self.topics.len()));
            self.say(&format!("e{topic}"));
        }
    }

    fn answer_login(&mut self) {
        match self.login {
            Login::Answers => {
                self.say("l");
                (self.asked, self.logged_in) = (false, true);
            }
            Login::Refuses => {
                self.say("l!");
                (self.asked, self.logged_in) = (false, true);
            }
            Login::FallsSilent => {}
            Login::Closes => self.close(4001),
        }
    }
}
