//! Target `answer`: any bytes as a backend's answer to a handshake. What makes a leg of it must be a good 101 to a reader that
//! takes nothing else, with the same bytes behind it; and the client gets no field that the backend did not say.
//!
//! `{accept}` in the bytes stands for the right Sec-WebSocket-Accept, which nobody could guess.

use hyper::Uri;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use tideover::edge::fuzzing::passed;
use tideover::pool::fuzzing::{Dialled, dial};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tungstenite::handshake::derive_accept_key;

const OFFERED: [&str; 2] = ["chat", "v2.chat"];
const KEY: &str = "sec-websocket-key";
const PLACE: &[u8] = b"{accept}";
/// Larger than any input.
const PIPE: usize = 128 << 10;

/// Panics where a leg is made of what is no good 101. Gives whether a leg was made.
pub(crate) fn check(bytes: &[u8]) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let (ours, theirs) = duplex(PIPE);
    let (dialled, said) = runtime.block_on(async {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("backend"));
        headers.insert("sec-websocket-protocol", HeaderValue::from_static("chat, v2.chat"));
        tokio::join!(dial(ours, Uri::from_static("/"), headers), backend(theirs, bytes))
    });
    let Dialled::Leg(headers, subprotocol, leftover) = dialled else { return false };
    let (said, accept) = said.expect("a leg has an answer");
    let (fields, behind) = good_101(&said, &accept).unwrap_or_else(|why| panic!("{why}: {:?}", lossy(&said)));
    assert!(behind.starts_with(&leftover), "what stands behind the head is the first frames");
    let protocol = fields.iter().find(|(name, _)| name == "sec-websocket-protocol").map(|(_, value)| value.as_slice());
    assert_eq!(subprotocol.as_ref().map(|name| name.as_bytes()), protocol);
    for (name, value) in &passed(&headers) {
        let same = |(one, said): &(String, Vec<u8>)| one == name.as_str() && said == value.as_bytes();
        assert!(fields.iter().any(same), "the backend did not say {name}: {value:?}");
        assert!(
            !name.as_str().starts_with("tideover-") && !value.as_bytes().iter().any(|byte| b"\r\n\0".contains(byte))
        );
    }
    true
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads the handshake, answers with the bytes and ends the stream; gives what it said, and the Accept that was due.
async fn backend(mut stream: DuplexStream, bytes: &[u8]) -> Option<(Vec<u8>, String)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = lossy(&head);
    let key = head.lines().find_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case(KEY)))?.1;
    let accept = derive_accept_key(key.as_bytes());
    let said = replaced(bytes, accept.as_bytes());
    // The proxy may have had enough before the end.
    let _ = stream.write_all(&said).await;
    let _ = stream.shutdown().await;
    Some((said, accept))
}

/// `bytes` with the Accept in its places.
fn replaced(mut bytes: &[u8], accept: &[u8]) -> Vec<u8> {
    let mut said = Vec::with_capacity(bytes.len());
    while let Some(at) = bytes.windows(PLACE.len()).position(|window| window == PLACE) {
        said.extend_from_slice(&bytes[..at]);
        said.extend_from_slice(accept);
        bytes = &bytes[at + PLACE.len()..];
    }
    said.extend_from_slice(bytes);
    said
}

/// Names and values.
type Fields = Vec<(String, Vec<u8>)>;

/// The fields of the final answer in `said` and what stands behind it, if it is a good 101 to somebody who forgives nothing
/// but a line that ends with a bare LF (RFC 9112 2.2).
fn good_101(said: &[u8], accept: &str) -> Result<(Fields, Vec<u8>), &'static str> {
    let mut rest = said;
    loop {
        let mut lines = Vec::new();
        loop {
            let end = rest.iter().position(|byte| *byte == b'\n').ok_or("no end of the head")?;
            let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
            rest = &rest[end + 1..];
            match (line.is_empty(), lines.is_empty()) {
                (false, _) => lines.push(line),
                // Before the status line.
                (true, true) => {}
                (true, false) => break,
            }
        }
        let status = lines.remove(0);
        if status.starts_with(b"HTTP/1.1 101") {
            let fields = lines.into_iter().map(field).collect::<Option<Vec<_>>>().ok_or("a bad field")?;
            agrees(&fields, accept)?;
            return Ok((fields, rest.to_vec()));
        }
        // Others of this class may come before (RFC 9110 15.2).
        let informational = status.starts_with(b"HTTP/1.1 1") || status.starts_with(b"HTTP/1.0 1");
        informational.then_some(()).ok_or("another status")?;
    }
}

fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let value = line[colon + 1..].trim_ascii();
    let good = value.iter().all(|byte| *byte == b'\t' || *byte >= b' ' && *byte != 0x7F);
    good.then(|| (name.as_str().to_owned(), value.to_vec()))
}

fn values<'a>(fields: &'a [(String, Vec<u8>)], name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |(one, _)| one == name).map(|(_, value)| value.as_slice())
}

/// RFC 6455 4.1, and no body (RFC 9110 15.2).
fn agrees(fields: &[(String, Vec<u8>)], accept: &str) -> Result<(), &'static str> {
    let all = |name| values(fields, name);
    let one = |name| (all(name).count() < 2).then(|| all(name).next()).ok_or("a field stands twice");
    let lists = |name, token: &str| {
        all(name).any(|value| {
            value.split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
        })
    };
    let must = |holds: bool, what: &'static str| holds.then_some(()).ok_or(what);
    must(lists("upgrade", "websocket"), "no Upgrade")?;
    must(lists("connection", "upgrade"), "no Connection")?;
    must(one("sec-websocket-accept")? == Some(accept.as_bytes()), "another Accept")?;
    must(
        all("sec-websocket-extensions").all(|value| value.iter().all(|byte| *byte == b',' || *byte == b' ')),
        "an extension",
    )?;
    let protocol = one("sec-websocket-protocol")?;
    must(protocol.is_none_or(|chosen| OFFERED.iter().any(|offered| offered.as_bytes() == chosen)), "a subprotocol")?;
    must(all("transfer-encoding").next().is_none(), "a body in chunks")?;
    must(one("content-length")?.is_none_or(|length| length == b"0"), "a body")
}

#[test]
fn the_reader_that_forgives_nothing_takes_a_good_101() {
    let accept = derive_accept_key(b"key");
    let good = format!(
        "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\nx"
    );
    assert_eq!(good_101(good.as_bytes(), &accept).map(|(_, behind)| behind), Ok(b"x".to_vec()));
    assert!(good_101(good.as_bytes(), "other").is_err());
}
