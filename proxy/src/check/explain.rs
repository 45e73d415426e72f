//! What is said of a sample message.

use std::fmt;

use tideover_protocol::rules::{
    BackendVerdict, ClientVerdict, Key, Kind, Message, Replay, RuleSet, Rules, Trial, UnpinWhen,
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
        for trial in &trials {
            self.trial(f, trial)?;
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

    fn trial(&self, f: &mut fmt::Formatter<'_>, trial: &Trial) -> fmt::Result {
        match &trial.outcome {
            Err(lacks) => writeln!(f, "  {}: no, its {lacks} does not fit", trial.rule),
            Ok(does) => {
                writeln!(f, "  {}: matches", trial.rule)?;
                does.iter().try_for_each(|item| writeln!(f, "    {item}"))
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
                From::Client => of_client(&rules.client(&packet)),
                From::Backend => of_backend(&rules.backend(&packet)),
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

fn of_client(verdict: &ClientVerdict) -> Vec<String> {
    let ClientVerdict { pin, unpin, acknowledge, replay, max_age: _, close: _, translate: _, gives_up } = verdict;
    let mut items = Vec::new();
    if let Some(pin) = pin {
        let expects = pin.expects.map(|key| format!(", expects {}", named(key))).unwrap_or_default();
        let hold = if pin.hold { ", holds what follows until then" } else { "" };
        items.push(format!("pin under {}{expects}{hold}", named(pin.key)));
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
    items
}

fn of_backend(verdict: &BackendVerdict) -> Vec<String> {
    let keys = [
        ("acknowledge", verdict.acknowledge),
        ("answer", verdict.answers),
        ("unpin", verdict.unpin),
        ("once for", verdict.once),
    ];
    let keys = keys.iter().filter_map(|(what, key)| Some(format!("{what} {}", named((*key)?))));
    keys.chain(verdict.refuses.then(|| "refusal".to_owned())).collect()
}
