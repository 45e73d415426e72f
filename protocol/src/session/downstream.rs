//! From the backend: whole messages to the client, and what waits for it.

use std::ops::Range;
use std::sync::Arc;

use tideover_replay_store::{Budget, ByteLog, Reservation};

use crate::frame::{ControlPayload, FrameError, FrameHeader};
use crate::scan::{Scanner, Sender, Step};

use super::outlet::{Gather, Outlet, frame_border};

/// The backend is not read while so many bytes of whole messages wait for the client.
const HIGH_WATER: u64 = 64 * 1024;

/// What became of bytes from the backend.
#[derive(Debug, Default)]
pub struct Passed {
    /// How many bytes were used up.
    pub consumed: usize,
    /// Which of them are to be written to the client as they are, behind what
    /// [`poll_transmit`](super::Session::poll_transmit) gives.
    pub direct: Range<usize>,
}

/// What the backend sent that is not a data message.
#[derive(Debug)]
pub(super) enum Incoming {
    Ping(ControlPayload),
    Pong(ControlPayload),
    Close(ControlPayload),
    Error(FrameError),
}

#[derive(Debug)]
pub(super) struct Downstream {
    max_message: usize,
    scanner: Scanner,
    /// What waits for the client, and behind it the message that is not whole yet.
    log: ByteLog,
    /// Next byte to write to the client.
    cursor: u64,
    /// A frame border at or before the first one that is not written.
    border: u64,
    /// Offset behind the last whole message.
    ready: u64,
    memory: Reservation,
    /// What `memory` was last asked to cover in vain.
    wanted: usize,
}

impl Downstream {
    pub(super) fn new(max_message: usize, budget: Arc<Budget>) -> Self {
        Self {
            max_message,
            scanner: Scanner::new(Sender::Server, max_message),
            log: ByteLog::default(),
            cursor: 0,
            border: 0,
            ready: 0,
            memory: Reservation::new(budget),
            wanted: 0,
        }
    }

    // Receiving.

    /// Takes bytes of the backend until they are used up, enough waits for the client, or something else than data
    /// comes.
    pub(super) fn receive(&mut self, data: &[u8], passed: &mut u64) -> (Passed, Option<Incoming>) {
        let (direct, messages) = self.scanner.whole_messages(data, usize::MAX);
        if direct > 0 {
            *passed += messages as u64;
            return (Passed { consumed: direct, direct: 0..direct }, None);
        }
        let mut rest = data;
        let incoming = self.collect(&mut rest, passed);
        (Passed { consumed: data.len() - rest.len(), direct: 0..0 }, incoming)
    }

    /// Copies a message that is not all there yet, or that is in fragments, until it is whole.
    fn collect(&mut self, data: &mut &[u8], passed: &mut u64) -> Option<Incoming> {
        loop {
            let before = *data;
            match self.scanner.step(data) {
                Ok(Step::Starved) => return None,
                Ok(Step::Announced(header)) => {
                    if !self.reserve(header.begins, header.frame_len()) {
                        return None;
                    }
                    self.scanner.admit();
                    self.log.append(header.as_bytes(), usize::try_from(header.payload).unwrap_or(usize::MAX));
                }
                Ok(Step::Payload { len, ends_message, to_come }) => {
                    self.log.append(&before[..len], usize::try_from(to_come).unwrap_or(usize::MAX));
                    if ends_message {
                        self.ready = self.log.end();
                        self.memory.cover(self.log.allocated());
                        *passed += 1;
                        return None;
                    }
                }
                Ok(Step::Ping(payload)) => return Some(Incoming::Ping(payload)),
                Ok(Step::Pong(payload)) => return Some(Incoming::Pong(payload)),
                Ok(Step::Close(payload)) => return Some(Incoming::Close(payload)),
                Err(error) => return Some(Incoming::Error(error)),
            }
        }
    }

    fn reserve(&mut self, begins: bool, frame_len: u64) -> bool {
        let need = self.log.allocated().saturating_add(usize::try_from(frame_len).unwrap_or(usize::MAX));
        if begins {
            self.wanted = need;
            return self.memory.try_cover(need);
        }
        self.memory.cover(need);
        true
    }

    /// Takes bytes of a backend whose messages the client must not get; only what is not data comes out.
    pub(super) fn ignore(&mut self, data: &[u8]) -> (Passed, Option<Incoming>) {
        let mut rest = data;
        let incoming = loop {
            match self.scanner.step(&mut rest) {
                Ok(Step::Starved) => break None,
                Ok(Step::Announced(_)) => self.scanner.admit(),
                Ok(Step::Payload { .. }) => {}
                Ok(Step::Ping(payload)) => break Some(Incoming::Ping(payload)),
                Ok(Step::Pong(payload)) => break Some(Incoming::Pong(payload)),
                Ok(Step::Close(payload)) => break Some(Incoming::Close(payload)),
                Err(error) => break Some(Incoming::Error(error)),
            }
        };
        (Passed { consumed: data.len() - rest.len(), direct: 0..0 }, incoming)
    }

    pub(super) fn wants_read(&self) -> bool {
        self.ready - self.cursor < HIGH_WATER && !self.memory.is_waiting()
    }

    pub(super) fn memory(&self) -> &Reservation {
        &self.memory
    }

    /// Asks again for memory that was refused; returns whether it is there now.
    pub(super) fn retry_memory(&mut self) -> bool {
        self.memory.try_cover(self.wanted)
    }

    /// The leg ended: the message that was not whole will never be, and the next leg starts between two.
    pub(super) fn end_leg(&mut self) {
        self.scanner = Scanner::new(Sender::Server, self.max_message);
        self.stop();
    }

    /// Nothing more of the backend is passed on, whatever still comes.
    pub(super) fn stop(&mut self) {
        self.log.truncate(self.ready);
        self.memory.leave_line();
        self.settle();
    }

    /// Nothing more can reach the client.
    pub(super) fn discard(&mut self) {
        self.cursor = self.ready;
        self.border = self.ready;
        self.settle();
    }

    // Writing.

    /// Whether everything whole is written.
    pub(super) fn is_written(&self) -> bool {
        self.cursor == self.ready
    }

    /// Bytes of whole messages that wait for the client.
    pub(super) fn waiting(&self) -> usize {
        (self.ready - self.cursor) as usize
    }

    /// Bytes of memory held for the client.
    pub(super) fn allocated(&self) -> usize {
        self.log.allocated()
    }

    /// Offset behind the last whole message.
    pub(super) fn ready(&self) -> u64 {
        self.ready
    }

    /// The first frame border at or behind what is written.
    pub(super) fn next_border(&mut self) -> u64 {
        let walked = frame_border(self.border, self.cursor, self.ready, |from, out| self.log.peek(from, out));
        self.border = walked.unwrap_or(self.ready);
        self.border
    }

    pub(super) fn gather<'a>(&'a self, outlet: &'a Outlet, out: &mut Gather<'a>) {
        outlet.gather(self.cursor, self.ready, |from, to| self.log.slices(from, to), out);
    }

    /// Bytes to write before the control frame that is placed.
    pub(super) fn before_control(&self, outlet: &Outlet) -> usize {
        outlet.place_of_control().map_or(0, |at| at.saturating_sub(self.cursor) as usize)
    }

    /// `len` bytes of the log were written.
    pub(super) fn advance(&mut self, len: usize) {
        // The border must not point into what is released, so it is walked first.
        self.cursor += len as u64;
        self.next_border();
        self.settle();
    }

    /// Of `direct`, whole messages of the backend, all but the first `written` bytes must wait.
    pub(super) fn keep_direct(&mut self, direct: &[u8], written: usize) {
        let rest = &direct[written..];
        if rest.is_empty() {
            return;
        }
        debug_assert!(self.log.end() == self.ready, "whole messages came behind one that is not whole");
        if self.is_written() {
            self.border = self.ready + border_behind(direct, written) as u64;
        }
        self.log.append(rest, 0);
        self.ready = self.log.end();
        self.memory.cover(self.log.allocated());
    }

    fn settle(&mut self) {
        self.log.release_before(self.cursor);
        self.memory.shrink(self.log.allocated());
    }
}

/// How many bytes behind `written` the next frame of `frames` starts.
fn border_behind(frames: &[u8], written: usize) -> usize {
    let mut border = 0;
    while border < written {
        let Ok(Some(header)) = FrameHeader::parse(&frames[border..]) else { break };
        border += header.frame_len() as usize;
    }
    border.saturating_sub(written)
}
