//! Whether what a client sends is HTTP/1.1 that all readers take for the same requests (RFC 9112 11.2). Pure.
//!
//! Servers differ in what they forgive: a bare LF, a folded line, two lengths. Whoever makes two of them see different
//! requests in the same bytes smuggles one past the other. So nothing is forgiven here, before anything is understood. What
//! is said behind a WebSocket handshake is no HTTP: it is not looked at, and whoever reads HTTP does not get it.

use std::error::Error as _;
use std::{fmt, io};

use super::fuzzing::Place;
use super::headers::is_token_byte;
use super::upgrade::ends_http;

/// Bytes of a chunk's size and its extensions, or of all trailers together.
const MAX_LINES: usize = 8 << 10;
/// Names that must be written just so: for some servers an underscore is a dash.
const FRAMING: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "upgrade"];

/// What is wrong with a client's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    /// What it is, and where that is written.
    pub(super) what: &'static str,
    /// Whether no part of the request was understood, so that nobody else answers it.
    pub(super) in_head: bool,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl std::error::Error for Violation {}

impl From<Violation> for io::Error {
    fn from(violation: Violation) -> Self {
        Self::new(io::ErrorKind::InvalidData, violation)
    }
}

impl Violation {
    /// That which made an exchange fail, if it was one.
    pub(super) fn behind(error: &hyper::Error) -> Option<Self> {
        let io = error.source()?.downcast_ref::<io::Error>()?;
        io.get_ref()?.downcast_ref().copied()
    }
}

type Checked<T> = Result<T, &'static str>;

/// Follows the bytes of a connection.
#[derive(Debug)]
pub(super) struct Strict {
    state: State,
    /// Bytes that a head may have.
    max_head: usize,
}

#[derive(Debug)]
enum State {
    /// In a request's head, of which this has come.
    Head(Vec<u8>),
    /// In a body that ends after so many bytes.
    Length(u64),
    /// In the line with a chunk's size, of which this has come.
    Size(Vec<u8>),
    /// In a chunk, so many bytes before its end.
    Chunk(u64),
    /// In the line end behind a chunk, of which this has come.
    ChunkEnd(Vec<u8>),
    /// In the trailers, of which this has come.
    Trailers(Vec<u8>),
    /// Behind a request that ends HTTP.
    Opaque,
}

impl Strict {
    /// For a fresh connection. A larger head than so many bytes is somebody else's to refuse; beyond twice as many, nothing
    /// is kept any more.
    pub(super) fn new(max_head: usize) -> Self {
        Self { state: State::Head(Vec::new()), max_head: max_head.saturating_mul(2) }
    }

    /// Whether a request's head has begun and is not complete.
    pub(super) fn is_within_head(&self) -> bool {
        matches!(&self.state, State::Head(head) if !head.is_empty())
    }

    /// Whether no byte that follows is HTTP.
    pub(super) fn is_opaque(&self) -> bool {
        matches!(self.state, State::Opaque)
    }

    /// For the fuzz targets.
    pub(super) fn place(&self) -> Place {
        match &self.state {
            State::Head(head) if head.is_empty() => Place::Between,
            State::Head(_) => Place::Head,
            State::Length(_) | State::Size(_) | State::Chunk(_) | State::ChunkEnd(_) | State::Trailers(_) => {
                Place::Body
            }
            State::Opaque => Place::Opaque,
        }
    }

    /// Takes the next bytes; gives how many of them are HTTP, which are all but those behind a request that ends it.
    ///
    /// # Errors
    /// What is wrong, and how many bytes before it are good. Those behind it are not to be read by anybody.
    pub(super) fn accept(&mut self, bytes: &[u8]) -> Result<usize, (usize, Violation)> {
        let mut at = 0;
        while at < bytes.len() && !self.is_opaque() {
            let in_head = matches!(self.state, State::Head(_));
            match self.step(&bytes[at..]) {
                Ok(taken) => at += taken,
                Err(what) => return Err((at, Violation { what, in_head })),
            }
        }
        Ok(at)
    }

    /// Takes some bytes; gives how many, none of those that are no HTTP.
    fn step(&mut self, bytes: &[u8]) -> Checked<usize> {
        match &mut self.state {
            State::Opaque => return Ok(0),
            State::Head(head) => {
                push(head, bytes[0], self.max_head, "the head is too large")?;
                match head.as_slice() {
                    // Empty lines before a request are ignored (RFC 9112 2.2).
                    b"\r\n" => head.clear(),
                    lines if lines.ends_with(b"\r\n\r\n") => self.state = framing(lines)?,
                    _ => {}
                }
            }
            State::Length(left) => {
                let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                if *left == 0 {
                    self.state = State::Head(Vec::new());
                }
                return Ok(taken);
            }
            State::Size(line) => {
                push(line, bytes[0], MAX_LINES, "a chunk's extensions are too large")?;
                if line.ends_with(b"\n") {
                    self.state = match chunk_size(line)? {
                        0 => State::Trailers(Vec::new()),
                        size => State::Chunk(size),
                    };
                }
            }
            State::Chunk(left) => {
                let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                if *left == 0 {
                    self.state = State::ChunkEnd(Vec::new());
                }
                return Ok(taken);
            }
            State::ChunkEnd(line) => {
                if line.is_empty() && bytes[0] != b'\r' {
                    return Err("a chunk is longer than its size says (RFC 9112 section 7.1)");
                }
                push(line, bytes[0], 2, "a chunk's end is one line end (RFC 9112 section 7.1)")?;
                if line.as_slice() == b"\r\n" {
                    self.state = State::Size(Vec::new());
                }
            }
            State::Trailers(lines) => {
                push(lines, bytes[0], MAX_LINES, "the trailers are too large")?;
                if lines.as_slice() == b"\r\n" {
                    self.state = State::Head(Vec::new());
                } else if lines.ends_with(b"\r\n\r\n") {
                    fields(&lines[..lines.len() - 4]).try_for_each(|field| field.map(drop))?;
                    self.state = State::Head(Vec::new());
                }
            }
        }
        Ok(1)
    }
}

/// Adds a byte of lines, of which there may be `most`. A line ends with CR LF and has neither of both elsewhere.
fn push(lines: &mut Vec<u8>, byte: u8, most: usize, too_many: &'static str) -> Checked<()> {
    let behind_cr = lines.last() == Some(&b'\r');
    if behind_cr != (byte == b'\n') {
        return Err("a line must end with CR LF, which stand nowhere else (RFC 9112 section 2.2)");
    }
    if lines.len() >= most {
        return Err(too_many);
    }
    lines.push(byte);
    Ok(())
}

/// What follows a head, the empty line at its end included.
fn framing(head: &[u8]) -> Checked<State> {
    let lines = &head[..head.len() - 4];
    let request_end = find(lines, b"\r\n").unwrap_or(lines.len());
    let request = &lines[..request_end];
    let method = request.split(|byte| *byte == b' ').next().unwrap_or_default();
    let (mut hosts, mut length, mut chunked, mut upgrades) = (0, None, false, Vec::new());
    for field in fields(lines.get(request_end + 2..).unwrap_or_default()) {
        let (name, value) = field?;
        match name.to_ascii_lowercase().as_slice() {
            b"host" => hosts += 1,
            b"content-length" => {
                let value = number(value, 10).ok_or("Content-Length must be one number (RFC 9110 section 8.6)")?;
                if length.replace(value).is_some() {
                    return Err("there may be one Content-Length (RFC 9112 section 6.3)");
                }
            }
            b"transfer-encoding" => {
                if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err("no transfer coding but chunked is taken (RFC 9112 section 6.1)");
                }
                chunked = true;
            }
            b"upgrade" => upgrades.push(value),
            _ => {}
        }
    }
    if hosts > 1 {
        return Err("there must be one Host (RFC 9112 section 3.2)");
    }
    if chunked && (length.is_some() || !request.ends_with(b" HTTP/1.1")) {
        return Err("Transfer-Encoding goes neither with Content-Length nor with HTTP/1.0 (RFC 9112 section 6.1)");
    }
    Ok(match (ends_http(method, upgrades), chunked, length) {
        (true, ..) => State::Opaque,
        (false, true, _) => State::Size(Vec::new()),
        (false, false, Some(length)) if length > 0 => State::Length(length),
        (false, false, _) => State::Head(Vec::new()),
    })
}

/// The fields of lines between which CR LF stands: names and values.
fn fields(lines: &[u8]) -> impl Iterator<Item = Checked<(&[u8], &[u8])>> {
    let mut rest = Some(lines).filter(|lines| !lines.is_empty());
    std::iter::from_fn(move || {
        let lines = rest?;
        let end = find(lines, b"\r\n");
        rest = end.map(|end| &lines[end + 2..]);
        Some(field(&lines[..end.unwrap_or(lines.len())]))
    })
}

fn field(line: &[u8]) -> Checked<(&[u8], &[u8])> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err("a field may not be folded over lines (RFC 9112 section 5.2)");
    }
    let colon = line.iter().position(|byte| *byte == b':').ok_or("a field has a colon (RFC 9112 section 5)")?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    if name.is_empty() || !name.iter().all(|byte| is_token_byte(*byte)) {
        return Err("a field's name is a token, and the colon follows at once (RFC 9112 section 5.1)");
    }
    let dashed =
        name.to_ascii_lowercase().iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect::<Vec<_>>();
    if name.contains(&b'_') && FRAMING.iter().any(|framing| framing.as_bytes() == dashed) {
        return Err("a field's name is, but for an underscore, one that says where the request ends");
    }
    if value.contains(&0) {
        return Err("a field's value has no NUL (RFC 9110 section 5.5)");
    }
    Ok((name, value))
}

/// The size of a chunk, by its line (RFC 9112 7.1).
fn chunk_size(line: &[u8]) -> Checked<u64> {
    let line = line.strip_suffix(b"\r\n").unwrap_or(line);
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
    number(size, 16).ok_or("a chunk's size is hexadecimal digits (RFC 9112 section 7.1)")
}

/// A number of digits and nothing else, which fits in 63 bits.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let good = !digits.is_empty() && digits.iter().all(|digit| char::from(*digit).is_digit(radix));
    let text = std::str::from_utf8(digits).ok().filter(|_| good)?;
    u64::from_str_radix(text, radix).ok().filter(|number| *number <= u64::MAX >> 1)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 16 << 10;

    /// Fed whole, and byte by byte, which must come to the same.
    fn check(bytes: &str) -> Result<Strict, (usize, Violation)> {
        let mut whole = Strict::new(MAX);
        let result = whole.accept(bytes.as_bytes());
        let mut one_by_one = Strict::new(MAX);
        let mut pieces = bytes.as_bytes().iter().enumerate();
        let failed = pieces.find_map(|(at, byte)| one_by_one.accept(&[*byte]).err().map(|(_, what)| (at, what)));
        assert_eq!(result.err(), failed, "{bytes:?}");
        result.map(|_| whole)
    }

    #[test]
    fn good_requests_follow_each_other_whatever_their_bodies() {
        let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for request in [
            get,
            "\r\n\r\nGET / HTTP/1.0\r\n\r\n",
            "POST / HTTP/1.1\r\nhost:a\r\nContent-Length: 0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 \r\n\r\n\n\r\0 x",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n00A;x=\"y z\"\r\n0123456789\r\n1\r\n\n\r\n0\r\nSum: 1\r\nX: 2\r\n\r\n",
        ] {
            for behind in ["", get] {
                let strict = check(&(request.to_owned() + behind)).unwrap_or_else(|bad| panic!("{request:?}: {bad:?}"));
                assert_eq!(strict.place(), Place::Between, "{request:?}: {strict:?}");
            }
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let with = |field: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
        let chunked = |body: &str| with("Transfer-Encoding: chunked") + body;
        for (request, what) in [
            (with("Content-Length: 1\r\nTransfer-Encoding: chunked"), "neither with Content-Length"),
            (with("Transfer-Encoding: chunked\r\nContent-Length: 1"), "neither with Content-Length"),
            (with("Content-Length: 1\r\nContent-Length: 2"), "one Content-Length"),
            (with("Content-Length: 1\r\nContent-Length: 1"), "one Content-Length"),
            (with("Content-Length: 1, 1"), "one number"),
            (with("Content-Length: +1"), "one number"),
            (with("Content-Length: 0x1"), "one number"),
            (with("Content-Length: "), "one number"),
            (with("Content-Length: 99999999999999999999"), "one number"),
            (with("Content-Length : 1"), "token"),
            (with("Content_Length: 1"), "underscore"),
            (with("transfer_encoding: chunked"), "underscore"),
            (with("Transfer-Encoding: gzip, chunked"), "coding"),
            (with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), "coding"),
            (with("Transfer-Encoding: \u{b}chunked"), "coding"),
            (with("Transfer-Encoding: identity"), "coding"),
            (with("X: 1\r\n Content-Length: 1"), "folded"),
            (with("Host: b"), "one Host"),
            (with("no colon"), "colon"),
            (with(": x"), "token"),
            (with("X: 1\nContent-Length: 1"), "CR LF"),
            (with("X: 1\rContent-Length: 1"), "CR LF"),
            (with("X: 1\r\rY: 2"), "CR LF"),
            (with("X: \0"), "NUL"),
            ("GET / HTTP/1.1\nHost: a\n\n".into(), "CR LF"),
            ("\nGET / HTTP/1.1\r\n\r\n".into(), "CR LF"),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(), "with HTTP/1.0"),
            (chunked("\r\n"), "hexadecimal"),
            (chunked("-1\r\n"), "hexadecimal"),
            (chunked("0x1\r\n"), "hexadecimal"),
            (chunked("1 \r\n"), "hexadecimal"),
            (chunked("ffffffffffffffff\r\n"), "hexadecimal"),
            (chunked("1\nx"), "CR LF"),
            (chunked("1;a\nb\r\nx"), "CR LF"),
            (chunked("1\r\nx\n"), "longer"),
            (chunked("1\r\nxy"), "longer"),
            (chunked("0\r\nX: 1\n\r\n"), "CR LF"),
            (chunked("0\r\n folded\r\n\r\n"), "folded"),
            (chunked("0\r\nContent_Length: 1\r\n\r\n"), "underscore"),
        ] {
            let (_, violation) = check(&request).expect_err(&request);
            assert!(violation.what.contains(what), "{request:?}: {violation}");
        }
    }

    #[test]
    fn what_is_before_a_bad_byte_is_good_and_whose_fault_it_is_is_known() {
        let good = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
        let (at, violation) = check(&format!("{good}z\r\n")).expect_err("no chunk");
        assert_eq!((at, violation.in_head), (good.len() + 2, false));
        let (at, violation) = check("GET / HTTP/1.1\r\nHost: a\nb").expect_err("a bare LF");
        assert_eq!((at, violation.in_head), ("GET / HTTP/1.1\r\nHost: a".len(), true));
    }

    #[test]
    fn frames_behind_a_handshake_are_not_looked_at_and_not_taken() {
        for field in ["Upgrade: websocket", "Upgrade: h2c, WebSocket", "Upgrade: x\r\nUpgrade: websocket"] {
            let (head, frames) = (format!("GET / HTTP/1.1\r\n{field}\r\n\r\n"), "\n\n\x01");
            let strict = check(&(head.clone() + frames)).unwrap_or_else(|bad| panic!("{field}: {bad:?}"));
            assert!(strict.is_opaque(), "{field}");
            let mut strict = Strict::new(MAX);
            assert_eq!(strict.accept((head.clone() + frames).as_bytes()), Ok(head.len()), "{field}");
            assert_eq!(strict.accept(frames.as_bytes()), Ok(0), "{field}");
        }
        assert!(check("GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n\n").is_err());
    }

    #[test]
    fn nothing_grows_without_bound() {
        let head = "GET / HTTP/1.1\r\nX: ".to_owned() + &"x".repeat(3 * MAX);
        assert!(check(&head).expect_err("a large head").1.what.contains("too large"));
        let chunk = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;".to_owned() + &"x".repeat(2 * MAX_LINES);
        assert!(check(&chunk).expect_err("a large extension").1.what.contains("too large"));
        let trailers =
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n".to_owned() + &"x: y\r\n".repeat(MAX_LINES);
        assert!(check(&trailers).expect_err("large trailers").1.what.contains("too large"));
    }
}
