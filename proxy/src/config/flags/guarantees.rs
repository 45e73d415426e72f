//! The flags of what a session promises about messages and answers.

use tideover_protocol::session::{AckMode, Commit, OnExpired, OnPoison};

use super::{FROM_ZERO_OR_AUTO, Fallback, Flag, Kind, LARGEST, POSITIVE, POSITIVE_OR_OFF, Scope, Theme};
use crate::config::choice::names;

pub(super) const ACKNOWLEDGEMENT: Theme = Theme {
    heading: "Acknowledgement",
    flags: &[
        Flag {
            name: "ack",
            scope: Scope::Route,
            kind: Kind::Choice(names::<AckMode>),
            default: Fallback::Computed("rules where rules acknowledge, else pong"),
            summary: "When a client's message counts as acknowledged by the backend",
            details: "none: when it is written; sessions are re-attached, but nothing is replayed. pong: when the \
                      backend answered a ping that followed it, so its WebSocket stack has read it. reply: when the \
                      n-th answer has come for the n-th message, for applications that answer each message once, in \
                      order; falls back to pong where that turns out wrong. rules: when the answer with its key has \
                      come, in any order, as a profile or [[rule]] says; what has no key as with pong. explicit: when the backend says so by the \
                      session protocol; one that does not opt in gets no session.",
            worst_case: "Worst case: with none, all that is under way at a failover is lost; with pong, what a backend \
                         had read and not handled; with reply, rules and explicit, nothing is lost, and what the backend had \
                         not answered or acknowledged is sent again.",
        },
        Flag {
            name: "ack-interval",
            scope: Scope::Route,
            kind: POSITIVE,
            default: Fallback::Value("20ms"),
            summary: "The least time between two pings that ask a backend for acknowledgement",
            details: "Asked at once when half of the replay ring is unacknowledged.",
            worst_case: "Worst case: at a failover, what was sent in this time + one round trip is sent again.",
        },
        Flag {
            name: "ack-linger",
            scope: Scope::Route,
            kind: FROM_ZERO_OR_AUTO,
            default: Fallback::Value("auto"),
            summary: "How long an acknowledged message stays in the ring and is replayed too",
            details: "For backends that answer the ping before they have handled the message. auto: not at all where \
                      answers come before the pong, 250 ms where the pong comes early.",
            worst_case: "Worst case: at a failover, what was sent in this time is sent again; a handler that takes \
                         longer than this, behind an early pong, loses its message. It never slows a client: lingering \
                         messages go first when room is needed.",
        },
        Flag {
            name: "ack-timeout",
            scope: Scope::Route,
            kind: POSITIVE,
            default: Fallback::Value("10s"),
            summary: "How long a backend may owe an acknowledgement, or take nothing, before its leg is suspect",
            details: "Counted from the last byte moved. A suspect leg is lost only if its backend also fails a probe, \
                      or after hang-timeout: a slow backend keeps its sessions.",
            worst_case: "Worst case: a stopped backend is left after ack-timeout + connect-timeout.",
        },
    ],
};

pub(super) const ANSWERS: Theme = Theme {
    heading: "Answers",
    flags: &[
        Flag {
            name: "greeting",
            scope: Scope::Route,
            kind: Kind::Count { min: 0, max: 1_000_000 },
            default: Fallback::Value("0"),
            summary: "Messages with which a backend greets on each leg; the client sees only the first leg's",
            details: "",
            worst_case: "Worst case: given too high, so many answers behind each failover are swallowed.",
        },
        Flag {
            name: "dedupe-replies",
            scope: Scope::Route,
            kind: Kind::Choice(names::<bool>),
            default: Fallback::Computed("on for --ack pong without --commit barrier, else off"),
            summary: "Whether answers that a new leg gives again are swallowed",
            details: "What the client got already is compared with what the new leg says, in order, until the first \
                      difference. Not with --ack explicit, where the backend knows what it has answered, and not with \
                      --commit barrier.",
            worst_case: "Worst case: a push that equals the next answer expected is swallowed in its place; an answer \
                         that differs (a clock, a counter) lets all behind it through, repeated.",
        },
        Flag {
            name: "dedupe-entries",
            scope: Scope::Route,
            kind: Kind::Count { min: 0, max: 1_000_000 },
            default: Fallback::Value("4096"),
            summary: "Answers of a session that are remembered for dedupe-replies",
            details: "",
            worst_case: "Worst case: 24 bytes of memory each, a session; answers beyond them may be repeated.",
        },
        Flag {
            name: "dedupe-bytes",
            scope: Scope::Route,
            kind: Kind::Size { min: 0, max: 1 << 30 },
            default: Fallback::Value("1MiB"),
            summary: "Payload of compressed answers of a session that is kept for dedupe-replies",
            details: "Another backend may compress the same answer to other bytes. Then the answers are inflated and \
                      compared, up to 4 MiB of content each.",
            worst_case: "Worst case: so much memory a session, as long as a quarter of buffer-total-bytes is left; \
                         answers beyond it that another backend compresses otherwise may be repeated.",
        },
        Flag {
            name: "commit",
            scope: Scope::Route,
            kind: Kind::Choice(names::<Commit>),
            default: Fallback::Value("off"),
            summary: "When a backend's output reaches the client",
            details: "off: at once. barrier: when the backend has answered a ping sent after it; that answer also \
                      forgets the messages before it, in the same step. Needs --ack pong and an ack-linger of 0 or \
                      auto, which then is 0; turns dedupe-replies off.",
            worst_case: "Worst case: with barrier, output is late by ack-interval + one round trip, or by as long as \
                         the backend's handler keeps it from answering pings.",
        },
        Flag {
            name: "commit-bytes",
            scope: Scope::Route,
            kind: Kind::Size { min: 1, max: LARGEST },
            default: Fallback::Value("1MiB"),
            summary: "Output of a session that --commit barrier holds back at most; more releases it",
            details: "",
            worst_case: "Worst case: this much memory a session, and max-message-bytes for the message that filled it; \
                         what was released may be repeated at a failover (counted).",
        },
    ],
};

pub(super) const REPLAY: Theme = Theme {
    heading: "Replay",
    flags: &[
        Flag {
            name: "max-replays",
            scope: Scope::Route,
            kind: Kind::Count { min: 1, max: 100 },
            default: Fallback::Value("3"),
            summary: "A message that was alone at so many proven deaths of backends is poison",
            details: "After the second death, a session's messages are replayed one by one, and never to the last \
                      healthy backend of several. Of the sessions that do so, one at a time has a message on a backend; \
                      who has waited 5 s for that on a leg goes without, and its deaths do not count. A death counts the \
                      less the more probable it was by chance, going by how often the pool's backends died without the \
                      message in the last minute: whole below 1 in 64, half at 1 in 8.",
            worst_case: "Worst case: one message ends so many backends, and two more while it is among others; more \
                         where backends die of something else too.",
        },
        Flag {
            name: "on-poison",
            scope: Scope::Route,
            kind: Kind::Choice(names::<OnPoison>),
            default: Fallback::Value("close"),
            summary: "What happens to a message that kills backends",
            details: "close: the client sees what it would have seen of the last backend that died of it. drop: the \
                      message is set aside and the session goes on.",
            worst_case: "Worst case: with drop, a message is lost (counted, logged, listed for the operator).",
        },
        Flag {
            name: "keep-poison-payload",
            scope: Scope::Route,
            kind: Kind::Choice(names::<bool>),
            default: Fallback::Value("off"),
            summary: "Whether the bytes of a poisoned message are kept for the operator too",
            details: "What clients sent may be private: off keeps only what is known about it.",
            worst_case: "Worst case: poison-entries times max-message-bytes of memory.",
        },
        Flag {
            name: "poison-entries",
            scope: Scope::Process,
            kind: Kind::Count { min: 0, max: 100_000 },
            default: Fallback::Value("100"),
            summary: "How many poisoned messages are remembered for the operator",
            details: "The newest. All are counted.",
            worst_case: "",
        },
        Flag {
            name: "replay-max-age",
            scope: Scope::Route,
            kind: POSITIVE_OR_OFF,
            default: Fallback::Value("off"),
            summary: "How old a message may be, from its receipt, to be replayed",
            details: "",
            worst_case: "Worst case: with off, a message is replayed as late as failover-timeout allows.",
        },
        Flag {
            name: "on-expired",
            scope: Scope::Route,
            kind: Kind::Choice(names::<OnExpired>),
            default: Fallback::Value("close"),
            summary: "What happens to messages that are older than replay-max-age",
            details: "close: the client gets Close 1013. drop-prefix: they are dropped, and all before them, so that \
                      nothing newer overtakes what it may depend on.",
            worst_case: "Worst case: with drop-prefix, messages are lost (counted).",
        },
    ],
};
