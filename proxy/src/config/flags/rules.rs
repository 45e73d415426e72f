//! The flags of looking into messages.

use super::{Fallback, Flag, Kind, LARGEST, POSITIVE, Scope, Theme};

pub(super) const RULES: Theme = Theme {
    heading: "Rules",
    flags: &[
        Flag {
            name: "profile",
            scope: Scope::Route,
            kind: Kind::Profile,
            default: Fallback::Value(""),
            summary: "Rules that say what messages mean: a profile that the program has in it, or a rule file",
            details: "So that logins and subscriptions are said again to each new backend, its answers to them swallowed, \
                      and messages acknowledged by their answers. tideover profile list has all; docs/rules.md tells \
                      how to write one. The [[rule]]s of the configuration's file are tried before its rules. A rule \
                      file is read again when it changes, for new sessions.",
            worst_case: "",
        },
        Flag {
            name: "pin-messages",
            scope: Scope::Route,
            kind: Kind::Count { min: 1, max: 1024 },
            default: Fallback::Value("64"),
            summary: "Messages of a session that rules may pin, to be said first to each later backend",
            details: "A session with one more goes on, but is not attached again: its client gets Close 1012 then.",
            worst_case: "Worst case: so many messages precede each replay.",
        },
        Flag {
            name: "pin-bytes",
            scope: Scope::Route,
            kind: Kind::Size { min: 1, max: LARGEST },
            default: Fallback::Value("64KiB"),
            summary: "Bytes of a session's pinned messages; beyond them as beyond pin-messages",
            details: "",
            worst_case: "Worst case: this much memory a session, also while it is idle, and 4 times that while some of it is \
                         being replaced; part of buffer-total-bytes.",
        },
        Flag {
            name: "hold-timeout",
            scope: Scope::Route,
            kind: POSITIVE,
            default: Fallback::Value("10s"),
            summary: "How long a new backend may take for the answer that a rule waits for before it says more there",
            details: "Later, it is as if it could not be reached: another one is tried, after a pause.",
            worst_case: "Worst case: each backend tried takes so much longer.",
        },
        Flag {
            name: "inspect-bytes",
            scope: Scope::Route,
            kind: Kind::Size { min: 1, max: LARGEST },
            default: Fallback::Value("1MiB"),
            summary: "The longest message, inflated, that rules look into; a longer one matches no rule",
            details: "Where a rule of its side closes sessions, it closes them for a message that cannot be looked into, \
                      too.",
            worst_case: "Worst case: this much memory a worker while a message is looked into, and as much as long as a \
                         message of the client is not complete.",
        },
    ],
};
