//! MQTT 3.1.1 and 5 over WebSocket: its packets do not respect the borders of messages, and their fields are bits and
//! lengths, so this profile is code.
//!
//! Kept for later legs: CONNECT, and each SUBSCRIBE until an UNSUBSCRIBE of the same topic filters. A PUBLISH is
//! acknowledged by what ends its exchange: PUBACK for quality of service 1, PUBCOMP for 2; one of 0 by the barrier. What
//! the client answers to a broker's PUBLISH belongs to the leg. A PUBREL does too: the next broker asks for it again,
//! with the PUBREC of the PUBLISH that it is given again.

use super::{BackendVerdict, BadPacket, ClientVerdict, Key, Message, Packets, Pin, Replay, Rules, Unpin, UnpinWhen};

/// The profile `mqtt`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mqtt;

const CONNECT: u8 = 1;
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const PUBREC: u8 = 5;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;
const SUBSCRIBE: u8 = 8;
const SUBACK: u8 = 9;
const UNSUBSCRIBE: u8 = 10;
const UNSUBACK: u8 = 11;
const PINGREQ: u8 = 12;
const PINGRESP: u8 = 13;

/// Reason codes from here on say that it went wrong (MQTT 5, 2.4).
const FAILURE: u8 = 0x80;

/// A whole packet.
struct Packet<'a> {
    kind: u8,
    flags: u8,
    /// What follows the fixed header.
    body: &'a [u8],
}

/// The number that a variable byte integer says, and its length (MQTT 5, 1.5.5). `None`: not all there.
fn variable(bytes: &[u8]) -> Result<Option<(usize, usize)>, BadPacket> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(BadPacket) }
}

fn number(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (two, rest) = bytes.split_first_chunk()?;
    Some((u16::from_be_bytes(*two), rest))
}

/// A string or bytes behind their length (MQTT 5, 1.5.4).
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = number(bytes)?;
    rest.split_at_checked(usize::from(len))
}

impl<'a> Packet<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (first, rest) = bytes.split_first()?;
        let (len, width) = variable(rest).ok()??;
        let body = rest.get(width..).filter(|body| body.len() == len)?;
        Some(Self { kind: first >> 4, flags: first & 0xf, body })
    }

    /// The packet identifier, where the body begins with it.
    fn identifier(&self) -> Option<u16> {
        number(self.body).map(|(identifier, _)| identifier)
    }

    fn quality(&self) -> u8 {
        self.flags >> 1 & 3
    }

    /// The identifier of a PUBLISH, which stands behind its topic.
    fn published(&self) -> Option<u16> {
        number(text(self.body)?.1).map(|(identifier, _)| identifier)
    }

    /// The topic filters of a SUBSCRIBE (`option` bytes behind each: 1) or UNSUBSCRIBE (0). Which version speaks is not
    /// known here; in version 5, properties stand before them, and what is read of one version makes no sense in the
    /// other: a filter is never empty (MQTT 5, 4.7.3).
    fn filters(&self, option: usize) -> Option<Vec<&'a [u8]>> {
        let (_, old) = number(self.body)?;
        read_filters(old, option).or_else(|| {
            let (len, width) = variable(old).ok()??;
            read_filters(old.get(width + len..)?, option)
        })
    }
}

fn read_filters(mut bytes: &[u8], option: usize) -> Option<Vec<&[u8]>> {
    let mut filters = Vec::new();
    while !bytes.is_empty() {
        let (filter, rest) = text(bytes)?;
        if filter.is_empty() || std::str::from_utf8(filter).is_err() {
            return None;
        }
        filters.push(filter);
        bytes = rest.get(option..)?;
    }
    (!filters.is_empty()).then_some(filters)
}

fn key(what: &str, rest: &[u8]) -> Key {
    Key::of(&[what.as_bytes(), b" ", rest].concat())
}

fn answer(what: &str, identifier: u16) -> Key {
    key(what, &identifier.to_be_bytes())
}

/// A subscription is known by its filters.
fn subscription(filters: &[&[u8]]) -> Key {
    key("subscription", &filters.join(&0))
}

fn connack() -> Key {
    key("connack", b"")
}

fn pingresp() -> Key {
    key("pingresp", b"")
}

fn pinned(key: Key, expects: Key, hold: bool) -> ClientVerdict {
    let pin = Pin { key, again: super::Again::Move, expects: Some(expects), hold, learns: false };
    ClientVerdict { pin: Some(pin), acknowledge: Some(expects), ..ClientVerdict::default() }
}

fn waits_for(acknowledge: Key) -> ClientVerdict {
    ClientVerdict { acknowledge: Some(acknowledge), ..ClientVerdict::default() }
}

fn local() -> ClientVerdict {
    ClientVerdict { replay: Replay::LegLocal, ..ClientVerdict::default() }
}

fn of_client(packet: &Packet<'_>) -> Option<ClientVerdict> {
    Some(match packet.kind {
        CONNECT => pinned(key("connect", b""), connack(), true),
        SUBSCRIBE => pinned(subscription(&packet.filters(1)?), answer("suback", packet.identifier()?), false),
        UNSUBSCRIBE => ClientVerdict {
            unpin: Some(Unpin { key: subscription(&packet.filters(0)?), when: UnpinWhen::Now }),
            ..waits_for(answer("unsuback", packet.identifier()?))
        },
        PUBLISH if packet.quality() == 1 => waits_for(answer("puback", packet.published()?)),
        PUBLISH if packet.quality() == 2 => waits_for(answer("pubcomp", packet.published()?)),
        PUBACK | PUBREC | PUBREL | PUBCOMP => local(),
        PINGREQ => waits_for(pingresp()),
        _ => ClientVerdict::default(),
    })
}

fn done_with(acknowledge: Key) -> BackendVerdict {
    BackendVerdict { acknowledge: Some(acknowledge), ..BackendVerdict::default() }
}

fn of_backend(packet: &Packet<'_>) -> Option<BackendVerdict> {
    Some(match packet.kind {
        CONNACK => BackendVerdict {
            answers: Some(connack()),
            refuses: packet.body.get(1).is_none_or(|code| *code != 0),
            ..done_with(connack())
        },
        SUBACK => {
            let suback = answer("suback", packet.identifier()?);
            BackendVerdict { answers: Some(suback), ..done_with(suback) }
        }
        UNSUBACK => done_with(answer("unsuback", packet.identifier()?)),
        PUBACK => done_with(answer("puback", packet.identifier()?)),
        PUBCOMP => done_with(answer("pubcomp", packet.identifier()?)),
        // A refusal: no PUBREL follows (MQTT 5, 4.3.3).
        PUBREC if packet.body.get(2).is_some_and(|code| *code >= FAILURE) => {
            done_with(answer("pubcomp", packet.identifier()?))
        }
        PINGRESP => done_with(pingresp()),
        _ => BackendVerdict::default(),
    })
}

impl Rules for Mqtt {
    fn client(&self, message: &Message<'_>) -> ClientVerdict {
        Packet::parse(message.payload).and_then(|packet| of_client(&packet)).unwrap_or_default()
    }

    fn backend(&self, message: &Message<'_>) -> BackendVerdict {
        Packet::parse(message.payload).and_then(|packet| of_backend(&packet)).unwrap_or_default()
    }

    fn closes_opaque(&self, _from_client: bool) -> bool {
        false
    }

    fn looks_at(&self, _from_client: bool) -> bool {
        true
    }

    fn packets(&self) -> Option<&dyn Packets> {
        Some(self)
    }
}

impl Packets for Mqtt {
    fn len(&self, bytes: &[u8]) -> Result<Option<usize>, BadPacket> {
        let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
        if first >> 4 == 0 {
            return Err(BadPacket);
        }
        Ok(variable(rest)?.map(|(len, width)| 1 + width + len))
    }
}

#[cfg(test)]
mod tests;
