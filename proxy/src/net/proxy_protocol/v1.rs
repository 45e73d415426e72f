//! Version 1: a line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Ends, Invalid, Origin, Parsed};

const BEGIN: &[u8] = b"PROXY ";
/// The longest line with its CRLF (2.1: "108 bytes is always enough", with a zero byte).
const LONGEST: usize = 107;

/// Reads a line that begins with `P`.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Invalid> {
    let known = bytes.len().min(BEGIN.len());
    if bytes[..known] != BEGIN[..known] {
        return Err(Invalid::Signature);
    }
    let window = &bytes[..bytes.len().min(LONGEST)];
    let Some(line_feed) = window.iter().position(|byte| *byte == b'\n') else {
        return if window.len() == LONGEST { Err(Invalid::TooLong) } else { Ok(Parsed::Partial) };
    };
    let line = window[..line_feed].strip_suffix(b"\r").ok_or(Invalid::Malformed)?;
    let line = str::from_utf8(&line[BEGIN.len()..]).map_err(|_| Invalid::Malformed)?;
    let origin = origin(line).ok_or(Invalid::Malformed)?;
    Ok(Parsed::Header { origin, len: line_feed + 1 })
}

/// What stands behind `PROXY `, with one space between two words.
fn origin(line: &str) -> Option<Origin> {
    let mut words = line.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        // What follows, if anything, is to be ignored.
        return Some(Origin::Own);
    }
    let mut address = || words.next().and_then(|word| address(family, word));
    let (source, destination) = (address()?, address()?);
    let mut port = || words.next().and_then(port);
    let ends = Ends { source: SocketAddr::new(source, port()?), destination: SocketAddr::new(destination, port()?) };
    words.next().is_none().then_some(Origin::Proxied(ends))
}

fn address(family: &str, word: &str) -> Option<IpAddr> {
    match family {
        "TCP4" => word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    }
}

/// Digits only, without a leading zero (2.1).
fn port(word: &str) -> Option<u16> {
    let plain = word == "0" || word.starts_with(|first: char| matches!(first, '1'..='9'));
    word.parse().ok().filter(|_| plain)
}
