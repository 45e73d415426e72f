//! What rules say is to be done with a message.

use std::ops::Range;
use std::time::Duration;

use twox_hash::xxhash3_128;

/// A key of a rule: a 128-bit digest of what its template gave. Two sides that mean the same give the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Key(pub u128);

impl Key {
    /// The key of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxhash3_128::Hasher::oneshot(bytes))
    }
}

/// What is to be done with a message of the client. The default: what is done without rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientVerdict {
    /// It is written first on every later leg.
    pub pin: Option<Pin>,
    /// An earlier message is not pinned any more. With `translate`, the one whose answer brought the id that stands
    /// there; the key is of account only if none did.
    pub unpin: Option<Unpin>,
    /// It is acknowledged only by a message of the backend with this key (`--ack rules`; else of no effect).
    pub acknowledge: Option<Key>,
    /// The client waits no more for the answer to its oldest message with this `acknowledge` key: from now on that one is
    /// acknowledged as one without a key.
    pub gives_up: Option<Key>,
    /// Whether later legs are written it.
    pub replay: Replay,
    /// It is not replayed when it is older, from its receipt.
    pub max_age: Option<Duration>,
    /// No session for such a message: Close 1008.
    pub close: bool,
    /// Where in the payload an id stands that a backend chose.
    pub translate: Option<Range<usize>>,
}

/// A message that is written first on every later leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// A newer message with the same key takes this one's place, or goes to the end.
    pub key: Key,
    /// Which of the two.
    pub again: Again,
    /// Its answer is a message of the backend that answers this key.
    pub expects: Option<Key>,
    /// Nothing more is written to a later leg until that answer came. Of no effect without `expects`.
    pub hold: bool,
    /// Its answer brings an id, chosen by the backend, that is translated into the one which the client knows.
    pub learns: bool,
}

/// Where a newer pinned message goes if one with its key is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Again {
    /// Into the older one's place.
    #[default]
    Replace,
    /// To the end; the older one goes.
    Move,
}

/// A pin that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpin {
    /// Its key.
    pub key: Key,
    /// From when on.
    pub when: UnpinWhen,
}

/// When a pin ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnpinWhen {
    /// When the message that says so was received.
    Now,
    /// When the message that says so is acknowledged.
    Acknowledged,
}

/// Whether later legs are written a message that is still retained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replay {
    /// They are.
    #[default]
    Normal,
    /// They are not: it answers what the old backend asked. Even if it was never written.
    LegLocal,
    /// Not if any of it was written before.
    Ephemeral,
}

/// What is to be done with a message of a backend. The default: what is done without rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendVerdict {
    /// The client's oldest message with this key is done with.
    pub acknowledge: Option<Key>,
    /// It answers the pinned message that expects this key.
    pub answers: Option<Key>,
    /// With `answers`: it is a refusal, so a hold on it has failed if the client had an answer before; then nothing else
    /// of this verdict is done.
    pub refuses: bool,
    /// The pin of this key ends.
    pub unpin: Option<Key>,
    /// While a message of the client with this `acknowledge` key is retained, and the client had such an answer from an
    /// earlier leg, the first one of a leg is swallowed. Where none is retained it passes.
    pub once: Option<Key>,
    /// If the client had a message so numbered from an earlier leg, the first one of a leg is swallowed.
    pub swallow: Option<u16>,
    /// No session with such a message: Close 1008.
    pub close: bool,
    /// With `answers`, for a pin that learns: where in the payload the id stands that this backend chose.
    pub learn: Option<Range<usize>>,
    /// Where in the payload such an id stands.
    pub translate: Option<Range<usize>>,
}
