//! The flags of the schemes besides proxying.

use std::time::Duration;

use super::{FROM_ZERO, Fallback, Flag, Kind, POSITIVE, Scope, Theme};
use crate::config::Mode;
use crate::config::choice::names;

const SECONDS: Kind = Kind::Duration { min: Duration::from_secs(1), max: Duration::from_secs(24 * 3600), or: None };

pub(super) const REDIRECT: Theme = Theme {
    heading: "Redirect",
    flags: &[
        Flag {
            name: "mode",
            scope: Scope::Pool,
            kind: Kind::Choice(names::<Mode>),
            default: Fallback::Value("proxy"),
            summary: "How handshakes are answered",
            details: "proxy: with a session that is relayed. redirect: with 307 and the public URL of the least loaded \
                      backend, with the client's path and query; few clients follow that, and no browser does (see \
                      docs/schemes.md). Every backend needs a public-url then.",
            worst_case: "Worst case: with redirect, no session survives its backend.",
        },
        Flag {
            name: "public-url",
            scope: Scope::Source,
            kind: Kind::PublicUrls,
            default: Fallback::Value(""),
            summary: "Where clients reach a backend without the proxy; repeatable",
            details: "The backend is named by its id, which is its host and port unless it was given another one. A path \
                      in the URL goes before the client's. A key of a [[backend]] table as well: just the URL there.",
            worst_case: "",
        },
        Flag {
            name: "assign",
            scope: Scope::Process,
            kind: Kind::Choice(names::<bool>),
            default: Fallback::Value("off"),
            summary: "Whether GET /.tideover/assign names the public URL of the least loaded backend",
            details: "What stands behind that path is the path and query that the client will ask for: \
                      /.tideover/assign/chat?room=1 names the pool of /chat. Every backend needs a public-url.",
            worst_case: "Worst case: whoever can reach the port learns the public URLs of the backends.",
        },
        Flag {
            name: "assign-origin",
            scope: Scope::Process,
            kind: Kind::Origins,
            default: Fallback::Value(""),
            summary: "Web pages that may ask for an assignment, by their origin; repeatable",
            details: "* lets all pages ask. Clients that are no web pages need none.",
            worst_case: "",
        },
        Flag {
            name: "assign-rate",
            scope: Scope::Process,
            kind: Kind::Count { min: 1, max: 1_000_000 },
            default: Fallback::Value("10"),
            summary: "Assignments that one client may ask for in a second; beyond that it is answered 429",
            details: "A client is an IPv4 address or a /64 of IPv6, behind the proxies of trust-forwarded.",
            worst_case: "Worst case: 4 MiB of memory for 65,536 clients; further ones share one rate.",
        },
        Flag {
            name: "assign-ttl",
            scope: Scope::Process,
            kind: SECONDS,
            default: Fallback::Value("10s"),
            summary: "How soon a client should connect after its assignment (expires_in, in whole seconds)",
            details: "",
            worst_case: "",
        },
        Flag {
            name: "assigned-lifetime",
            scope: Scope::Process,
            kind: POSITIVE,
            default: Fallback::Value("10m"),
            summary: "How long a session lasts on average that the proxy does not see",
            details: "Whom it sends elsewhere, by assignment, redirect or DNS, counts as a session of that backend which \
                      fades: 1 at once, 0.37 after this time.",
            worst_case: "Worst case: given ten times too long, a backend that was new or emptied gets too many for so \
                         long.",
        },
    ],
};

pub(super) const DNS: Theme = Theme {
    heading: "DNS",
    flags: &[
        Flag {
            name: "dns-listen",
            scope: Scope::Process,
            kind: Kind::Addresses,
            default: Fallback::Value(""),
            summary: "Where questions of the DNS are answered, by UDP and TCP; off unless given; repeatable",
            details: "Authoritative, for the names of dns-name only, without recursion. Port 0 takes a free port; the line \
                      `DNS` of the log says which. On a host with several addresses, name those that are asked.",
            worst_case: "Worst case: 64 TCP connections for each address.",
        },
        Flag {
            name: "dns-name",
            scope: Scope::Process,
            kind: Kind::DnsZones,
            default: Fallback::Value(""),
            summary: "A name that has the addresses of the least loaded backends of a pool; repeatable",
            details: "Delegate it to this server in the zone above. A backend has its public-address, else what the host \
                      of its URL resolves to.",
            worst_case: "",
        },
        Flag {
            name: "dns-ns",
            scope: Scope::Process,
            kind: Kind::HostNames,
            default: Fallback::Value(""),
            summary: "The names of the servers that answer, as in the zone above; repeatable",
            details: "Without it: ns. before each dns-name, with the addresses of dns-listen.",
            worst_case: "",
        },
        Flag {
            name: "public-address",
            scope: Scope::Source,
            kind: Kind::PublicAddresses,
            default: Fallback::Value(""),
            summary: "The address of a backend for the DNS, where it is not that of its URL; repeatable",
            details: "The backend is named as for public-url. A key of a [[backend]] table as well: the addresses there.",
            worst_case: "",
        },
        Flag {
            name: "dns-answers",
            scope: Scope::Process,
            kind: Kind::Count { min: 1, max: 16 },
            default: Fallback::Value("2"),
            summary: "Backends in an answer, the least loaded first",
            details: "Clients take the first, or any.",
            worst_case: "",
        },
        Flag {
            name: "dns-ttl",
            scope: Scope::Process,
            kind: SECONDS,
            default: Fallback::Value("5s"),
            summary: "How long an answer may be kept, in whole seconds",
            details: "Some resolvers keep it longer.",
            worst_case: "Worst case: clients come to a backend that is gone for so long.",
        },
        Flag {
            name: "dns-rate",
            scope: Scope::Process,
            kind: Kind::Count { min: 1, max: 1_000_000 },
            default: Fallback::Value("100"),
            summary: "Answers by UDP to one /24 of IPv4 or /56 of IPv6 in a second",
            details: "Beyond that, every other question is told to come by TCP, and the rest is dropped: addresses by UDP \
                      can be invented, and nobody is to be flooded in that way.",
            worst_case: "Worst case: 4 MiB of memory for 65,536 networks; further ones share one rate.",
        },
    ],
};

pub(super) const SCALING: Theme = Theme {
    heading: "Scaling",
    flags: &[
        Flag {
            name: "sessions-per-backend",
            scope: Scope::Pool,
            kind: Kind::Count { min: 0, max: 10_000_000 },
            default: Fallback::Value("0"),
            summary: "How many sessions a backend should have; 0: sessions do not matter",
            details: "With this or scale-load, /metrics says how many backends are wanted.",
            worst_case: "",
        },
        Flag {
            name: "scale-load",
            scope: Scope::Pool,
            kind: Kind::Count { min: 0, max: 100 },
            default: Fallback::Value("0"),
            summary: "What part of a backend should be in use as it reports, in percent; 0: reports do not matter",
            details: "With sessions-per-backend too, the larger number of backends is wanted.",
            worst_case: "",
        },
        Flag {
            name: "scale-min",
            scope: Scope::Pool,
            kind: Kind::Count { min: 0, max: 100_000 },
            default: Fallback::Value("1"),
            summary: "The fewest backends wanted",
            details: "",
            worst_case: "",
        },
        Flag {
            name: "scale-max",
            scope: Scope::Pool,
            kind: Kind::Count { min: 1, max: 100_000 },
            default: Fallback::Value("100"),
            summary: "The most backends wanted",
            details: "",
            worst_case: "Worst case: this many are asked for, whoever sends the load.",
        },
        Flag {
            name: "scale-slack",
            scope: Scope::Pool,
            kind: Kind::Count { min: 0, max: 90 },
            default: Fallback::Value("10"),
            summary: "The part of the target that must be spare before fewer backends are wanted, in percent",
            details: "Keeps one that was just given back from being asked for again.",
            worst_case: "",
        },
        Flag {
            name: "scale-debounce",
            scope: Scope::Pool,
            kind: FROM_ZERO,
            default: Fallback::Value("30s"),
            summary: "How long another number of backends must be needed before it is wanted",
            details: "Then the least change is wanted that was needed all the time.",
            worst_case: "Worst case: a pool is too small for so long, and for as long as a new backend takes to start.",
        },
        Flag {
            name: "on-scale",
            scope: Scope::Process,
            kind: Kind::Program,
            default: Fallback::Value(""),
            summary: "A program that is run when another number of backends is wanted",
            details: "Without a shell, as PROGRAM POOL WANTED PRESENT, and with TIDEOVER_SCALE_POOL, _WANTED, _PRESENT and \
                      _SESSIONS in its environment. One at a time. If it fails it is run again after scale-debounce, at \
                      least 5 s.",
            worst_case: "",
        },
        Flag {
            name: "on-scale-timeout",
            scope: Scope::Process,
            kind: POSITIVE,
            default: Fallback::Value("30s"),
            summary: "How long that program may take; then it is killed, with what it started",
            details: "",
            worst_case: "Worst case: the next one runs so much later.",
        },
    ],
};
