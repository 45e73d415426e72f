//! What a route may ask, and read, before a handshake is given to a backend again.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderName;
use hyper::http::uri::PathAndQuery;
use toml::de::{DeTable, DeValue};

use super::reader::Reader;
use super::tls::path;
use super::{BackendUrl, Flag, parse};
use crate::renewal::{QueryEdit, Values};
use crate::tls::{Upstream, UpstreamFiles};

/// Bytes that a file with values may have.
const MOST_OF_A_FILE: u64 = 64 << 10;

/// What changes of a client's handshake when it is given to a backend again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RenewalConfig {
    /// What rules do to the query.
    pub query: QueryEdit,
    /// `--reattach-hook`: who is asked. `None`: nobody.
    pub hook: Option<HookConfig>,
    /// `--reattach-values-file`: what is set each time.
    pub file: Option<ValuesFile>,
}

/// A hook that is asked before a re-attach.
#[derive(Clone, Debug)]
pub struct HookConfig {
    /// `--reattach-hook`.
    pub url: HookUrl,
    /// `--reattach-hook-header`: the fields of the client's handshake that it is told. May be empty.
    pub headers: Vec<HeaderName>,
    /// `--reattach-hook-timeout`: how long a call may take, connecting included. Not zero.
    pub timeout: Duration,
    /// `--reattach-hook-cache`: how long an answer is good for the same session and credential. Zero: for one round.
    pub cache: Duration,
    /// `--on-hook-failure`.
    pub on_failure: OnHookFailure,
    /// `--reattach-hook-calls`: calls under way at a time, at least 1.
    pub calls: usize,
    /// `--reattach-hook-rate`: calls a second.
    pub rate: NonZeroU32,
    /// `--reattach-hook-max-bytes`: bytes that the body of an answer may have.
    pub max_bytes: usize,
    /// `--reattach-hook-ca`: TLS toward it.
    pub tls: Arc<Upstream>,
}

impl PartialEq for HookConfig {
    /// Whether both are configured the same.
    fn eq(&self, other: &Self) -> bool {
        let rest = |config: &Self| (config.timeout, config.cache, config.on_failure, config.calls, config.rate);
        self.url == other.url
            && self.headers == other.headers
            && rest(self) == rest(other)
            && self.max_bytes == other.max_bytes
            && self.tls.files() == other.tls.files()
    }
}

/// What becomes of a re-attach whose hook gives no good answer (`--on-hook-failure`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHookFailure {
    /// It is tried again, as if no backend could be had.
    Wait,
    /// It goes on with the client's own credentials.
    Attach,
    /// The client gets Close 1008.
    Close,
}

/// Where a hook is: `https://`, or `http://` on this machine. Its `Display` leaves the path and query out: they may
/// hold a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookUrl {
    server: BackendUrl,
    target: PathAndQuery,
}

impl HookUrl {
    /// The server.
    #[must_use]
    pub fn server(&self) -> &BackendUrl {
        &self.server
    }

    /// What it is asked for, a path and perhaps a query.
    #[must_use]
    pub fn target(&self) -> &PathAndQuery {
        &self.target
    }

    /// `host` or `host:port`, as a `Host` field has it: without the scheme's own port (RFC 9110 4.2.3).
    #[must_use]
    pub fn host(&self) -> String {
        let own = if self.server.tls { ":443" } else { ":80" };
        let authority = self.server.authority();
        authority.strip_suffix(own).map_or(authority.clone(), str::to_owned)
    }
}

impl fmt::Display for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.server.tls { "https" } else { "http" }, self.host())
    }
}

impl FromStr for HookUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").ok_or("begins with neither https:// nor http://")?;
        let socket = match scheme.to_ascii_lowercase().as_str() {
            "https" => "wss",
            "http" => "ws",
            _ => return Err("begins with neither https:// nor http://".into()),
        };
        let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if behind.contains('#') {
            return Err("has a fragment, which is sent to nobody".into());
        }
        if authority.contains('@') {
            return Err("has a user or password; give the hook what it needs in its path or query".into());
        }
        let server: Result<BackendUrl, _> = format!("{socket}://{authority}").parse();
        let server = server.map_err(|_| "has no valid host or port")?;
        if !server.tls && !is_loopback(&server.host) {
            return Err("is http:// to another machine, where credentials could be read: https:// is needed".into());
        }
        let target = if behind.starts_with('/') { behind.to_owned() } else { format!("/{behind}") };
        let target = target.parse().map_err(|_| "has a path or query that no request may have")?;
        Ok(Self { server, target })
    }
}

/// Whether the host is this machine. What the name `localhost` leads to is checked when it is connected to.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Header fields and query keys for re-attaches, in a file: TOML with the tables `headers` and `query`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValuesFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it said when it was read.
    pub values: Values,
}

impl ValuesFile {
    /// Reads the values at `path`.
    ///
    /// # Errors
    /// It cannot be read, or something in it is wrong. The text has no value that stands in it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = read_bounded(path).map_err(|error| format!("cannot be read: {error}"))?;
        Ok(Self { path: path.to_owned(), values: values(&text).map_err(|why| format!("is wrong: {why}"))? })
    }
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::{Error, Read};
    let mut text = String::new();
    std::fs::File::open(path)?.take(MOST_OF_A_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST_OF_A_FILE {
        return Err(Error::other("it has more than 64 KiB"));
    }
    Ok(text)
}

/// The parser's own messages would show lines of the file: only where it stumbled is told.
fn values(text: &str) -> Result<Values, String> {
    let table = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = 1 + text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count();
        format!("no TOML in line {line}")
    })?;
    let mut values = Values::default();
    for (key, value) in table.get_ref() {
        let name = key.get_ref().as_ref();
        let DeValue::Table(entries) = value.get_ref() else { return Err(format!("{name:?} is no table")) };
        for (key, value) in entries {
            let key = key.get_ref().as_ref();
            let DeValue::String(value) = value.get_ref() else { return Err(format!("{name}.{key} is no string")) };
            let added = match name {
                "headers" => values.header(key, Some(value)),
                "query" => values.query(key, Some(value)),
                _ => return Err(format!("unknown table [{name}]; there are [headers] and [query]")),
            };
            values = added.map_err(|why| why.to_string())?;
        }
    }
    Ok(values)
}

/// The file's values, read now; empty is none.
fn values_file(_: &Flag, text: &str) -> Result<Option<ValuesFile>, String> {
    if text.is_empty() { Ok(None) } else { ValuesFile::read(text.as_ref()).map(Some) }
}

fn hook_url(_: &Flag, text: &str) -> Result<Option<HookUrl>, String> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

fn header_name(flag: &Flag, text: &str) -> Result<HeaderName, String> {
    HeaderName::try_from(text).map_err(|_| format!("is not {}", flag.kind))
}

/// What the flags say.
pub(super) fn renewal(reader: &mut Reader<'_>) -> RenewalConfig {
    RenewalConfig {
        query: QueryEdit::default(),
        hook: hook(reader),
        file: reader.one("reattach-values-file", values_file),
    }
}

fn hook(reader: &mut Reader<'_>) -> Option<HookConfig> {
    let url = reader.one("reattach-hook", hook_url);
    let headers = reader.list("reattach-hook-header", header_name);
    let timeout = reader.duration("reattach-hook-timeout");
    let cache = reader.duration("reattach-hook-cache");
    let on_failure = reader.choice("on-hook-failure");
    let calls = reader.number("reattach-hook-calls");
    let rate = reader.one("reattach-hook-rate", |flag, text| {
        parse::number(flag, text).and_then(|rate| NonZeroU32::new(rate).ok_or_else(|| format!("is not {}", flag.kind)))
    });
    let max_bytes = reader.number("reattach-hook-max-bytes");
    let ca = reader.one("reattach-hook-ca", path);
    let Some(url) = url else {
        let needless = [("reattach-hook-header", !headers.is_empty()), ("reattach-hook-ca", ca.is_some())];
        for (name, _) in needless.into_iter().filter(|(_, given)| *given) {
            reader.reject(&[name, "reattach-hook"], "nobody is asked: give reattach-hook".into());
        }
        return None;
    };
    if ca.is_some() && !url.server.tls {
        reader.reject(&["reattach-hook-ca", "reattach-hook"], "authorities are for an https:// hook".into());
    }
    let tls = Upstream::new(UpstreamFiles { ca, ..UpstreamFiles::default() });
    if url.server.tls {
        // What is missing shows at the start.
        for problem in tls.reload().err().into_iter().flatten() {
            reader.reject(&["reattach-hook-ca"], problem);
        }
    }
    Some(HookConfig { url, headers, timeout, cache, on_failure, calls, rate, max_bytes, tls: Arc::new(tls) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_https_or_on_this_machine() {
        let good = [
            ("https://auth.example/renew?key=1", "https://auth.example", "/renew?key=1"),
            ("https://auth.example:8443", "https://auth.example:8443", "/"),
            ("http://127.0.0.1:9000/x", "http://127.0.0.1:9000", "/x"),
            ("http://[::1]:9000?a", "http://[::1]:9000", "/?a"),
            ("HTTP://localhost:80/", "http://localhost", "/"),
            ("http://127.9.9.9/", "http://127.9.9.9", "/"),
        ];
        for (text, shown, target) in good {
            let url: HookUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.target().as_str()), (shown, target), "{text}");
        }
        for text in [
            "",
            "auth.example",
            "ws://127.0.0.1/",
            "http://auth.example/",
            "http://10.0.0.1/",
            "http://localhost.evil.example/",
            "http://0.0.0.0/",
            "https://me:secret@auth.example/",
            "https://auth.example/#x",
            "https:///x",
            "https://a:0/",
            "https://a/ b",
            "http://127.0.0.1.evil.example/",
        ] {
            assert!(text.parse::<HookUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_has_fields_and_keys() {
        let read = values("[headers]\nAuthorization = 'Bearer 1'\n[query]\n'a b' = 'c'\n").unwrap();
        let expected = Values::default().header("authorization", Some("Bearer 1")).unwrap();
        assert_eq!(read, expected.query("a b", Some("c")).unwrap());
        assert_eq!(values("").unwrap(), Values::default());
    }

    #[test]
    fn what_is_wrong_with_a_file_shows_none_of_its_values() {
        let wrong = [
            ("[headers]\nHost = 'secret'", "the header field host cannot be set: it has a meaning already"),
            (
                "[headers]\nX = \"secret\\r\\nHost: x\"",
                "the value of the header field x has bytes that no field may have",
            ),
            ("[headers]\nX = 5", "headers.X is no string"),
            ("[header]\nX = 'secret'", "unknown table [header]; there are [headers] and [query]"),
            ("query = 'secret'", "\"query\" is no table"),
            ("[query]\nsecret secret", "no TOML in line 2"),
            ("[headers]\nX-A = 'secret'\nx_a = 'secret'", "the header field x_a is named twice"),
        ];
        for (text, why) in wrong {
            assert_eq!(values(text).unwrap_err(), why);
        }
    }
}
