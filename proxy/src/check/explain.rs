//! What is said of a sample message.

use std::fmt;
use std::ops::Range;

use tideover_protocol::rules::{
    Again, BackendVerdict, ClientVerdict, Key, Kind, Message, Pin, Replay, RuleSet, Rules, Trial, UnpinWhen,
};

use super::options::{From, Sample};
use crate::config::{Look, RouteConfig};

/// Characters of a message that are shown.
const SHOWN: usize = 120;

/// A message, and what a route's rules make of it. Its `Display` has a line for each rule that is tried.
pub(super) struct Explained<'a> {
    pub(super) route: &'a RouteConfig,
    pub(super) from: From,
    pub(super) sample: &'a Sample,
    /// Its number among those of its side.
    pub(super) nth: u64,
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sample { kind, payload } = self.sample;
        let who = match self.from {
            From::Client => "the client's",
            From::Backend => "a backend's",
        };
        writeln!(f, "{who} message {}, {} bytes: {}", self.nth, payload.len(), shown(*kind, payload))?;
        let message = Message { kind: *kind, payload, nth: self.nth };
        let most = self.route.session.inspect_bytes;
        match self.route.rules.look.rules() {
            Some(rules) if payload.len() > most => {
                writeln!(f, "  longer than inspect-bytes ({most}): not looked into")?;
                self.opaque(f, rules.closes_opaque(self.is_clients()))
            }
            None => writeln!(f, "  the route has no rules"),
            Some(rules) => match &self.route.rules.look {
                Look::Rules(set) => self.by_rules(f, set, &message),
                Look::Not | Look::Code(_) => self.by_code(f, &*rules, &message),
            },
        }
    }
}

impl Explained<'_> {
    fn is_clients(&self) -> bool {
        self.from == From::Client
    }

    fn by_rules(&self, f: &mut fmt::Formatter<'_>, rules: &RuleSet, message: &Message<'_>) -> fmt::Result {
        let (trials, opaque) = rules.explain(self.from.side(), message);
        let mut pin = self.is_clients().then(|| rules.client(message).pin).flatten();
        for trial in &trials {
            self.trial(f, trial, &mut pin)?;
        }
        if opaque {
            writeln!(f, "  it is no JSON that says one thing only (docs/rules.md): values in it are not known")?;
            let closes = match self.from {
                From::Client => rules.client(message).close,
                From::Backend => rules.backend(message).close,
            };
            return self.opaque(f, closes);
        }
        if trials.iter().all(|trial| trial.outcome.is_err()) {
            writeln!(f, "  no rule matches: it is treated as without rules")?;
        }
        Ok(())
    }

    fn opaque(&self, f: &mut fmt::Formatter<'_>, closes: bool) -> fmt::Result {
        match closes {
            true => writeln!(f, "  closes the session: a rule that does so might be meant"),
            false => writeln!(f, "  no rule of this side closes sessions: it passes"),
        }
    }

    /// The first rule that pins is the one whose `pin` counts.
    fn trial(&self, f: &mut fmt::Formatter<'_>, trial: &Trial, pin: &mut Option<Pin>) -> fmt::Result {
        match &trial.outcome {
            Err(lacks) => writeln!(f, "  {}: no, its {lacks} does not fit", trial.rule),
            Ok(does) => {
                writeln!(f, "  {}: matches", trial.rule)?;
                does.iter().try_for_each(|item| {
                    let pin = if item.starts_with("pin under ") { pin.take() } else { None };
                    writeln!(f, "    {item}{}", pin.as_ref().map_or(String::new(), more_of))
                })
            }
        }
    }

    /// Packet by packet.
    fn by_code(&self, f: &mut fmt::Formatter<'_>, rules: &dyn Rules, message: &Message<'_>) -> fmt::Result {
        let mut rest = message.payload;
        while !rest.is_empty() {
            let len = rules.packets().map_or(Ok(Some(rest.len())), |packets| packets.len(rest));
            let Ok(Some(len)) = len.map(|len| len.filter(|len| *len <= rest.len())) else {
                return writeln!(f, "  {} bytes that are no whole packet", rest.len());
            };
            let packet = Message { payload: &rest[..len], ..*message };
            writeln!(f, "  packet of {len} bytes")?;
            let items = match self.from {
                From::Client => of_client(&rules.client(&packet), packet.payload),
                From::Backend => of_backend(&rules.backend(&packet), packet.payload),
            };
            items.iter().try_for_each(|item| writeln!(f, "    {item}"))?;
            rest = &rest[len..];
        }
        Ok(())
    }
}

/// Text as it is, where a terminal can show it; else in hexadecimal digits.
fn shown(kind: Kind, payload: &[u8]) -> String {
    let text = match std::str::from_utf8(payload) {
        Ok(text) if kind == Kind::Text => text.escape_debug().to_string().replace("\\\"", "\""),
        _ => payload.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect(),
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Code makes keys of more than text: what tells them apart is enough.
fn named(key: Key) -> String {
    format!("key {:08x}", key.0 as u32)
}

/// What becomes of a pin, beside its keys and whether it holds.
fn more_of(pin: &Pin) -> String {
    let moves = if pin.again == Again::Move { ", goes to the end when it is said again" } else { "" };
    let learns = if pin.learns { ", learns the id in its answer" } else { "" };
    format!("{moves}{learns}")
}

fn of_client(verdict: &ClientVerdict, payload: &[u8]) -> Vec<String> {
    let ClientVerdict { pin, unpin, acknowledge, replay, max_age, close, translate, gives_up } = verdict;
    let mut items = Vec::new();
    if let Some(pin) = pin {
        let expects = pin.expects.map(|key| format!(", expects {}", named(key))).unwrap_or_default();
        let hold = if pin.hold { ", holds what follows until then" } else { "" };
        items.push(format!("pin under {}{expects}{hold}{}", named(pin.key), more_of(pin)));
    }
    items.extend(unpin.as_ref().map(|unpin| match unpin.when {
        UnpinWhen::Now => format!("unpin {}", named(unpin.key)),
        UnpinWhen::Acknowledged => format!("unpin {} when it is acknowledged", named(unpin.key)),
    }));
    items.extend(acknowledge.map(|key| format!("acknowledge {}", named(key))));
    items.extend(gives_up.map(|key| format!("give up {}", named(key))));
    items.extend(match replay {
        Replay::Normal => None,
        Replay::LegLocal => Some("leg-local: never replayed".to_owned()),
        Replay::Ephemeral => Some("ephemeral: never written twice".to_owned()),
    });
    items.extend(close.then(|| "close the session".to_owned()));
    items.extend(max_age.map(|age| format!("not replayed after {age:?}")));
    items.extend(id("translate", translate.as_ref(), payload));
    items
}

fn of_backend(verdict: &BackendVerdict, payload: &[u8]) -> Vec<String> {
    let BackendVerdict { acknowledge, answers, refuses, unpin, once, swallow, close, learn, translate } = verdict;
    let keys = [("acknowledge", acknowledge), ("answer", answers), ("unpin", unpin), ("once for", once)];
    let mut items: Vec<_> = keys.iter().filter_map(|(what, key)| Some(format!("{what} {}", named((**key)?)))).collect();
    let flags = [
        ("refusal: where it is held for, the attempt has failed", *refuses),
        ("swallow after the first", swallow.is_some()),
        ("close the session", *close),
    ];
    items.extend(flags.iter().filter(|(_, on)| *on).map(|(what, _)| (*what).to_owned()));
    items.extend(id("learn", learn.as_ref(), payload));
    items.extend(id("translate", translate.as_ref(), payload));
    items
}

fn id(what: &str, at: Option<&Range<usize>>, payload: &[u8]) -> Option<String> {
    let id = payload.get(at?.clone())?;
    Some(format!("{what} the id {}", id.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tideover_protocol::rules::Unpin;

    use super::*;

    const KEY: Key = Key(1);

    #[test]
    fn all_that_code_says_of_a_message_of_the_client_is_told() {
        let verdict = ClientVerdict {
            pin: Some(Pin { key: KEY, again: Again::Move, expects: Some(Key(2)), hold: true, learns: true }),
            unpin: Some(Unpin { key: KEY, when: UnpinWhen::Acknowledged }),
            acknowledge: Some(KEY),
            replay: Replay::Ephemeral,
            max_age: Some(Duration::from_secs(60)),
            close: true,
            translate: Some(1..3),
            gives_up: Some(KEY),
        };
        let expected = [
            "pin under key 00000001, expects key 00000002, holds what follows until then, goes to the end when it is said \
             again, learns the id in its answer",
            "unpin key 00000001 when it is acknowledged",
            "acknowledge key 00000001",
            "give up key 00000001",
            "ephemeral: never written twice",
            "close the session",
            "not replayed after 60s",
            "translate the id id",
        ];
        assert_eq!(of_client(&verdict, b" id"), expected);
        assert_eq!(of_client(&ClientVerdict::default(), b""), [""; 0]);
    }

    #[test]
    fn all_that_code_says_of_a_message_of_a_backend_is_told() {
        let verdict = BackendVerdict {
            acknowledge: Some(KEY),
            answers: Some(KEY),
            refuses: true,
            unpin: Some(KEY),
            once: Some(KEY),
            swallow: Some(0),
            close: true,
            learn: Some(0..2),
            translate: Some(3..5),
        };
        let expected = [
            "acknowledge key 00000001",
            "answer key 00000001",
            "unpin key 00000001",
            "once for key 00000001",
            "refusal: where it is held for, the attempt has failed",
            "swallow after the first",
            "close the session",
            "learn the id id",
            "translate the id an",
        ];
        assert_eq!(of_backend(&verdict, b"id an"), expected);
        assert_eq!(of_backend(&BackendVerdict::default(), b""), [""; 0]);
    }
}
