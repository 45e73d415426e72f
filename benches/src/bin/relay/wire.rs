//! The messages of the load, and the judge of what comes back.
//!
//! A payload is a JSON text, so that rules have something to look into: an id, which is the connection's number and the
//! message's, and padding. So the whole stream of answers of a connection is known beforehand, and each byte of it is
//! compared, headers included.

/// What stands before the id. Eight bytes, so that the masking key begins anew behind it.
const BEFORE: &[u8; 8] = br#"{ "id":""#;
/// Hexadecimal digits of the id: of the connection's number (8) and the message's (16).
const DIGITS: usize = 24;
/// Around the padding.
const PAD: &[u8] = br#"","pad":""#;
const END: &[u8] = br#""}"#;
/// A payload without padding.
pub(crate) const LEAST: usize = BEFORE.len() + DIGITS + PAD.len() + END.len();

/// The masking key of all messages. Nobody here looks through masks, so one will do.
const KEY: [u8; 4] = [0x5A, 0x17, 0xC3, 0x88];

/// Messages of one size, ready but for their numbers.
pub(crate) struct Messages {
    /// All before the id of a message of the client: header, key and masked payload.
    request_head: Vec<u8>,
    /// All behind it, masked.
    request_tail: Vec<u8>,
    /// All before the id of its answer.
    answer_head: Vec<u8>,
    /// All behind it.
    answer_tail: Vec<u8>,
}

impl Messages {
    pub(crate) fn new(bytes: usize) -> Self {
        let padding: Vec<u8> = (LEAST..bytes).map(|at| b'a' + (at.wrapping_mul(31) >> 2) as u8 % 26).collect();
        let tail = [PAD, &padding, END].concat();
        let masked = |part: &[u8]| {
            let mut part = part.to_vec();
            mask(&mut part, KEY);
            part
        };
        Self {
            request_head: [frame_head(TEXT, bytes, true), KEY.to_vec(), masked(BEFORE)].concat(),
            request_tail: masked(&tail),
            answer_head: [frame_head(TEXT, bytes, false), BEFORE.to_vec()].concat(),
            answer_tail: tail,
        }
    }

    /// Adds a message to what is to be sent.
    pub(crate) fn push(&self, out: &mut Vec<u8>, connection: u32, number: u64) {
        out.extend_from_slice(&self.request_head);
        let mut ids = ids(connection, number);
        mask(&mut ids, KEY);
        out.extend_from_slice(&ids);
        out.extend_from_slice(&self.request_tail);
    }
}

/// What a connection has had of its answers.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    /// Number of the answer that comes next.
    next: u64,
    /// Bytes of it that have come.
    have: usize,
    /// A control frame that has begun to come.
    control: Vec<u8>,
}

/// What the peer did wrong.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// A byte of answer `number` is not what was sent.
    Content {
        number: u64,
        at: usize,
    },
    Close(Vec<u8>),
}

impl Judge {
    /// Takes what came; returns how many answers are whole now. Answers to pings are added to `pongs`.
    pub(crate) fn take(
        &mut self,
        messages: &Messages,
        connection: u32,
        mut data: &[u8],
        pongs: &mut Vec<u8>,
    ) -> Result<usize, Wrong> {
        let mut whole = 0;
        while let Some(first) = data.first() {
            if !self.control.is_empty() || (self.have == 0 && first & 0x08 != 0) {
                self.take_control(&mut data, pongs)?;
                continue;
            }
            let ids = ids(connection, self.next);
            let mut at = 0;
            for part in [&messages.answer_head[..], &ids, &messages.answer_tail] {
                let begin = self.have.saturating_sub(at).min(part.len());
                let len = (part.len() - begin).min(data.len());
                if data[..len] != part[begin..begin + len] {
                    return Err(Wrong::Content { number: self.next, at: self.have });
                }
                data = &data[len..];
                self.have += len;
                at += part.len();
            }
            if self.have == at {
                (self.have, self.next, whole) = (0, self.next + 1, whole + 1);
            }
        }
        Ok(whole)
    }

    fn take_control(&mut self, data: &mut &[u8], pongs: &mut Vec<u8>) -> Result<(), Wrong> {
        let need = self.control.get(1).map_or(2, |len| 2 + usize::from(len & 0x7F));
        let (now, rest) = data.split_at(data.len().min(need - self.control.len()));
        self.control.extend_from_slice(now);
        *data = rest;
        let whole = self.control.get(1).is_some_and(|len| self.control.len() == 2 + usize::from(len & 0x7F));
        if whole {
            match self.control[0] & 0x0F {
                0x8 => return Err(Wrong::Close(std::mem::take(&mut self.control))),
                0x9 => {
                    // A key of zeros leaves the payload as it is.
                    pongs.extend_from_slice(&[0x8A, 0x80 | self.control[1], 0, 0, 0, 0]);
                    pongs.extend_from_slice(&self.control[2..]);
                }
                _ => {}
            }
            self.control.clear();
        }
        Ok(())
    }
}

fn ids(connection: u32, number: u64) -> [u8; DIGITS] {
    let mut rest = u128::from(connection) << 64 | u128::from(number);
    let mut ids = [0; DIGITS];
    for digit in ids.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(rest & 0xF) as usize];
        rest >>= 4;
    }
    ids
}

const TEXT: u8 = 0x1;

/// The header of a message in one frame, without its key.
pub(crate) fn frame_head(opcode: u8, payload: usize, masked: bool) -> Vec<u8> {
    let (first, bit) = (0x80 | opcode, if masked { 0x80 } else { 0 });
    match payload {
        0..=125 => vec![first, bit | payload as u8],
        126..=0xFFFF => [&[first, bit | 126][..], &(payload as u16).to_be_bytes()].concat(),
        _ => [&[first, bit | 127][..], &(payload as u64).to_be_bytes()].concat(),
    }
}

/// Masks or unmasks a payload from its first byte (RFC 6455 5.3), eight bytes at a time: the engine's own would make
/// the backend the bottleneck.
pub(crate) fn mask(payload: &mut [u8], key: [u8; 4]) {
    let wide = u64::from_ne_bytes([key, key].concat().try_into().expect("eight bytes"));
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let word = u64::from_ne_bytes((&*chunk).try_into().expect("eight bytes")) ^ wide;
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
}
