//! The flags of the backends' health.

use super::{FROM_ZERO_OR_OFF, Fallback, Flag, Kind, POSITIVE, POSITIVE_OR_OFF, Scope, Theme};

pub(super) const HEALTH: Theme = Theme {
    heading: "Health of backends",
    flags: &[
        Flag {
            name: "health-check",
            scope: Scope::Pool,
            kind: Kind::Check,
            default: Fallback::Value("off"),
            summary: "How backends are asked, regularly, whether they are well",
            details: "tcp: they take a connection. http:PATH: they answer GET PATH with one of health-status. ws:PATH: \
                      they answer a WebSocket handshake for PATH with 101, and get Close 1000. One that is down is tried \
                      when all others have failed; its sessions stay while their legs work. Docs: docs/health.md.",
            worst_case: "Worst case: one connection a backend at a time, each health-interval / 4.",
        },
        Flag {
            name: "health-status",
            scope: Scope::Pool,
            kind: Kind::Statuses,
            default: Fallback::Value("200-399"),
            summary: "Statuses that pass an http check",
            details: "",
            worst_case: "",
        },
        Flag {
            name: "health-host",
            scope: Scope::Pool,
            kind: Kind::Host,
            default: Fallback::Value(""),
            summary: "The Host of http and ws checks; if it is empty, the host and port of the backend's URL",
            details: "",
            worst_case: "",
        },
        Flag {
            name: "health-interval",
            scope: Scope::Pool,
            kind: POSITIVE,
            default: Fallback::Value("2s"),
            summary: "From one check of a backend to the next, give or take a tenth",
            details: "A quarter of that while checks contradict what the backend is held for, and while it is ejected.",
            worst_case: "Worst case: a backend that dies is down after health-fall checks.",
        },
        Flag {
            name: "health-timeout",
            scope: Scope::Pool,
            kind: POSITIVE,
            default: Fallback::Value("2s"),
            summary: "How long a check may take, from the connection to the head of the answer",
            details: "",
            worst_case: "",
        },
        Flag {
            name: "health-rise",
            scope: Scope::Pool,
            kind: Kind::Count { min: 1, max: 1000 },
            default: Fallback::Value("2"),
            summary: "Passed checks in a row that bring a backend up again",
            details: "",
            worst_case: "",
        },
        Flag {
            name: "health-fall",
            scope: Scope::Pool,
            kind: Kind::Count { min: 1, max: 1000 },
            default: Fallback::Value("3"),
            summary: "Failed checks in a row that take a backend down",
            details: "The very first check of a backend takes it down at once.",
            worst_case: "",
        },
        Flag {
            name: "health-panic",
            scope: Scope::Pool,
            kind: Kind::Count { min: 0, max: 100 },
            default: Fallback::Value("50"),
            summary: "Percentage of a pool that must be up by its checks for them to be believed",
            details: "With fewer, the checks decide nothing: rather they are wrong than so many backends, and if not, \
                      the few would follow under the load of all. 0: they are always believed.",
            worst_case: "",
        },
        Flag {
            name: "ejection-time",
            scope: Scope::Pool,
            kind: POSITIVE_OR_OFF,
            default: Fallback::Value("1s"),
            summary: "How long a backend is out at first that cannot be reached or lost all its legs at once",
            details: "Three failed handshakes in a row count, too. Then one session, or check, is the trial; a failed \
                      one doubles the time. At least half of a pool is never out that way. off: a failed dial puts a \
                      backend last for a second, or for as long as it took, and that is all.",
            worst_case: "",
        },
        Flag {
            name: "ejection-max",
            scope: Scope::Pool,
            kind: POSITIVE,
            default: Fallback::Value("30s"),
            summary: "How long a backend is ejected at most; after such a time without it starts at ejection-time again",
            details: "A dial that times out later than that makes it as long as the dial.",
            worst_case: "Worst case: without checks, a backend that is well again gets its first session so much later.",
        },
        Flag {
            name: "slow-start",
            scope: Scope::Pool,
            kind: FROM_ZERO_OR_OFF,
            default: Fallback::Value("off"),
            summary: "How long the weight of a backend that came back grows, from a tenth to the whole",
            details: "After an ejection, after having been down, and when it joins. Not when the proxy starts.",
            worst_case: "",
        },
    ],
};
