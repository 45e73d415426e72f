//! The flags of plain HTTP.

use super::{Fallback, Flag, Kind, LARGEST_COUNT, POSITIVE, Scope, Theme};
use crate::config::Http;
use crate::config::choice::names;

pub(super) const ADMISSION: Theme = Theme {
    heading: "Admission",
    flags: &[
        Flag {
            name: "allow-origin",
            scope: Scope::Route,
            kind: Kind::Origins,
            default: Fallback::Value(""),
            summary: "Origins of web pages that may begin sessions; a handshake of another page is answered 403",
            details: "https://*.example.com is for all hosts below. A handshake without Origin comes from no page of a \
                      browser, and is let in. Plain requests are not judged: for those browsers ask the backend (CORS).",
            worst_case: "Worst case: with none, any page of the web can use the sessions of who looks at it, with their \
                         cookies, unless the backends check the origin.",
        },
        Flag {
            name: "allow-host",
            scope: Scope::Route,
            kind: Kind::Hosts,
            default: Fallback::Value(""),
            summary: "Hosts that requests may be for; one for another is answered 421",
            details: "Names, *.example.com for all below one, or addresses; without a port.",
            worst_case: "",
        },
    ],
};

pub(super) const HTTP: Theme = Theme {
    heading: "Plain HTTP",
    flags: &[
        Flag {
            name: "http",
            scope: Scope::Route,
            kind: Kind::Choice(names::<Http>),
            default: Fallback::Value("proxy"),
            summary: "What becomes of requests that are no WebSocket handshakes",
            details: "proxy: they go to a backend of the pool, chosen as for a session (sticky-cookie and hash-key count), \
                      and both bodies are passed on as they come. reject: they are answered 426. Docs: docs/http.md.",
            worst_case: "Worst case: with proxy, clients reach whatever the backends serve by HTTP under the route's paths.",
        },
        Flag {
            name: "http-timeout",
            scope: Scope::Pool,
            kind: POSITIVE,
            default: Fallback::Value("60s"),
            summary: "How long a plain request may stand still: nothing of its body, its answer or that one's body moves",
            details: "Before the answer has begun the client gets 504, later the connection is cut. A client that \
                      takes nothing of its answer for so long is cut off, too.",
            worst_case: "Worst case: a stopped backend keeps its requests so long.",
        },
        Flag {
            name: "max-http-requests",
            scope: Scope::Process,
            kind: Kind::Count { min: 1, max: LARGEST_COUNT },
            default: Fallback::Value("10000"),
            summary: "Plain HTTP requests under way at a time; one beyond them is answered 503",
            details: "Each takes a descriptor for the client and one for the backend.",
            worst_case: "Worst case: max-handshake-bytes + 64 KiB for each head and what is on its way of the bodies.",
        },
    ],
};
