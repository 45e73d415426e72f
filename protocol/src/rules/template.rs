//! Templates of keys.

use std::ops::Range;

use super::json::{Found, push_meaning};

/// What stands between the values of a pointer that gives several.
const BETWEEN: u8 = 0x1f;

/// What a key is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(Vec<u8>),
    /// A pointer of the rule set's, by its number, and whether it may give several values.
    Json {
        pointer: usize,
        many: bool,
    },
    /// A group of the rule's regex.
    Group(usize),
    Bytes(Range<usize>),
}

/// A template, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(pub(super) Vec<Part>);

/// A part as it is written.
pub(super) enum Written<'a> {
    Text(String),
    Pointer(&'a str),
    Group(usize),
    Bytes(Range<usize>),
}

/// Reads a template into its parts.
///
/// # Errors
/// Says what is wrong.
pub(super) fn read(text: &str) -> Result<Vec<Written<'_>>, String> {
    let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let brace = &rest[at..];
        if let Some(behind) = brace.strip_prefix("{{").or_else(|| brace.strip_prefix("}}")) {
            literal.push_str(&brace[..1]);
            rest = behind;
            continue;
        }
        let inner = brace.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (inner, behind) =
            inner.ok_or_else(|| format!("{text:?} has a brace without its other; a brace is {{{{ or }}}}"))?;
        if !literal.is_empty() {
            parts.push(Written::Text(std::mem::take(&mut literal)));
        }
        parts.push(part(inner)?);
        rest = behind;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Written::Text(literal));
    }
    Ok(parts)
}

fn part(inner: &str) -> Result<Written<'_>, String> {
    if inner.starts_with('/') {
        return Ok(Written::Pointer(inner));
    }
    if let Ok(group) = inner.parse() {
        return Ok(Written::Group(group));
    }
    let range = inner.strip_prefix("hex ").and_then(|range| range.trim().split_once(".."));
    if let Some((from, to)) = range
        && let (Ok(from), Ok(to)) = (from.parse(), to.parse())
        && from < to
    {
        return Ok(Written::Bytes(from..to));
    }
    Err(format!("{{{inner}}} is none of {{/pointer}}, {{1}} and {{hex 2..4}}"))
}

/// What a template takes its values from.
pub(super) struct Sources<'a> {
    pub(super) payload: &'a [u8],
    pub(super) json: Option<&'a Found>,
    /// The groups of the rule's regex; empty without one.
    pub(super) groups: &'a [Option<Range<usize>>],
}

impl Template {
    /// Whether a value of the message's JSON is part of it.
    pub(super) fn asks_json(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Json { .. }))
    }

    /// The text of the key; `None` if the message lacks a part.
    pub(super) fn render(&self, sources: &Sources<'_>) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for part in &self.0 {
            part.render(sources, &mut out)?;
        }
        Some(out)
    }
}

impl Part {
    fn render(&self, sources: &Sources<'_>, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Text(text) => out.extend_from_slice(text),
            Self::Json { pointer, many: false } => {
                push_value(&sources.payload[sources.json?.first(*pointer)?], out);
            }
            Self::Json { pointer, many: true } => push_all(sources, *pointer, out)?,
            Self::Group(group) => {
                if let Some(span) = sources.groups.get(*group)? {
                    out.extend_from_slice(&sources.payload[span.clone()]);
                }
            }
            Self::Bytes(range) => out.extend_from_slice(sources.payload.get(range.clone())?),
        }
        Some(())
    }
}

/// A string is marked, so that it differs from a number.
fn push_value(value: &[u8], out: &mut Vec<u8>) {
    if value.starts_with(b"\"") {
        out.push(b'"');
    }
    push_meaning(value, out);
}

fn push_all(sources: &Sources<'_>, pointer: usize, out: &mut Vec<u8>) -> Option<()> {
    let spans = sources.json?.all(pointer);
    let mut values: Vec<Vec<u8>> = spans
        .map(|span| {
            let mut value = Vec::new();
            push_value(&sources.payload[span], &mut value);
            value
        })
        .collect();
    if values.is_empty() {
        return None;
    }
    values.sort_unstable();
    out.extend_from_slice(&values.join(&BETWEEN));
    Some(())
}
