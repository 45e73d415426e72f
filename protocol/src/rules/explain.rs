//! What rules make of a sample message, for people.

use std::borrow::Cow;

use super::model::Side;
use super::set::{Compiled, Fails, Rendered, RuleSet, Said};
use super::{Message, Replay, UnpinWhen};

/// A rule that was tried with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// What the rule is called.
    pub rule: String,
    /// What would be done, an item each; `Err`: the condition that does not hold, or the action whose key names what the
    /// message lacks.
    pub outcome: Result<Vec<String>, &'static str>,
}

impl RuleSet {
    /// The rules that are tried with a message, up to the one that decides; and whether it cannot be looked into though
    /// a rule wanted to.
    #[must_use]
    pub fn explain(&self, side: Side, message: &Message<'_>) -> (Vec<Trial>, bool) {
        let (trials, opaque) = self.side(side).trials(message);
        (trials.into_iter().map(|(rule, tried)| trial(rule, tried, message)).collect(), opaque)
    }
}

fn trial(rule: &Compiled, tried: Result<Said, Fails>, message: &Message<'_>) -> Trial {
    let outcome = tried.map(|said| items(rule, &said, message)).map_err(|fails| fails.what);
    Trial { rule: rule.name.clone(), outcome }
}

fn items(rule: &Compiled, said: &Said, message: &Message<'_>) -> Vec<String> {
    let does = &rule.does;
    let mut items = Vec::new();
    if let (Some(pin), Some(key)) = (&does.pin, show(&said.pin)) {
        let expects = show(&said.expects).map(|key| format!(", expects {key}")).unwrap_or_default();
        let hold = if pin.hold { ", holds what follows until then" } else { "" };
        items.push(format!("pin under {key}{expects}{hold}"));
    }
    if let (Some((_, when)), Some(key)) = (&does.unpin, show(&said.unpin)) {
        let when = match when {
            UnpinWhen::Now => "",
            UnpinWhen::Acknowledged => " when it is acknowledged",
        };
        items.push(format!("unpin {key}{when}"));
    }
    let keys = [
        ("acknowledge", &said.acknowledge),
        ("give up", &said.gives_up),
        ("answer", &said.answers),
        ("once for", &said.once),
    ];
    items.extend(keys.iter().filter_map(|(what, key)| Some(format!("{what} {}", show(key)?))));
    let flags = [
        ("refusal", does.refuses),
        ("swallow after the first", does.swallow),
        ("leg-local: never replayed", does.replay == Replay::LegLocal),
        ("ephemeral: never written twice", does.replay == Replay::Ephemeral),
        ("close the session", does.close),
    ];
    items.extend(flags.iter().filter(|(_, on)| *on).map(|(what, _)| (*what).to_owned()));
    items.extend(does.max_age.map(|age| format!("not replayed after {age:?}")));
    let spans = [("learn the id", &said.learn), ("translate the id", &said.translate)];
    for (what, span) in spans {
        items.extend(span.clone().map(|span| format!("{what} {}", readable(&message.payload[span]))));
    }
    items
}

fn show(key: &Rendered) -> Option<String> {
    key.as_ref().map(|(_, text)| format!("\u{201c}{}\u{201d}", readable(text)))
}

fn readable(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.into(),
        _ => bytes.escape_ascii().to_string().into(),
    }
}
