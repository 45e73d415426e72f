//! Frame headers (RFC 6455 section 5.2) and the control frames that the proxy sends itself.

/// Longest header: two bytes, an 8-byte length, a 4-byte masking key.
pub const MAX_HEADER: usize = 14;
/// Longest payload of a control frame (RFC 6455 5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;
/// The reserved bit of a frame's first byte that permessage-deflate uses (RFC 7692 6).
pub(crate) const RSV1: u8 = 0x40;

/// What a frame is (RFC 6455 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// 0x0: more of the message before.
    Continuation,
    /// 0x1: a text message begins.
    Text,
    /// 0x2: a binary message begins.
    Binary,
    /// 0x8.
    Close,
    /// 0x9.
    Ping,
    /// 0xA.
    Pong,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    pub(crate) fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    /// Whether it is a control frame (5.5).
    #[must_use]
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// How a peer broke RFC 6455 with a frame. The text names the section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// A reserved bit without an extension that gives it a meaning there.
    ReservedBits,
    /// An opcode without a meaning.
    Opcode(u8),
    /// A client's frame without a mask.
    Unmasked,
    /// A server's frame with a mask.
    Masked,
    /// A control frame in fragments.
    FragmentedControl,
    /// A control frame of more than 125 bytes.
    LongControl,
    /// A length written in more bytes than it needs.
    NonMinimalLength,
    /// A length with the highest bit set.
    HugeLength,
    /// A continuation without a message before.
    UnexpectedContinuation,
    /// A new message before the last one ended.
    UnfinishedMessage,
    /// An invalid Close.
    Close(crate::close::InvalidClose),
    /// A message of more payload than allowed; answered with 1009.
    TooBig,
    /// A message of more frames than allowed; answered with 1008.
    TooManyFrames,
}

impl FrameError {
    /// The Close code that answers it (7.4.1).
    #[must_use]
    pub fn close_code(self) -> crate::close::CloseCode {
        match self {
            Self::TooBig => crate::close::CloseCode::TOO_BIG,
            Self::TooManyFrames => crate::close::CloseCode::POLICY,
            Self::ReservedBits
            | Self::Opcode(_)
            | Self::Unmasked
            | Self::Masked
            | Self::FragmentedControl
            | Self::LongControl
            | Self::NonMinimalLength
            | Self::HugeLength
            | Self::UnexpectedContinuation
            | Self::UnfinishedMessage
            | Self::Close(_) => crate::close::CloseCode::PROTOCOL_ERROR,
        }
    }
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ReservedBits => f.write_str("reserved bit set (RFC 6455 5.2)"),
            Self::Opcode(bits) => write!(f, "reserved opcode {bits:#x} (RFC 6455 5.2)"),
            Self::Unmasked => f.write_str("frame without a mask from a client (RFC 6455 5.1)"),
            Self::Masked => f.write_str("masked frame from a server (RFC 6455 5.1)"),
            Self::FragmentedControl => f.write_str("fragmented control frame (RFC 6455 5.5)"),
            Self::LongControl => f.write_str("control frame of more than 125 bytes (RFC 6455 5.5)"),
            Self::NonMinimalLength => f.write_str("length not in the fewest bytes (RFC 6455 5.2)"),
            Self::HugeLength => f.write_str("length of 2^63 or more (RFC 6455 5.2)"),
            Self::UnexpectedContinuation => f.write_str("continuation without a message (RFC 6455 5.4)"),
            Self::UnfinishedMessage => f.write_str("new message inside a fragmented one (RFC 6455 5.4)"),
            Self::Close(invalid) => write!(f, "{invalid} (RFC 6455 7.4)"),
            Self::TooBig => f.write_str("message over max-message-bytes"),
            Self::TooManyFrames => f.write_str("message over max-message-frames"),
        }
    }
}

/// A frame's header, as far as it can be judged without the frames before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether this is the message's last frame.
    pub fin: bool,
    /// Whether RSV1 says that the message is compressed (RFC 7692 6). Only the first frame of a message says so, and
    /// only where that was agreed on: [`Scanner`](crate::scan::Scanner) knows.
    pub compressed: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The masking key, if the frame is masked.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload.
    pub payload: u64,
    /// Bytes of the header itself.
    pub len: usize,
}

impl FrameHeader {
    /// Reads the header at the start of `bytes`: `None` if it is not all there yet.
    ///
    /// # Errors
    /// What a single header can break: reserved bits that no extension of ours gives a meaning there (RSV1 has one on
    /// the first frame of a message) and opcodes, lengths that are not minimal or reach 2^63, control frames that are
    /// long or fragmented.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        if first & 0x70 != 0 && !is_compressed_first(first) {
            return Err(FrameError::ReservedBits);
        }
        let opcode = Opcode::from_bits(first & 0x0F).ok_or(FrameError::Opcode(first & 0x0F))?;
        let (fin, compressed) = (first & 0x80 != 0, first & RSV1 != 0);
        let short = second & 0x7F;
        if opcode.is_control() {
            if !fin {
                return Err(FrameError::FragmentedControl);
            }
            if usize::from(short) > MAX_CONTROL_PAYLOAD {
                return Err(FrameError::LongControl);
            }
        }
        let Some((payload, rest)) = parse_length(short, rest)? else { return Ok(None) };
        let masked = second & 0x80 != 0;
        let mask = match rest {
            [a, b, c, d, ..] if masked => Some([*a, *b, *c, *d]),
            _ if masked => return Ok(None),
            _ => None,
        };
        let len = bytes.len() - rest.len() + if masked { 4 } else { 0 };
        Ok(Some(Self { fin, compressed, opcode, mask, payload, len }))
    }

    /// Bytes of the whole frame.
    #[must_use]
    pub fn frame_len(&self) -> u64 {
        self.payload + self.len as u64
    }
}

/// Whether a frame's first byte is that of a compressed message: RSV1 alone, on a text or binary frame (RFC 7692 6.1).
fn is_compressed_first(first: u8) -> bool {
    matches!(first & 0x7F, 0x41 | 0x42)
}

#[inline]
fn parse_length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, FrameError> {
    match short {
        126 => {
            let Some((bytes, rest)) = rest.split_first_chunk() else { return Ok(None) };
            let length = u64::from(u16::from_be_bytes(*bytes));
            if length < 126 { Err(FrameError::NonMinimalLength) } else { Ok(Some((length, rest))) }
        }
        127 => {
            let Some((bytes, rest)) = rest.split_first_chunk() else { return Ok(None) };
            let length = u64::from_be_bytes(*bytes);
            if length >> 63 != 0 {
                Err(FrameError::HugeLength)
            } else if length <= u64::from(u16::MAX) {
                Err(FrameError::NonMinimalLength)
            } else {
                Ok(Some((length, rest)))
            }
        }
        short => Ok(Some((u64::from(short), rest))),
    }
}

/// Masks or unmasks `payload` in place (RFC 6455 5.3); `offset` is where in the frame's payload it starts.
pub fn apply_mask(payload: &mut [u8], mask: [u8; 4], offset: usize) {
    for (index, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[(offset + index) % 4];
    }
}

/// A whole control frame, ready for the wire.
#[derive(Clone, Copy)]
pub struct ControlFrame {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl ControlFrame {
    /// Longest control frame: a 2-byte header, a masking key and 125 bytes.
    pub const MAX: usize = 2 + 4 + MAX_CONTROL_PAYLOAD;

    /// No frame.
    pub const EMPTY: Self = Self { bytes: [0; Self::MAX], len: 0 };

    /// A control frame with `payload`, cut at 125 bytes, masked if it goes upstream.
    #[must_use]
    pub fn new(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) -> Self {
        debug_assert!(opcode.is_control());
        let payload = &payload[..payload.len().min(MAX_CONTROL_PAYLOAD)];
        let mut frame = Self::EMPTY;
        frame.push(&[0x80 | opcode.bits(), payload.len() as u8 | if mask.is_some() { 0x80 } else { 0 }]);
        if let Some(mask) = mask {
            frame.push(&mask);
        }
        let start = frame.len as usize;
        frame.push(payload);
        if let Some(mask) = mask {
            apply_mask(&mut frame.bytes[start..start + payload.len()], mask, 0);
        }
        frame
    }

    fn push(&mut self, bytes: &[u8]) {
        let start = self.len as usize;
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }

    /// The frame's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }

    /// Whether there is no frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl std::fmt::Debug for ControlFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ControlFrame").field(&self.as_bytes()).finish()
    }
}

/// The payload of a control frame, unmasked.
#[derive(Clone, Copy)]
pub struct ControlPayload {
    bytes: [u8; MAX_CONTROL_PAYLOAD],
    len: u8,
}

impl ControlPayload {
    /// `payload`, cut at 125 bytes, unmasked with `mask`.
    #[must_use]
    pub fn new(payload: &[u8], mask: Option<[u8; 4]>) -> Self {
        let len = payload.len().min(MAX_CONTROL_PAYLOAD);
        let mut bytes = [0; MAX_CONTROL_PAYLOAD];
        bytes[..len].copy_from_slice(&payload[..len]);
        if let Some(mask) = mask {
            apply_mask(&mut bytes[..len], mask, 0);
        }
        Self { bytes, len: len as u8 }
    }

    /// The payload's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

impl std::fmt::Debug for ControlPayload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ControlPayload").field(&self.as_bytes()).finish()
    }
}
