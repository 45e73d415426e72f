//! The flags of TLS and of the PROXY protocol.

use super::{Fallback, Flag, Kind, Scope, Theme};
use crate::config::choice::names;
use crate::config::tls::{ProxyProtocol, SendProxy};
use crate::tls::ClientAuth;

pub(super) const CLIENTS: Theme = Theme {
    heading: "TLS and PROXY protocol, clients",
    flags: &[
        Flag {
            name: "tls-cert",
            scope: Scope::Process,
            kind: Kind::PemFiles,
            default: Fallback::Value(""),
            summary: "A file with a certificate and its chain, PEM, for wss:// clients; repeatable",
            details: "A client gets the one for the name that it asks for (SNI), wildcards included, and the first if \
                      none is for it. Read again when the file changes or on SIGHUP: a pair that is not good leaves \
                      the old one in use. One that has expired is refused at start. TLS 1.2 and 1.3.",
            worst_case: "Worst case: docs/tls.md says what a session with TLS takes in memory.",
        },
        Flag {
            name: "tls-key",
            scope: Scope::Process,
            kind: Kind::PemFiles,
            default: Fallback::Value(""),
            summary: "The private key of the tls-cert in the same place; repeatable",
            details: "PEM: PKCS #8, PKCS #1 or SEC 1, not encrypted.",
            worst_case: "",
        },
        Flag {
            name: "tls-client-ca",
            scope: Scope::Process,
            kind: Kind::PemFile,
            default: Fallback::Value(""),
            summary: "A file with the authorities, PEM, whose certificates clients are asked for",
            details: "Without it clients are not asked for any. Read again as tls-cert is.",
            worst_case: "",
        },
        Flag {
            name: "tls-client-auth",
            scope: Scope::Process,
            kind: Kind::Choice(names::<ClientAuth>),
            default: Fallback::Value("required"),
            summary: "Whether a client without a certificate is served, where tls-client-ca is given",
            details: "A certificate that is not good is refused either way.",
            worst_case: "",
        },
        Flag {
            name: "proxy-protocol",
            scope: Scope::Process,
            kind: Kind::Choice(names::<ProxyProtocol>),
            default: Fallback::Value("off"),
            summary: "Whether connections begin with a PROXY header, version 1 or 2, that says whose they are",
            details: "With `in`, all listeners ask for it. Only trust-proxies may connect then.",
            worst_case: "",
        },
        Flag {
            name: "trust-proxies",
            scope: Scope::Process,
            kind: Kind::Networks,
            default: Fallback::Value(""),
            summary: "Networks of the balancers that may connect with --proxy-protocol in",
            details: "Anybody else is disconnected, with a line in the log. Whoever is in them can pass for any client.",
            worst_case: "",
        },
    ],
};

pub(super) const BACKENDS: Theme = Theme {
    heading: "TLS and PROXY protocol, backends",
    flags: &[
        Flag {
            name: "backend-ca",
            scope: Scope::Pool,
            kind: Kind::PemFile,
            default: Fallback::Value(""),
            summary: "A file with the only authorities, PEM, that wss:// backends are trusted by; else the system's",
            details: "Read again as tls-cert is.",
            worst_case: "",
        },
        Flag {
            name: "backend-server-name",
            scope: Scope::Pool,
            kind: Kind::ServerName,
            default: Fallback::Value(""),
            summary: "The name that a wss:// backend is asked for and its certificate must have; else the URL's host",
            details: "For backends that are given by address.",
            worst_case: "",
        },
        Flag {
            name: "backend-cert",
            scope: Scope::Pool,
            kind: Kind::PemFile,
            default: Fallback::Value(""),
            summary: "A file with a certificate, PEM, that the proxy shows wss:// backends that ask for one",
            details: "Needs backend-key. Read again as tls-cert is.",
            worst_case: "",
        },
        Flag {
            name: "backend-key",
            scope: Scope::Pool,
            kind: Kind::PemFile,
            default: Fallback::Value(""),
            summary: "The private key of backend-cert",
            details: "PEM: PKCS #8, PKCS #1 or SEC 1, not encrypted.",
            worst_case: "",
        },
        Flag {
            name: "send-proxy",
            scope: Scope::Pool,
            kind: Kind::Choice(names::<SendProxy>),
            default: Fallback::Value("off"),
            summary: "Whether connections to backends begin with a PROXY header that says whose they are",
            details: "v2: version 2, binary; the proxy's own probes say LOCAL. Backends that do not expect it fail.",
            worst_case: "",
        },
    ],
};
