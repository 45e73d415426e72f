//! Frames of RFC 6455 section 5.2, well-formed or not.

/// The opcodes of RFC 6455 section 5.2.
pub mod opcode {
    /// A further fragment.
    pub const CONTINUATION: u8 = 0x0;
    /// UTF-8 text.
    pub const TEXT: u8 = 0x1;
    /// Bytes.
    pub const BINARY: u8 = 0x2;
    /// Close.
    pub const CLOSE: u8 = 0x8;
    /// Ping.
    pub const PING: u8 = 0x9;
    /// Pong.
    pub const PONG: u8 = 0xA;
}

/// One frame; the payload is always the unmasked one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The last (or only) fragment of its message.
    pub fin: bool,
    /// The three reserved bits, RSV1 being 4.
    pub reserved: u8,
    /// Four bits; see [`opcode`].
    pub opcode: u8,
    /// The masking key it came with, or is to be sent with instead of the connection's.
    pub key: Option<[u8; 4]>,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A whole message, or control frame, with this opcode.
    pub fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self { fin: true, reserved: 0, opcode, key: None, payload: payload.into() }
    }

    /// A text message.
    pub fn text(text: &str) -> Self {
        Self::new(opcode::TEXT, text)
    }

    /// A Close with code and reason.
    pub fn close(code: u16, reason: &str) -> Self {
        Self::new(opcode::CLOSE, [&code.to_be_bytes(), reason.as_bytes()].concat())
    }

    /// The pong that answers this ping.
    pub fn pong(ping: &Frame) -> Self {
        Self::new(opcode::PONG, ping.payload.clone())
    }

    /// The same as a fragment that is not the last.
    pub fn unfinished(mut self) -> Self {
        self.fin = false;
        self
    }

    /// The payload as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    pub fn as_text(&self) -> &str {
        std::str::from_utf8(&self.payload).expect("the payload is UTF-8")
    }

    /// The code and reason of a Close; `None` without a code.
    ///
    /// # Panics
    /// When the reason is not UTF-8.
    pub fn close_code(&self) -> Option<(u16, &str)> {
        let (code, reason) = self.payload.split_first_chunk()?;
        Some((u16::from_be_bytes(*code), std::str::from_utf8(reason).expect("the reason is UTF-8")))
    }

    /// The frame's bytes, masked with `key` if there is one; the length in its shortest form.
    pub fn encode(&self, key: Option<[u8; 4]>) -> Vec<u8> {
        let mut bytes = self.header(key, self.payload.len() as u64);
        bytes.extend(self.payload.iter().enumerate().map(|(i, byte)| byte ^ key.map_or(0, |key| key[i % 4])));
        bytes
    }

    /// The header alone, announcing `length` bytes: for frames that are cut off, or never meant to be sent.
    pub fn header(&self, key: Option<[u8; 4]>, length: u64) -> Vec<u8> {
        let mask_bit = if key.is_some() { 0x80 } else { 0 };
        let mut bytes = vec![u8::from(self.fin) << 7 | self.reserved << 4 | self.opcode];
        match length {
            0..=125 => bytes.push(mask_bit | length as u8),
            126..=0xFFFF => {
                bytes.push(mask_bit | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask_bit | 127);
                bytes.extend(length.to_be_bytes());
            }
        }
        bytes.extend(key.iter().flatten());
        bytes
    }

    /// Takes the first frame from `bytes`, once all of it is there.
    pub(crate) fn take(bytes: &mut Vec<u8>) -> Option<Self> {
        let (&[first, second], mut rest) = bytes.split_first_chunk()?;
        let length = match second & 0x7F {
            126 => u64::from(u16::from_be_bytes(*split(&mut rest)?)),
            127 => u64::from_be_bytes(*split(&mut rest)?),
            short => u64::from(short),
        };
        let key = if second & 0x80 != 0 { Some(*split::<4>(&mut rest)?) } else { None };
        let length = usize::try_from(length).expect("a frame fits into memory");
        let masked = rest.get(..length)?;
        let payload = masked.iter().enumerate().map(|(i, byte)| byte ^ key.map_or(0, |key| key[i % 4])).collect();
        let end = bytes.len() - rest.len() + length;
        bytes.drain(..end);
        Some(Self { fin: first & 0x80 != 0, reserved: first >> 4 & 7, opcode: first & 0xF, key, payload })
    }
}

fn split<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_taken_back_once_it_is_whole() {
        for length in [0, 1, 125, 126, 0xFFFF, 0x1_0000] {
            for key in [None, Some([1, 2, 3, 4])] {
                let frame = Frame { key, ..Frame::new(opcode::BINARY, vec![7; length]) };
                let mut bytes = frame.encode(key);
                let last = bytes.pop().expect("a frame has bytes");
                assert_eq!(Frame::take(&mut bytes), None);
                bytes.extend([last, 0x8A]);
                assert_eq!(Frame::take(&mut bytes), Some(frame));
                assert_eq!(bytes, [0x8A]);
            }
        }
    }
}
