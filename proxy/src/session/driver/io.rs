//! Bytes of the legs: read into the worker's buffer, fed to the engine, and written from where they lie.

use std::task::Context as Cx;

use bytes::Bytes;
use tideover_protocol::session::{Gather, Side};
use tideover_protocol::time::Instant;

use super::Driver;
use crate::session::buffer::with_buffer;
use crate::session::wire::{Read, Wire, Write};

impl Driver {
    // Reading.

    pub(super) fn wire(&mut self, side: Side) -> Option<&mut Wire> {
        match side {
            Side::Client => Some(&mut self.client),
            Side::Backend => self.backend.as_mut().map(|(wire, _)| wire),
        }
    }

    /// Reads a leg once, if the engine wants it, `gulp` bytes at most. Returns how many came; the end counts as one.
    pub(super) fn read(&mut self, cx: &mut Cx<'_>, now: Instant, side: Side, gulp: usize) -> usize {
        if !self.engine.wants_read(side) {
            return 0;
        }
        let Some(wire) = self.wire(side) else { return 0 };
        let held = wire.take_held();
        if !held.is_empty() {
            let used = self.feed(cx, now, side, &held[..held.len().min(gulp)]);
            // A rest that is much smaller than what it is cut from must not pin it.
            let rest = held.slice(used..);
            let pins = rest.len() < held.len() / 2;
            self.hold(side, if pins { Bytes::copy_from_slice(&rest) } else { rest });
            return used;
        }
        with_buffer(|buffer| {
            let Some(wire) = self.wire(side) else { return 0 };
            match wire.read(cx, &mut buffer[..gulp]) {
                Read::Bytes(len) => {
                    let used = self.feed(cx, now, side, &buffer[..len]);
                    self.hold(side, Bytes::copy_from_slice(&buffer[used..len]));
                    len
                }
                Read::End => {
                    self.engine.handle_end_of_stream(now, side, self.engine.epoch());
                    1
                }
                Read::Nothing => 0,
            }
        })
    }

    /// Keeps what a leg brought and the session cannot take yet.
    pub(super) fn hold(&mut self, side: Side, rest: Bytes) {
        if rest.is_empty() && !self.holds {
            return;
        }
        if !rest.is_empty()
            && let Some(wire) = self.wire(side)
        {
            wire.hold(rest);
        }
        self.count_held();
    }

    /// Tells the process's memory what is held of the legs.
    pub(super) fn count_held(&mut self) {
        let backend = self.backend.as_ref().map_or(0, |(wire, _)| wire.held_bytes());
        let held = self.client.held_bytes() + backend + self.moving.as_ref().map_or(0, |moving| moving.held_bytes());
        self.holds = held > 0;
        let need = self.handshake.memory() + held;
        self.kept_memory.cover(need);
        self.kept_memory.shrink(need);
    }

    /// Gives bytes of a leg to the engine; returns how many it used.
    pub(super) fn feed(&mut self, cx: &mut Cx<'_>, now: Instant, side: Side, data: &[u8]) -> usize {
        let mut used = 0;
        while used < data.len() && self.engine.wants_read(side) {
            let rest = &data[used..];
            let consumed = match side {
                Side::Client => self.engine.handle_client_data(now, rest),
                Side::Backend => {
                    let passed = self.engine.handle_backend_data(now, self.engine.epoch(), rest);
                    if !passed.direct.is_empty() {
                        self.write_direct(cx, now, &rest[passed.direct]);
                    }
                    passed.consumed
                }
            };
            if consumed == 0 {
                break;
            }
            used += consumed;
        }
        used
    }

    // Writing.

    /// Writes whole messages of the backend from the read buffer, behind what already waits for the client.
    pub(super) fn write_direct(&mut self, cx: &mut Cx<'_>, now: Instant, direct: &[u8]) {
        let mut gather = Gather::new();
        self.engine.poll_transmit(now, Side::Client, &mut gather);
        gather.push(direct);
        let all = gather.len();
        let written = match self.client.write(cx, gather.as_slices()) {
            Write::Bytes(len) => len,
            Write::Blocked => 0,
            Write::Failed => return self.engine.handle_write_error(now, Side::Client),
        };
        self.engine.handle_written(now, Side::Client, written, direct);
        if written < all {
            self.engine.handle_blocked(now, Side::Client);
        }
    }

    /// Writes what the engine has for a leg until there is nothing or the leg takes no more.
    pub(super) fn flush(&mut self, cx: &mut Cx<'_>, now: Instant, side: Side) {
        if let Some(wire) = self.wire(side) {
            wire.write_held(cx);
        }
        loop {
            let mut gather = Gather::new();
            self.engine.poll_transmit(now, side, &mut gather);
            if gather.is_empty() {
                return;
            }
            let all = gather.len();
            let wire = match side {
                Side::Client => &mut self.client,
                Side::Backend => match &mut self.backend {
                    Some((wire, _)) => wire,
                    None => return,
                },
            };
            match wire.write(cx, gather.as_slices()) {
                Write::Bytes(len) => {
                    self.engine.handle_written(now, side, len, &[]);
                    if len < all {
                        self.engine.handle_blocked(now, side);
                    }
                }
                Write::Blocked => return self.engine.handle_blocked(now, side),
                Write::Failed => return self.engine.handle_write_error(now, side),
            }
        }
    }
}
