//! RFC 6455 once more, written for the peers of the tests: it shares no code with what it judges.

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const CONTINUATION: u8 = 0x0;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
pub(crate) const FIN: u8 = 0x80;
/// Of a compressed message's first frame (RFC 7692 6).
pub(crate) const RSV1: u8 = 0x40;

/// A frame whose first byte is `first`.
pub(crate) fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let bit = if mask.is_some() { 0x80 } else { 0 };
    let mut out = vec![first];
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
    let key = mask.unwrap_or_default();
    out.extend_from_slice(if mask.is_some() { &key } else { &[] });
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

pub(crate) fn text(payload: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    frame(FIN | TEXT, payload.as_bytes(), mask)
}

pub(crate) fn ping(payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    frame(FIN | PING, payload, mask)
}

pub(crate) fn pong(payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    frame(FIN | PONG, payload, mask)
}

pub(crate) fn close(payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    frame(FIN | CLOSE, payload, mask)
}

/// The payload of a Close.
pub(crate) fn code(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    payload
}

/// What a peer heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Message(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Vec<u8>),
}

/// A peer's ear. It panics at whatever a strict peer would fail the connection for.
#[derive(Debug)]
pub(crate) struct Ear {
    /// Whether frames must be masked: true at a backend.
    masked: bool,
    /// Messages may be compressed. They are heard as they came.
    pub(crate) deflate: bool,
    partial: Vec<u8>,
    message: Option<Vec<u8>>,
    closed: bool,
    /// Frames heard, control frames included.
    pub(crate) frames: usize,
}

impl Ear {
    pub(crate) fn new(masked: bool) -> Self {
        Self { masked, deflate: false, partial: Vec::new(), message: None, closed: false, frames: 0 }
    }

    /// Whether nothing is half-heard.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.partial.is_empty() && self.message.is_none()
    }

    pub(crate) fn listen(&mut self, bytes: &[u8]) -> Vec<Heard> {
        self.partial.extend_from_slice(bytes);
        let mut heard = Vec::new();
        let mut at = 0;
        while let Some((first, payload, len)) = self.next_frame(at) {
            at += len;
            self.frames += 1;
            heard.extend(self.judge(first, payload));
        }
        self.partial.drain(..at);
        heard
    }

    fn next_frame(&self, at: usize) -> Option<(u8, Vec<u8>, usize)> {
        let bytes = &self.partial[at..];
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (len, head) = match second & 0x7F {
            126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
            127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize, 10),
            len => (usize::from(len), 2),
        };
        assert_eq!(second & 0x80 != 0, self.masked, "mask bit");
        assert!(head == 2 || len > 125, "length not minimal");
        let (key, head) = if self.masked { (bytes.get(head..head + 4)?, head + 4) } else { (&[0; 4][..], head) };
        let payload = bytes.get(head..head + len)?;
        Some((first, payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect(), head + len))
    }

    fn judge(&mut self, first: u8, payload: Vec<u8>) -> Option<Heard> {
        assert!(!self.closed, "a frame behind a Close: {first:#x} {payload:?}");
        let legal = if self.deflate && matches!(first & 0xF, 0x1 | 0x2) { RSV1 } else { 0 };
        assert_eq!(first & 0x70 & !legal, 0, "reserved bits");
        let fin = first & FIN != 0;
        assert!(first & 0x8 == 0 || (fin && payload.len() <= 125), "control frame");
        match first & 0xF {
            0x0 => self.message.as_mut().expect("continuation without a message").extend(payload),
            0x1 | 0x2 => assert!(self.message.replace(payload).is_none(), "message inside a message"),
            CLOSE => {
                self.closed = true;
                return Some(Heard::Close(payload));
            }
            PING => return Some(Heard::Ping(payload)),
            PONG => return Some(Heard::Pong(payload)),
            other => panic!("opcode {other:#x}"),
        }
        if fin { self.message.take().map(Heard::Message) } else { None }
    }
}
