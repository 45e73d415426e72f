//! What a fuzzer's bytes mean: how a session is configured, and what happens to it.

use std::time::Duration;

use arbitrary::Arbitrary;
use tideover_protocol::scan::MessageLimits;
use tideover_protocol::session::{
    AckCarrier, AckMode, BackendTraits, Commit, Config, Linger, OnAmbiguous, OnExpired, OnFull, OnPoison, PongOrder,
    Reattach,
};

/// A session's life.
#[derive(Debug, Arbitrary)]
pub(crate) struct Scenario {
    pub(crate) settings: Settings,
    /// The backend of the first leg.
    pub(crate) first: Traits,
    pub(crate) operations: Vec<Operation>,
}

/// One of the two peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Arbitrary)]
pub(crate) enum End {
    Client,
    Backend,
}

/// What happens next.
#[derive(Debug, Arbitrary)]
pub(crate) enum Operation {
    /// A message in as many frames as there are lengths, one at least.
    Say {
        from: End,
        lengths: Vec<u16>,
        fill: u8,
        ping_between: bool,
    },
    /// The backend says of the first message that it has not answered how it ended.
    Answer,
    /// A frame, as bad as may be. Its mask bit is as it should be.
    Frame {
        from: End,
        first: u8,
        length: u16,
        fill: u8,
    },
    /// Bytes.
    Raw {
        from: End,
        bytes: Vec<u8>,
    },
    /// The backend answers the first or the latest ping that it has not answered.
    Pong {
        latest: bool,
    },
    /// The backend acknowledges, in the session protocol, what it has read or the message behind it.
    Acknowledge {
        ahead: bool,
        by_message: bool,
    },
    Close {
        from: End,
        code: Option<u16>,
    },
    EndOfStream(End),
    WriteError(End),
    /// From now on the peer takes so many bytes, and so many at once either way.
    Pipe {
        to: End,
        room: u16,
        grain: Grain,
    },
    Verdict {
        dying: bool,
    },
    Attach(Traits),
    AttachFailed {
        denied: bool,
    },
    Mute,
    /// Bytes of the leg before the current one.
    Late(Vec<u8>),
    Pass {
        millis: u16,
    },
    /// Other sessions hold so much of the process's memory.
    Memory {
        downstream: bool,
        kib: u8,
    },
    FailOver,
    OperatorCloses(u16),
    Shutdown,
    /// The driver goes on until nothing moves.
    Rest,
}

#[derive(Clone, Copy, Debug, Arbitrary)]
pub(crate) enum Grain {
    One,
    Seven,
    Hundred,
    Thousands,
    Any,
}

impl Grain {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::One => 1,
            Self::Seven => 7,
            Self::Hundred => 100,
            Self::Thousands => 3000,
            Self::Any => 64 * 1024,
        }
    }
}

/// What is known of a backend.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub(crate) struct Traits {
    mute: bool,
    early: Option<bool>,
    by_message: Option<bool>,
}

impl Traits {
    /// Nothing is known of it.
    pub(crate) fn plain() -> Self {
        Self { mute: false, early: None, by_message: None }
    }

    /// `explicit`: only a backend that speaks the session protocol was asked for.
    pub(crate) fn get(self, explicit: bool) -> BackendTraits {
        let order = match self.early {
            None => PongOrder::Unknown,
            Some(true) => PongOrder::Early,
            Some(false) => PongOrder::Late,
        };
        let by_message = self.by_message.or(explicit.then_some(false));
        let carrier = by_message.map(|by| if by { AckCarrier::Message } else { AckCarrier::Pong });
        BackendTraits { mute: self.mute, order, carrier, deflate: false }
    }
}

/// A configuration out of values that make a difference.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub(crate) struct Settings {
    ack: u8,
    linger: u8,
    greeting: u8,
    dedupe: Option<u8>,
    commit: Option<bool>,
    max_replays: u8,
    poison_drops: bool,
    max_age: Option<bool>,
    hang: bool,
    ambiguous: u8,
    reattach: u8,
    on_full: u8,
    messages: u8,
    small: bool,
}

/// Payload of the longest message.
pub(crate) const MAX_MESSAGE: usize = 20_000;
/// Frames enough that an operation can pass them, and bytes.
pub(crate) const LIMITS: MessageLimits = MessageLimits { bytes: MAX_MESSAGE, frames: 100 };
/// Bytes of a session's ring at most, and of what it holds back.
pub(crate) const BUFFER: usize = 20_000;

impl Settings {
    pub(crate) fn config(self) -> Config {
        let Self { dedupe, commit, max_age, .. } = self;
        let small = if self.small { 300 } else { BUFFER };
        Config {
            ack: [AckMode::Pong, AckMode::None, AckMode::Reply, AckMode::Explicit][usize::from(self.ack % 4)],
            ack_linger: [Linger::For(Duration::ZERO), Linger::Auto, Linger::For(Duration::from_millis(70))]
                [usize::from(self.linger % 3)],
            greeting: u32::from(self.greeting % 3),
            dedupe_replies: dedupe.is_some(),
            dedupe_entries: dedupe.map_or(4096, |entries| 1 + u32::from(entries)),
            commit: if commit.is_some() { Commit::Barrier } else { Commit::Off },
            commit_bytes: if commit == Some(true) { 50 } else { BUFFER },
            max_replays: 1 + self.max_replays % 3,
            on_poison: if self.poison_drops { OnPoison::Drop } else { OnPoison::Close },
            keep_poison_payload: self.poison_drops,
            replay_max_age: max_age.map(|_| Duration::from_millis(200)),
            on_expired: if max_age == Some(true) { OnExpired::DropPrefix } else { OnExpired::Close },
            hang_timeout: self.hang.then_some(Duration::from_secs(15)),
            on_ambiguous: [OnAmbiguous::Probe, OnAmbiguous::Failover, OnAmbiguous::End]
                [usize::from(self.ambiguous % 3)],
            reattach: [Reattach::Always, Reattach::Always, Reattach::Whole, Reattach::Never]
                [usize::from(self.reattach % 4)],
            on_full: [OnFull::Block, OnFull::DropOldest, OnFull::Close][usize::from(self.on_full % 3)],
            buffer_messages: 1 + u32::from(self.messages),
            buffer_bytes: small,
            max_message: LIMITS,
            ..Config::default()
        }
    }
}
