//! RFC 6455 once more, for the swarm: it shares no code with the engine that is judged with it.

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;
pub(crate) const FIN: u8 = 0x80;

/// Appends a frame whose first byte is `first`.
pub(crate) fn frame(out: &mut Vec<u8>, first: u8, payload: &[u8], mask: Option<[u8; 4]>) {
    let bit = if mask.is_some() { 0x80 } else { 0 };
    out.push(first);
    match payload.len() {
        len @ 0..=125 => out.push(bit | len as u8),
        len @ 126..=0xFFFF => {
            out.push(bit | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(bit | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    match mask {
        None => out.extend_from_slice(payload),
        Some(key) => {
            out.extend_from_slice(&key);
            out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        }
    }
}

/// A part of a stream of frames.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    /// The header of a data frame, as it stands on the wire.
    Header { raw: &'a [u8], opcode: u8 },
    /// Payload of a data frame, as it stands on the wire and unmasked. Comes once, empty, for a frame without payload.
    Payload { raw: &'a [u8], plain: &'a [u8], ends_message: bool },
    /// A control frame with its payload unmasked.
    Control { opcode: u8, payload: &'a [u8] },
}

/// Splits a stream of bytes into pieces of frames. It panics at whatever a strict peer would fail the connection for.
#[derive(Debug)]
pub(crate) struct Splitter {
    masked: bool,
    /// The beginning of a header, or of a control frame.
    partial: Vec<u8>,
    /// Payload of a data frame still to come, where its key stands, and whether its frame ends the message.
    left: usize,
    key: [u8; 4],
    turn: usize,
    fin: bool,
    in_message: bool,
    closed: bool,
    plain: Vec<u8>,
}

impl Splitter {
    pub(crate) fn new(masked: bool) -> Self {
        Self {
            masked,
            partial: Vec::new(),
            left: 0,
            key: [0; 4],
            turn: 0,
            fin: false,
            in_message: false,
            closed: false,
            plain: Vec::new(),
        }
    }

    /// Whether nothing is half there.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.partial.is_empty() && self.left == 0 && !self.in_message
    }

    /// Whether a data frame has begun of which not even the header is all there.
    pub(crate) fn is_in_header(&self) -> bool {
        self.partial.first().is_some_and(|first| first & 0x8 == 0)
    }

    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut take: impl FnMut(Piece<'_>)) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let (now, later) = bytes.split_at(self.left.min(bytes.len()));
                bytes = later;
                self.payload(now, &mut take);
                continue;
            }
            self.partial.push(bytes[0]);
            bytes = &bytes[1..];
            self.header(&mut take);
        }
    }

    fn payload(&mut self, raw: &[u8], take: &mut impl FnMut(Piece<'_>)) {
        self.left -= raw.len();
        let ends_message = self.left == 0 && self.fin;
        if ends_message {
            self.in_message = false;
        }
        if !self.masked {
            return take(Piece::Payload { raw, plain: raw, ends_message });
        }
        self.plain.clear();
        for byte in raw {
            self.plain.push(byte ^ self.key[self.turn % 4]);
            self.turn += 1;
        }
        take(Piece::Payload { raw, plain: &self.plain, ends_message });
    }

    /// A byte was added to `partial`: is the header, or the control frame, all there?
    fn header(&mut self, take: &mut impl FnMut(Piece<'_>)) {
        let [first, second, ref rest @ ..] = self.partial[..] else { return };
        assert!(!self.closed, "law 3: a frame behind a Close");
        let extended = match second & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let head = 2 + extended + if self.masked { 4 } else { 0 };
        if self.partial.len() < head {
            return;
        }
        let len = match extended {
            0 => usize::from(second & 0x7F),
            _ => rest[..extended].iter().fold(0, |len, byte| len << 8 | usize::from(*byte)),
        };
        if self.masked {
            self.key = self.partial[head - 4..head].try_into().unwrap_or_default();
        }
        let control = first & 0x8 != 0;
        if control && self.partial.len() < head + len {
            return;
        }
        self.judge(first, second, len, extended);
        let whole = std::mem::take(&mut self.partial);
        if control {
            let payload: Vec<u8> = whole[head..].iter().zip(self.key_bytes()).map(|(byte, key)| byte ^ key).collect();
            self.closed |= first & 0xF == CLOSE;
            take(Piece::Control { opcode: first & 0xF, payload: &payload });
        } else {
            (self.left, self.turn, self.fin, self.in_message) = (len, 0, first & FIN != 0, true);
            take(Piece::Header { raw: &whole, opcode: first & 0xF });
            if len == 0 {
                self.payload(&[], take);
            }
        }
        self.partial = whole;
        self.partial.clear();
    }

    fn key_bytes(&self) -> impl Iterator<Item = u8> + use<> {
        let key = if self.masked { self.key } else { [0; 4] };
        key.into_iter().cycle()
    }

    fn judge(&self, first: u8, second: u8, len: usize, extended: usize) {
        assert_eq!(second & 0x80 != 0, self.masked, "law 3: mask bit");
        assert_eq!(first & 0x70, 0, "law 3: reserved bits");
        assert!(extended == 0 || len > 125, "law 3: length not minimal");
        match first & 0xF {
            CONTINUATION => assert!(self.in_message, "law 3: continuation without a message"),
            TEXT | BINARY => assert!(!self.in_message, "law 3: message inside a message"),
            CLOSE | PING | PONG => assert!(first & FIN != 0 && len <= 125, "law 3: a control frame's bounds"),
            other => panic!("law 3: opcode {other:#x}"),
        }
    }
}
