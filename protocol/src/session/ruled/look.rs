//! Reading what a message says out of its frames.

use crate::frame::{FrameHeader, MAX_HEADER, Opcode, apply_mask};
use crate::rules::Kind;
use crate::session::inflate::inflate;

/// What a message says.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) kind: Kind,
    /// It came compressed, so it cannot be changed in place.
    pub(super) compressed: bool,
    pub(super) payload: Vec<u8>,
}

/// A message that cannot be looked into: too long, or no DEFLATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opaque;

/// What the message says whose frames lie in `from..to`, as `peek` and `slices` give them, if that is at most `limit`
/// bytes.
pub(super) fn read_frames<'a, I: Iterator<Item = &'a [u8]>>(
    (from, to): (u64, u64),
    limit: usize,
    peek: impl Fn(u64, &mut [u8]) -> usize,
    slices: impl Fn(u64, u64) -> I,
) -> Result<Content, Opaque> {
    let (mut at, mut first, mut payload) = (from, None, Vec::new());
    while at < to {
        let mut head = [0; MAX_HEADER];
        let have = peek(at, &mut head);
        let Ok(Some(header)) = FrameHeader::parse(&head[..have]) else { return Err(Opaque) };
        if payload.len() as u64 + header.payload > limit as u64 {
            return Err(Opaque);
        }
        let (start, end) = (payload.len(), at + header.frame_len());
        slices(at + header.len as u64, end).for_each(|piece| payload.extend_from_slice(piece));
        if let Some(mask) = header.mask {
            apply_mask(&mut payload[start..], mask, 0);
        }
        first.get_or_insert(header);
        at = end;
    }
    let first = first.ok_or(Opaque)?;
    let kind = if first.opcode == Opcode::Text { Kind::Text } else { Kind::Binary };
    read_content(kind, first.compressed, payload, limit)
}

/// What a message of this payload says.
pub(super) fn read_content(kind: Kind, compressed: bool, payload: Vec<u8>, limit: usize) -> Result<Content, Opaque> {
    if !compressed {
        return if payload.len() <= limit { Ok(Content { kind, compressed, payload }) } else { Err(Opaque) };
    }
    let mut content = Vec::new();
    let whole = inflate(limit, |take| take(&payload), |piece| content.extend_from_slice(piece));
    if whole { Ok(Content { kind, compressed, payload: content }) } else { Err(Opaque) }
}

/// A message in one frame.
pub(crate) fn frame(kind: Kind, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let opcode = if kind == Kind::Text { 0x1 } else { 0x2 };
    let bit = if mask.is_some() { 0x80 } else { 0 };
    let mut out = Vec::with_capacity(payload.len() + MAX_HEADER);
    out.push(0x80 | opcode);
    // RFC 6455 5.2: the length in the fewest bytes.
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
    out.extend_from_slice(mask.as_ref().map_or(&[], |mask| &mask[..]));
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        apply_mask(&mut out[start..], mask, 0);
    }
    out
}
