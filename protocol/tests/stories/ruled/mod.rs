//! What rules say of messages, and what the engine does.
//!
//! The rules of these stories are in the messages: each of its words is for the rules, or for the story.

mod between;
mod bounds;
mod combined;
mod holds;
mod ids;
mod keys;
mod packets;
mod pins;
mod swallowing;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tideover_protocol::rules::{
    Again, BackendVerdict, ClientVerdict, Key, Message, Packets, Pin, Replay, Rules, Unpin, UnpinWhen,
};
use tideover_protocol::session::{AckMode, Config, Event, HoldFailure, Verdict};

use crate::world::{Peer, World, wire};

/// Rules that read what is to be done from the messages.
#[derive(Debug, Default)]
struct Spoken {
    /// What cannot be looked into closes.
    strict: bool,
    /// Messages of backends are not looked at.
    one_sided: bool,
    cutter: Option<Counted>,
}

/// A packet is as long as its first byte says, which counts itself. None is of length 0.
#[derive(Debug)]
struct Counted;

impl Packets for Counted {
    fn len(&self, bytes: &[u8]) -> Result<Option<usize>, tideover_protocol::rules::BadPacket> {
        match bytes.first() {
            None => Ok(None),
            Some(0) => Err(tideover_protocol::rules::BadPacket),
            Some(len) => Ok(Some(usize::from(*len))),
        }
    }
}

fn key(name: &str) -> Key {
    Key::of(name.as_bytes())
}

/// The value of the word that begins with `name`.
fn word<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix(':'))
}

fn has(text: &str, name: &str) -> bool {
    text.split(' ').any(|word| word == name)
}

fn place(text: &str, name: &str) -> Option<Range<usize>> {
    let value = word(text, name)?;
    let start = value.as_ptr() as usize - text.as_ptr() as usize;
    Some(start..start + value.len())
}

fn text<'a>(message: &'a Message<'_>) -> &'a str {
    std::str::from_utf8(message.payload).unwrap_or_default()
}

impl Rules for Spoken {
    fn client(&self, message: &Message<'_>) -> ClientVerdict {
        let text = text(message);
        let pin = word(text, "pin").map(|name| Pin {
            key: key(name),
            again: if has(text, "move") { Again::Move } else { Again::Replace },
            expects: word(text, "expects").map(key),
            hold: has(text, "hold"),
            learns: has(text, "learns"),
        });
        let unpin = |name, when| word(text, name).map(|name| Unpin { key: key(name), when });
        let replay = match (has(text, "local"), has(text, "brief")) {
            (true, _) => Replay::LegLocal,
            (_, true) => Replay::Ephemeral,
            _ => Replay::Normal,
        };
        ClientVerdict {
            pin,
            unpin: unpin("unpin", UnpinWhen::Now).or(unpin("unpin-later", UnpinWhen::Acknowledged)),
            acknowledge: word(text, "ask").map(key),
            gives_up: word(text, "give-up").map(key),
            replay,
            max_age: word(text, "age").map(|age| Duration::from_millis(age.parse().expect("a number"))),
            close: has(text, "forbidden") || word(text, "nth").is_some_and(|nth| nth == message.nth.to_string()),
            translate: place(text, "id"),
        }
    }

    fn backend(&self, message: &Message<'_>) -> BackendVerdict {
        let text = text(message);
        BackendVerdict {
            acknowledge: word(text, "done").map(key),
            answers: word(text, "answers").map(key),
            refuses: has(text, "no"),
            unpin: word(text, "ends").map(key),
            once: word(text, "once").map(key),
            swallow: has(text, "hello").then_some(7),
            close: has(text, "forbidden"),
            learn: place(text, "new-id"),
            translate: place(text, "id"),
        }
    }

    fn closes_opaque(&self, _: bool) -> bool {
        self.strict
    }

    fn looks_at(&self, from_client: bool) -> bool {
        from_client || !self.one_sided
    }

    fn packets(&self) -> Option<&dyn Packets> {
        self.cutter.as_ref().map(|cutter| cutter as &dyn Packets)
    }
}

/// A backend that says nothing of its own accord but pongs.
fn quiet() -> Peer {
    let mut peer = Peer::backend();
    peer.echoes = false;
    peer
}

/// The same, with which so many bytes are exchanged at a time.
fn grained(grain: usize) -> Peer {
    let mut peer = quiet();
    peer.grain = grain;
    peer
}

/// A world with rules, where backends say what the story has them say. New legs are had when the story wants them.
fn ruled() -> World {
    ruled_with(|_| {})
}

fn ruled_with(configure: impl FnOnce(&mut Config)) -> World {
    ruled_by(Spoken::default(), configure)
}

fn ruled_by(rules: Spoken, configure: impl FnOnce(&mut Config)) -> World {
    let mut world = World::with(|config| {
        config.rules = Some(Arc::new(rules));
        config.ack = AckMode::Rules;
        configure(config);
    });
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    *world.backend() = quiet();
    world
}

/// The backend dies, and this one is the next.
fn die_for(world: &mut World, next: Peer) {
    world.kill_backend();
    reattach(world, next);
}

/// The back-off is over, and this backend is the next.
fn reattach(world: &mut World, next: Peer) {
    world.pass(crate::world::seconds(3));
    world.attach_to(next);
}

/// The latest backend says it.
fn tell(world: &mut World, message: &str) {
    world.backend().say(message);
    world.run();
}

fn hold_failures(world: &World) -> Vec<HoldFailure> {
    let failures = world.events.iter().filter_map(|event| match event {
        Event::HoldFailed { why, .. } => Some(*why),
        _ => None,
    });
    failures.collect()
}

/// A binary message.
fn binary(peer: &mut Peer, payload: &[u8]) {
    let frame = wire::frame(wire::FIN | 0x2, payload, peer.mask());
    peer.send(&frame);
}
