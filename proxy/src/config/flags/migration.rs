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
    ],
};
