//! Target `requests`: any bytes, cut anywhere, through the check that comes before hyper, against a reader made of httparse,
//! hyper's own parser. Where one reader saw a request end at another byte than the other, requests could be smuggled.

use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use tideover::edge::fuzzing::{Place, Reader, is_last};

/// Larger than any input.
const MAX_HEAD: usize = 64 << 10;
/// What hyper takes.
const MAX_FIELDS: usize = 100;

/// Where a request's head ends, and where its body ends; `None`: no reader may tell, for it is opaque from there on.
type Ends = (usize, Option<usize>);

/// Panics where the two see different requests, or the check in pieces others than whole. Gives whether there was a request.
pub(crate) fn check(data: &[u8]) -> bool {
    let Some((&[a, b, c], bytes)) = data.split_first_chunk() else { return false };
    let (whole, bad) = seen(bytes);
    let mut reader = Reader::new(MAX_HEAD);
    let mut pieces = Ok(());
    let (mut at, mut cuts) = (0, [a, b, c].into_iter().cycle());
    while at < bytes.len() && pieces.is_ok() {
        let end = bytes.len().min(at + 1 + usize::from(cuts.next().expect("a cycle")));
        pieces = reader.accept(&bytes[at..end]).map_err(|(good, what)| (at + good, what));
        at = end;
    }
    let mut at_once = Reader::new(MAX_HEAD);
    assert_eq!(at_once.accept(bytes), pieces, "bytes cut anywhere are read the same");
    assert_eq!(pieces.err().map(|(good, _)| good), bad, "byte by byte, too");
    let other = by_httparse(bytes);
    for (number, (one, other)) in whole.iter().zip(&other).enumerate() {
        assert_eq!(one, other, "where request {number} ends: {:?}", String::from_utf8_lossy(bytes));
    }
    !whole.is_empty()
}

/// The requests that the check saw whole, one byte at a time, and the byte that it refused.
fn seen(bytes: &[u8]) -> (Vec<Ends>, Option<usize>) {
    let mut reader = Reader::new(MAX_HEAD);
    let (mut ends, mut begun, mut head_end) = (Vec::new(), 0, None);
    for (at, byte) in bytes.iter().enumerate() {
        let before = reader.place();
        if reader.accept(&[*byte]).is_err() {
            return (ends, Some(at));
        }
        let place = reader.place();
        if before == Place::Between {
            begun = at;
        }
        // Two bytes are an empty line, which may stand before a request.
        if before == Place::Head && place != Place::Head && at > begun + 1 {
            head_end = Some(at + 1);
        }
        if matches!(place, Place::Between | Place::Opaque)
            && let Some(head) = head_end.take()
        {
            ends.push((head, (place == Place::Between).then_some(at + 1)));
        }
    }
    (ends, None)
}

/// The same, read with httparse and the rules of RFC 9112 6.3 for whoever forgives nothing. Which request is the last, the
/// edge says of the same fields as it does when it answers one: no other may be where the check ends.
fn by_httparse(bytes: &[u8]) -> Vec<Ends> {
    let (mut ends, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        let Ok(httparse::Status::Complete(length)) = request.parse(&bytes[at..]) else { break };
        let head_end = at + length;
        let value = |name: &str| {
            let mut values = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
            values.next_back().map(|field| field.value.trim_ascii())
        };
        let Some((method, headers)) = as_hyper_has_it(&request) else { break };
        if is_last(&method, &headers) {
            ends.push((head_end, None));
            break;
        }
        let end = if value("transfer-encoding").is_some() {
            chunked(bytes, head_end)
        } else {
            let length = value("content-length").map_or(Some(0), number);
            length.and_then(|length| head_end.checked_add(length)).filter(|end| *end <= bytes.len())
        };
        let Some(end) = end else { break };
        ends.push((head_end, Some(end)));
        at = end;
    }
    ends
}

fn as_hyper_has_it(request: &httparse::Request<'_, '_>) -> Option<(Method, HeaderMap)> {
    let mut headers = HeaderMap::new();
    for field in request.headers.iter() {
        headers.append(HeaderName::try_from(field.name).ok()?, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some((request.method?.parse().ok()?, headers))
}

fn number(text: &[u8]) -> Option<usize> {
    str::from_utf8(text).ok()?.parse().ok()
}

/// Where a chunked body that begins here ends.
fn chunked(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let Ok(httparse::Status::Complete((line, size))) = httparse::parse_chunk_size(&bytes[at..]) else {
            return None;
        };
        at += line;
        if size == 0 {
            break;
        }
        at = at.checked_add(usize::try_from(size).ok()?)?.checked_add(2).filter(|end| *end <= bytes.len())?;
    }
    let mut trailers = [httparse::EMPTY_HEADER; MAX_FIELDS];
    match httparse::parse_headers(&bytes[at..], &mut trailers) {
        Ok(httparse::Status::Complete((length, _))) => Some(at + length),
        _ => None,
    }
}
