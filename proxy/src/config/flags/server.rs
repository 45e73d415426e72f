//! The flags of the process around the sessions.

use super::{Fallback, Flag, Kind, POSITIVE, Scope, Theme};
use crate::config::choice::names;
use crate::config::{Compression, LogFormat};

pub(super) const LISTEN: Theme = Theme {
    heading: "Listen and backends",
    flags: &[
        Flag {
            name: "listen",
            scope: Scope::Process,
            kind: Kind::Addresses,
            default: Fallback::Value("127.0.0.1:8080"),
            summary: "Where clients connect; repeatable",
            details: "wss:// before the address is for TLS, ws:// for none; without either there is TLS if there is a tls-cert. \
                      Port 0 takes a free port; the line `listening` of the log says which.",
            worst_case: "",
        },
        Flag {
            name: "backend",
            scope: Scope::Source,
            kind: Kind::Backends,
            default: Fallback::Required,
            summary: "A backend that sessions may be attached to; repeatable",
            details: "ws://, or wss:// with TLS. The port is 80, with TLS 443, if none is given. The path is always the client's, so none may stand here. \
                      No backend may be given twice. These are the backends of the pool `default`; the file can have \
                      more pools, and settings for each backend.",
            worst_case: "",
        },
        Flag {
            name: "backends-file",
            scope: Scope::Source,
            kind: Kind::BackendsFile,
            default: Fallback::Value(""),
            summary: "A file that lists more backends; read again when it changes",
            details: "A backend a line: its URL, then weight=, max-sessions=, priority= and id= as in [[backend]], between \
                      spaces. # begins a comment. A file that is wrong changes nothing. One that is gone from it gets \
                      no new sessions and is forgotten with its last one.",
            worst_case: "",
        },
        Flag {
            name: "backends-dns",
            scope: Scope::Source,
            kind: Kind::Dns,
            default: Fallback::Value(""),
            summary: "A DNS name that stands for more backends; resolved again when its time to live is over",
            details: "host:port: a backend for each A and AAAA record. srv:_service._tcp.name: one for each address of each \
                      SRV record, with its port and priority; its weight is scaled to 1-256 within its priority, and all weights of \
                      0 are equal (RFC 2782). While no server answers, the last answer stays.",
            worst_case: "Worst case: a change is seen a time to live later, which counts as 1 s at least and 5 min at most.",
        },
        Flag {
            name: "dns-server",
            scope: Scope::Pool,
            kind: Kind::DnsServer,
            default: Fallback::Value(""),
            summary: "The DNS server for backends-dns; the port is 53 if none is given",
            details: "Without it, those of the system's resolv.conf.",
            worst_case: "",
        },
        Flag {
            name: "handshakes-per-backend",
            scope: Scope::Pool,
            kind: Kind::Count { min: 1, max: 1_000_000 },
            default: Fallback::Value("64"),
            summary: "WebSocket handshakes that may be under way with one backend at a time",
            details: "Further ones wait for their turn, so that the sessions of a dead backend do not overrun the next.",
            worst_case: "Worst case: of N sessions that move to one backend, the last waits N / this many handshakes.",
        },
        Flag {
            name: "connect-timeout",
            scope: Scope::Pool,
            kind: POSITIVE,
            default: Fallback::Value("5s"),
            summary: "How long connecting to a backend and its handshake may take; also for a probe",
            details: "",
            worst_case: "Worst case: a client without any backend waits so long for its 503.",
        },
        Flag {
            name: "trust-forwarded",
            scope: Scope::Process,
            kind: Kind::Networks,
            default: Fallback::Value(""),
            summary: "Networks whose X-Forwarded-* and Forwarded headers are kept and extended",
            details: "From any other peer they are replaced.",
            worst_case: "",
        },
        Flag {
            name: "session-key-file",
            scope: Scope::Route,
            kind: Kind::KeyFile,
            default: Fallback::Value(""),
            summary: "A file with the key that signs the session protocol's headers (Tideover-Signature)",
            details: "Read once, at start. A line end behind the key is not part of it. At least 16 bytes: \
                      `head -c 32 /dev/urandom | base64` gives a good one. Never logged.",
            worst_case: "Worst case: without it, a backend that clients can also reach directly cannot tell the \
                         proxy's headers from forged ones.",
        },
        Flag {
            name: "compression",
            scope: Scope::Route,
            kind: Kind::Choice(names::<Compression>),
            default: Fallback::Computed("relay; off where rules change messages"),
            summary: "Whether clients and backends may agree on compressed messages (permessage-deflate)",
            details: "relay: a client's offer goes to the backends, both directions without context takeover, so that \
                      each message can be inflated by itself; compressed messages pass as they come. off: the offer is \
                      declined, as it must be where rules translate ids or cut packets.",
            worst_case: "Worst case: many small messages that resemble each other compress worse than they would with \
                         context takeover; a backend that answers an offer against RFC 7692 gets no session.",
        },
    ],
};

pub(super) const OPERATOR: Theme = Theme {
    heading: "Operator's API",
    flags: &[
        Flag {
            name: "admin",
            scope: Scope::Process,
            kind: Kind::Admin,
            default: Fallback::Value(""),
            summary: "Where the operator's API listens, which `tideover ctl` speaks; off unless given",
            details: "On a unix socket its file mode, 0600, decides who may use it. On TCP, admin-token-file does. Port 0 \
                      takes a free port; the line `operator's API` of the log says which. Not for the public: it \
                      speaks plain HTTP.",
            worst_case: "Worst case: 64 connections, and a list of all sessions while one is answered.",
        },
        Flag {
            name: "admin-token-file",
            scope: Scope::Process,
            kind: Kind::KeyFile,
            default: Fallback::Value(""),
            summary: "A file with the token that the operator's API asks for on TCP (Authorization: Bearer)",
            details: "Read once, at start. A line end behind the token is not part of it. 16 to 4096 visible ASCII \
                      characters: `head -c 32 /dev/urandom | base64` gives good ones. Never logged. Without it, TCP \
                      callers get health and metrics, on a loopback address, and nothing else.",
            worst_case: "",
        },
    ],
};

pub(super) const PROCESS: Theme = Theme {
    heading: "Process",
    flags: &[
        Flag {
            name: "workers",
            scope: Scope::Process,
            kind: Kind::Count { min: 1, max: 1024 },
            default: Fallback::Computed("the number of cores"),
            summary: "Threads that relay",
            details: "",
            worst_case: "Worst case: one core each.",
        },
        Flag {
            name: "log",
            scope: Scope::Process,
            kind: Kind::Filter,
            default: Fallback::Value("info"),
            summary: "What to log on standard error: a level, or levels by target",
            details: "error, warn, info, debug, trace or off; by target as in warn,tideover=debug.",
            worst_case: "",
        },
        Flag {
            name: "log-format",
            scope: Scope::Process,
            kind: Kind::Choice(names::<LogFormat>),
            default: Fallback::Value("text"),
            summary: "How a line of the log is written",
            details: "text for people, with colours on a terminal; json for programs, one object a line.",
            worst_case: "",
        },
        Flag {
            name: "log-query",
            scope: Scope::Process,
            kind: Kind::Choice(names::<bool>),
            default: Fallback::Value("off"),
            summary: "Whether lines of the log show the query of a request's target",
            details: "Queries often carry tokens. Only where clients are sent elsewhere (mode redirect, assign) does a line \
                      show a target at all.",
            worst_case: "",
        },
        Flag {
            name: "config",
            scope: Scope::Process,
            kind: Kind::File,
            default: Fallback::Value(""),
            summary: "A TOML file whose keys are the names of these flags",
            details: "A flag goes before its environment variable, and that before the file.",
            worst_case: "",
        },
    ],
};
