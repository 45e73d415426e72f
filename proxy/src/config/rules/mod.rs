//! What a route's messages are looked at with: the `[[rule]]`s of the configuration's file, and a profile.
//!
//! - `fields` reads tables key by key, `rule` a `[[rule]]`, `file` a rule file
//!
//! What rules mean, `tideover_protocol::rules` knows.

mod fields;
mod file;
mod rule;

use std::sync::Arc;

use tideover_protocol::rules::model::Rule;
use tideover_protocol::rules::{Mqtt, Pin, RuleSet, Rules};

pub(crate) use fields::unhex;
pub use file::{Code, Profile};

use super::file::File;
use super::problem::{Place, Problem};
use super::reader::Reader;
use super::Flag;
use crate::renewal::QueryEdit;
use fields::Fields;
use file::{RuleFile, WrittenAhead};
use rule::Written;

/// What a route's messages are looked at with.
#[derive(Clone, Debug, Default)]
pub struct RulesConfig {
    /// `--profile`. `None`: none.
    pub profile: Option<Profile>,
    /// How messages are looked at.
    pub look: Look,
    /// What clients said before their session began.
    pub ahead: Vec<Ahead>,
    /// What is done to the query of a handshake that a backend is given again.
    pub query: QueryEdit,
}

/// How messages are looked at.
#[derive(Clone, Debug, Default)]
pub enum Look {
    /// Not at all.
    #[default]
    Not,
    /// With rules; there is one at least.
    Rules(Arc<RuleSet>),
    /// By code.
    Code(Code),
}

/// A message of the client that counts as pinned from the session's beginning, because he said it elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// A key of the handshake's query: only then.
    pub when_query: String,
    /// The message, of text.
    pub text: String,
    /// How it is pinned.
    pub pin: Pin,
    /// The rules, by number, whose message the client has had.
    pub had: Vec<u16>,
}

impl Look {
    /// For the session engine.
    #[must_use]
    pub fn rules(&self) -> Option<Arc<dyn Rules>> {
        match self {
            Self::Not => None,
            Self::Rules(rules) => Some(rules.clone()),
            Self::Code(Code::Mqtt) => Some(Arc::new(Mqtt)),
        }
    }

    /// Whether messages may wait for an answer of their own.
    #[must_use]
    pub fn acknowledges(&self) -> bool {
        match self {
            Self::Not => false,
            Self::Rules(rules) => rules.acknowledges(),
            Self::Code(Code::Mqtt) => true,
        }
    }

    /// Whether messages of backends are looked at.
    #[must_use]
    pub fn looks_at_backends(&self) -> bool {
        self.rules().is_some_and(|rules| rules.looks_at(false))
    }

    /// Whether messages are changed, or cut anew, so that they must not be compressed.
    #[must_use]
    pub fn changes_messages(&self) -> bool {
        match self {
            Self::Not => false,
            Self::Rules(rules) => rules.translates(),
            Self::Code(Code::Mqtt) => true,
        }
    }
}

/// A rule of the configuration's file.
#[derive(Debug)]
pub(super) struct OwnRule {
    written: Written,
    /// The names of the routes that it is for, and where they stand. `None`: all.
    routes: Option<(Vec<String>, Place)>,
}

impl OwnRule {
    fn is_for(&self, route: Option<&str>) -> bool {
        self.routes.as_ref().is_none_or(|(routes, _)| routes.iter().any(|name| Some(name.as_str()) == route))
    }

    /// What is wrong with the routes that it names, if these are the names that there are.
    pub(super) fn unknown_routes(&self, known: &[&str]) -> Vec<Problem> {
        let Some((routes, place)) = &self.routes else { return Vec::new() };
        let unknown = routes.iter().filter(|name| !known.contains(&name.as_str()));
        let known = if known.is_empty() { "no route has a name".to_owned() } else { format!("only {}", known.join(", ")) };
        unknown.map(|name| Problem::at(place, format!("there is no route {name:?}: {known}"))).collect()
    }
}

/// Reads a `[[rule]]` of the configuration's file, its `number`-th.
pub(super) fn own(
    file: &File<'_>,
    header: Place,
    table: &toml::de::DeTable<'_>,
    number: usize,
    problems: &mut Vec<Problem>,
) -> Option<OwnRule> {
    Fields::read(file, ("rule", header), table, problems, |fields| {
        let routes = fields.texts("route");
        if routes.as_ref().is_some_and(Vec::is_empty) {
            fields.reject("route", "names no route; leave it away for all of them");
        }
        let places = fields.places();
        let place = places.iter().find(|(key, _)| key == "route").map(|(_, place)| place.clone());
        let written = rule::read(fields, number)?;
        Some(OwnRule { written, routes: routes.zip(place) })
    })
}

pub(super) fn profile(_: &Flag, text: &str) -> Result<Option<Profile>, String> {
    Profile::parse(text)
}

/// A route's rules, and where they are from.
pub(super) struct Effective {
    pub(super) config: RulesConfig,
    /// The profile, or else the first rule of the configuration's file.
    pub(super) origin: Option<Place>,
}

/// What the route of that name is given: the rules of the configuration's file, then those of its profile.
pub(super) fn of_route(reader: &mut Reader<'_>, own: &[OwnRule], name: Option<&str>) -> Effective {
    let profile = reader.one("profile", self::profile);
    let named_at = reader.place("profile");
    let before = reader.problems.len();
    let file = profile.as_ref().map(|profile| RuleFile::read(profile, &named_at, &mut reader.problems));
    let file = file.unwrap_or_default();
    let mine: Vec<&Written> = own.iter().filter(|rule| rule.is_for(name)).map(|rule| &rule.written).collect();
    let origin = profile.is_some().then(|| named_at.clone()).or_else(|| Some(mine.first()?.header.clone()));
    if let (Some(_), [first, ..]) = (file.code, &mine[..]) {
        let message = "this profile is code, to which no rule can be added; let the rule name its routes".into();
        reader.problems.push(Problem { places: vec![named_at, first.header.clone()], message });
    }
    let look = look(&mine, &file, &mut reader.problems);
    let ahead = ahead(file.ahead, &file.rules, mine.len(), &mut reader.problems);
    if reader.problems.len() != before {
        // What would follow from rules that are wrong is not known.
        reader.spoil("profile");
    }
    Effective { config: RulesConfig { profile, look, ahead, query: file.query }, origin }
}

fn look(own: &[&Written], file: &RuleFile, problems: &mut Vec<Problem>) -> Look {
    if let Some(code) = file.code {
        return Look::Code(code);
    }
    let all: Vec<&Written> = own.iter().copied().chain(&file.rules).collect();
    let rules: Vec<Rule> = all.iter().map(|written| written.rule.clone()).collect();
    match RuleSet::compile(&rules) {
        Ok(rules) if rules.is_empty() => Look::Not,
        Ok(rules) => Look::Rules(Arc::new(rules)),
        Err(errors) => {
            problems.extend(errors.iter().map(|error| all[error.rule].problem(error)));
            Look::Not
        }
    }
}

/// What rules of the profile, the first of which has this number, say that the client had is known by their numbers.
fn ahead(written: Vec<WrittenAhead>, rules: &[Written], first: usize, problems: &mut Vec<Problem>) -> Vec<Ahead> {
    let mut number_of = |name: &String, place: &Place| {
        let at = rules.iter().position(|written| written.rule.name == *name && written.rule.does.swallow);
        if at.is_none() {
            problems.push(Problem::at(place, format!("had: there is no rule {name:?} that swallows")));
        }
        u16::try_from(first + at?).ok()
    };
    let make = |ahead: WrittenAhead| Ahead {
        had: ahead.had.iter().filter_map(|name| number_of(name, &ahead.header)).collect(),
        when_query: ahead.key,
        text: ahead.text,
        pin: ahead.pin,
    };
    written.into_iter().map(make).collect()
}
