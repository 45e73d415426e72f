//! Rules as data, before they are compiled: what a message must be, and what is to be done with it then.
//!
//! Texts named *template* give a key. In them `{/pointer}` is a value of the message's JSON, `{/list/*/id}` all such
//! values, sorted; `{1}` a group of the rule's regex, empty where it took no part; `{hex 2..4}` these bytes; `{{` and
//! `}}` are braces. A JSON string counts without its escapes, and differs from a number that looks alike. A message
//! that lacks what a template names is not matched.

use std::time::Duration;

use super::Kind;
pub use super::graphql::Operation;
use super::verdict::{Again, Replay, UnpinWhen};

/// Whose messages a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Client,
    /// The backends'.
    Backend,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it is called in explanations.
    pub name: String,
    /// Whose messages it looks at.
    pub from: Side,
    /// What a message must be, all of it.
    pub matches: Match,
    /// Later rules are tried too; what this one says goes before.
    pub goes_on: bool,
    /// What is done.
    pub does: Actions,
}

/// What a message must be. Empty: any.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// Of text or of bytes.
    pub kind: Option<Kind>,
    /// Text that begins so.
    pub text_prefix: Option<String>,
    /// Bytes that a regular expression finds something in.
    pub regex: Option<String>,
    /// JSON with such values.
    pub json: Vec<JsonTest>,
    /// Bytes at a place.
    pub hex: Option<HexTest>,
    /// The n-th message, from 1: of the client in the session, of a backend on its leg.
    pub nth: Option<u64>,
}

/// What a value of a JSON text must be.
#[derive(Clone, Debug)]
pub struct JsonTest {
    /// Where (RFC 6901); `*` stands for any element of an array.
    pub pointer: String,
    /// What.
    pub test: ValueTest,
}

/// A test of a JSON value.
#[derive(Clone, Debug)]
pub enum ValueTest {
    /// It is there, or not.
    Exists(bool),
    /// It is one of these.
    OneOf(Vec<Scalar>),
    /// It is a string in which a regular expression finds something.
    Matches(String),
    /// It is a GraphQL document that asks for such an operation.
    Operation {
        /// For which.
        operation: Operation,
        /// Where the name stands (RFC 6901) that tells which of several operations is meant; where it is missing, null or
        /// empty there must be only one.
        named: Option<String>,
    },
}

/// A JSON value without parts.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A string.
    Text(String),
    /// A number, as it is written: 1 is not 1.0.
    Number(String),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
}

/// Bytes that a message must have at a place.
#[derive(Clone, Debug)]
pub struct HexTest {
    /// The first one's place, from 0.
    pub at: usize,
    /// What they must be, where `mask` has ones.
    pub bytes: Vec<u8>,
    /// As long as `bytes`; `None`: all ones.
    pub mask: Option<Vec<u8>>,
}

/// What is done with a message.
#[derive(Clone, Debug, Default)]
pub struct Actions {
    /// Client: it is written first on every later leg.
    pub pin: Option<PinAction>,
    /// The pin of this key (a template) ends; from a backend always at once. Of a message of the client with an id to
    /// translate, the pin that brought the id.
    pub unpin: Option<(String, UnpinWhen)>,
    /// A template. Client: it waits for a message of the backend with this key. Backend: what waits for it is done with.
    pub acknowledge: Option<String>,
    /// Client: a template; what waits for this key is not waited for any more.
    pub gives_up: Option<String>,
    /// Backend: it answers the pinned message that expects this key (a template).
    pub answers: Option<String>,
    /// Backend: with `answers`, it is a refusal.
    pub refuses: bool,
    /// Backend: a template; what a new leg says again for a message that waits for this key is swallowed.
    pub once: Option<String>,
    /// Backend: the client gets only the first such message of the session.
    pub swallow: bool,
    /// Client: whether later legs are written it.
    pub replay: Replay,
    /// Client: when it is too old to be replayed.
    pub max_age: Option<Duration>,
    /// No session with such a message.
    pub close: bool,
    /// A JSON pointer to an id that a backend chose.
    pub translate: Option<String>,
    /// Backend: with `answers`, a JSON pointer to the id that it chose.
    pub learn: Option<String>,
}

/// How a message is pinned.
#[derive(Clone, Debug)]
pub struct PinAction {
    /// A template.
    pub key: String,
    /// Where a newer one with the same key goes.
    pub again: Again,
    /// The key (a template) of its answer.
    pub expects: Option<String>,
    /// Nothing more is written to a later leg until the answer is there.
    pub hold: bool,
    /// The answer brings an id to translate.
    pub learns: bool,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// Which rule, from 0 in the order given.
    pub rule: usize,
    /// The key of its table, such as `pin.key`.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
}
