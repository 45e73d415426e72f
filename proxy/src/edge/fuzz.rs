//! Any bytes as a client's, judged against readers that others wrote: what is let through must end for all of them at the
//! same places. `cargo test` runs it on requests that are changed at random; `fuzz/` looks for more with libFuzzer, as
//! CONTRIBUTING says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Empty;
use httparse::{EMPTY_HEADER, Header, Status};
use hyper::{Method, Request, Version};

use super::strict::Strict;
use super::upgrade;

const MAX_HEAD: usize = 16 << 10;
const MOST_FIELDS: usize = 256;

/// Judges these bytes.
///
/// # Panics
/// When something is let through that another reader takes for something else.
pub fn http(bytes: &[u8]) {
    let whole = Strict::new(MAX_HEAD).accept(bytes);
    let mut strict = Strict::new(MAX_HEAD);
    let one_by_one = bytes.iter().enumerate().find_map(|(at, byte)| Some((at, strict.accept(&[*byte]).err()?.1)));
    assert_eq!(whole.err(), one_by_one, "in one piece and in many");
    let good = &bytes[..one_by_one.map_or(bytes.len(), |(at, _)| at)];
    let mut at = 0;
    while let Some(len) = request(&good[at..]) {
        at += len;
        let mut strict = Strict::new(MAX_HEAD);
        assert!(
            strict.accept(&good[..at]).is_ok() && strict.is_between_requests(),
            "a request ends at {at}: {strict:?}"
        );
    }
}

/// The length of the request at the start. `None` if it is not all there, if nobody would take it for one, or if what
/// follows is no HTTP.
fn request(bytes: &[u8]) -> Option<usize> {
    let mut fields = [EMPTY_HEADER; MOST_FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let Ok(Status::Complete(len)) = head.parse(bytes) else { return None };
    let named = |name: &str| -> Vec<&Header<'_>> {
        head.headers.iter().filter(|field| field.name.replace('_', "-").eq_ignore_ascii_case(name)).collect()
    };
    let (lengths, codings) = (named("content-length"), named("transfer-encoding"));
    if lengths.len() + codings.len() + named("host").len() > 2 || lengths.len() + codings.len() > 1 {
        panic!("two lengths or hosts: {head:?}");
    }
    handshake(&head);
    let is_websocket =
        |field: &&Header<'_>| field.value.to_ascii_lowercase().windows(9).any(|part| part == b"websocket");
    if head.method == Some("CONNECT") || named("upgrade").iter().any(is_websocket) {
        return None;
    }
    if let [coding] = codings[..] {
        assert!(coding.value.eq_ignore_ascii_case(b"chunked"), "another coding: {coding:?}");
        return Some(len + chunks(&bytes[len..])?);
    }
    let body = lengths.first().map_or(0, |length| {
        let digits = std::str::from_utf8(length.value).expect("a number");
        digits.parse::<usize>().unwrap_or_else(|error| panic!("{digits:?}: {error}"))
    });
    len.checked_add(body).filter(|end| *end <= bytes.len())
}

/// The length of a chunked body.
fn chunks(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let Ok(Status::Complete((line, size))) = httparse::parse_chunk_size(bytes.get(at..)?) else { return None };
        at += line;
        if size == 0 {
            let mut fields = [EMPTY_HEADER; MOST_FIELDS];
            let Ok(Status::Complete((len, _))) = httparse::parse_headers(&bytes[at..], &mut fields) else {
                return None;
            };
            return Some(at + len);
        }
        at = at.checked_add(usize::try_from(size).ok()?)?;
        let end = bytes.get(at..at.checked_add(2)?)?;
        assert_eq!(end, b"\r\n", "behind a chunk");
        at += 2;
    }
}

/// What passes for a WebSocket handshake is one (RFC 6455 4.2.1).
fn handshake(head: &httparse::Request<'_, '_>) {
    let version = if head.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let builder = Request::builder().method(head.method.unwrap_or_default()).uri(head.path.unwrap_or_default());
    let builder = head.headers.iter().fold(builder, |builder, field| builder.header(field.name, field.value));
    let Ok(request) = builder.version(version).body(Empty::<bytes::Bytes>::new()) else { return };
    if let Ok(key) = upgrade::check(&request) {
        // Which bits of the last digit are set that say nothing is nobody's concern.
        let digits = [&key.as_bytes()[..21], b"A=="].concat();
        assert_eq!(STANDARD.decode(digits).map(|key| key.len()), Ok(16), "{key:?}");
        assert_eq!((request.method(), version), (&Method::GET, Version::HTTP_11));
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    const ROUNDS: usize = 40_000;
    const REQUESTS: [&str; 7] = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /a?b HTTP/1.1\r\nhost:a\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n1\r\n\n\r\n0\r\nSum: 1\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.0\r\nX: 1\r\nX: 2\r\n\r\n",
        "\r\nGET http://a/ HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ];
    const PIECES: [&str; 20] = [
        "\r\n",
        "\n",
        "\r",
        " ",
        "\t",
        "\0",
        ":",
        ",",
        "_",
        "-",
        "0",
        "1",
        "5",
        "a",
        ";",
        "\r\n ",
        "Content-Length: 1\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Host: b\r\n",
        "\r\n0\r\n\r\n",
    ];

    /// SplitMix64.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
        }

        fn requests(&mut self) -> Vec<u8> {
            let count = 1 + self.below(3);
            let mut bytes = (0..count).map(|_| REQUESTS[self.below(REQUESTS.len())]).collect::<String>().into_bytes();
            for _ in 0..self.below(4) {
                self.change(&mut bytes);
            }
            bytes
        }

        fn change(&mut self, bytes: &mut Vec<u8>) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes[at] = self.below(256) as u8,
                1 => bytes[at] ^= 0x20,
                2 => drop(bytes.drain(at..bytes.len().min(at + 1 + self.below(4)))),
                3 => {
                    let again = bytes[at..bytes.len().min(at + self.below(40))].to_vec();
                    drop(bytes.splice(at..at, again));
                }
                _ => drop(bytes.splice(at..at, PIECES[self.below(PIECES.len())].bytes())),
            }
            if bytes.is_empty() {
                bytes.push(b'G');
            }
        }
    }

    #[test]
    fn what_is_let_through_ends_for_all_readers_at_the_same_places() {
        let mut dice = Dice(1);
        let mut refused = 0;
        for round in 0..ROUNDS {
            let bytes = dice.requests();
            refused += usize::from(Strict::new(MAX_HEAD).accept(&bytes).is_err());
            if catch_unwind(|| http(&bytes)).is_err() {
                panic!("round {round}: {:?}", String::from_utf8_lossy(&bytes));
            }
        }
        assert!((ROUNDS / 10..ROUNDS * 9 / 10).contains(&refused), "{refused} refused");
    }

    #[test]
    fn the_other_readers_see_each_request() {
        for bytes in &REQUESTS[..6] {
            assert_eq!(request(bytes.as_bytes()), Some(bytes.len()), "{bytes:?}");
        }
        assert_eq!(request(REQUESTS[6].as_bytes()), None, "frames follow");
    }
}
