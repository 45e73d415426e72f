//! A compiled set of rules, and how a message is tried with it.

use std::ops::Range;
use std::time::Duration;

use super::condition::{Condition, Groups, Holds, Look};
use super::json::Pointer;
use super::model::Side;
use super::template::{Sources, Template};
use super::{Again, BackendVerdict, ClientVerdict, Key, Message, Pin, Replay, Rules, Unpin, UnpinWhen};

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

/// What a rule does, its templates compiled and its pointers numbered.
#[derive(Debug)]
pub(super) struct Does {
    pub(super) pin: Option<PinDoes>,
    pub(super) unpin: Option<(Template, UnpinWhen)>,
    pub(super) acknowledge: Option<Template>,
    pub(super) gives_up: Option<Template>,
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

/// A key with the text that it was made of.
pub(super) type Rendered = Option<(Key, Vec<u8>)>;

/// What a rule that matches says, its keys made.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) pin: Rendered,
    pub(super) expects: Rendered,
    pub(super) unpin: Rendered,
    pub(super) acknowledge: Rendered,
    pub(super) gives_up: Rendered,
    pub(super) answers: Rendered,
    pub(super) once: Rendered,
    pub(super) translate: Option<Range<usize>>,
    pub(super) learn: Option<Range<usize>>,
}

/// Why a rule does not match.
pub(super) struct Fails {
    /// The condition, or the action whose template names what the message lacks.
    pub(super) what: &'static str,
    /// It may match: the message cannot be looked into.
    pub(super) unsure: bool,
}

impl Fails {
    fn at(what: &'static str) -> Self {
        Self { what, unsure: false }
    }
}

impl Compiled {
    fn try_with(&self, look: &Look<'_>) -> Result<Said, Fails> {
        let (mut groups, mut unsure) = (Groups::new(), None);
        for condition in &self.conditions {
            match condition.holds(look, &mut groups) {
                Holds::Yes => {}
                Holds::No => return Err(Fails::at(condition.name())),
                Holds::Unsure => unsure = Some(condition.name()),
            }
        }
        match unsure {
            Some(what) => Err(Fails { what, unsure: true }),
            None => self.say(look, &groups),
        }
    }

    fn say(&self, look: &Look<'_>, groups: &[Option<Range<usize>>]) -> Result<Said, Fails> {
        let payload = look.message.payload;
        let key = |name, template: Option<&Template>| -> Result<Rendered, Fails> {
            let Some(template) = template else { return Ok(None) };
            // A template without JSON must not make the walk happen.
            let json = if template.asks_json() { look.json() } else { None };
            let text = template.render(&Sources { payload, json, groups }).ok_or(Fails::at(name))?;
            Ok(Some((Key::of(&text), text)))
        };
        let does = &self.does;
        Ok(Said {
            pin: key("pin", does.pin.as_ref().map(|pin| &pin.key))?,
            expects: key("pin.expects", does.pin.as_ref().and_then(|pin| pin.expects.as_ref()))?,
            unpin: key("unpin", does.unpin.as_ref().map(|(key, _)| key))?,
            acknowledge: key("acknowledge", does.acknowledge.as_ref())?,
            gives_up: key("gives-up", does.gives_up.as_ref())?,
            answers: key("answers", does.answers.as_ref())?,
            once: key("once", does.once.as_ref())?,
            translate: does.translate.and_then(|pointer| look.span(pointer)),
            learn: does.learn.and_then(|pointer| look.span(pointer)),
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
        verdict.gives_up = verdict.gives_up.or(key(&said.gives_up));
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

/// A rule, and what came of trying it.
pub(super) type Tried<'a> = (&'a Compiled, Result<Said, Fails>);

impl SideRules {
    fn closes(&self) -> bool {
        self.rules.iter().any(|rule| rule.does.close)
    }

    /// Tries the rules in their order, and takes what those that match say. Returns whether one that closes the session
    /// may match a message that cannot be looked into.
    fn try_all(&self, message: &Message<'_>, mut take: impl FnMut(&Compiled, &Said)) -> bool {
        let look = Look::new(message, &self.pointers);
        for rule in &self.rules {
            match rule.try_with(&look) {
                Ok(said) => {
                    take(rule, &said);
                    if !rule.goes_on {
                        return false;
                    }
                }
                Err(fails) if fails.unsure && rule.does.close => return true,
                Err(_) => {}
            }
        }
        false
    }

    /// All that [`super::explain`] tells: each rule that was tried, and what came of it.
    pub(super) fn trials(&self, message: &Message<'_>) -> (Vec<Tried<'_>>, bool) {
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
        verdict.close =
            self.client.try_all(message, |rule, said| rule.add_to_client(said, &mut verdict)) || verdict.close;
        verdict
    }

    fn backend(&self, message: &Message<'_>) -> BackendVerdict {
        let mut verdict = BackendVerdict::default();
        verdict.close =
            self.backend.try_all(message, |rule, said| rule.add_to_backend(said, &mut verdict)) || verdict.close;
        verdict
    }

    fn closes_opaque(&self, from_client: bool) -> bool {
        if from_client { self.client.closes() } else { self.backend.closes() }
    }

    fn looks_at(&self, from_client: bool) -> bool {
        !if from_client { self.client.rules.is_empty() } else { self.backend.rules.is_empty() }
    }
}

#[cfg(test)]
mod tests;
