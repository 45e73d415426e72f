//! A compiled set of rules, and how a message is tried with it.
//!
//! A message's JSON is walked at most once, and only if a rule whose cheaper conditions hold asks for a value.

use std::cell::OnceCell;
use std::ops::Range;
use std::time::Duration;

use regex::bytes::Regex;

use super::compile::meaning_of;
use super::json::{self, Found, Pointer, push_meaning};
use super::model::Side;
use super::template::{Sources, Template};
use super::{Again, BackendVerdict, ClientVerdict, Key, Kind, Message, Pin, Replay, Rules, Unpin, UnpinWhen};

/// Values that may be taken from one message.
const MAX_VALUES: usize = 4096;

/// Rules of both sides.
#[derive(Debug, Default)]
pub struct RuleSet {
    pub(super) client: SideRules,
    pub(super) backend: SideRules,
}

#[derive(Debug, Default)]
pub(super) struct SideRules {
    pub(super) rules: Vec<Compiled>,
    /// What is looked for in a message's JSON.
    pub(super) pointers: Vec<Pointer>,
}

#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) name: String,
    pub(super) number: u16,
    /// The cheap ones first.
    pub(super) conditions: Vec<Condition>,
    pub(super) goes_on: bool,
    pub(super) does: Does,
}

#[derive(Debug)]
pub(super) enum Condition {
    Nth(u64),
    Kind(Kind),
    Prefix(Vec<u8>),
    Hex { at: usize, bytes: Vec<u8>, mask: Vec<u8> },
    Json { pointer: usize, value: Value },
    Regex(Regex),
}

#[derive(Debug)]
pub(super) enum Value {
    Exists(bool),
    OneOf(Vec<Vec<u8>>),
    Matches(Regex),
}

/// What a rule does, its templates compiled and its pointers numbered.
#[derive(Debug)]
pub(super) struct Does {
    pub(super) pin: Option<PinDoes>,
    pub(super) unpin: Option<(Template, UnpinWhen)>,
    pub(super) acknowledge: Option<Template>,
    pub(super) answers: Option<Template>,
    pub(super) refuses: bool,
    pub(super) once: Option<Template>,
    pub(super) swallow: bool,
    pub(super) replay: Replay,
    pub(super) max_age: Option<Duration>,
    pub(super) close: bool,
    pub(super) translate: Option<usize>,
    pub(super) learn: Option<usize>,
}

#[derive(Debug)]
pub(super) struct PinDoes {
    pub(super) key: Template,
    pub(super) again: Again,
    pub(super) expects: Option<Template>,
    pub(super) hold: bool,
    pub(super) learns: bool,
}

/// A message's JSON, walked when it is first asked for. `Err`: it cannot be looked into.
struct Look<'a> {
    message: &'a Message<'a>,
    pointers: &'a [Pointer],
    json: OnceCell<Result<Found, json::Ambiguous>>,
}

impl<'a> Look<'a> {
    fn new(message: &'a Message<'a>, pointers: &'a [Pointer]) -> Self {
        Self { message, pointers, json: OnceCell::new() }
    }

    fn json(&self) -> Option<&Found> {
        let walk = || json::find(self.message.payload, self.pointers, MAX_VALUES);
        self.json.get_or_init(walk).as_ref().ok()
    }

    /// Whether a value was asked for that cannot be told.
    fn is_opaque(&self) -> bool {
        matches!(self.json.get(), Some(Err(json::Ambiguous)))
    }

    fn value(&self, pointer: usize) -> Option<&'a [u8]> {
        Some(&self.message.payload[self.json()?.first(pointer)?])
    }

    fn span(&self, pointer: Option<usize>) -> Option<Range<usize>> {
        self.json()?.first(pointer?)
    }
}

/// Groups of a regex, the whole first.
type Groups = Vec<Option<Range<usize>>>;

impl Condition {
    /// Whether it holds; groups are those of the rule's regex.
    fn holds(&self, look: &Look<'_>, groups: &mut Groups) -> bool {
        let Message { kind, payload, nth } = look.message;
        match self {
            Self::Nth(wanted) => nth == wanted,
            Self::Kind(wanted) => kind == wanted,
            Self::Prefix(prefix) => *kind == Kind::Text && payload.starts_with(prefix),
            Self::Hex { at, bytes, mask } => payload.get(*at..*at + bytes.len()).is_some_and(|there| {
                there.iter().zip(bytes.iter().zip(mask)).all(|(byte, (wanted, mask))| byte & mask == *wanted)
            }),
            Self::Json { pointer, value } => value.holds(look, *pointer),
            Self::Regex(regex) => {
                let Some(captures) = regex.captures(payload) else { return false };
                *groups = captures.iter().map(|group| group.map(|group| group.range())).collect();
                true
            }
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
            Self::Regex(_) => "regex",
        }
    }
}

impl Value {
    fn holds(&self, look: &Look<'_>, pointer: usize) -> bool {
        match self {
            Self::Exists(wanted) => look.json().is_some_and(|found| found.first(pointer).is_some() == *wanted),
            Self::OneOf(wanted) => look.value(pointer).is_some_and(|value| {
                let meaning = meaning_of(value);
                wanted.contains(&meaning)
            }),
            Self::Matches(regex) => look.value(pointer).is_some_and(|value| {
                let mut text = Vec::new();
                push_meaning(value, &mut text);
                value.starts_with(b"\"") && regex.is_match(&text)
            }),
        }
    }
}

/// A key with the text that it was made of.
pub(super) type Rendered = Option<(Key, Vec<u8>)>;

/// What a rule that matches says, its keys made.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) pin: Rendered,
    pub(super) expects: Rendered,
    pub(super) unpin: Rendered,
    pub(super) acknowledge: Rendered,
    pub(super) answers: Rendered,
    pub(super) once: Rendered,
    pub(super) translate: Option<Range<usize>>,
    pub(super) learn: Option<Range<usize>>,
}

/// Why a rule does not match: the condition, or the action whose template names what the message lacks.
pub(super) struct Fails(pub(super) &'static str);

impl Compiled {
    fn try_with(&self, look: &Look<'_>) -> Result<Said, Fails> {
        let mut groups = Groups::new();
        if let Some(failed) = self.conditions.iter().find(|condition| !condition.holds(look, &mut groups)) {
            return Err(Fails(failed.name()));
        }
        self.say(look, &groups)
    }

    fn say(&self, look: &Look<'_>, groups: &[Option<Range<usize>>]) -> Result<Said, Fails> {
        let payload = look.message.payload;
        let key = |name, template: Option<&Template>| -> Result<Rendered, Fails> {
            let Some(template) = template else { return Ok(None) };
            // A template without JSON must not make the walk happen.
            let json = if template.asks_json() { look.json() } else { None };
            let text = template.render(&Sources { payload, json, groups }).ok_or(Fails(name))?;
            Ok(Some((Key::of(&text), text)))
        };
        let does = &self.does;
        Ok(Said {
            pin: key("pin", does.pin.as_ref().map(|pin| &pin.key))?,
            expects: key("pin.expects", does.pin.as_ref().and_then(|pin| pin.expects.as_ref()))?,
            unpin: key("unpin", does.unpin.as_ref().map(|(key, _)| key))?,
            acknowledge: key("acknowledge", does.acknowledge.as_ref())?,
            answers: key("answers", does.answers.as_ref())?,
            once: key("once", does.once.as_ref())?,
            translate: does.translate.and_then(|pointer| look.span(Some(pointer))),
            learn: does.learn.and_then(|pointer| look.span(Some(pointer))),
        })
    }
}

fn key(rendered: &Rendered) -> Option<Key> {
    rendered.as_ref().map(|(key, _)| *key)
}

impl Compiled {
    /// Adds what this rule says to what earlier ones said.
    fn add_to_client(&self, said: &Said, verdict: &mut ClientVerdict) {
        let does = &self.does;
        if verdict.pin.is_none()
            && let (Some(pin), Some(pin_key)) = (&does.pin, key(&said.pin))
        {
            verdict.pin = Some(Pin {
                key: pin_key,
                again: pin.again,
                expects: key(&said.expects),
                hold: pin.hold,
                learns: pin.learns,
            });
        }
        if verdict.unpin.is_none()
            && let (Some((_, when)), Some(key)) = (&does.unpin, key(&said.unpin))
        {
            verdict.unpin = Some(Unpin { key, when: *when });
        }
        verdict.acknowledge = verdict.acknowledge.or(key(&said.acknowledge));
        if verdict.replay == Replay::Normal {
            verdict.replay = does.replay;
        }
        verdict.max_age = verdict.max_age.or(does.max_age);
        verdict.close |= does.close;
        verdict.translate = verdict.translate.take().or_else(|| said.translate.clone());
    }

    fn add_to_backend(&self, said: &Said, verdict: &mut BackendVerdict) {
        let does = &self.does;
        verdict.acknowledge = verdict.acknowledge.or(key(&said.acknowledge));
        if verdict.answers.is_none() {
            verdict.answers = key(&said.answers);
            verdict.refuses = does.refuses;
            verdict.learn.clone_from(&said.learn);
        }
        verdict.unpin = verdict.unpin.or(key(&said.unpin));
        verdict.once = verdict.once.or(key(&said.once));
        verdict.swallow = verdict.swallow.or(does.swallow.then_some(self.number));
        verdict.close |= does.close;
        verdict.translate = verdict.translate.take().or_else(|| said.translate.clone());
    }
}

impl SideRules {
    fn closes(&self) -> bool {
        self.rules.iter().any(|rule| rule.does.close)
    }

    /// Tries the rules in their order, and takes what those that match say. Returns whether the message could not be
    /// looked into where that was wanted.
    fn try_all(&self, message: &Message<'_>, mut take: impl FnMut(&Compiled, &Said)) -> bool {
        let look = Look::new(message, &self.pointers);
        for rule in &self.rules {
            if let Ok(said) = rule.try_with(&look) {
                take(rule, &said);
                if !rule.goes_on {
                    break;
                }
            }
        }
        look.is_opaque()
    }

    /// All that [`super::explain`] tells: each rule that was tried, and what came of it.
    pub(super) fn trials(&self, message: &Message<'_>) -> (Vec<(&Compiled, Result<Said, Fails>)>, bool) {
        let look = Look::new(message, &self.pointers);
        let mut trials = Vec::new();
        for rule in &self.rules {
            let tried = rule.try_with(&look);
            let decides = tried.is_ok() && !rule.goes_on;
            trials.push((rule, tried));
            if decides {
                break;
            }
        }
        (trials, look.is_opaque())
    }
}

impl RuleSet {
    pub(super) fn side(&self, side: Side) -> &SideRules {
        match side {
            Side::Client => &self.client,
            Side::Backend => &self.backend,
        }
    }

    /// Whether a message of the client waits for an answer with its key (`--ack rules`).
    #[must_use]
    pub fn acknowledges(&self) -> bool {
        self.client.rules.iter().any(|rule| rule.does.acknowledge.is_some())
    }

    /// Whether an id in a message is put in another's place.
    #[must_use]
    pub fn translates(&self) -> bool {
        [&self.client, &self.backend].iter().any(|side| side.rules.iter().any(|rule| rule.does.translate.is_some()))
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.client.rules.len() + self.backend.rules.len()
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.client.rules.is_empty() && self.backend.rules.is_empty()
    }
}

impl Rules for RuleSet {
    fn client(&self, message: &Message<'_>) -> ClientVerdict {
        let mut verdict = ClientVerdict::default();
        let opaque = self.client.try_all(message, |rule, said| rule.add_to_client(said, &mut verdict));
        verdict.close |= opaque && looks_like_json(message) && self.client.closes();
        verdict
    }

    fn backend(&self, message: &Message<'_>) -> BackendVerdict {
        let mut verdict = BackendVerdict::default();
        let opaque = self.backend.try_all(message, |rule, said| rule.add_to_backend(said, &mut verdict));
        verdict.close |= opaque && looks_like_json(message) && self.backend.closes();
        verdict
    }

    fn closes_opaque(&self, from_client: bool) -> bool {
        if from_client { self.client.closes() } else { self.backend.closes() }
    }

    fn looks_at(&self, from_client: bool) -> bool {
        !if from_client { self.client.rules.is_empty() } else { self.backend.rules.is_empty() }
    }
}

/// What begins as no object or array is another text, not a bad JSON text: rules about JSON do not match it.
fn looks_like_json(message: &Message<'_>) -> bool {
    let first = message.payload.iter().find(|byte| !byte.is_ascii_whitespace());
    matches!(first, Some(b'{' | b'['))
}
