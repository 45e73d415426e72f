//! Rule files: `[[rule]]`, and what a session's handshake says of it. A profile is one.

use std::path::{Path, PathBuf};

use tideover_protocol::rules::model::{Actions, Match, PinAction, Rule, Side};
use tideover_protocol::rules::{Kind, Message, Pin, RuleSet, Rules as _};
use toml::de::DeTable;

use super::fields::Fields;
use super::rule::{self, Written};
use crate::config::file::{File, parse_errors};
use crate::config::problem::{Place, Problem};
use crate::profiles;
use crate::renewal::QueryEdit;

/// Bytes that a rule file may have.
const MOST_OF_A_FILE: u64 = 1 << 20;

/// A rule file's name (`--profile`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// One of the program's own.
    Known(&'static str),
    /// A file.
    File(PathBuf),
}

impl Profile {
    /// What a name with a slash or `.toml` at its end is: a path; any other: a name.
    pub(in crate::config) fn parse(text: &str) -> Result<Option<Self>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        if text.contains('/') || text.ends_with(".toml") {
            return Ok(Some(Self::File(text.into())));
        }
        match profiles::named(text) {
            Some(profile) => Ok(Some(Self::Known(profile.name))),
            None => Err(format!("is no profile: there are {}; a path has a slash or ends in .toml", profiles::names())),
        }
    }

    /// The file's path; `None` for one of the program's own.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Known(_) => None,
            Self::File(path) => Some(path),
        }
    }
}

impl std::fmt::Display for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Known(name) => f.write_str(name),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// What a profile has in place of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// MQTT's packets.
    Mqtt,
}

/// What a rule file says, before its rules are compiled.
#[derive(Clone, Debug, Default)]
pub(super) struct RuleFile {
    pub(super) code: Option<Code>,
    pub(super) rules: Vec<Written>,
    pub(super) query: QueryEdit,
    pub(super) ahead: Vec<WrittenAhead>,
}

/// `[[inject]]`, its pin's templates filled in.
#[derive(Clone, Debug)]
pub(super) struct WrittenAhead {
    pub(super) key: String,
    pub(super) text: String,
    pub(super) pin: Pin,
    /// The names of rules.
    pub(super) had: Vec<String>,
    pub(super) header: Place,
}

impl RuleFile {
    /// Reads a profile, and adds to `problems` what is wrong with it. `named_at` is where it was named.
    pub(super) fn read(profile: &Profile, named_at: &Place, problems: &mut Vec<Problem>) -> Self {
        match profile {
            Profile::Known(name) => {
                let text = profiles::named(name).expect("it was found by its name").text;
                Self::parse(&format!("profile {name}"), text, problems)
            }
            Profile::File(path) => match read_bounded(path) {
                Ok(text) => Self::parse(&path.display().to_string(), &text, problems),
                Err(error) => {
                    problems.push(Problem::at(named_at, format!("cannot read {path:?}: {error}")));
                    Self::default()
                }
            },
        }
    }

    pub(super) fn parse(path: &str, text: &str, problems: &mut Vec<Problem>) -> Self {
        let file = File { path, text };
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            problems.extend(parse_errors(&file, &errors));
            return Self::default();
        }
        let header = file.place(0, "");
        Fields::read(&file, ("", header), table.get_ref(), problems, Self::read_fields)
    }

    fn read_fields(fields: &mut Fields<'_, '_>) -> Self {
        if fields.text("description").is_none() && !fields.has("description") {
            fields.reject("description", "description is needed: a line that says what the rules are for");
        }
        let code = fields.word("code", &[("mqtt", Code::Mqtt)]);
        if code.is_some() && fields.has("rule") {
            fields.reject("rule", "code and rules do not go together");
        }
        let number = std::cell::Cell::new(0);
        let rules = fields.tables("rule", |fields| {
            number.set(number.get() + 1);
            rule::read(fields, number.get())
        });
        Self {
            code,
            rules: rules.into_iter().flatten().collect(),
            query: fields.table("rewrite-query", query).unwrap_or_default(),
            ahead: fields.tables("inject", ahead).into_iter().flatten().collect(),
        }
    }
}

/// As [`std::fs::read_to_string`], and an error if the file is too large.
fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::{Error, Read};
    let mut text = String::new();
    std::fs::File::open(path)?.take(MOST_OF_A_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST_OF_A_FILE {
        return Err(Error::other("it has more than 1 MiB"));
    }
    Ok(text)
}

fn query(fields: &mut Fields<'_, '_>) -> QueryEdit {
    let removed = fields.texts("remove").unwrap_or_default();
    let set = fields.table("set", |set| set.all_texts()).unwrap_or_default();
    if removed.iter().chain(set.iter().map(|(key, _)| key)).any(String::is_empty) {
        fields.reject("remove", "a query key must not be empty");
    }
    if let Some((key, _)) = set.iter().find(|(key, _)| removed.contains(key)) {
        fields.reject("set", format!("{key:?} is removed, too: one of the two"));
    }
    let edit = removed.iter().fold(QueryEdit::default(), |edit, key| edit.remove(key));
    set.iter().fold(edit, |edit, (key, value)| edit.set(key, value))
}

fn ahead(fields: &mut Fields<'_, '_>) -> Option<WrittenAhead> {
    let (key, text) = (fields.needed("when-query"), fields.needed("text"));
    let had = fields.texts("had").unwrap_or_default();
    if !fields.has("pin") {
        fields.reject("pin", "pin is needed");
    }
    let action = fields.table("pin", rule::pin).flatten();
    let (key, text, action) = (key?, text?, action?);
    let pin = pin_of(&text, action).map_err(|why| fields.reject("pin", why)).ok()?;
    Some(WrittenAhead { key, text, pin, had, header: fields.header().clone() })
}

/// The pin that this message gets: its templates, filled in with it.
fn pin_of(text: &str, pin: PinAction) -> Result<Pin, String> {
    let does = Actions { pin: Some(pin), ..Actions::default() };
    let rule = Rule { name: String::new(), from: Side::Client, matches: Match::default(), goes_on: false, does };
    let rules = RuleSet::compile(&[rule]).map_err(|errors| {
        errors.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("; ")
    })?;
    let message = Message { kind: Kind::Text, payload: text.as_bytes(), nth: 1 };
    rules.client(&message).pin.ok_or_else(|| "its keys name what the text lacks".to_owned())
}
