//! Finding the frames in a stream of bytes that comes in pieces, and judging them against RFC 6455.
//!
//! Only headers are read; payloads of data frames are counted, not looked at. What this must not do: keep data, or
//! decide what an error leads to.

use crate::close::{ClosePayload, InvalidClose};
use crate::frame::{ControlPayload, FrameError, FrameHeader, MAX_CONTROL_PAYLOAD, MAX_HEADER, Opcode, RSV1};

/// Whose frames are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Its frames must be masked (RFC 6455 5.1), all but Pongs and Closes.
    Client,
    /// Its frames must not be.
    Server,
}

/// What one message may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLimits {
    /// Bytes of payload.
    pub bytes: usize,
    /// Frames. Their headers are kept and relayed like payload, and an empty fragment has nothing else.
    pub frames: u32,
}

/// A data frame's header as it came, for relaying.
#[derive(Clone, Copy, Debug)]
pub struct DataHeader {
    raw: [u8; MAX_HEADER],
    len: u8,
    /// Bytes of payload that follow.
    pub payload: u64,
    /// Whether this frame begins a message.
    pub begins: bool,
    /// Whether this frame ends its message.
    pub ends: bool,
}

impl DataHeader {
    /// The header's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.raw[..self.len as usize]
    }

    /// Bytes of the whole frame.
    #[must_use]
    pub fn frame_len(&self) -> u64 {
        self.payload + u64::from(self.len)
    }

    /// Whether it is a part of its message, not the last, that brings less than it takes to announce it.
    #[must_use]
    pub fn is_tiny_fragment(&self) -> bool {
        !self.ends && self.payload < u64::from(self.len)
    }
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// All input is used up.
    Starved,
    /// A data frame is announced: [`Scanner::admit`] it before its payload is scanned. Until then this step repeats.
    Announced(DataHeader),
    /// So many bytes of the input are payload of the admitted frame.
    Payload {
        /// How many; the scanner has used them up.
        len: usize,
        /// Whether they end the message.
        ends_message: bool,
        /// Payload bytes of this frame still to come.
        to_come: u64,
    },
    /// A Ping.
    Ping(ControlPayload),
    /// A Pong.
    Pong(ControlPayload),
    /// A valid Close.
    Close(ControlPayload),
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Between frames, or inside a header or a control frame that is kept in `partial`.
    Header,
    Announced(DataHeader),
    Payload {
        left: u64,
        ends: bool,
    },
}

/// Reads one direction of a connection. Holds no data but the beginning of a header or of a control frame.
#[derive(Debug)]
pub struct Scanner {
    sender: Sender,
    /// Whether messages may be compressed.
    deflate: bool,
    max_bytes: u64,
    max_frames: u32,
    /// Frames admitted of the message whose fragments are coming; 0 between messages.
    frames: u32,
    /// Their payload.
    payload: u64,
    state: State,
    /// The beginning of a header or of a control frame. Empty most of the time; never longer than a control frame.
    partial: Vec<u8>,
}

impl Scanner {
    /// A scanner at the start of the stream. No message may be compressed.
    #[must_use]
    pub fn new(sender: Sender, limits: MessageLimits) -> Self {
        let MessageLimits { bytes, frames } = limits;
        Self {
            sender,
            deflate: false,
            max_bytes: bytes as u64,
            max_frames: frames,
            frames: 0,
            payload: 0,
            state: State::Header,
            partial: Vec::new(),
        }
    }

    /// The same, for a connection whose ends agreed on permessage-deflate if `deflate`: then RSV1 says on the first
    /// frame of a message that it is compressed (RFC 7692 6.1).
    #[must_use]
    pub fn with_deflate(self, deflate: bool) -> Self {
        Self { deflate, ..self }
    }

    /// A scanner at the start of another stream of the same sender.
    #[must_use]
    pub fn afresh(&self) -> Self {
        let limits = MessageLimits { bytes: self.max_bytes as usize, frames: self.max_frames };
        Self::new(self.sender, limits).with_deflate(self.deflate)
    }

    /// Whether the last byte scanned ended a frame and no message is unfinished.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        !self.is_in_message() && self.is_between_frames()
    }

    /// Whether the last byte scanned ended a frame.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        matches!(self.state, State::Header) && self.partial.is_empty()
    }

    /// Whether payload of an admitted frame comes next.
    #[must_use]
    pub fn is_in_payload(&self) -> bool {
        matches!(self.state, State::Payload { .. })
    }

    /// Whether a message has begun and is not at its end.
    #[must_use]
    pub fn is_in_message(&self) -> bool {
        self.frames > 0
    }

    /// The data frame that is announced and not yet admitted.
    #[must_use]
    pub fn announced(&self) -> Option<&DataHeader> {
        match &self.state {
            State::Announced(header) => Some(header),
            State::Header | State::Payload { .. } => None,
        }
    }

    /// Takes the announced data frame on: its payload is scanned next.
    pub fn admit(&mut self) {
        if let State::Announced(header) = self.state {
            self.begin_payload(header.payload, header.ends);
        }
    }

    fn begin_payload(&mut self, payload: u64, ends: bool) {
        self.payload += payload;
        self.frames += 1;
        self.state = State::Payload { left: payload, ends };
    }

    /// Length of the run of whole, unfragmented data messages at the start of `input`, and how many they are, where
    /// the scanner stands between messages. What ends the run is left for [`Self::step`] to name.
    #[inline]
    #[must_use]
    pub fn whole_messages(&self, input: &[u8], at_most: usize) -> (usize, usize) {
        let (mut end, mut count) = (0, 0);
        while count < at_most
            && let Some(header) = self.whole_message(&input[end..])
        {
            end += header.frame_len() as usize;
            count += 1;
        }
        (end, count)
    }

    /// The header of the whole, unfragmented data message at the start of `input`, if there is one and the scanner
    /// stands between messages.
    #[inline]
    #[must_use]
    pub fn whole_message(&self, input: &[u8]) -> Option<FrameHeader> {
        if !self.is_between_messages() {
            return None;
        }
        let header = FrameHeader::parse(input).ok()??;
        let whole = header.fin && matches!(header.opcode, Opcode::Text | Opcode::Binary);
        let fits = header.payload <= self.max_bytes && header.frame_len() <= input.len() as u64;
        (whole && fits && self.check(&header).is_ok()).then_some(header)
    }

    /// Scans the start of `input`, which is advanced past what was used.
    ///
    /// # Errors
    /// What the sender broke. The scanner must not be used after that.
    pub fn step(&mut self, input: &mut &[u8]) -> Result<Step, FrameError> {
        match self.state {
            State::Announced(header) => Ok(Step::Announced(header)),
            State::Payload { left, ends } => Ok(self.payload(input, left, ends)),
            State::Header if self.partial.is_empty() => self.header(input),
            State::Header => self.header_from_partial(input),
        }
    }

    fn payload(&mut self, input: &mut &[u8], left: u64, ends: bool) -> Step {
        if input.is_empty() && left > 0 {
            return Step::Starved;
        }
        let len = left.min(input.len() as u64) as usize;
        *input = &input[len..];
        let to_come = left - len as u64;
        let ends_message = to_come == 0 && ends;
        self.state = if to_come == 0 { State::Header } else { State::Payload { left: to_come, ends } };
        if ends_message {
            (self.frames, self.payload) = (0, 0);
        }
        Step::Payload { len, ends_message, to_come }
    }

    fn header(&mut self, input: &mut &[u8]) -> Result<Step, FrameError> {
        let Some(header) = self.parse(input)? else {
            self.partial.extend_from_slice(input);
            *input = &[];
            return Ok(Step::Starved);
        };
        let need = if header.opcode.is_control() { header.frame_len() as usize } else { header.len };
        let Some((frame, rest)) = input.split_at_checked(need) else {
            self.partial.extend_from_slice(input);
            *input = &[];
            return Ok(Step::Starved);
        };
        *input = rest;
        self.interpret(&header, frame)
    }

    /// Adds just so much of the input to the kept beginning as completes it.
    fn header_from_partial(&mut self, input: &mut &[u8]) -> Result<Step, FrameError> {
        loop {
            let need = match self.parse(&self.partial)? {
                None => self.partial.len() + 1,
                Some(header) if header.opcode.is_control() => header.frame_len() as usize,
                Some(header) => header.len,
            };
            if need <= self.partial.len() {
                let frame = std::mem::take(&mut self.partial);
                let Some(header) = self.parse(&frame)? else { return Ok(Step::Starved) };
                return self.interpret(&header, &frame);
            }
            if input.is_empty() {
                return Ok(Step::Starved);
            }
            let (now, later) = input.split_at(input.len().min(need - self.partial.len()));
            self.partial.extend_from_slice(now);
            *input = later;
        }
    }

    fn parse(&self, bytes: &[u8]) -> Result<Option<FrameHeader>, FrameError> {
        // These bits can be judged before the length and the key have come.
        let Some(header) = FrameHeader::parse(bytes)? else {
            if matches!(bytes, [first, _, ..] if first & RSV1 != 0) && !self.deflate {
                return Err(FrameError::ReservedBits);
            }
            return match (bytes, self.sender) {
                ([first, second, ..], Sender::Client) if second & 0x80 == 0 && !is_answer(first & 0xF) => {
                    Err(FrameError::Unmasked)
                }
                ([_, second, ..], Sender::Server) if second & 0x80 != 0 => Err(FrameError::Masked),
                _ => Ok(None),
            };
        };
        self.check(&header)?;
        Ok(Some(header))
    }

    fn check(&self, header: &FrameHeader) -> Result<(), FrameError> {
        if header.compressed && !self.deflate {
            return Err(FrameError::ReservedBits);
        }
        match (self.sender, header.mask) {
            (Sender::Client, None) if !is_answer(header.opcode.bits()) => Err(FrameError::Unmasked),
            (Sender::Server, Some(_)) => Err(FrameError::Masked),
            (Sender::Client, _) | (Sender::Server, None) => Ok(()),
        }
    }

    fn interpret(&mut self, header: &FrameHeader, frame: &[u8]) -> Result<Step, FrameError> {
        match header.opcode {
            Opcode::Continuation | Opcode::Text | Opcode::Binary => self.data(header, frame),
            Opcode::Ping => Ok(Step::Ping(control_payload(header, frame))),
            Opcode::Pong => Ok(Step::Pong(control_payload(header, frame))),
            Opcode::Close => {
                let payload = control_payload(header, frame);
                ClosePayload::parse(payload.as_bytes()).map_err(|invalid: InvalidClose| FrameError::Close(invalid))?;
                Ok(Step::Close(payload))
            }
        }
    }

    fn data(&mut self, header: &FrameHeader, frame: &[u8]) -> Result<Step, FrameError> {
        let continues = header.opcode == Opcode::Continuation;
        match self.is_in_message() {
            false if continues => return Err(FrameError::UnexpectedContinuation),
            true if !continues => return Err(FrameError::UnfinishedMessage),
            false | true => {}
        }
        if self.payload.saturating_add(header.payload) > self.max_bytes {
            return Err(FrameError::TooBig);
        }
        if self.frames >= self.max_frames {
            return Err(FrameError::TooManyFrames);
        }
        let mut raw = [0; MAX_HEADER];
        raw[..header.len].copy_from_slice(&frame[..header.len]);
        let announced =
            DataHeader { raw, len: header.len as u8, payload: header.payload, begins: !continues, ends: header.fin };
        self.state = State::Announced(announced);
        Ok(Step::Announced(announced))
    }
}

/// Whether a frame of this opcode says back what a peer said. Clients that mask all but these (paho-mqtt for Python) live
/// well with servers that forgive it, and a proxy that pings them must not be what ends them. What masks are for, that no
/// bytes of an attacker's choice go over the wire (RFC 6455 10.3), these frames do not touch.
fn is_answer(opcode: u8) -> bool {
    opcode == Opcode::Pong.bits() || opcode == Opcode::Close.bits()
}

fn control_payload(header: &FrameHeader, frame: &[u8]) -> ControlPayload {
    debug_assert!(frame.len() - header.len <= MAX_CONTROL_PAYLOAD);
    ControlPayload::new(&frame[header.len..], header.mask)
}
