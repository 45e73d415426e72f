//! The flags of what changes of a handshake on a re-attach.

use super::{FROM_ZERO, Fallback, Flag, Kind, POSITIVE, Scope, Theme};
use crate::config::OnHookFailure;
use crate::config::choice::names;

pub(super) const CREDENTIALS: Theme = Theme {
    heading: "Fresh credentials",
    flags: &[
        Flag {
            name: "reattach-hook",
            scope: Scope::Route,
            kind: Kind::HookUrl,
            default: Fallback::Value(""),
            summary: "Who is asked, by a POST of JSON, for fresh credentials before a session is attached again",
            details: "Also before it is moved. Its answer may set header fields and query keys, delay, or deny the \
                      session, whose client gets Close 1008 then; see docs/reattach.md. Redirects are not followed.",
            worst_case: "",
        },
        Flag {
            name: "reattach-hook-header",
            scope: Scope::Route,
            kind: Kind::HeaderNames,
            default: Fallback::Value(""),
            summary: "A field of the client's handshake that the hook is told, such as Authorization; repeatable",
            details: "An answer is kept for the session and these fields.",
            worst_case: "",
        },
        Flag {
            name: "reattach-hook-timeout",
            scope: Scope::Route,
            kind: POSITIVE,
            default: Fallback::Value("2s"),
            summary: "How long a call of the hook may take, connecting included",
            details: "",
            worst_case: "Worst case: each round of re-attaching takes so much longer.",
        },
        Flag {
            name: "reattach-hook-cache",
            scope: Scope::Route,
            kind: FROM_ZERO,
            default: Fallback::Value("10s"),
            summary: "How long the hook's answer is good for the same session and credential",
            details: "A backend that answers 401 or 403 ends it. 0: the hook is asked before each round, as \
                      credentials that are good once need it.",
            worst_case: "Worst case: 16 MiB of answers; of more, the oldest are forgotten.",
        },
        Flag {
            name: "on-hook-failure",
            scope: Scope::Route,
            kind: Kind::Choice(names::<OnHookFailure>),
            default: Fallback::Value("wait"),
            summary: "What happens when the hook gives no good answer",
            details: "wait: it is asked again after a pause, as if no backend could be had, up to failover-timeout. \
                      attach: the session is attached with the client's own credentials. close: the client gets Close \
                      1008. A session that was only to be moved stays where it is, but with attach.",
            worst_case: "",
        },
        Flag {
            name: "reattach-hook-calls",
            scope: Scope::Route,
            kind: Kind::Count { min: 1, max: 4096 },
            default: Fallback::Value("32"),
            summary: "Calls of the hook under way at a time; further ones wait for their turn",
            details: "Those that wait fail with a call that cannot reach the hook or has no answer in time.",
            worst_case: "",
        },
        Flag {
            name: "reattach-hook-rate",
            scope: Scope::Route,
            kind: Kind::Count { min: 1, max: 100_000 },
            default: Fallback::Value("500"),
            summary: "Calls of the hook a second",
            details: "",
            worst_case: "Worst case: N sessions that lose their backends at once are attached again within \
                         N / reattach-hook-rate seconds at best; failover-timeout must leave time for it.",
        },
        Flag {
            name: "reattach-hook-max-bytes",
            scope: Scope::Route,
            kind: Kind::Size { min: 64, max: 1 << 20 },
            default: Fallback::Value("16KiB"),
            summary: "Bytes that the hook's answer may have; a longer one is a failure",
            details: "",
            worst_case: "Worst case: this much a call under way.",
        },
        Flag {
            name: "reattach-hook-ca",
            scope: Scope::Route,
            kind: Kind::PemFile,
            default: Fallback::Value(""),
            summary: "A file with the only authorities, PEM, that an https:// hook is trusted by; else the system's",
            details: "Read again as tls-cert is.",
            worst_case: "",
        },
        Flag {
            name: "reattach-values-file",
            scope: Scope::Route,
            kind: Kind::ValuesFile,
            default: Fallback::Value(""),
            summary: "A TOML file with [headers] and [query] that re-attaches get; read again when it changes",
            details: "What the hook answers goes before it. A file that is wrong changes nothing, and the log says \
                      what is wrong, without its values. At most 64 KiB.",
            worst_case: "",
        },
    ],
};
