//! The two ends of the world: a client and a backend, each with a pipe to and from the proxy.

use std::collections::VecDeque;

use tideover_protocol::session::Gather;

use super::wire::{self, Ear, Heard};

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) ear: Ear,
    /// All that was heard, in order.
    pub(crate) heard: Vec<Heard>,
    /// Every byte that was heard.
    pub(crate) raw: Vec<u8>,
    /// Bytes sent that the proxy has not taken.
    pub(crate) outbox: VecDeque<u8>,
    /// Bytes sent that the proxy has taken.
    pub(crate) taken: usize,
    /// How many more bytes the pipe takes from the proxy.
    pub(crate) room: usize,
    /// Most bytes the proxy writes or reads at a time.
    pub(crate) grain: usize,
    /// Nothing comes behind the outbox.
    pub(crate) gone: bool,
    /// The proxy has been told so.
    pub(crate) gone_told: bool,
    /// Writing to this peer fails.
    pub(crate) broken: bool,
    pub(crate) broken_told: bool,
    /// The proxy ended the stream.
    pub(crate) end_of_stream: bool,
    /// Answers pings.
    pub(crate) pongs: bool,
    /// Sends messages back.
    pub(crate) echoes: bool,
    /// Answers a Close with the same.
    pub(crate) closes: bool,
    /// Index in `heard` of the first thing not yet reacted to.
    reacted: usize,
    masked: bool,
    /// Whether its Pongs and Closes are masked as its other frames are.
    pub(crate) masks_answers: bool,
    key: u32,
}

impl Peer {
    pub(crate) fn client() -> Self {
        Self { masked: true, ear: Ear::new(false), echoes: false, ..Self::backend() }
    }

    pub(crate) fn backend() -> Self {
        Self {
            ear: Ear::new(true),
            heard: Vec::new(),
            raw: Vec::new(),
            outbox: VecDeque::new(),
            taken: 0,
            room: usize::MAX,
            grain: usize::MAX,
            gone: false,
            gone_told: false,
            broken: false,
            broken_told: false,
            end_of_stream: false,
            pongs: true,
            echoes: true,
            closes: true,
            reacted: 0,
            masked: false,
            masks_answers: true,
            key: 1,
        }
    }

    /// A backend that answers no pings.
    pub(crate) fn mute_backend() -> Self {
        Self { pongs: false, ..Self::backend() }
    }

    /// A backend that does nothing of its own accord.
    pub(crate) fn silent_backend() -> Self {
        Self { pongs: false, echoes: false, ..Self::backend() }
    }

    // Sending.

    pub(crate) fn mask(&mut self) -> Option<[u8; 4]> {
        self.key = self.key.wrapping_mul(0x9E37_79B1);
        self.masked.then(|| self.key.to_be_bytes())
    }

    fn answers_mask(&mut self) -> Option<[u8; 4]> {
        self.mask().filter(|_| self.masks_answers)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.outbox.extend(bytes);
    }

    pub(crate) fn say(&mut self, message: &str) {
        let frame = wire::text(message, self.mask());
        self.send(&frame);
    }

    /// Sends a message in as many frames as there are parts.
    pub(crate) fn say_in_parts(&mut self, parts: &[&str]) {
        for (index, part) in parts.iter().enumerate() {
            let opcode = if index == 0 { wire::TEXT } else { wire::CONTINUATION };
            let fin = if index + 1 == parts.len() { wire::FIN } else { 0 };
            let frame = wire::frame(fin | opcode, part.as_bytes(), self.mask());
            self.send(&frame);
        }
    }

    pub(crate) fn ping(&mut self, payload: &[u8]) {
        let frame = wire::ping(payload, self.mask());
        self.send(&frame);
    }

    pub(crate) fn pong(&mut self, payload: &[u8]) {
        let frame = wire::pong(payload, self.answers_mask());
        self.send(&frame);
    }

    pub(crate) fn close(&mut self, payload: &[u8]) {
        let frame = wire::close(payload, self.answers_mask());
        self.send(&frame);
    }

    /// The stream ends behind what was sent.
    pub(crate) fn vanish(&mut self) {
        self.gone = true;
    }

    // Hearing.

    /// A vectored write; returns how many bytes it took.
    pub(crate) fn hear(&mut self, gathered: &Gather<'_>) -> usize {
        let most = if self.broken { 0 } else { gathered.len().min(self.room).min(self.grain) };
        let mut bytes = Vec::with_capacity(most);
        for piece in gathered.as_slices() {
            bytes.extend_from_slice(&piece[..piece.len().min(most - bytes.len())]);
        }
        self.listen(&bytes);
        most
    }

    pub(crate) fn listen(&mut self, bytes: &[u8]) {
        self.room -= bytes.len().min(self.room);
        self.raw.extend_from_slice(bytes);
        self.heard.extend(self.ear.listen(bytes));
    }

    /// Does what it does with what it has heard; returns whether there was anything.
    pub(crate) fn react(&mut self) -> bool {
        let news = self.heard[self.reacted..].to_vec();
        self.reacted = self.heard.len();
        if self.gone {
            return false;
        }
        for heard in &news {
            match heard {
                Heard::Message(message) if self.echoes => {
                    let frame = wire::frame(wire::FIN | wire::TEXT, message, self.mask());
                    self.send(&frame);
                }
                Heard::Ping(payload) if self.pongs => self.pong(payload),
                Heard::Close(payload) if self.closes => {
                    self.close(payload);
                    self.gone = true;
                }
                Heard::Message(_) | Heard::Ping(_) | Heard::Close(_) | Heard::Pong(_) => {}
            }
        }
        !news.is_empty()
    }

    pub(crate) fn messages(&self) -> Vec<String> {
        let texts = self.heard.iter().filter_map(|heard| match heard {
            Heard::Message(message) => Some(String::from_utf8_lossy(message).into_owned()),
            Heard::Ping(_) | Heard::Pong(_) | Heard::Close(_) => None,
        });
        texts.collect()
    }

    pub(crate) fn pings(&self) -> Vec<&[u8]> {
        self.heard
            .iter()
            .filter_map(|heard| if let Heard::Ping(ping) = heard { Some(&ping[..]) } else { None })
            .collect()
    }

    /// The payload of the Close that was heard.
    pub(crate) fn closed(&self) -> Option<&[u8]> {
        self.heard.iter().find_map(|heard| if let Heard::Close(close) = heard { Some(&close[..]) } else { None })
    }

    /// The code of the Close that was heard.
    pub(crate) fn close_code(&self) -> Option<u16> {
        self.closed().and_then(|payload| Some(u16::from_be_bytes(payload.get(..2)?.try_into().ok()?)))
    }

    /// What of the outbox the proxy reads at once.
    pub(crate) fn readable(&mut self) -> &[u8] {
        let grain = self.grain.min(64 * 1024);
        let all = self.outbox.make_contiguous();
        &all[..all.len().min(grain)]
    }

    pub(crate) fn take(&mut self, count: usize) {
        self.taken += count;
        self.outbox.drain(..count);
    }
}
