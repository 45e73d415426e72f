//! One value of each kind, from its text. What is wrong is said behind the text: "is not …", "has …".

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;
use rustix::fs::{Access, access};
use tideover_protocol::close::CloseCode;

use super::choice::{self, Choice};
use super::health;
use super::units::{parse_duration, parse_size};
use super::{
    AdminAddress, AdminToken, BackendUrl, BackendsFile, CheckProbe, CookieName, DEFAULT_POOL, DnsName, DnsZone, Flag,
    HashKey, InvalidBackendUrl, Kind, Origin, PublicUrl, SessionKey,
};
use crate::fields;

fn is_not(flag: &Flag) -> String {
    format!("is not {}", flag.kind)
}

pub(super) fn choice<T: Choice>(flag: &Flag, text: &str) -> Result<T, String> {
    choice::parse(text).ok_or_else(|| is_not(flag))
}

pub(super) fn number<T: TryFrom<u64>>(flag: &Flag, text: &str) -> Result<T, String> {
    let (number, min, max) = match flag.kind {
        Kind::Size { min, max } => (parse_size(text), min, max),
        Kind::Count { min, max } => (text.parse().ok(), min, max),
        _ => unreachable!("{} takes no number", flag.name),
    };
    let number = number.filter(|number| (min..=max).contains(number)).ok_or_else(|| is_not(flag))?;
    T::try_from(number).map_err(|_| "is more than this machine can address".into())
}

/// `None` is the word that may stand in place of a duration.
pub(super) fn duration(flag: &Flag, text: &str) -> Result<Option<Duration>, String> {
    let Kind::Duration { min, max, or } = flag.kind else { unreachable!("{} takes no duration", flag.name) };
    match parse_duration(text) {
        Some(duration) if (min..=max).contains(&duration) => Ok(Some(duration)),
        None if or == Some(text) => Ok(None),
        _ => Err(is_not(flag)),
    }
}

pub(super) fn address(flag: &Flag, text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| is_not(flag))
}

pub(super) fn backend(_: &Flag, text: &str) -> Result<BackendUrl, String> {
    text.parse().map_err(|why: InvalidBackendUrl| why.to_string())
}

/// What a backend or a pool is called: what fits into a URL path, a log line and a metric's label as it is.
pub(super) fn name(flag: &Flag, text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"\"',\\".contains(&byte);
    if (1..=255).contains(&text.len()) && text.bytes().all(fits) { Ok(text.to_owned()) } else { Err(is_not(flag)) }
}

/// A pattern of a route.
pub(super) fn matching<T: FromStr>(flag: &Flag, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| is_not(flag))
}

/// The list of backends in the file of that path, read now; empty is none.
pub(super) fn backends_file(_: &Flag, text: &str) -> Result<Option<BackendsFile>, String> {
    if text.is_empty() { Ok(None) } else { BackendsFile::read(text.as_ref()).map(Some) }
}

pub(super) fn dns_name(flag: &Flag, text: &str) -> Result<Option<DnsName>, String> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|()| is_not(flag)) }
}

pub(super) fn dns_server(flag: &Flag, text: &str) -> Result<Option<SocketAddr>, String> {
    let address = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().or_else(|_| address()).ok().filter(|server| server.port() != 0).map(Some).ok_or_else(|| is_not(flag))
}

pub(super) fn network(flag: &Flag, text: &str) -> Result<ipnet::IpNet, String> {
    let address = || text.parse::<IpAddr>().map(ipnet::IpNet::from);
    text.parse().or_else(|_| address()).map_err(|_| is_not(flag))
}

/// The name of a field that is free; empty is none.
pub(super) fn header(flag: &Flag, text: &str) -> Result<Option<HeaderName>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let name = HeaderName::try_from(text).map_err(|_| is_not(flag))?;
    match fields::is_free(&name) {
        true => Ok(Some(name)),
        false => Err("is a field that the proxy sets or drops itself".into()),
    }
}

pub(super) fn hash_key(flag: &Flag, text: &str) -> Result<HashKey, String> {
    HashKey::parse(text).ok_or_else(|| is_not(flag))
}

/// The name of a cookie; empty is none.
pub(super) fn cookie(flag: &Flag, text: &str) -> Result<Option<CookieName>, String> {
    if text.is_empty() { Ok(None) } else { CookieName::new(text).map(Some).ok_or_else(|| is_not(flag)) }
}

/// A path of a URL; empty is none.
pub(super) fn path(flag: &Flag, text: &str) -> Result<Option<String>, String> {
    let good = || text.starts_with('/') && !text.contains('#') && PathAndQuery::try_from(text).is_ok();
    match text {
        "" => Ok(None),
        _ if good() => Ok(Some(text.to_owned())),
        _ => Err(is_not(flag)),
    }
}

/// As `host:port`.
pub(super) fn host_port(flag: &Flag, text: &str) -> Result<String, String> {
    let parsed: Option<BackendUrl> = format!("ws://{text}").parse().ok();
    parsed.map(|url| url.authority()).filter(|found| found.eq_ignore_ascii_case(text)).ok_or_else(|| is_not(flag))
}

pub(super) fn http_url(flag: &Flag, text: &str) -> Result<Uri, String> {
    let good = |url: &Uri| {
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let host = format!("ws://{authority}").parse::<BackendUrl>();
        url.scheme_str() == Some("http") && host.is_ok() && !text.contains('#')
    };
    text.parse().ok().filter(good).ok_or_else(|| is_not(flag))
}

pub(super) fn text(flag: &Flag, text: &str) -> Result<String, String> {
    if text.len() <= 1024 { Ok(text.to_owned()) } else { Err(is_not(flag)) }
}

/// The key in the file of that path, read now; empty is none.
pub(super) fn key_file(_: &Flag, text: &str) -> Result<Option<SessionKey>, String> {
    if text.is_empty() { Ok(None) } else { SessionKey::read(text.as_ref()).map(Some) }
}

/// How backends are checked; `off` is not at all.
pub(super) fn check(flag: &Flag, text: &str) -> Result<Option<CheckProbe>, String> {
    if text == "off" { Ok(None) } else { text.parse().map(Some).map_err(|()| is_not(flag)) }
}

pub(super) fn statuses(flag: &Flag, text: &str) -> Result<RangeInclusive<u16>, String> {
    health::statuses(text).ok_or_else(|| is_not(flag))
}

/// What goes into a `Host` field (RFC 9110 7.2); empty is none.
pub(super) fn host(flag: &Flag, text: &str) -> Result<Option<HeaderValue>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let is_host = !text.ends_with('/') && format!("ws://{text}").parse::<BackendUrl>().is_ok();
    HeaderValue::from_str(text).ok().filter(|_| is_host).map(Some).ok_or_else(|| is_not(flag))
}

/// Where the operator's API listens; empty is nowhere.
pub(super) fn admin(flag: &Flag, text: &str) -> Result<Option<AdminAddress>, String> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|()| is_not(flag)) }
}

/// The token in the file of that path, read now; empty is none.
pub(super) fn token_file(_: &Flag, text: &str) -> Result<Option<AdminToken>, String> {
    if text.is_empty() { Ok(None) } else { AdminToken::read(text.as_ref()).map(Some) }
}

/// A backend, named by its id, and its public URL.
pub(super) fn public_url(flag: &Flag, text: &str) -> Result<(String, PublicUrl), String> {
    let (backend, url) = text.split_once('=').ok_or_else(|| is_not(flag))?;
    Ok((backend.to_owned(), some_public_url(flag, url)?))
}

/// The public URL of the backend itself; empty is none.
pub(super) fn own_public_url(flag: &Flag, text: &str) -> Result<Option<PublicUrl>, String> {
    if text.is_empty() { Ok(None) } else { some_public_url(flag, text).map(Some) }
}

fn some_public_url(_: &Flag, text: &str) -> Result<PublicUrl, String> {
    text.parse().map_err(|why: &str| why.to_owned())
}

pub(super) fn ip(flag: &Flag, text: &str) -> Result<IpAddr, String> {
    text.parse().map(|address: IpAddr| address.to_canonical()).map_err(|_| is_not(flag))
}

/// A backend, named by its id, and an address.
pub(super) fn public_address(flag: &Flag, text: &str) -> Result<(String, IpAddr), String> {
    let (backend, address) = text.split_once('=').ok_or_else(|| is_not(flag))?;
    Ok((backend.to_owned(), ip(flag, address)?))
}

pub(super) fn origin(flag: &Flag, text: &str) -> Result<Origin, String> {
    text.parse().map_err(|()| is_not(flag))
}

/// A name in lower case, without a dot at its end. It leaves room for a label of 10 bytes before it, and so for the
/// names that are made from it.
pub(super) fn host_name(flag: &Flag, text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    match name.len() <= 240 && name.split('.').all(is_label) {
        true => Ok(name.to_ascii_lowercase()),
        false => Err(is_not(flag)),
    }
}

pub(super) fn dns_zone(flag: &Flag, text: &str) -> Result<DnsZone, String> {
    let (name, pool) = text.split_once('=').unwrap_or((text, DEFAULT_POOL));
    Ok(DnsZone { name: host_name(flag, name)?, pool: pool.to_owned() })
}

/// A file that may be executed; empty is none.
pub(super) fn program(_: &Flag, text: &str) -> Result<Option<PathBuf>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let path = PathBuf::from(text);
    let metadata = std::fs::metadata(&path).map_err(|error| format!("cannot be run: {error}"))?;
    match metadata.is_file() && access(&path, Access::EXEC_OK).is_ok() {
        true => Ok(Some(path)),
        false => Err("is not a file that may be executed".into()),
    }
}

pub(super) fn filter(flag: &Flag, text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(why) => Err(format!("{}: {why}", is_not(flag))),
    }
}

pub(super) fn code(flag: &Flag, text: &str) -> Result<CloseCode, String> {
    text.parse().ok().and_then(CloseCode::new).ok_or_else(|| is_not(flag))
}

/// An item of `--ambiguous`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Eof,
    Codeless,
    Code(CloseCode),
}

impl End {
    pub(super) fn code(self) -> Option<CloseCode> {
        match self {
            Self::Code(code) => Some(code),
            Self::Eof | Self::Codeless => None,
        }
    }
}

pub(super) fn end(flag: &Flag, text: &str) -> Result<End, String> {
    match text {
        "eof" => Ok(End::Eof),
        "codeless" => Ok(End::Codeless),
        _ => code(flag, text).map(End::Code),
    }
}
