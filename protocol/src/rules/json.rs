//! Values of a JSON text (RFC 8259), found in one walk without building anything.
//!
//! The walk checks the whole text: what two readers could read in two ways is refused, so that a rule never decides by a
//! value that the application does not see. Refused are: what is not JSON or not UTF-8, anything behind the value, names
//! that stand twice on the way to a wanted value, or are written with escapes there, and more than [`MAX_DEPTH`] levels.
//!
//! It is of our own because the libraries that read single fields promise less: sonic-rs takes the first of two names,
//! does not look at what stands behind the value that it found, and needs the text to be well-formed; jiter hands out
//! names with their escapes resolved, so that they cannot be told from plain ones.

use std::borrow::Cow;
use std::ops::Range;

/// Levels of arrays and objects.
pub(super) const MAX_DEPTH: usize = 128;
/// Pointers that one walk can look for.
pub(super) const MAX_POINTERS: usize = 64;

/// A text that cannot be looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ambiguous;

/// Where a value stands: RFC 6901, with `*` for every element of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer(Vec<String>);

impl Pointer {
    /// # Errors
    /// Says what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!("{text:?} is no JSON pointer: it must begin with / (RFC 6901)"));
        };
        rest.split('/').map(token).collect::<Result<_, _>>().map(Self)
    }

    /// Whether it may give more than one value.
    pub(super) fn is_many(&self) -> bool {
        self.0.iter().any(|token| token == "*")
    }
}

/// `~1` is a slash and `~0` a tilde.
fn token(text: &str) -> Result<String, String> {
    let mut parts = text.split('~');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_at_checked(1) {
            Some(("0", rest)) => out.extend(["~", rest]),
            Some(("1", rest)) => out.extend(["/", rest]),
            _ => return Err(format!("in {text:?}, ~ must be followed by 0 or 1 (RFC 6901)")),
        }
    }
    Ok(out)
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Found(Vec<(u8, Range<usize>)>);

impl Found {
    /// Where the values of this pointer stand, in the order of the text.
    pub(super) fn all(&self, pointer: usize) -> impl Iterator<Item = Range<usize>> {
        self.0.iter().filter(move |(of, _)| usize::from(*of) == pointer).map(|(_, span)| span.clone())
    }

    /// Where its first value stands.
    pub(super) fn first(&self, pointer: usize) -> Option<Range<usize>> {
        self.all(pointer).next()
    }
}

/// Looks for values of at most [`MAX_POINTERS`] pointers. Of one with `*`, at most `bound` values.
pub(super) fn find(text: &[u8], pointers: &[Pointer], bound: usize) -> Result<Found, Ambiguous> {
    std::str::from_utf8(text).map_err(|_| Ambiguous)?;
    let wanted = pointers.iter().take(MAX_POINTERS).enumerate().fold(0, |wanted, (index, _)| wanted | 1 << index);
    let mut walk = Walk { text, at: 0, pointers, found: Found::default(), bound };
    walk.space();
    walk.value(0, wanted)?;
    walk.space();
    if walk.at == text.len() { Ok(walk.found) } else { Err(Ambiguous) }
}

struct Walk<'a> {
    text: &'a [u8],
    at: usize,
    pointers: &'a [Pointer],
    found: Found,
    bound: usize,
}

/// The pointers, a bit each, that lead to where the walk is.
type Wanted = u64;

fn each(mut wanted: Wanted) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let index = (wanted != 0).then(|| wanted.trailing_zeros() as usize)?;
        wanted &= wanted - 1;
        Some(index)
    })
}

/// How many of the first bytes of a string's text are of no account: no quote, backslash or control character. Eight
/// are looked at together.
fn plain(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    // A byte below `n`, itself below 0x80, sets its high bit; above the first such byte, bits may be set wrongly.
    let below = |eight: u64, n: u64| eight.wrapping_sub(ONES * n) & !eight & HIGH;
    let is = |eight: u64, byte: u8| below(eight ^ (ONES * u64::from(byte)), 1);
    let (chunks, rest) = text.as_chunks::<8>();
    for (index, chunk) in chunks.iter().enumerate() {
        let eight = u64::from_le_bytes(*chunk);
        let found = below(eight, 0x20) | is(eight, b'"') | is(eight, b'\\');
        if found != 0 {
            return 8 * index + found.trailing_zeros() as usize / 8;
        }
    }
    let is_plain = |byte: &&u8| !matches!(byte, b'"' | b'\\' | ..0x20);
    8 * chunks.len() + rest.iter().take_while(is_plain).count()
}

impl Walk<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn need(&mut self, byte: u8) -> Result<(), Ambiguous> {
        if self.take(byte) { Ok(()) } else { Err(Ambiguous) }
    }

    fn value(&mut self, depth: usize, wanted: Wanted) -> Result<(), Ambiguous> {
        let begin = self.at;
        match self.peek().ok_or(Ambiguous)? {
            b'{' | b'[' if depth == MAX_DEPTH => return Err(Ambiguous),
            b'{' => self.object(depth, wanted)?,
            b'[' => self.array(depth, wanted)?,
            b'"' => {
                self.string()?;
            }
            b't' => self.word(b"true")?,
            b'f' => self.word(b"false")?,
            b'n' => self.word(b"null")?,
            _ => self.number()?,
        }
        if wanted != 0 {
            for index in each(wanted).filter(|index| self.pointers[*index].0.len() == depth) {
                if self.found.0.len() == self.bound {
                    return Err(Ambiguous);
                }
                self.found.0.push((index as u8, begin..self.at));
            }
        }
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Ambiguous> {
        let there = self.text[self.at..].starts_with(word);
        self.at += word.len();
        if there { Ok(()) } else { Err(Ambiguous) }
    }

    fn digits(&mut self) -> Result<(), Ambiguous> {
        let begin = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > begin { Ok(()) } else { Err(Ambiguous) }
    }

    fn number(&mut self) -> Result<(), Ambiguous> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    /// Where the text between the quotes stands, and whether it has escapes.
    fn string(&mut self) -> Result<(Range<usize>, bool), Ambiguous> {
        self.need(b'"')?;
        let (begin, mut escaped) = (self.at, false);
        loop {
            self.at += plain(&self.text[self.at..]);
            match self.peek().ok_or(Ambiguous)? {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    self.at += 1;
                    self.escape()?;
                }
                _ => return Err(Ambiguous),
            }
        }
        self.at += 1;
        Ok((begin..self.at - 1, escaped))
    }

    fn escape(&mut self) -> Result<(), Ambiguous> {
        match self.peek().ok_or(Ambiguous)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                self.at += 1;
                let hex = self.text.get(self.at..self.at + 4).ok_or(Ambiguous)?;
                if !hex.iter().all(u8::is_ascii_hexdigit) {
                    return Err(Ambiguous);
                }
                self.at += 4;
            }
            _ => return Err(Ambiguous),
        }
        Ok(())
    }

    fn object(&mut self, depth: usize, wanted: Wanted) -> Result<(), Ambiguous> {
        self.at += 1;
        self.space();
        if self.take(b'}') {
            return Ok(());
        }
        let mut seen = 0;
        loop {
            let (name, escaped) = self.string()?;
            self.space();
            self.need(b':')?;
            self.space();
            let inner = self.members(depth, wanted, &self.text[name], escaped)?;
            if inner & seen != 0 {
                return Err(Ambiguous);
            }
            seen |= inner;
            self.value(depth + 1, inner)?;
            self.space();
            if self.take(b'}') {
                return Ok(());
            }
            self.need(b',')?;
            self.space();
        }
    }

    /// The pointers that go on by this name.
    fn members(&self, depth: usize, wanted: Wanted, name: &[u8], escaped: bool) -> Result<Wanted, Ambiguous> {
        let (mut inner, mut some) = (0, false);
        if wanted == 0 {
            return Ok(0);
        }
        for index in each(wanted) {
            let Some(token) = self.pointers[index].0.get(depth) else { continue };
            some = true;
            if token.as_bytes() == name {
                inner |= 1 << index;
            }
        }
        // It may be a wanted name in disguise.
        if some && escaped { Err(Ambiguous) } else { Ok(inner) }
    }

    fn array(&mut self, depth: usize, wanted: Wanted) -> Result<(), Ambiguous> {
        self.at += 1;
        self.space();
        if self.take(b']') {
            return Ok(());
        }
        let mut index = 0_usize;
        loop {
            let inner = if wanted == 0 { 0 } else { self.elements(depth, wanted, index) };
            self.value(depth + 1, inner)?;
            index += 1;
            self.space();
            if self.take(b']') {
                return Ok(());
            }
            self.need(b',')?;
            self.space();
        }
    }

    fn elements(&self, depth: usize, wanted: Wanted, index: usize) -> Wanted {
        let goes_on = |pointer: &usize| {
            let token = self.pointers[*pointer].0.get(depth);
            token.is_some_and(|token| token == "*" || token.parse() == Ok(index) && is_index(token))
        };
        each(wanted).filter(goes_on).fold(0, |inner, pointer| inner | 1 << pointer)
    }
}

/// An array's index has no leading zero or sign (RFC 6901 section 4).
fn is_index(token: &str) -> bool {
    token == "0" || token.bytes().all(|byte| byte.is_ascii_digit()) && !token.starts_with('0')
}

/// Appends what a string's text means, escapes resolved; half of a surrogate pair as UTF-8 would write it, so that it is
/// like no text. Other values are appended as they are written.
pub(super) fn push_meaning(value: &[u8], out: &mut Vec<u8>) {
    let Some(mut rest) = text_of(value) else { return out.extend_from_slice(value) };
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        rest = push_escaped(&rest[at + 1..], out);
    }
    out.extend_from_slice(rest);
}

/// What a value means, without a copy where it has no escapes.
pub(super) fn meaning(value: &[u8]) -> Cow<'_, [u8]> {
    match text_of(value) {
        None => value.into(),
        Some(text) if !text.contains(&b'\\') => text.into(),
        Some(_) => {
            let mut out = Vec::with_capacity(value.len());
            push_meaning(value, &mut out);
            out.into()
        }
    }
}

/// What stands between the quotes of a string.
pub(super) fn text_of(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""))
}

/// Appends what the escape means that `text` begins with, behind its backslash; returns what follows it.
fn push_escaped<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let Some((kind, rest)) = text.split_first() else { return text };
    let plain = match kind {
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => return push_unicode(rest, out),
        other => *other,
    };
    out.push(plain);
    rest
}

fn push_unicode<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let Some((first, rest)) = unit(text) else { return text };
    if (0xD800..0xDC00).contains(&first)
        && let Some((second, behind)) = rest.strip_prefix(b"\\u").and_then(unit)
        && let Some(Ok(char)) = char::decode_utf16([first, second]).next()
    {
        out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        return behind;
    }
    match char::from_u32(u32::from(first)) {
        Some(char) => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        None => out.extend([0xED, 0x80 | (first >> 6 & 0x3F) as u8, 0x80 | (first & 0x3F) as u8]),
    }
    rest
}

fn unit(text: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, rest) = text.split_at_checked(4)?;
    Some((u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?, rest))
}

#[cfg(test)]
#[path = "json/tests.rs"]
mod tests;
