//! Target `proxy_header`: any bytes as a PROXY header, against the specification read anew in a few lines.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tideover::net::proxy_protocol::{Ends, MAX_HEADER, Origin, Parsed, encode, parse};

/// Panics where the parser reads something else than the reference, or a beginning of a header is not partial. Gives whether it
/// was a header that says both ends.
pub(crate) fn check(bytes: &[u8]) -> bool {
    let expected = if bytes.first() == Some(&b'P') { line(bytes) } else { binary(bytes) };
    let got = match parse(bytes) {
        Ok(Parsed::Header { origin: Origin::Proxied(ends), len }) => Some((Some(ends), len)),
        Ok(Parsed::Header { origin: Origin::Own, len }) => Some((None, len)),
        Ok(Parsed::Partial) | Err(_) => None,
    };
    assert_eq!(got, expected, "{bytes:?}");
    let Some((ends, len)) = got else { return false };
    for cut in 0..len {
        assert_eq!(parse(&bytes[..cut]), Ok(Parsed::Partial), "the first {cut} of {bytes:?}");
    }
    let Some(ends) = ends else { return false };
    assert!(
        matches!(parse(&encode(Some(ends))), Ok(Parsed::Header { origin: Origin::Proxied(again), .. }) if same(again, ends))
    );
    true
}

/// The same ends, whichever way a family was mapped.
fn same(one: Ends, other: Ends) -> bool {
    let key = |end: SocketAddr| (end.ip().to_canonical(), end.port());
    key(one.source) == key(other.source) && key(one.destination) == key(other.destination)
}

/// Version 1 (section 2.1): the ends, if it says them, and the length.
fn line(bytes: &[u8]) -> Option<(Option<Ends>, usize)> {
    let end = bytes.iter().take(107).position(|byte| *byte == b'\n')?;
    let text = str::from_utf8(&bytes[..end]).ok()?.strip_suffix('\r')?.strip_prefix("PROXY ")?;
    let words: Vec<&str> = text.split(' ').collect();
    if words[0] == "UNKNOWN" {
        return Some((None, end + 1));
    }
    let &[family, source, destination, from, to] = words.as_slice() else { return None };
    let address = |word: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => word.parse::<Ipv4Addr>().ok().map(IpAddr::from),
            "TCP6" => word.parse::<Ipv6Addr>().ok().map(IpAddr::from),
            _ => None,
        }
    };
    let port = |word: &str| word.parse::<u16>().ok().filter(|port| port.to_string() == word);
    let ends = Ends {
        source: SocketAddr::new(address(source)?, port(from)?),
        destination: SocketAddr::new(address(destination)?, port(to)?),
    };
    Some((Some(ends), end + 1))
}

/// Version 2 (section 2.2).
fn binary(bytes: &[u8]) -> Option<(Option<Ends>, usize)> {
    let rest = bytes.strip_prefix(b"\r\n\r\n\0\r\nQUIT\n")?;
    let &[command, family, high, low, ref body @ ..] = rest else { return None };
    let length = usize::from(high) << 8 | usize::from(low);
    let body = body.get(..length)?;
    let known = [0x00, 0x01, 0x02, 0x10, 0x11, 0x12, 0x20, 0x21, 0x22, 0x30, 0x31, 0x32].contains(&family);
    if !known || length + 16 > MAX_HEADER || !matches!(command, 0x20 | 0x21) {
        return None;
    }
    let width = match (command, family) {
        (0x21, 0x11) => 4,
        (0x21, 0x21) => 16,
        _ => return Some((None, length + 16)),
    };
    let part = |at: usize, width: usize| body.get(at..at + width);
    let address = |at: usize| -> Option<IpAddr> {
        let bytes = part(at * width, width)?;
        <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
    };
    let port = |at: usize| part(2 * width + 2 * at, 2).map(|port| u16::from(port[0]) << 8 | u16::from(port[1]));
    let ends =
        Ends { source: SocketAddr::new(address(0)?, port(0)?), destination: SocketAddr::new(address(1)?, port(1)?) };
    Some((Some(ends), length + 16))
}
