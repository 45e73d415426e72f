//! What a message must be for a rule to match it.
//!
//! A message's JSON is walked at most once, and only if a rule whose cheaper conditions hold asks for a value.

use std::cell::OnceCell;
use std::ops::Range;

use regex::bytes::Regex;

use super::graphql::{Operation, operation};
use super::json::{self, Found, Pointer};
use super::{Kind, Message};

/// Values that may be taken from one message.
const MAX_VALUES: usize = 4096;

/// One condition of a rule.
#[derive(Debug)]
pub(super) enum Condition {
    Nth(u64),
    Kind(Kind),
    Prefix(Vec<u8>),
    Hex {
        at: usize,
        bytes: Vec<u8>,
        mask: Vec<u8>,
    },
    Json {
        pointer: usize,
        value: Value,
    },
    /// With its groups, if a template names one.
    Regex {
        regex: Regex,
        groups: bool,
    },
}

/// What a value of the message's JSON must be.
#[derive(Debug)]
pub(super) enum Value {
    Exists(bool),
    OneOf(Vec<Scalar>),
    /// A string in which something is found.
    Matches(Regex),
    /// A GraphQL document that asks for such an operation, by the name that stands at another pointer.
    Operation {
        operation: Operation,
        named: Option<usize>,
    },
}

/// A value without parts: a string by what it means, anything else by how it is written.
#[derive(Debug)]
pub(super) enum Scalar {
    Text(Vec<u8>),
    Other(Vec<u8>),
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Yes,
    No,
    /// The message cannot be looked into.
    Unsure,
}

impl From<bool> for Holds {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// Groups of a regex, the whole first.
pub(super) type Groups = Vec<Option<Range<usize>>>;

/// A message that is looked at, its JSON walked when it is first asked for.
pub(super) struct Look<'a> {
    pub(super) message: &'a Message<'a>,
    pointers: &'a [Pointer],
    json: OnceCell<Result<Found, json::Ambiguous>>,
}

impl<'a> Look<'a> {
    pub(super) fn new(message: &'a Message<'a>, pointers: &'a [Pointer]) -> Self {
        Self { message, pointers, json: OnceCell::new() }
    }

    pub(super) fn json(&self) -> Option<&Found> {
        let walk = || json::find(self.message.payload, self.pointers, MAX_VALUES);
        self.json.get_or_init(walk).as_ref().ok()
    }

    /// Whether its JSON was asked for and cannot be told.
    pub(super) fn is_opaque(&self) -> bool {
        matches!(self.json.get(), Some(Err(json::Ambiguous))) && self.could_be_json()
    }

    pub(super) fn span(&self, pointer: usize) -> Option<Range<usize>> {
        self.json()?.first(pointer)
    }

    fn value(&self, pointer: usize) -> Option<&'a [u8]> {
        Some(&self.message.payload[self.span(pointer)?])
    }

    /// What begins like a word or a number is another text, not a bad JSON text: no reader makes an object of it. Readers
    /// that are lenient may pass over marks, comments and foreign spaces.
    fn could_be_json(&self) -> bool {
        let first = self.message.payload.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
        first.is_some_and(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'"' | b'\'' | b'-' | b'+' | b'.')))
    }
}

impl Condition {
    /// Whether it holds; `groups` get those of the rule's regex.
    pub(super) fn holds(&self, look: &Look<'_>, groups: &mut Groups) -> Holds {
        let Message { kind, payload, nth } = look.message;
        match self {
            Self::Nth(wanted) => (nth == wanted).into(),
            Self::Kind(wanted) => (kind == wanted).into(),
            Self::Prefix(prefix) => (*kind == Kind::Text && payload.starts_with(prefix)).into(),
            Self::Hex { at, bytes, mask } => has_bytes(payload, *at, bytes, mask).into(),
            Self::Json { pointer, value } if look.json().is_some() => value.holds(look, *pointer).into(),
            Self::Json { .. } => {
                if look.is_opaque() {
                    Holds::Unsure
                } else {
                    Holds::No
                }
            }
            Self::Regex { regex, groups: false } => regex.is_match(payload).into(),
            Self::Regex { regex, groups: true } => match regex.captures(payload) {
                Some(found) => {
                    *groups = found.iter().map(|group| group.map(|group| group.range())).collect();
                    Holds::Yes
                }
                None => Holds::No,
            },
        }
    }

    /// How it reads in an explanation.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Nth(_) => "nth",
            Self::Kind(_) => "kind",
            Self::Prefix(_) => "text-prefix",
            Self::Hex { .. } => "hex",
            Self::Json { .. } => "json",
            Self::Regex { .. } => "regex",
        }
    }
}

fn has_bytes(payload: &[u8], at: usize, bytes: &[u8], mask: &[u8]) -> bool {
    let there = payload.get(at..at + bytes.len());
    there.is_some_and(|there| {
        there.iter().zip(bytes.iter().zip(mask)).all(|(byte, (wanted, mask))| byte & mask == *wanted)
    })
}

impl Value {
    fn holds(&self, look: &Look<'_>, pointer: usize) -> bool {
        let value = look.value(pointer);
        match self {
            Self::Exists(wanted) => value.is_some() == *wanted,
            Self::OneOf(wanted) => value.is_some_and(|value| wanted.iter().any(|scalar| scalar.is(value))),
            Self::Matches(regex) => text(value).is_some_and(|value| regex.is_match(&json::meaning(value))),
            Self::Operation { operation: wanted, named } => {
                let name = named.and_then(|named| text(look.value(named))).map(json::meaning);
                let name = name.as_deref().filter(|name| !name.is_empty());
                text(value).is_some_and(|value| operation(&json::meaning(value), name) == Some(*wanted))
            }
        }
    }
}

/// The value, if it is a string.
fn text(value: Option<&[u8]>) -> Option<&[u8]> {
    value.filter(|value| json::text_of(value).is_some())
}

impl Scalar {
    fn is(&self, value: &[u8]) -> bool {
        match self {
            Self::Text(wanted) => text(Some(value)).is_some_and(|value| json::meaning(value) == wanted.as_slice()),
            Self::Other(wanted) => value == wanted,
        }
    }
}
