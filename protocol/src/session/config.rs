//! What a session is told about how to behave. Sizes are bytes; `None` in place of a duration means off.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use crate::close::CloseCode;
use crate::rules::Rules;
use crate::scan::MessageLimits;

/// When a client message counts as acknowledged (`--ack`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckMode {
    /// When it is written to the backend leg: proves nothing, so nothing is replayed.
    None,
    /// When the backend answered a ping that followed it: its WebSocket stack has read it.
    Pong,
    /// When the n-th reply of the leg has come, for the n-th message: the application answered it. Falls back to
    /// [`Self::Pong`] where replies turn out not to be one a message.
    Reply,
    /// When the backend says so (the session protocol).
    Explicit,
    /// When a message of the backend with its key has come, out of order; messages without a key as with [`Self::Pong`].
    /// What is a key, [`Config::rules`] say.
    Rules,
}

/// How long an acknowledged message stays and is replayed too (`--ack-linger`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linger {
    /// Not at all where answers come before the pong; 250 ms where the pong comes early or where it is not known.
    Auto,
    /// So long.
    For(Duration),
}

/// When output of a backend reaches the client (`--commit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// At once.
    Off,
    /// When a pong has come behind it, which forgets the inputs that led to it in the same step.
    Barrier,
}

/// What happens to a message that kills backends (`--on-poison`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPoison {
    /// The client sees what it would have seen of the last backend that died of it.
    Close,
    /// It is set aside and the session goes on.
    Drop,
}

/// What happens to messages that are too old to be replayed (`--on-expired`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExpired {
    /// The client gets Close 1013.
    Close,
    /// They are dropped, and all before them: nothing newer overtakes what it may depend on.
    DropPrefix,
}

/// What an ambiguous end of a backend leg leads to (`--on-ambiguous`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAmbiguous {
    /// Ask whether the backend is dying: if it is, failover; else the client sees the same end.
    Probe,
    /// Always failover: for virtual addresses and forked workers, where a probe meets another process.
    Failover,
    /// Never failover: the client sees the same end.
    End,
}

/// Which sessions may be attached again (`--reattach`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reattach {
    /// All of them.
    Always,
    /// Only those of which no message was forgotten; the others get Close 1012.
    Whole,
    /// None: the end of the backend leg is the end of the session, as without a proxy.
    Never,
}

/// What happens when the ring is full (`--on-full`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// The client is not read until there is room: TCP slows it down.
    Block,
    /// The client gets Close 1013.
    Close,
    /// The oldest whole messages that were never written to a backend make room; blocks if there are none.
    DropOldest,
}

/// What a migration that takes longer than `--migrate-timeout` leads to (`--on-migrate-timeout`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMigrateTimeout {
    /// The old leg is given up: what it has not acknowledged, or what lingers, is replayed on the new one.
    FailOver,
    /// The session stays where it is; nothing has changed for it.
    Stay,
}

/// What happens to a client that sends faster than it may (`--on-rate`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRate {
    /// It is read no faster than that: TCP slows it down.
    Throttle,
    /// The client gets Close 1008.
    Close,
}

/// What one client may ask of the proxy. A rate is per second; as much may come at once. `None` in place of a rate means
/// any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// `--message-rate`: messages of the client.
    pub message_rate: Option<NonZeroU32>,
    /// `--byte-rate`: bytes of the client, headers of frames included.
    pub byte_rate: Option<NonZeroU64>,
    /// `--control-rate`: pings, pongs and tiny fragments of the client.
    pub control_rate: Option<NonZeroU32>,
    /// `--on-rate`, for all three.
    pub on_rate: OnRate,
    /// `--idle-timeout`: how long no byte of a message may come, of either side.
    pub idle_timeout: Option<Duration>,
    /// `--max-session-age`; up to a tenth less, by chance.
    pub max_age: Option<Duration>,
    /// `--slow-client-timeout`: how long a client may take nothing of what waits for it. `None`: half a minute, and for as
    /// long as no other session waits for memory.
    pub slow_client_timeout: Option<Duration>,
    /// `--slow-client-bytes`: the backend is not read while so many bytes of whole messages wait for the client.
    pub slow_client_bytes: u32,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            message_rate: None,
            byte_rate: None,
            control_rate: NonZeroU32::new(1000),
            on_rate: OnRate::Throttle,
            idle_timeout: None,
            max_age: None,
            slow_client_timeout: None,
            slow_client_bytes: 64 << 10,
        }
    }
}

/// How a backend leg may end, as far as `--ambiguous` sorts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndCodes {
    /// Close codes with which a backend says that it goes away (`--failover-codes`).
    pub failover: Vec<CloseCode>,
    /// Close codes that say nothing certain (`--ambiguous`).
    pub ambiguous: Vec<CloseCode>,
    /// Whether a Close without a code is ambiguous (`--ambiguous codeless`); else it goes to the client.
    pub codeless_ambiguous: bool,
    /// Whether an end of stream or a reset without Close is ambiguous (`--ambiguous eof`); else it goes to the client.
    pub eof_ambiguous: bool,
}

impl Default for EndCodes {
    fn default() -> Self {
        Self {
            failover: vec![
                CloseCode::GOING_AWAY,
                CloseCode::SERVICE_RESTART,
                CloseCode::TRY_AGAIN_LATER,
                CloseCode::BAD_GATEWAY,
            ],
            ambiguous: vec![CloseCode::INTERNAL_ERROR],
            codeless_ambiguous: true,
            eof_ambiguous: true,
        }
    }
}

/// Everything that a session engine is configured with. Shared by the sessions of a listener.
#[derive(Clone, Debug)]
pub struct Config {
    /// `--ack`.
    pub ack: AckMode,
    /// `--ack-interval`: the least time between two barriers of a leg.
    pub ack_interval: Duration,
    /// `--ack-linger`: how long an acknowledged message stays and is replayed too.
    pub ack_linger: Linger,
    /// `--greeting`: so many messages at the start of a leg greet; the client sees only those of the first leg.
    pub greeting: u32,
    /// `--dedupe-replies`: swallow what a new leg answers again.
    pub dedupe_replies: bool,
    /// `--dedupe-entries`: answers remembered for that, 24 bytes each.
    pub dedupe_entries: u32,
    /// `--dedupe-bytes`: payload of compressed answers kept for that, so that they can be compared by content.
    pub dedupe_bytes: u32,
    /// `--commit`.
    pub commit: Commit,
    /// `--commit-bytes`: output held back at most; more releases it.
    pub commit_bytes: usize,
    /// `--max-replays`: a message that was alone at so many deaths of backends is poison.
    pub max_replays: u8,
    /// `--on-poison`.
    pub on_poison: OnPoison,
    /// `--keep-poison-payload`: hand the bytes of a poisoned message to the operator too.
    pub keep_poison_payload: bool,
    /// `--replay-max-age`: a message older than this, from its receipt, is not replayed.
    pub replay_max_age: Option<Duration>,
    /// `--on-expired`.
    pub on_expired: OnExpired,
    /// `--ack-timeout`: a barrier or a write that waits longer makes the leg suspect.
    pub ack_timeout: Duration,
    /// `--ping-interval`: a leg on which nothing moved for so long is pinged.
    pub ping_interval: Option<Duration>,
    /// `--ping-timeout`: an idle leg's ping that waits longer makes the leg suspect.
    pub ping_timeout: Duration,
    /// `--hang-timeout`: a leg that is suspect for so long is lost without further proof.
    pub hang_timeout: Option<Duration>,
    /// `--failover-timeout`: how long a session may wait for a backend, in all, since a leg was stable or a message
    /// was forgotten after its acknowledgement.
    pub failover_timeout: Duration,
    /// `--stable-after`: a leg that lived so long and said something resets back-off and failover time.
    pub stable_after: Duration,
    /// `--migrate-quiet`: the least time that a leg must be silent before a session that is moved away leaves it.
    pub migrate_quiet: Duration,
    /// `--migrate-timeout`: how long a migration may take.
    pub migrate_timeout: Duration,
    /// `--on-migrate-timeout`.
    pub on_migrate_timeout: OnMigrateTimeout,
    /// `--failover-codes` and `--ambiguous`.
    pub end_codes: EndCodes,
    /// `--on-ambiguous`.
    pub on_ambiguous: OnAmbiguous,
    /// `--reattach`.
    pub reattach: Reattach,
    /// `--on-full`.
    pub on_full: OnFull,
    /// `--close-timeout`: how long a closing handshake may take.
    pub close_timeout: Duration,
    /// `--orphan-timeout`: how long the messages of a vanished client are still delivered.
    pub orphan_timeout: Duration,
    /// `--buffer-messages`: retained messages of a session, at least 1.
    pub buffer_messages: u32,
    /// `--buffer-bytes`: retained bytes of a session above which no message begins.
    pub buffer_bytes: usize,
    /// `--max-message-bytes`, `--max-message-frames`: what a message may be, both ways.
    pub max_message: MessageLimits,
    /// What messages say that something follows from. `None`: none is looked at.
    ///
    /// With rules for messages of backends, [`Commit::Barrier`] is as [`Commit::Off`]: what a message of theirs has
    /// changed could not be undone if it were held and then dropped.
    pub rules: Option<Arc<dyn Rules>>,
    /// `--pin-messages`: pinned messages of a session.
    pub pin_messages: u32,
    /// `--pin-bytes`: their bytes.
    pub pin_bytes: usize,
    /// `--hold-timeout`: how long a new leg may take for the answer to a pinned message that holds back the rest.
    pub hold_timeout: Duration,
    /// `--inspect-bytes`: a message whose content is longer is not looked into.
    pub inspect_bytes: usize,
    /// What one client may ask of the proxy.
    pub limits: SessionLimits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ack: AckMode::Pong,
            ack_interval: Duration::from_millis(20),
            ack_linger: Linger::Auto,
            greeting: 0,
            dedupe_replies: true,
            dedupe_entries: 4096,
            dedupe_bytes: 1 << 20,
            commit: Commit::Off,
            commit_bytes: 1 << 20,
            max_replays: 3,
            on_poison: OnPoison::Close,
            keep_poison_payload: false,
            replay_max_age: None,
            on_expired: OnExpired::Close,
            ack_timeout: Duration::from_secs(10),
            ping_interval: Some(Duration::from_secs(15)),
            ping_timeout: Duration::from_secs(10),
            hang_timeout: None,
            failover_timeout: Duration::from_secs(30),
            stable_after: Duration::from_secs(5),
            migrate_quiet: Duration::from_millis(50),
            migrate_timeout: Duration::from_secs(30),
            on_migrate_timeout: OnMigrateTimeout::FailOver,
            end_codes: EndCodes::default(),
            on_ambiguous: OnAmbiguous::Probe,
            reattach: Reattach::Always,
            on_full: OnFull::Block,
            close_timeout: Duration::from_secs(10),
            orphan_timeout: Duration::from_secs(30),
            buffer_messages: 1024,
            buffer_bytes: 1 << 20,
            max_message: MessageLimits { bytes: 16 << 20, frames: 128 << 10 },
            rules: None,
            pin_messages: 64,
            pin_bytes: 64 << 10,
            hold_timeout: Duration::from_secs(10),
            inspect_bytes: 1 << 20,
            limits: SessionLimits::default(),
        }
    }
}
