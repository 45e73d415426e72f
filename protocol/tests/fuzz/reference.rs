//! RFC 6455 once more, to be compared with: tungstenite reads the headers, and what it leaves to later or lets pass is
//! judged here. It keeps all bytes and looks at them again and again; nothing of it is shared with the engine.

use std::io::Cursor;

use tideover_protocol::scan::MessageLimits;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// What was said on one direction of a connection.
#[derive(Debug)]
pub(crate) struct Reference {
    masked: bool,
    limits: MessageLimits,
    /// RSV1 on the first frame of a message is legal (RFC 7692 6.1).
    deflate: bool,
    partial: Vec<u8>,
    /// The data frames so far of a message that is not whole, their payload, and how many they are.
    open: Option<(Vec<u8>, u64, u32)>,
    /// Whole messages, each with all its frames as they came.
    pub(crate) messages: Vec<Vec<u8>>,
    /// Pings, Pongs and Close with their payloads unmasked.
    pub(crate) controls: Vec<(Control, Vec<u8>)>,
    /// The Close code that answers what broke the protocol. Nothing is read behind that.
    pub(crate) broken: Option<u16>,
}

enum Frame {
    Incomplete,
    Broken(u16),
    Data { begins: bool, ends: bool, payload: u64, head: usize },
    Control { which: Control, payload: Vec<u8>, len: usize },
}

const PROTOCOL_ERROR: u16 = 1002;
const POLICY: u16 = 1008;
const TOO_BIG: u16 = 1009;

impl Reference {
    /// `masked` on the way to a backend.
    pub(crate) fn new(masked: bool, limits: MessageLimits, deflate: bool) -> Self {
        Self {
            masked,
            limits,
            deflate,
            partial: Vec::new(),
            open: None,
            messages: Vec::new(),
            controls: Vec::new(),
            broken: None,
        }
    }

    pub(crate) fn is_between_messages(&self) -> bool {
        self.partial.is_empty() && self.open.is_none()
    }

    pub(crate) fn is_between_frames(&self) -> bool {
        self.partial.is_empty()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.controls.last().is_some_and(|(which, _)| *which == Control::Close)
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        let mut at = 0;
        while self.broken.is_none() {
            let rest = &self.partial[at..];
            match self.frame(rest) {
                Frame::Incomplete => break,
                Frame::Broken(code) => self.broken = Some(code),
                Frame::Control { which, payload, len } => {
                    self.controls.push((which, payload));
                    at += len;
                }
                Frame::Data { begins, ends, payload, head } => {
                    let (known, frames) = self.open.as_ref().map_or((0, 0), |(_, payload, frames)| (*payload, *frames));
                    match self.open {
                        None if !begins => self.broken = Some(PROTOCOL_ERROR),
                        Some(_) if begins => self.broken = Some(PROTOCOL_ERROR),
                        _ if known.saturating_add(payload) > self.limits.bytes as u64 => self.broken = Some(TOO_BIG),
                        _ if frames == self.limits.frames => self.broken = Some(POLICY),
                        _ => {}
                    }
                    let Some(frame) = rest.get(..head + payload as usize).filter(|_| self.broken.is_none()) else {
                        break;
                    };
                    let (bytes, total, count) = self.open.get_or_insert_default();
                    bytes.extend_from_slice(frame);
                    *total += payload;
                    *count += 1;
                    at += frame.len();
                    if ends && let Some((bytes, ..)) = self.open.take() {
                        self.messages.push(bytes);
                    }
                }
            }
        }
        self.partial.drain(..at);
    }

    fn frame(&self, bytes: &[u8]) -> Frame {
        if self.is_broken_early(bytes) {
            return Frame::Broken(PROTOCOL_ERROR);
        }
        let mut cursor = Cursor::new(bytes);
        let Ok(Some((header, payload))) = FrameHeader::parse(&mut cursor) else { return Frame::Incomplete };
        let head = cursor.position() as usize;
        match header.opcode {
            OpCode::Data(data) => Frame::Data { begins: data != Data::Continue, ends: header.is_final, payload, head },
            OpCode::Control(which) => {
                let Some(masked) = bytes.get(head..head + payload as usize) else { return Frame::Incomplete };
                let key = header.mask.unwrap_or_default();
                let payload: Vec<u8> = masked.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
                if which == Control::Close && !is_valid_close(&payload) {
                    return Frame::Broken(PROTOCOL_ERROR);
                }
                Frame::Control { which, len: head + payload.len(), payload }
            }
        }
    }

    /// What tungstenite judges later, or not at all: its parser takes reserved bits, control frames that are long or in
    /// fragments, lengths that are not in the fewest bytes or reach 2^63, and either mask bit. Each is judged as soon
    /// as the bytes that show it are there.
    fn is_broken_early(&self, bytes: &[u8]) -> bool {
        let &[first, second, ref rest @ ..] = bytes else { return false };
        let (opcode, short) = (first & 0xF, second & 0x7F);
        let control = opcode & 0x8 != 0;
        let length = match short {
            126 => rest.first_chunk().map(|bytes| u64::from(u16::from_be_bytes(*bytes)) < 126),
            127 => rest.first_chunk().map(|bytes| {
                let length = u64::from_be_bytes(*bytes);
                length <= 0xFFFF || length >> 63 != 0
            }),
            _ => None,
        };
        let legal = if self.deflate && matches!(opcode, 1 | 2) { 0x40 } else { 0 };
        first & 0x70 & !legal != 0
            || matches!(opcode, 3..=7 | 11..=15)
            || (control && (first & 0x80 == 0 || short > 125))
            || (second & 0x80 != 0 && !self.masked)
            // A client is forgiven a Pong or a Close without a mask.
            || (second & 0x80 == 0 && self.masked && !matches!(opcode, 8 | 10))
            || length == Some(true)
    }
}

fn is_valid_close(payload: &[u8]) -> bool {
    match payload {
        [] => true,
        [_] => false,
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) && str::from_utf8(reason).is_ok()
        }
    }
}
