//! The flags of how a pool chooses among its backends.

use super::{Fallback, Flag, Kind, POSITIVE, Scope, Theme};
use crate::config::Balance;
use crate::config::choice::names;

pub(super) const BALANCING: Theme = Theme {
    heading: "Balancing",
    flags: &[
        Flag {
            name: "balance",
            scope: Scope::Pool,
            kind: Kind::Choice(names::<Balance>),
            default: Fallback::Value("least-conn"),
            summary: "Which backend a session goes to",
            details: "least-conn: the one with the fewest sessions for its weight. round-robin: in turns, by weight. \
                      random-two: of two drawn by weight, the one with fewer sessions for its weight. latency: the \
                      least round trip time, times its sessions for its weight. hash: the one that hash-key falls to. \
                      score: the fewest sessions for its weight and for what it reports to be free. Formulas: \
                      docs/balancing.md.",
            worst_case: "",
        },
        Flag {
            name: "hash-key",
            scope: Scope::Pool,
            kind: Kind::HashKey,
            default: Fallback::Value("address"),
            summary: "What of a handshake --balance hash goes by",
            details: "address is the client's, taken from X-Forwarded-For where trust-forwarded allows. A handshake \
                      without the header, cookie or parameter goes to the backend with the fewest sessions for its \
                      weight.",
            worst_case: "",
        },
        Flag {
            name: "hash-balance-factor",
            scope: Scope::Pool,
            kind: Kind::Count { min: 101, max: 1_000_000 },
            default: Fallback::Value("125"),
            summary: "With --balance hash, the most sessions of a backend, in percent of its part by weight",
            details: "What would go beyond goes to the next backend of its key.",
            worst_case: "Worst case: a backend has its part times so many percent, rounded up.",
        },
        Flag {
            name: "sticky-cookie",
            scope: Scope::Pool,
            kind: Kind::Cookie,
            default: Fallback::Value(""),
            summary: "A cookie that leads a client back to the backend that it was on",
            details: "Set on the client's 101 (Path=/, HttpOnly, SameSite=Lax, and Secure behind https). Its value says \
                      nothing and cannot be guessed. When its backend is gone, full or failing, the client goes where \
                      balance says, and gets a new one.",
            worst_case: "Worst case: clients come back to a backend whatever load it has, up to its max-sessions.",
        },
        Flag {
            name: "sticky-key-file",
            scope: Scope::Pool,
            kind: Kind::KeyFile,
            default: Fallback::Value(""),
            summary: "A file with the key that makes the values of sticky-cookie",
            details: "Give proxies that serve the same clients the same key. Without, each process makes its own.",
            worst_case: "Worst case: without a key, clients lose their backend when the proxy is restarted.",
        },
        Flag {
            name: "latency-half-life",
            scope: Scope::Pool,
            kind: POSITIVE,
            default: Fallback::Value("10s"),
            summary: "How fast --balance latency forgets a slow handshake or ping",
            details: "A rise counts at once.",
            worst_case: "Worst case: a backend that was slow once gets half of its part of new sessions for this long.",
        },
        Flag {
            name: "agent-port",
            scope: Scope::Pool,
            kind: Kind::Count { min: 0, max: 65535 },
            default: Fallback::Value("0"),
            summary: "The port of each backend's agent, which says how it wants to be used; 0: there is none",
            details: "It speaks HAProxy's agent-check protocol: 75%, up, down, drain, maint, ready, maxconn:N. A backend \
                      may have an agent elsewhere (key agent).",
            worst_case: "",
        },
        Flag {
            name: "agent-interval",
            scope: Scope::Pool,
            kind: POSITIVE,
            default: Fallback::Value("2s"),
            summary: "Time between two questions to an agent, and how long it may take to answer",
            details: "",
            worst_case: "Worst case: what an agent says counts this much later; when it stops answering, what it said \
                         last still counts.",
        },
        Flag {
            name: "load-path",
            scope: Scope::Pool,
            kind: Kind::Path,
            default: Fallback::Value(""),
            summary: "The path at which each backend reports its load",
            details: "Asked with GET over plain HTTP. The report is the header endpoint-load-metrics of the answer, or \
                      its body, in ORCA's text or JSON form. A backend may report elsewhere (key load-url). What the \
                      101 of a handshake reports in that header counts too.",
            worst_case: "",
        },
        Flag {
            name: "load-interval",
            scope: Scope::Pool,
            kind: POSITIVE,
            default: Fallback::Value("2s"),
            summary: "Time between two questions for a load report, and how long the answer may take",
            details: "",
            worst_case: "",
        },
        Flag {
            name: "load-half-life",
            scope: Scope::Pool,
            kind: POSITIVE,
            default: Fallback::Value("5s"),
            summary: "A load report that is older by this weighs half as much as a new one",
            details: "",
            worst_case: "Worst case: a backend that is suddenly busy is half believed after this time.",
        },
        Flag {
            name: "load-max-age",
            scope: Scope::Pool,
            kind: POSITIVE,
            default: Fallback::Value("1m"),
            summary: "How long a backend's latest load report counts",
            details: "After that, the mean of the others stands for it.",
            worst_case: "",
        },
        Flag {
            name: "full-rps",
            scope: Scope::Pool,
            kind: Kind::Count { min: 0, max: 1_000_000_000 },
            default: Fallback::Value("0"),
            summary: "Requests a second at which a backend of weight 100 is full; 0: reported rates are not used",
            details: "",
            worst_case: "",
        },
    ],
};
