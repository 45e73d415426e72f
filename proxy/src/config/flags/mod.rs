//! The one table of `serve`'s flags. The command line, the environment variables, the keys of the file, the defaults,
//! the bounds and the help all come from it, so that they cannot drift apart.

mod guarantees;
mod health;
mod http;
mod limits;
mod migration;
mod pool;
mod reattach;
mod relay;
mod rules;
mod schemes;
mod server;
pub(super) mod tables;
mod tls;

use std::fmt;
use std::time::Duration;

use super::choice::either;
use super::units::{format_duration, format_size};

/// One setting of `tideover serve`.
#[derive(Debug)]
pub struct Flag {
    /// Its name without dashes, also its key in the file: `buffer-bytes`.
    pub name: &'static str,
    /// What it is a setting of.
    pub scope: Scope,
    /// What values it takes.
    pub kind: Kind,
    /// What it is when no source gives it.
    pub default: Fallback,
    /// One line: what it does.
    pub summary: &'static str,
    /// What else a reader should know. May be empty.
    pub details: &'static str,
    /// The worst case in memory or time that it allows.
    pub worst_case: &'static str,
}

/// What a setting belongs to. Those of pools and routes, given at the top level, are the defaults of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The process: there is one value.
    Process,
    /// Where the backends of a pool come from: at the top level, those of the pool `default`.
    Source,
    /// A backend: only `[[backend]]` has it.
    Backend,
    /// A pool: each may have its own.
    Pool,
    /// A route: each may have its own, for the sessions that it takes.
    Route,
}

/// What a setting is when no source gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// It must be given.
    Required,
    /// This, written as on the command line. Empty for an empty list.
    Value(&'static str),
    /// Known at start only; what it is, in words.
    Computed(&'static str),
}

/// What values a setting takes. Bounds are inclusive.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A number of bytes.
    Size {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A whole number.
    Count {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A length of time.
    Duration {
        /// The least.
        min: Duration,
        /// The most.
        max: Duration,
        /// The word that may stand in its place: `off`, or `auto`.
        or: Option<&'static str>,
    },
    /// One of these words.
    Choice(fn() -> Vec<&'static str>),
    /// A list of socket addresses.
    Addresses,
    /// A list of backend URLs.
    Backends,
    /// The URL of a backend.
    Url,
    /// What people call a backend or a pool.
    Name,
    /// A list of hosts.
    Hosts,
    /// A list of beginnings of paths.
    Paths,
    /// A list of header fields.
    Headers,
    /// The name of a profile or the path of a rule file, or nothing.
    Profile,
    /// The path of a file that lists backends, or nothing.
    BackendsFile,
    /// A DNS name that stands for backends, or nothing.
    Dns,
    /// A DNS server, or nothing.
    DnsServer,
    /// A list of close codes.
    Codes,
    /// A list of ends of a backend leg: close codes, `eof`, `codeless`.
    Ends,
    /// A list of IP networks.
    Networks,
    /// The public URL of a backend, or nothing.
    PublicUrl,
    /// A list of IP addresses.
    Ips,
    /// A list of backends and their public URLs.
    PublicUrls,
    /// A list of backends and their public addresses.
    PublicAddresses,
    /// A list of origins of web pages.
    Origins,
    /// A list of names, each with the pool that it stands for.
    DnsZones,
    /// A list of names of hosts.
    HostNames,
    /// The path of a program, or nothing.
    Program,
    /// A log filter.
    Filter,
    /// The name of a header field that is free, or nothing.
    Header,
    /// What of a handshake is hashed.
    HashKey,
    /// The name of a cookie, or nothing.
    Cookie,
    /// A path of a URL, or nothing.
    Path,
    /// A host and a port.
    HostPort,
    /// An `http://` URL.
    HttpUrl,
    /// Any text of up to 1 KiB.
    Text,
    /// A host and maybe a port, or nothing.
    Host,
    /// How backends are checked, or `off`.
    Check,
    /// A list of HTTP statuses and ranges of them.
    Statuses,
    /// The path of a file with a secret, or nothing.
    KeyFile,
    /// A list of paths of PEM files.
    PemFiles,
    /// The path of a PEM file, or nothing.
    PemFile,
    /// The name or IP address of a host, or nothing.
    ServerName,
    /// Where the operator's API listens, or nothing.
    Admin,
    /// The URL of a hook, or nothing.
    HookUrl,
    /// A list of names of header fields.
    HeaderNames,
    /// The path of a file with header fields and query keys, or nothing.
    ValuesFile,
    /// The path of the configuration file: no key of that file.
    File,
}

/// Flags that belong together, under one heading of the help.
#[derive(Debug)]
pub struct Theme {
    /// The heading.
    pub heading: &'static str,
    /// Its flags, in the order of the help.
    pub flags: &'static [Flag],
}

/// All themes, in the order of the help.
pub static THEMES: [Theme; 24] = [
    server::LISTEN,
    pool::BALANCING,
    relay::BUFFERS,
    guarantees::ACKNOWLEDGEMENT,
    guarantees::ANSWERS,
    rules::RULES,
    relay::LIVENESS,
    relay::FAILOVER,
    reattach::CREDENTIALS,
    migration::MIGRATION,
    health::HEALTH,
    guarantees::REPLAY,
    relay::CLOSING,
    tls::CLIENTS,
    tls::BACKENDS,
    http::HTTP,
    http::ADMISSION,
    limits::LIMITS,
    limits::CLIENTS,
    schemes::REDIRECT,
    schemes::DNS,
    schemes::SCALING,
    server::OPERATOR,
    server::PROCESS,
];

/// All flags, in the order of the help.
pub fn flags() -> impl Iterator<Item = &'static Flag> {
    THEMES.iter().flat_map(|theme| theme.flags)
}

impl Flag {
    /// The flag of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        flags().find(|flag| flag.name == name)
    }

    /// Its environment variable: `TIDEOVER_BUFFER_BYTES`.
    #[must_use]
    pub fn env(&self) -> String {
        format!("TIDEOVER_{}", self.name.to_uppercase().replace('-', "_"))
    }

    /// Its key in the file; `None` for `--config` itself.
    #[must_use]
    pub fn key(&self) -> Option<&'static str> {
        (!matches!(self.kind, Kind::File)).then_some(self.name)
    }

    /// Everything about it, for `--help`.
    #[must_use]
    pub fn long_help(&self) -> String {
        let mut help = self.summary.to_owned();
        for more in [self.details, self.worst_case] {
            if !more.is_empty() {
                help += &format!("\n\n{more}");
            }
        }
        let list = if self.kind.is_list() { "a comma separated list; each " } else { "" };
        help + &format!("\n\nTakes {list}{}.\n[{}] [env: {}]", self.kind, self.default, self.env())
    }
}

impl Kind {
    /// Whether several values may be given: by repeating the flag, with commas, or as an array of the file.
    #[must_use]
    pub fn is_list(self) -> bool {
        matches!(
            self,
            Self::Addresses
                | Self::Backends
                | Self::Codes
                | Self::Ends
                | Self::Networks
                | Self::Statuses
                | Self::Ips
                | Self::PublicUrls
                | Self::PublicAddresses
                | Self::Origins
                | Self::DnsZones
                | Self::HostNames
                | Self::Hosts
                | Self::Paths
                | Self::Headers
                | Self::PemFiles
                | Self::HeaderNames
        )
    }

    /// Whether the file may give it as an integer. A duration's can only be 0; any other is told that it needs a unit.
    #[must_use]
    pub fn takes_integers(self) -> bool {
        let number = matches!(self, Self::Size { .. } | Self::Count { .. } | Self::Duration { .. });
        number || matches!(self, Self::Codes | Self::Ends | Self::Statuses)
    }

    /// What the help calls its value.
    #[must_use]
    pub fn placeholder(self) -> String {
        match self {
            Self::Size { .. } => "SIZE".into(),
            Self::Count { .. } => "COUNT".into(),
            Self::Duration { .. } => "DURATION".into(),
            Self::Choice(words) => words().join("|"),
            Self::Addresses => "ADDR".into(),
            Self::Backends | Self::Url => "URL".into(),
            Self::Name => "NAME".into(),
            Self::Hosts => "HOSTS".into(),
            Self::Paths => "PATHS".into(),
            Self::Headers => "FIELDS".into(),
            Self::Profile => "NAME|PATH".into(),
            Self::BackendsFile => "PATH".into(),
            Self::Dns => "NAME".into(),
            Self::DnsServer => "ADDR".into(),
            Self::Codes => "CODES".into(),
            Self::Ends => "ENDS".into(),
            Self::Networks => "CIDRS".into(),
            Self::PublicUrl => "URL".into(),
            Self::Ips => "IP".into(),
            Self::PublicUrls => "BACKEND=URL".into(),
            Self::PublicAddresses => "BACKEND=IP".into(),
            Self::Origins => "ORIGIN".into(),
            Self::DnsZones => "NAME=POOL".into(),
            Self::HostNames => "NAME".into(),
            Self::Program => "PROGRAM".into(),
            Self::Filter => "FILTER".into(),
            Self::Header => "NAME".into(),
            Self::HashKey => "KEY".into(),
            Self::Cookie => "NAME".into(),
            Self::Path => "PATH".into(),
            Self::HostPort => "HOST:PORT".into(),
            Self::HttpUrl => "URL".into(),
            Self::Text => "TEXT".into(),
            Self::Host => "HOST".into(),
            Self::Check => "CHECK".into(),
            Self::Statuses => "STATUSES".into(),
            Self::KeyFile | Self::PemFile | Self::PemFiles => "PATH".into(),
            Self::ServerName => "NAME".into(),
            Self::HookUrl => "URL".into(),
            Self::HeaderNames => "NAME".into(),
            Self::ValuesFile => "PATH".into(),
            Self::Admin => "ADDR".into(),
            Self::File => "FILE".into(),
        }
    }
}

/// What is allowed, to stand behind "takes" or "is not".
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Size { min, max } => {
                write!(f, "a size from {} to {}, such as 64KiB or 65536", format_size(min), format_size(max))
            }
            Self::Count { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Duration { min, max, or } => {
                let (min, max) = (format_duration(min), format_duration(max));
                write!(f, "a duration from {min} to {max}, such as 250ms or 1m 30s")?;
                or.map_or(Ok(()), |word| write!(f, ", or {word}"))
            }
            Self::Choice(words) => f.write_str(&either(&words())),
            Self::Addresses => f.write_str("an IP address and port, such as 127.0.0.1:8080 or [::]:8080"),
            Self::Backends | Self::Url => f.write_str("a URL ws://host or ws://host:port"),
            Self::Name => {
                f.write_str("a name of 1 to 255 visible ASCII characters without quotes, commas and backslashes")
            }
            Self::Hosts => f.write_str("a host such as chat.example.com, or *.example.com for all below example.com"),
            Self::Paths => f.write_str("a path such as /chat, without query and dot segments"),
            Self::Headers => f.write_str("a header field such as X-Tenant, or X-Tenant=a for one value"),
            Self::Profile => f.write_str(
                "the name of a profile (tideover profile list), or the path of a rule file, which has a slash or ends in \
                 .toml; or nothing",
            ),
            Self::BackendsFile => f.write_str("the path of a file with one backend a line: URL [key=value ...]"),
            Self::Dns => {
                f.write_str("a DNS name: host:port for its addresses, or srv:_service._tcp.name for its SRV records")
            }
            Self::DnsServer => f.write_str("an IP address and port such as 127.0.0.1:53, or an IP address"),
            Self::Codes => f.write_str("a close code that may be sent: 1000-1003, 1007-1014 or 3000-4999"),
            Self::Ends => f.write_str("eof, codeless, or a close code: 1000-1003, 1007-1014 or 3000-4999"),
            Self::Networks => f.write_str("an IP network such as 10.0.0.0/8, or an IP address"),
            Self::PublicUrl => f.write_str("a URL such as wss://chat-1.example.com, or nothing"),
            Self::Ips => f.write_str("an IP address such as 192.0.2.1 or 2001:db8::1"),
            Self::PublicUrls => f.write_str("a backend and its URL, such as 10.0.0.1:9001=wss://chat-1.example.com"),
            Self::PublicAddresses => f.write_str("a backend and its IP address, such as 10.0.0.1:9001=192.0.2.1"),
            Self::Origins => f.write_str("an origin such as https://app.example.com or https://*.example.com, or *"),
            Self::DnsZones => f.write_str("a name such as ws.example.com, and perhaps its pool: ws.example.com=chat"),
            Self::HostNames => f.write_str("a name such as ns1.example.com"),
            Self::Program => f.write_str("the path of a program, or nothing"),
            Self::Filter => f.write_str("a log filter such as info or warn,tideover=debug"),
            Self::Header => f.write_str("the name of a header field such as X-Balancer-Reconnect"),
            Self::PemFiles => f.write_str("the path of a file that can be read"),
            Self::PemFile => f.write_str("the path of a file that can be read; or nothing"),
            Self::ServerName => f.write_str("the name of a host or an IP address; or nothing"),
            Self::HashKey => f.write_str("header:NAME, cookie:NAME, query:NAME or address"),
            Self::Cookie => f.write_str("the name of a cookie such as backend, or nothing"),
            Self::HostPort => f.write_str("a host and port such as 10.0.0.7:5555"),
            Self::HttpUrl => f.write_str("a URL http://host/path or http://host:port/path"),
            Self::Text => f.write_str("a text of at most 1024 bytes"),
            Self::Path => f.write_str("a path such as /load, with or without a query; or nothing"),
            Self::Host => f.write_str("a host such as chat.example or chat.example:8080"),
            Self::Check => f.write_str("off, tcp, http:/path or ws:/path"),
            Self::Statuses => f.write_str("an HTTP status from 200 to 599, or a range such as 200-399"),
            Self::KeyFile => f.write_str("the path of a file of 16 to 4096 bytes"),
            Self::Admin => f.write_str(
                "an IP address and port such as 127.0.0.1:8081, or unix: and the path of a socket; or nothing",
            ),
            Self::HookUrl => f.write_str("a URL https://host/path, or http:// on a loopback address; or nothing"),
            Self::HeaderNames => f.write_str("the name of a header field such as Authorization"),
            Self::ValuesFile => f.write_str("the path of a TOML file with the tables headers and query, or nothing"),
            Self::File => f.write_str("the path of a TOML file"),
        }
    }
}

/// As the help shows it.
impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Required => f.write_str("required"),
            Self::Value("") => f.write_str("default: none"),
            Self::Value(value) => write!(f, "default: {value}"),
            Self::Computed(what) => write!(f, "default: {what}"),
        }
    }
}

/// The longest duration a setting takes.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// A duration above zero.
const POSITIVE: Kind = duration(1, None);

/// A duration that may be zero.
const FROM_ZERO: Kind = duration(0, None);

/// A duration above zero, or `off`.
const POSITIVE_OR_OFF: Kind = duration(1, Some("off"));

/// A duration that may be zero, or `off`.
const FROM_ZERO_OR_OFF: Kind = duration(0, Some("off"));

/// A duration that may be zero, or `auto`.
const FROM_ZERO_OR_AUTO: Kind = duration(0, Some("auto"));

/// A duration above zero, or `auto`.
const POSITIVE_OR_AUTO: Kind = duration(1, Some("auto"));

const fn duration(min_millis: u64, or: Option<&'static str>) -> Kind {
    Kind::Duration { min: Duration::from_millis(min_millis), max: LONGEST, or }
}

/// The largest number of sessions a setting takes.
const LARGEST_COUNT: u64 = 10_000_000;

/// The largest size a setting takes, where nothing else bounds it: 1 TiB.
const LARGEST: u64 = 1 << 40;
