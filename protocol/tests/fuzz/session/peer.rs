//! One end of a connection: what it has to say, what the engine took of it, and what the engine wrote to it.

use std::collections::VecDeque;

use tideover_protocol::session::{AckCarrier, BackendTraits, Gather};
use tungstenite::protocol::frame::coding::Control;

use super::operation::{Grain, LIMITS};
use crate::reference::Reference;

/// Most bytes that wait to be taken.
const MOST_WAITING: usize = 200_000;

#[derive(Debug)]
pub(crate) struct Peer {
    client: bool,
    outbox: VecDeque<u8>,
    /// What the engine took.
    pub(crate) said: Reference,
    /// What the engine wrote.
    pub(crate) heard: Reference,
    pub(crate) room: usize,
    pub(crate) grain: Grain,
    /// Nothing comes behind the outbox.
    pub(crate) gone: bool,
    pub(crate) gone_told: bool,
    /// Writing to it fails.
    pub(crate) broken: bool,
    pub(crate) broken_told: bool,
    /// Messages heard that are answered, and pings.
    pub(crate) answered: usize,
    pub(crate) ponged: usize,
    /// How it acknowledges, if it speaks the session protocol.
    carrier: Option<AckCarrier>,
    keys: u32,
}

impl Peer {
    pub(crate) fn client() -> Self {
        Self::new(true, None)
    }

    pub(crate) fn backend(traits: BackendTraits) -> Self {
        Self::new(false, traits.carrier)
    }

    fn new(client: bool, carrier: Option<AckCarrier>) -> Self {
        Self {
            client,
            outbox: VecDeque::new(),
            said: Reference::new(client, LIMITS, false),
            heard: Reference::new(!client, LIMITS, false),
            room: usize::MAX,
            grain: Grain::Any,
            gone: false,
            gone_told: false,
            broken: false,
            broken_told: false,
            answered: 0,
            ponged: 0,
            carrier,
            keys: 0,
        }
    }

    // Saying.

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        if !self.gone && self.outbox.len() + bytes.len() <= MOST_WAITING {
            self.outbox.extend(bytes);
        }
    }

    /// A frame with this first byte.
    pub(crate) fn frame(&mut self, first: u8, payload: &[u8]) {
        let mask = if self.client { 0x80 } else { 0 };
        let mut frame = vec![first];
        match payload.len() {
            len @ 0..=125 => frame.push(mask | len as u8),
            len @ 126..=0xFFFF => frame.extend([&[mask | 126][..], &(len as u16).to_be_bytes()].concat()),
            len => frame.extend([&[mask | 127][..], &(len as u64).to_be_bytes()].concat()),
        }
        if self.client {
            self.keys = self.keys.wrapping_add(0x9E37_79B9);
            let key = self.keys.to_be_bytes();
            frame.extend(key);
            frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        } else {
            frame.extend(payload);
        }
        self.send(&frame);
    }

    pub(crate) fn say(&mut self, lengths: &[u16], fill: u8, ping_between: bool) {
        let lengths = if lengths.is_empty() { &[1][..] } else { lengths };
        for (index, length) in lengths.iter().enumerate() {
            let opcode = if index == 0 { 1 + fill % 2 } else { 0 };
            let fin = if index + 1 == lengths.len() { 0x80 } else { 0 };
            // The larger the rarer.
            let length = if length % 8 == 0 { *length } else { *length % 200 };
            self.frame(fin | opcode, &vec![fill; length.into()]);
            if ping_between {
                self.frame(0x89, &[fill]);
            }
        }
    }

    /// Answers the first message that is not answered, so that the same message is answered the same.
    pub(crate) fn answer(&mut self) {
        let Some(message) = self.heard.messages.get(self.answered) else { return };
        let last = message.last().copied().unwrap_or_default();
        self.answered += 1;
        self.frame(0x81, &[b'r', last]);
    }

    pub(crate) fn pong(&mut self, latest: bool) {
        let pings = self.heard.controls.iter().enumerate().skip(self.ponged);
        let mut pings = pings.filter(|(_, (which, _))| *which == Control::Ping);
        let ping = if latest { pings.next_back() } else { pings.next() };
        if let Some((index, (_, payload))) = ping {
            let payload = payload.clone();
            self.ponged = index + 1;
            self.frame(0x8A, &payload);
        }
    }

    pub(crate) fn acknowledge(&mut self, seq: u64, by_message: bool) {
        self.frame(if by_message { 0x81 } else { 0x8A }, format!("tideover:ack:{seq}").as_bytes());
    }

    /// Acknowledges what it has read, as it announced in its handshake.
    pub(crate) fn acknowledge_properly(&mut self, seq: u64) {
        if let Some(carrier) = self.carrier {
            self.acknowledge(seq, carrier == AckCarrier::Message);
        }
    }

    // What the driver does.

    pub(crate) fn readable(&self) -> Vec<u8> {
        self.outbox.iter().take(self.grain.bytes()).copied().collect()
    }

    pub(crate) fn take(&mut self, count: usize) {
        let taken: Vec<u8> = self.outbox.drain(..count).collect();
        self.said.feed(&taken);
    }

    /// A vectored write; returns how many bytes it took.
    pub(crate) fn write(&mut self, gathered: &Gather<'_>) -> usize {
        let most = if self.broken { 0 } else { gathered.len().min(self.room).min(self.grain.bytes()) };
        let mut left = most;
        for piece in gathered.as_slices() {
            let len = piece.len().min(left);
            self.hear(&piece[..len]);
            left -= len;
        }
        self.room -= most;
        most
    }

    /// Whoever is strict hears nothing wrong.
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        assert!(bytes.is_empty() || !self.heard.is_closed(), "law 3: bytes behind a Close");
        self.heard.feed(bytes);
        assert_eq!(self.heard.broken, None, "law 3: what reaches a peer keeps RFC 6455");
        // Between the frames of a message there may be a Close (RFC 6455 5.4), but not to a client.
        let place = if self.client { self.heard.is_between_messages() } else { self.heard.is_between_frames() };
        assert!(!self.heard.is_closed() || place, "law 3: a Close is the last frame");
    }

    /// All is well from now on.
    pub(crate) fn heal(&mut self) {
        (self.room, self.grain) = (usize::MAX, Grain::Any);
        // A connection that cannot be written has an end to be read.
        self.gone |= self.broken;
    }
}
