//! The flags of sessions that are moved on purpose.

use tideover_protocol::session::OnMigrateTimeout;

use super::{FROM_ZERO, Fallback, Flag, Kind, POSITIVE, Scope, Theme};
use crate::config::choice::names;

pub(super) const MIGRATION: Theme = Theme {
    heading: "Migration",
    flags: &[
        Flag {
            name: "migrate-quiet",
            scope: Scope::Route,
            kind: FROM_ZERO,
            default: Fallback::Value("50ms"),
            summary: "The least time that a backend leg must be silent before a session that is moved away leaves it",
            details: "Silence counts from the answer to a ping behind the last message. Where such answers come before \
                      the handler is done, and replies are not one a message, twice the longest time that a first \
                      reply took is waited for; if that is too short for your handlers, give their time here.",
            worst_case: "Worst case: a client's messages wait for the handler's time + migrate-quiet + 1 ms.",
        },
        Flag {
            name: "migrate-timeout",
            scope: Scope::Route,
            kind: POSITIVE,
            default: Fallback::Value("30s"),
            summary: "How long a migration may take",
            details: "Half of it, with the messages still going to the old leg, is for finding a moment at which nothing \
                      is under way, where replies are not one a message.",
            worst_case: "Worst case: a client's messages wait so long, if the old leg answers no ping.",
        },
        Flag {
            name: "on-migrate-timeout",
            scope: Scope::Route,
            kind: Kind::Choice(names::<OnMigrateTimeout>),
            default: Fallback::Value("failover"),
            summary: "What a migration leads to that takes longer, if there is another backend",
            details: "failover: what the old leg has not acknowledged, or what lingers, is sent again on the new one. \
                      stay: the session stays where it is.",
            worst_case: "Worst case: with failover, what a handler that is slower than migrate-timeout had begun is run \
                         twice.",
        },
        Flag {
            name: "drain-rate",
            scope: Scope::Pool,
            kind: Kind::Count { min: 1, max: 100_000 },
            default: Fallback::Value("100"),
            summary: "Sessions a second that are moved away from backends that drain",
            details: "A backend drains when it is removed, when the operator wants it, or when its agent says drain. Its \
                      sessions wait for another backend of the pool that may have them.",
            worst_case: "Worst case: a backend with n sessions is empty after n / drain-rate and migrate-timeout.",
        },
        Flag {
            name: "migrate-at-once",
            scope: Scope::Pool,
            kind: Kind::Count { min: 1, max: 100_000 },
            default: Fallback::Value("50"),
            summary: "Sessions of a pool that are on the move at a time, to drain or to rebalance",
            details: "Those that an operator moves one by one do not count.",
            worst_case: "Worst case: so many sessions have two backend legs.",
        },
        Flag {
            name: "rebalance",
            scope: Scope::Pool,
            kind: Kind::Choice(names::<bool>),
            default: Fallback::Value("off"),
            summary: "Whether sessions are moved to backends that have too few for their weight",
            details: "To a backend that has joined, say. Not with --balance hash or latency, nor with sticky-cookie: there \
                      a session's place is not a matter of numbers. One that takes longer than migrate-timeout stays.",
            worst_case: "Worst case: a session is moved once a minute.",
        },
        Flag {
            name: "rebalance-rate",
            scope: Scope::Pool,
            kind: Kind::Count { min: 1, max: 100_000 },
            default: Fallback::Value("10"),
            summary: "Sessions a second that are moved to rebalance",
            details: "",
            worst_case: "",
        },
        Flag {
            name: "rebalance-threshold",
            scope: Scope::Pool,
            kind: Kind::Count { min: 1, max: 1000 },
            default: Fallback::Value("10"),
            summary: "How far a backend must be from its part of the sessions for that, in percent of its part",
            details: "Moves go on until all are within half of it.",
            worst_case: "",
        },
    ],
};
