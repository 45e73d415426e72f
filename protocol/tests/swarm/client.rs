//! The client, and the pipes between it and the proxy.

use std::collections::VecDeque;

use tideover_protocol::time::Instant;

use crate::codec::{self, Piece, Splitter};
use crate::dice::Dice;

#[derive(Debug)]
pub(crate) struct Client {
    /// Bytes on the way from it.
    pub(crate) outbox: VecDeque<u8>,
    pub(crate) splitter: Splitter,
    /// The payload of the Close it got.
    pub(crate) close: Option<Vec<u8>>,
    pub(crate) room: usize,
    pub(crate) grain: usize,
    /// Nothing comes behind the outbox.
    pub(crate) gone: bool,
    pub(crate) gone_told: bool,
    /// Writing to it fails.
    pub(crate) broken: bool,
    pub(crate) broken_told: bool,
    /// It has sent its Close.
    pub(crate) closed: bool,
    /// The proxy ended the stream.
    pub(crate) end_of_stream: bool,
    pub(crate) said: Vec<Vec<u8>>,
    /// When it last did not take all there was.
    pub(crate) blocked: Option<Instant>,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self {
            outbox: VecDeque::new(),
            splitter: Splitter::new(false),
            close: None,
            room: usize::MAX,
            grain: usize::MAX,
            gone: false,
            gone_told: false,
            broken: false,
            broken_told: false,
            closed: false,
            end_of_stream: false,
            said: Vec::new(),
            blocked: None,
        }
    }

    /// Whether it may still say something.
    pub(crate) fn talks(&self) -> bool {
        !self.gone && !self.closed
    }

    pub(crate) fn put(&mut self, first: u8, payload: &[u8], key: [u8; 4]) {
        let mut bytes = Vec::with_capacity(payload.len() + 14);
        codec::frame(&mut bytes, first, payload, Some(key));
        self.outbox.extend(bytes);
    }

    /// Says a message of letters of an alphabet of two, in one frame or several.
    pub(crate) fn say(&mut self, dice: &mut Dice, longest: usize, deadly: bool) {
        let longest = if dice.one_in(4) { longest } else { longest.min(3) };
        let mut payload: Vec<u8> = (0..=dice.below(longest)).map(|_| dice.of(b"ab")).collect();
        if deadly {
            payload[0] = crate::backend::DEADLY;
        }
        let opcode = dice.of(&[codec::TEXT, codec::TEXT, codec::BINARY]);
        if dice.one_in(6) {
            let (head, tail) = payload.split_at(1 + dice.below(payload.len()));
            self.put(opcode, head, dice.key());
            if dice.one_in(3) {
                self.put(codec::FIN | codec::PING, b"between", dice.key());
            }
            if dice.one_in(3) {
                self.put(codec::CONTINUATION, b"", dice.key());
            }
            self.put(codec::FIN | codec::CONTINUATION, tail, dice.key());
        } else {
            self.put(codec::FIN | opcode, &payload, dice.key());
        }
        self.said.push(payload);
    }

    pub(crate) fn send_close(&mut self, payload: &[u8], key: [u8; 4]) {
        self.put(codec::FIN | codec::CLOSE, payload, key);
        self.closed = true;
    }

    /// Takes bytes of the proxy; `data` is given those that are not control frames.
    pub(crate) fn listen(&mut self, bytes: &[u8], mut data: impl FnMut(&[u8]), dice: &mut Dice) {
        let mut splitter = std::mem::replace(&mut self.splitter, Splitter::new(false));
        let mut pings = Vec::new();
        splitter.feed(bytes, |piece| match piece {
            Piece::Header { raw, .. } | Piece::Payload { raw, .. } => data(raw),
            Piece::Control { opcode: codec::PING, payload } => pings.push(payload.to_vec()),
            Piece::Control { opcode: codec::CLOSE, payload } => self.close = Some(payload.to_vec()),
            Piece::Control { .. } => {}
        });
        self.splitter = splitter;
        let talks = self.talks();
        for ping in pings.into_iter().filter(|_| talks) {
            self.put(codec::FIN | codec::PONG, &ping, dice.key());
        }
        if let Some(close) = self.close.clone()
            && talks
        {
            self.send_close(&close, dice.key());
        }
    }
}
