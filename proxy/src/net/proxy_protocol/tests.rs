//! Headers as they are written in the specification, and what is made of all others.

use proptest::prelude::*;

use super::*;

fn header(bytes: &[u8]) -> Origin {
    match parse(bytes) {
        Ok(Parsed::Header { origin, len }) if len == bytes.len() => origin,
        other => panic!("{other:?}"),
    }
}

fn ends(source: &str, destination: &str) -> Origin {
    Origin::Proxied(Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() })
}

#[test]
fn a_line_of_version_1_says_both_ends() {
    let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
    assert_eq!(header(line), ends("192.0.2.7:56324", "198.51.100.1:443"));
    let longest =
        b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    let end = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
    assert_eq!(header(longest), ends(end, end));
}

#[test]
fn an_unknown_origin_leaves_the_connections_own_addresses() {
    for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff:f...f:ffff 65535 whatever\r\n"] {
        assert_eq!(header(line.as_bytes()), Origin::Own);
    }
}

#[test]
fn a_bad_line_is_refused() {
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        "PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
        "PROXY unknown\r\n",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(Invalid::Malformed), "{line:?}");
    }
    assert_eq!(parse(format!("PROXY UNKNOWN {}", "x".repeat(93)).as_bytes()), Err(Invalid::TooLong));
    for other in ["GET / HTTP/1.1\r\n", "P", "PROX", "PROXYTCP", "POST /", "\u{16}\u{3}\u{1}"] {
        let expected = if "PROXY ".starts_with(other) { Ok(Parsed::Partial) } else { Err(Invalid::Signature) };
        assert_eq!(parse(other.as_bytes()), expected, "{other:?}");
    }
}

/// A header of version 2 by hand.
fn v2(version_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([version_command, family]);
    bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    bytes.extend(rest);
    bytes
}

const ADDRESSES: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];

#[test]
fn a_binary_header_says_both_ends_and_its_tlvs_are_skipped() {
    let expected = ends("192.0.2.7:56324", "198.51.100.1:443");
    assert_eq!(header(&v2(0x21, 0x11, &ADDRESSES)), expected);
    let tlvs = [ADDRESSES.as_slice(), &[0x05, 0, 3, 1, 2, 3], &[0xff; 200]].concat();
    assert_eq!(header(&v2(0x21, 0x11, &tlvs)), expected);
    let six = [[0; 15].as_slice(), &[1], &[0x20, 1, 0xd, 0xb8], &[0; 11], &[7], &[0, 1, 0, 2]].concat();
    assert_eq!(header(&v2(0x21, 0x21, &six)), ends("[::1]:1", "[2001:db8::7]:2"));
}

#[test]
fn local_and_what_is_not_tcp_leave_the_connections_own_addresses() {
    for (command, family) in [(0x20, 0x00), (0x20, 0x11), (0x21, 0x00), (0x21, 0x12), (0x21, 0x31), (0x21, 0x32)] {
        assert_eq!(header(&v2(command, family, &ADDRESSES)), Origin::Own, "{command:x} {family:x}");
    }
    assert_eq!(header(&v2(0x20, 0x00, &[])), Origin::Own);
}

#[test]
fn a_bad_binary_header_is_refused() {
    for (command, family) in [(0x11, 0x11), (0x31, 0x11), (0x22, 0x11), (0x2f, 0x11), (0x21, 0x41), (0x21, 0x13)] {
        assert_eq!(parse(&v2(command, family, &ADDRESSES)), Err(Invalid::Malformed), "{command:x} {family:x}");
    }
    assert_eq!(parse(&v2(0x21, 0x11, &ADDRESSES[..11])), Err(Invalid::Malformed));
    assert_eq!(parse(&v2(0x21, 0x21, &[0; 35])), Err(Invalid::Malformed));
    assert!(parse(&v2(0x21, 0x11, &[0; MAX_HEADER - 16])).is_ok());
    assert_eq!(parse(&v2(0x21, 0x11, &[0; MAX_HEADER - 15])), Err(Invalid::TooLong));
    assert_eq!(parse(b"\r\n\r\n\0\r\nQUIX\n"), Err(Invalid::Signature));
}

#[test]
fn a_connection_of_our_own_is_local() {
    assert_eq!(header(&encode(None)), Origin::Own);
}

#[test]
fn ends_of_two_families_are_written_as_ipv6() {
    let mixed = Ends { source: "192.0.2.7:1".parse().unwrap(), destination: "[::1]:2".parse().unwrap() };
    assert_eq!(header(&encode(Some(mixed))), ends("[::ffff:192.0.2.7]:1", "[::1]:2"));
}

fn any_ends() -> impl Strategy<Value = Ends> {
    prop_oneof![
        any::<([u8; 4], [u8; 4], u16, u16)>()
            .prop_map(|(s, d, from, to)| Ends { source: (s, from).into(), destination: (d, to).into() }),
        any::<([u8; 16], [u8; 16], u16, u16)>()
            .prop_map(|(s, d, from, to)| Ends { source: (s, from).into(), destination: (d, to).into() }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(ends in any_ends(), behind: Vec<u8>) {
        let mut bytes = encode(Some(ends));
        let len = bytes.len();
        bytes.extend(behind);
        let Ok(Parsed::Header { origin: Origin::Proxied(read), len: taken }) = parse(&bytes) else { panic!() };
        prop_assert_eq!(taken, len);
        prop_assert_eq!(read.source.ip().to_canonical(), ends.source.ip().to_canonical());
        prop_assert_eq!(read.destination.ip().to_canonical(), ends.destination.ip().to_canonical());
        prop_assert_eq!((read.source.port(), read.destination.port()), (ends.source.port(), ends.destination.port()));
    }

    #[test]
    fn every_beginning_of_a_header_is_partial(ends in any_ends(), tlvs in proptest::collection::vec(any::<u8>(), 0..64)) {
        let line = match (ends.source.ip(), ends.destination.ip()) {
            (from @ std::net::IpAddr::V4(_), to) => format!("PROXY TCP4 {from} {to} {} {}\r\n", ends.source.port(), ends.destination.port()),
            (from, to) => format!("PROXY TCP6 {from} {to} {} {}\r\n", ends.source.port(), ends.destination.port()),
        };
        let mut binary = encode(Some(ends));
        let rest = binary.len() - 16 + tlvs.len();
        binary[14..16].copy_from_slice(&u16::try_from(rest).unwrap().to_be_bytes());
        binary.extend(tlvs);
        for whole in [line.as_bytes(), &binary] {
            for cut in 0..whole.len() {
                prop_assert_eq!(parse(&whole[..cut]), Ok(Parsed::Partial));
            }
            let is_whole = matches!(parse(whole), Ok(Parsed::Header { len, .. }) if len == whole.len());
            prop_assert!(is_whole);
        }
    }

    #[test]
    fn no_bytes_make_it_take_more_than_there_is(bytes in proptest::collection::vec(any::<u8>(), 0..128), like in 0..3usize) {
        let begin: &[u8] = [b"".as_slice(), b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n\x21"][like];
        let bytes = [begin, &bytes].concat();
        if let Ok(Parsed::Header { len, .. }) = parse(&bytes) {
            prop_assert!(len <= bytes.len() && len <= MAX_HEADER);
        }
    }
}
