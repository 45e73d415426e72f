//! The flags of the sessions.

use tideover_protocol::session::{OnAmbiguous, OnFull, Reattach};

use super::{FROM_ZERO, Fallback, Flag, Kind, LARGEST, POSITIVE, POSITIVE_OR_OFF, Scope, Theme};
use crate::config::ReattachOrder;
use crate::config::choice::names;

pub(super) const BUFFERS: Theme = Theme {
    heading: "Buffers",
    flags: &[
        Flag {
            name: "buffer-messages",
            scope: Scope::Route,
            kind: Kind::Count { min: 1, max: 1_000_000 },
            default: Fallback::Value("1024"),
            summary: "Messages that a session's replay ring may hold",
            details: "",
            worst_case: "Worst case: so many messages are sent again at a failover.",
        },
        Flag {
            name: "buffer-bytes",
            scope: Scope::Route,
            kind: Kind::Size { min: 1, max: LARGEST },
            default: Fallback::Value("1MiB"),
            summary: "Bytes in a session's replay ring from which on no further message begins",
            details: "A message that has begun may go beyond it.",
            worst_case: "Worst case: buffer-bytes + max-message-bytes of memory a session.",
        },
        Flag {
            name: "buffer-total-bytes",
            scope: Scope::Process,
            kind: Kind::Size { min: 1, max: LARGEST },
            default: Fallback::Value("1GiB"),
            summary: "Bytes that all sessions together may buffer; half of it serves each direction",
            details: "At least twice max-message-bytes + buffer-bytes. When it is used up, sessions wait for their turn.",
            worst_case: "Worst case: this much memory, whatever the number of sessions.",
        },
        Flag {
            name: "on-full",
            scope: Scope::Route,
            kind: Kind::Choice(names::<OnFull>),
            default: Fallback::Value("block"),
            summary: "What happens when the replay ring is full",
            details: "block: the client is not read until there is room, so TCP slows it down. close: it gets Close \
                      1013. drop-oldest: the oldest whole messages that no backend was sent make room.",
            worst_case: "Worst case: with block, a client waits as long as no backend takes its messages, up to \
                         failover-timeout; with drop-oldest, messages are lost (counted).",
        },
    ],
};

pub(super) const LIVENESS: Theme = Theme {
    heading: "Liveness",
    flags: &[
        Flag {
            name: "ping-interval",
            scope: Scope::Route,
            kind: POSITIVE_OR_OFF,
            default: Fallback::Value("15s"),
            summary: "How long nothing moves on a leg, client's or backend's, before it is pinged",
            details: "",
            worst_case: "Worst case: a peer that vanished from an idle leg is missed after ping-interval + ping-timeout; \
                         with off, never.",
        },
        Flag {
            name: "ping-timeout",
            scope: Scope::Route,
            kind: POSITIVE,
            default: Fallback::Value("10s"),
            summary: "How long an idle leg's ping may wait for its pong before the leg is suspect",
            details: "A leg that never answered a ping is never suspect for it.",
            worst_case: "",
        },
        Flag {
            name: "hang-timeout",
            scope: Scope::Route,
            kind: POSITIVE_OR_OFF,
            default: Fallback::Value("off"),
            summary: "How long a backend leg may be suspect before it is lost without a failed probe",
            details: "Any byte that moves on the leg starts it anew.",
            worst_case: "Worst case: a handler that is silent for longer, though healthy, is cut off and its messages \
                         are run twice. With off, a hung handler on a backend that still accepts is waited for.",
        },
    ],
};

pub(super) const FAILOVER: Theme = Theme {
    heading: "Failover",
    flags: &[
        Flag {
            name: "failover-timeout",
            scope: Scope::Route,
            kind: POSITIVE,
            default: Fallback::Value("30s"),
            summary: "How long a session waits for a backend before its client gets Close 1013",
            details: "In all, since a leg was stable (stable-after) or a message was done with: acknowledged, and through \
                      its linger.",
            worst_case: "Worst case: a client's messages wait so long before they are given up.",
        },
        Flag {
            name: "stable-after",
            scope: Scope::Route,
            kind: FROM_ZERO,
            default: Fallback::Value("5s"),
            summary: "How long a backend leg must live, and say something, to reset back-off and failover-timeout",
            details: "",
            worst_case: "",
        },
        Flag {
            name: "failover-codes",
            scope: Scope::Route,
            kind: Kind::Codes,
            default: Fallback::Value("1001,1012,1013,1014"),
            summary: "Close codes of a backend that say it goes away: failover",
            details: "May be empty. Any other Close goes to the client as it came, unless it is ambiguous.",
            worst_case: "",
        },
        Flag {
            name: "ambiguous",
            scope: Scope::Route,
            kind: Kind::Ends,
            default: Fallback::Value("eof,codeless,1011"),
            summary: "Ends of a backend leg that say nothing certain: on-ambiguous decides",
            details: "eof: end of stream or reset without Close. codeless: a Close without a code. May be empty. \
                      No code may also be in failover-codes.",
            worst_case: "",
        },
        Flag {
            name: "on-ambiguous",
            scope: Scope::Route,
            kind: Kind::Choice(names::<OnAmbiguous>),
            default: Fallback::Value("probe"),
            summary: "What an ambiguous end of a backend leg leads to",
            details: "probe: failover if the backend is proven to be dying, else the client sees the same end. \
                      failover: always, for virtual addresses and forked workers, where a probe meets another process. \
                      end: never.",
            worst_case: "Worst case: with probe, the client sees the end connect-timeout later.",
        },
        Flag {
            name: "reattach",
            scope: Scope::Route,
            kind: Kind::Choice(names::<Reattach>),
            default: Fallback::Value("always"),
            summary: "Which sessions may be attached to a backend again",
            details: "always: all. whole: only those of which no message was forgotten, else Close 1012. never: none, \
                      as without a proxy.",
            worst_case: "",
        },
        Flag {
            name: "reattach-order",
            scope: Scope::Route,
            kind: Kind::Choice(names::<ReattachOrder>),
            default: Fallback::Value("other-first"),
            summary: "Which backends a session tries when it lost its own",
            details: "other-first: the others, then the one it lost. same-first: that one, then the others. \
                      same-only: that one only.",
            worst_case: "",
        },
        Flag {
            name: "reattach-header",
            scope: Scope::Route,
            kind: Kind::Header,
            default: Fallback::Value(""),
            summary: "A header field that says 1 in the handshake of a re-attach, and is not sent in a first one",
            details: "What a client sends under this name is never passed on. Not Host, no field of HTTP or of \
                      WebSocket about one connection, no Sec-*, and none that the proxy sets itself.",
            worst_case: "",
        },
    ],
};

pub(super) const CLOSING: Theme = Theme {
    heading: "Closing",
    flags: &[
        Flag {
            name: "close-timeout",
            scope: Scope::Route,
            kind: POSITIVE,
            default: Fallback::Value("10s"),
            summary: "How long a closing handshake may take",
            details: "",
            worst_case: "Worst case: a session outlives its Close by this.",
        },
        Flag {
            name: "orphan-timeout",
            scope: Scope::Route,
            kind: POSITIVE,
            default: Fallback::Value("30s"),
            summary: "How long the messages of a client that vanished are still delivered",
            details: "",
            worst_case: "Worst case: a session outlives its client by this; what is left then is counted abandoned.",
        },
        Flag {
            name: "drain-timeout",
            scope: Scope::Process,
            kind: FROM_ZERO,
            default: Fallback::Value("10s"),
            summary: "How long sessions may go on after SIGTERM or SIGINT before their clients get Close 1001",
            details: "A second signal ends the process at once.",
            worst_case: "Worst case: the process ends after drain-timeout + close-timeout.",
        },
    ],
};
