//! The keys of the file's tables, besides the flags that may stand there.

use super::{Fallback, Flag, Kind, LARGEST_COUNT, Scope};

/// A table of the file.
#[derive(Debug)]
pub struct TableKind {
    /// Its name: `[[name]]`.
    pub name: &'static str,
    /// Its own keys.
    pub keys: &'static [Flag],
    /// Which flags may stand there, too.
    pub scopes: &'static [Scope],
}

impl TableKind {
    /// All keys that may stand in it.
    pub fn all_keys(&self) -> impl Iterator<Item = &'static Flag> + use<> {
        let (keys, scopes) = (self.keys, self.scopes);
        keys.iter().chain(super::flags().filter(move |flag| scopes.contains(&flag.scope)))
    }
}

/// All kinds of tables.
pub static TABLES: [&TableKind; 3] = [&BACKEND, &POOL, &ROUTE];

/// `[[backend]]`.
pub(crate) static BACKEND: TableKind = TableKind {
    name: "backend",
    scopes: &[],
    keys: &[
        Flag {
            name: "url",
            scope: Scope::Backend,
            kind: Kind::Url,
            default: Fallback::Required,
            summary: "Where it is",
            details: "",
            worst_case: "",
        },
        Flag {
            name: "id",
            scope: Scope::Backend,
            kind: Kind::Name,
            default: Fallback::Computed("host:port of its URL"),
            summary: "What people call it; unique in its pool",
            details: "Of two with the same id, before and after a reload, only settings differ; with another URL it is \
                      another backend.",
            worst_case: "",
        },
        Flag {
            name: "pool",
            scope: Scope::Backend,
            kind: Kind::Name,
            default: Fallback::Value("default"),
            summary: "Its pool",
            details: "",
            worst_case: "",
        },
        Flag {
            name: "weight",
            scope: Scope::Backend,
            kind: Kind::Count { min: 0, max: 256 },
            default: Fallback::Value("100"),
            summary: "Its share of the pool's sessions, relative to the others'",
            details: "0: it gets no new sessions.",
            worst_case: "",
        },
        Flag {
            name: "max-sessions",
            scope: Scope::Backend,
            kind: Kind::Count { min: 0, max: LARGEST_COUNT },
            default: Fallback::Value("0"),
            summary: "Sessions that it may have at a time; 0 for any number",
            details: "",
            worst_case: "",
        },
        Flag {
            name: "priority",
            scope: Scope::Backend,
            kind: Kind::Count { min: 0, max: 65_535 },
            default: Fallback::Value("0"),
            summary: "Backends of a higher number are tried when those of all lower ones failed lately or are full",
            details: "As the priority of an SRV record (RFC 2782).",
            worst_case: "",
        },
        Flag {
            name: "agent",
            scope: Scope::Backend,
            kind: Kind::HostPort,
            default: Fallback::Computed("its own host at agent-port, if that is not 0"),
            summary: "Where its agent listens, which says how it wants to be used",
            details: "",
            worst_case: "",
        },
        Flag {
            name: "agent-send",
            scope: Scope::Backend,
            kind: Kind::Text,
            default: Fallback::Value(""),
            summary: "What its agent is sent first, as it is",
            details: "",
            worst_case: "",
        },
        Flag {
            name: "load-url",
            scope: Scope::Backend,
            kind: Kind::HttpUrl,
            default: Fallback::Computed("its own address and load-path, if that is given"),
            summary: "Where its load report is",
            details: "",
            worst_case: "",
        },
        Flag {
            name: "public-url",
            scope: Scope::Backend,
            kind: Kind::PublicUrl,
            default: Fallback::Value(""),
            summary: "Where clients reach it without the proxy",
            details: "",
            worst_case: "",
        },
        Flag {
            name: "public-address",
            scope: Scope::Backend,
            kind: Kind::Ips,
            default: Fallback::Value(""),
            summary: "Its addresses for the DNS, where they are not those of its URL",
            details: "",
            worst_case: "",
        },
    ],
};

/// `[[pool]]`.
pub(crate) static POOL: TableKind = TableKind {
    name: "pool",
    scopes: &[Scope::Source, Scope::Pool],
    keys: &[Flag {
        name: "name",
        scope: Scope::Pool,
        kind: Kind::Name,
        default: Fallback::Required,
        summary: "Its name",
        details: "",
        worst_case: "",
    }],
};

/// `[[route]]`.
pub(crate) static ROUTE: TableKind = TableKind {
    name: "route",
    scopes: &[Scope::Route],
    keys: &[
        Flag {
            name: "name",
            scope: Scope::Route,
            kind: Kind::Name,
            default: Fallback::Value(""),
            summary: "What a [[rule]] calls it; no two routes have the same",
            details: "",
            worst_case: "",
        },
        Flag {
            name: "host",
            scope: Scope::Route,
            kind: Kind::Hosts,
            default: Fallback::Value(""),
            summary: "The hosts whose handshakes it takes; none for all",
            details: "",
            worst_case: "",
        },
        Flag {
            name: "path",
            scope: Scope::Route,
            kind: Kind::Paths,
            default: Fallback::Value(""),
            summary: "The paths, with all below them, whose handshakes it takes; none for all",
            details: "",
            worst_case: "",
        },
        Flag {
            name: "header",
            scope: Scope::Route,
            kind: Kind::Headers,
            default: Fallback::Value(""),
            summary: "The header fields that must all be in a handshake that it takes",
            details: "",
            worst_case: "",
        },
        Flag {
            name: "pool",
            scope: Scope::Route,
            kind: Kind::Name,
            default: Fallback::Value("default"),
            summary: "Where its sessions go",
            details: "",
            worst_case: "",
        },
    ],
};
