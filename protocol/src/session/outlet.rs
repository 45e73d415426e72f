//! The write side of a leg: a stream of data frames into which control frames are put at frame borders.

use std::collections::VecDeque;
use std::io::IoSlice;

use crate::frame::{ControlFrame, ControlPayload, FrameHeader, MAX_HEADER};

/// Most pieces of one vectored write.
const MAX_PIECES: usize = 16;

/// Pings of a peer that wait to be answered, at most: of more, the latest. 2 KiB, and none where nothing waits.
const MAX_OWED_PONGS: usize = 16;

/// What one vectored write is made of.
#[derive(Debug)]
pub struct Gather<'a> {
    pieces: [IoSlice<'a>; MAX_PIECES],
    count: usize,
    bytes: usize,
}

impl<'a> Gather<'a> {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { pieces: [IoSlice::new(&[]); MAX_PIECES], count: 0, bytes: 0 }
    }

    /// Adds a piece, unless it is empty or there is no room for it; returns whether there was room.
    pub fn push(&mut self, piece: &'a [u8]) -> bool {
        if piece.is_empty() {
            return true;
        }
        let Some(slot) = self.pieces.get_mut(self.count) else { return false };
        *slot = IoSlice::new(piece);
        self.count += 1;
        self.bytes += piece.len();
        true
    }

    fn extend(&mut self, mut pieces: impl Iterator<Item = &'a [u8]>) -> bool {
        pieces.all(|piece| self.push(piece))
    }

    /// The pieces, in order.
    #[must_use]
    pub fn as_slices(&self) -> &[IoSlice<'a>] {
        &self.pieces[..self.count]
    }

    /// Bytes in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

impl Default for Gather<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// What a control frame of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    Pong,
    Ping,
    Close,
}

/// One control frame at a time, with its place in the data stream.
#[derive(Debug)]
pub(super) struct Outlet {
    frame: ControlFrame,
    kind: Control,
    sent: usize,
    /// Offset in the data stream before which the frame goes.
    at: u64,
    /// The pings to answer, in order. RFC 6455 5.5.3 lets us skip all but the latest; we do where they are too many.
    pongs: VecDeque<ControlPayload>,
    /// A write failed: nothing more is written, the read side decides.
    dead: bool,
}

/// How a number of written bytes divides.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Bytes of the data stream.
    pub(super) data: usize,
    /// The control frame that is now wholly written.
    pub(super) control: Option<Control>,
}

impl Outlet {
    pub(super) fn new() -> Self {
        Self { frame: ControlFrame::EMPTY, kind: Control::Pong, sent: 0, at: 0, pongs: VecDeque::new(), dead: false }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead
    }

    pub(super) fn kill(&mut self) {
        self.dead = true;
        self.frame = ControlFrame::EMPTY;
        self.pongs = VecDeque::new();
    }

    /// Whether a control frame may be placed.
    pub(super) fn is_free(&self) -> bool {
        self.frame.is_empty()
    }

    /// Whether a control frame is partly written.
    pub(super) fn is_mid_control(&self) -> bool {
        self.sent > 0
    }

    pub(super) fn answer(&mut self, ping: ControlPayload) {
        if self.pongs.len() >= MAX_OWED_PONGS {
            self.pongs.pop_front();
        }
        self.pongs.push_back(ping);
    }

    pub(super) fn owes_pong(&self) -> bool {
        !self.pongs.is_empty()
    }

    pub(super) fn take_pong(&mut self) -> Option<ControlPayload> {
        let ping = self.pongs.pop_front();
        if self.pongs.is_empty() {
            self.pongs = VecDeque::new();
        }
        ping
    }

    pub(super) fn place(&mut self, kind: Control, frame: ControlFrame, at: u64) {
        debug_assert!(self.is_free());
        (self.kind, self.frame, self.at, self.sent) = (kind, frame, at, 0);
    }

    /// Collects what can be written now: data up to the control frame's place, the frame, data up to `end`.
    pub(super) fn gather<'a, I>(&'a self, cursor: u64, end: u64, data: impl Fn(u64, u64) -> I, out: &mut Gather<'a>)
    where
        I: Iterator<Item = &'a [u8]>,
    {
        if self.dead {
            return;
        }
        if self.frame.is_empty() {
            out.extend(data(cursor, end));
            return;
        }
        let _ = out.extend(data(cursor, self.at))
            && out.push(&self.frame.as_bytes()[self.sent..])
            && out.extend(data(self.at.max(cursor), end));
    }

    /// As [`Self::gather`], but nothing behind `end`: a control frame whose place is there stays.
    pub(super) fn gather_before<'a, I>(
        &'a self,
        cursor: u64,
        end: u64,
        data: impl Fn(u64, u64) -> I,
        out: &mut Gather<'a>,
    ) where
        I: Iterator<Item = &'a [u8]>,
    {
        if self.frame.is_empty() || self.at <= end {
            self.gather(cursor, end, data, out);
        } else if !self.dead {
            out.extend(data(cursor, end));
        }
    }

    /// Divides `len` written bytes; `before` is how many of the data stream came before the control frame.
    pub(super) fn written(&mut self, len: usize, before: usize) -> Written {
        if self.frame.is_empty() {
            return Written { data: len, control: None };
        }
        let head = len.min(before);
        let rest = self.frame.as_bytes().len() - self.sent;
        let control = (len - head).min(rest);
        self.sent += control;
        if control < rest {
            return Written { data: head, control: None };
        }
        self.frame = ControlFrame::EMPTY;
        self.sent = 0;
        Written { data: len - control, control: Some(self.kind) }
    }

    /// Bytes of the control frame that are not written.
    pub(super) fn waiting(&self) -> usize {
        self.frame.as_bytes().len() - self.sent
    }

    /// Where in the data stream the control frame goes.
    pub(super) fn place_of_control(&self) -> Option<u64> {
        (!self.frame.is_empty()).then_some(self.at)
    }
}

/// The first frame border at or behind `cursor`, walking the frames from the border `from`. `None` if the frame that
/// `cursor` stands in is not all there, up to `end`.
pub(super) fn frame_border(from: u64, cursor: u64, end: u64, peek: impl Fn(u64, &mut [u8]) -> usize) -> Option<u64> {
    let (_, border) = frame_around(from, cursor, peek)?;
    (border <= end).then_some(border)
}

/// Where the frame begins and ends in which `cursor` stands; both are `cursor` at a border. `from` is a border before it.
pub(super) fn frame_around(from: u64, cursor: u64, peek: impl Fn(u64, &mut [u8]) -> usize) -> Option<(u64, u64)> {
    let (mut begin, mut border) = (from, from);
    while border < cursor {
        let mut head = [0; MAX_HEADER];
        let have = peek(border, &mut head);
        let header = FrameHeader::parse(&head[..have]).ok().flatten()?;
        (begin, border) = (border, border + header.frame_len());
    }
    Some((if border == cursor { cursor } else { begin }, border))
}
