//! Version 2: binary.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Ends, Invalid, MAX_HEADER, Origin, Parsed};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length of the rest.
const FIXED: usize = 16;

const VERSION_2: u8 = 0x20;
const LOCAL: u8 = 0x0;
const PROXY: u8 = 0x1;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
const IPV4_ADDRESSES: usize = 12;
const IPV6_ADDRESSES: usize = 36;

/// Reads a header that does not begin with `P`. TLVs behind the addresses are skipped.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Invalid> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] != SIGNATURE[..known] {
        return Err(Invalid::Signature);
    }
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED) else { return Ok(Parsed::Partial) };
    let &[version_command, family, high, low] = &fixed[SIGNATURE.len()..] else { return Err(Invalid::Malformed) };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if version_command & 0xf0 != VERSION_2 || !is_known(family) {
        return Err(Invalid::Malformed);
    }
    if FIXED + len > MAX_HEADER {
        return Err(Invalid::TooLong);
    }
    let Some(rest) = rest.get(..len) else { return Ok(Parsed::Partial) };
    let origin = match version_command & 0x0f {
        LOCAL => Origin::Own,
        PROXY => proxied(family, rest)?,
        _ => return Err(Invalid::Malformed),
    };
    Ok(Parsed::Header { origin, len: FIXED + len })
}

/// Families UNSPEC, IPv4, IPv6 and UNIX with transports UNSPEC, STREAM and DGRAM; all others "must be rejected" (2.2).
fn is_known(family: u8) -> bool {
    family >> 4 <= 3 && family & 0x0f <= 2
}

fn proxied(family: u8, rest: &[u8]) -> Result<Origin, Invalid> {
    let ends = match family {
        TCP_OVER_IPV4 => rest.first_chunk::<IPV4_ADDRESSES>().map(ipv4),
        TCP_OVER_IPV6 => rest.first_chunk::<IPV6_ADDRESSES>().map(ipv6),
        _ => return Ok(Origin::Own),
    };
    ends.map(Origin::Proxied).ok_or(Invalid::Malformed)
}

fn ipv4(block: &[u8; IPV4_ADDRESSES]) -> Ends {
    let [s0, s1, s2, s3, d0, d1, d2, d3, ports @ ..] = *block;
    ends(Ipv4Addr::new(s0, s1, s2, s3).into(), Ipv4Addr::new(d0, d1, d2, d3).into(), ports)
}

fn ipv6(block: &[u8; IPV6_ADDRESSES]) -> Ends {
    let address = |at: usize| -> [u8; 16] { block[at..at + 16].try_into().expect("16 bytes") };
    ends(
        Ipv6Addr::from(address(0)).into(),
        Ipv6Addr::from(address(16)).into(),
        [block[32], block[33], block[34], block[35]],
    )
}

fn ends(source: IpAddr, destination: IpAddr, [s0, s1, d0, d1]: [u8; 4]) -> Ends {
    Ends {
        source: SocketAddr::new(source, u16::from_be_bytes([s0, s1])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([d0, d1])),
    }
}

/// The header that says whose a connection is; `None` for one of our own (LOCAL), such as a probe. At most 52 bytes.
#[must_use]
pub fn encode(client: Option<Ends>) -> Vec<u8> {
    let mut header = Vec::with_capacity(FIXED + IPV6_ADDRESSES);
    header.extend(SIGNATURE);
    let Some(Ends { source, destination }) = client else {
        header.extend([VERSION_2 | LOCAL, 0, 0, 0]);
        return header;
    };
    match (source.ip().to_canonical(), destination.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.extend([VERSION_2 | PROXY, TCP_OVER_IPV4, 0, IPV4_ADDRESSES as u8]);
            header.extend(from.octets());
            header.extend(to.octets());
        }
        // The ends may be of two families behind another balancer; a header has one.
        (from, to) => {
            header.extend([VERSION_2 | PROXY, TCP_OVER_IPV6, 0, IPV6_ADDRESSES as u8]);
            header.extend(mapped(from).octets());
            header.extend(mapped(to).octets());
        }
    }
    header.extend(source.port().to_be_bytes());
    header.extend(destination.port().to_be_bytes());
    header
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}
