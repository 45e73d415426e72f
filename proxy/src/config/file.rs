//! The `--config` file: TOML whose keys are the names of the flags, with tables for backends, pools and routes.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::flags::tables::{TABLES, TableKind};
use super::problem::{Place, Problem};
use super::raw::{Given, Raw, Table, split};
use super::{Flag, flags, rules};

/// Adds what the file at `path` gives, and what is wrong with it. `named_at` is where the path was given.
pub(super) fn gather(named_at: &Place, path: &Path, raw: &mut Raw) {
    match std::fs::read_to_string(path) {
        Ok(text) => gather_text(&path.display().to_string(), &text, raw),
        Err(error) => {
            raw.lacks_file = true;
            raw.problems.push(Problem::at(named_at, format!("cannot read {path:?}: {error}")));
        }
    }
}

fn gather_text(path: &str, text: &str, raw: &mut Raw) {
    let file = File { path, text };
    let (table, errors) = DeTable::parse_recoverable(text);
    raw.problems.extend(parse_errors(&file, &errors));
    // What is recovered from a broken file is a guess, not what was meant.
    if !errors.is_empty() {
        raw.lacks_file = true;
        return;
    }
    for (key, value) in in_order(table.get_ref()) {
        let name: &str = key.get_ref();
        if name == "rule" {
            file.read_rules(key, value, raw);
            continue;
        }
        let tables = TABLES.iter().find(|kind| kind.name == name).filter(|_| has_tables(value) || name != "backend");
        match tables {
            Some(kind) => file.read_tables(kind, key, value, raw),
            None => file.read_key(key, value, raw),
        }
    }
}

type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;
type Value<'a> = Spanned<DeValue<'a>>;

/// What makes a text no TOML.
pub(super) fn parse_errors(file: &File<'_>, errors: &[toml::de::Error]) -> Vec<Problem> {
    let problem = |error: &toml::de::Error| {
        Problem::at(&file.place(error.span().map_or(0, |span| span.start), ""), error.message())
    };
    errors.iter().map(problem).collect()
}

/// A table's keys, in the order of the file.
pub(super) fn in_order<'t, 'a>(table: &'t DeTable<'a>) -> Vec<(&'t Key<'a>, &'t Value<'a>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn has_tables(value: &Value<'_>) -> bool {
    match value.get_ref() {
        DeValue::Array(items) => items.iter().any(|item| matches!(item.get_ref(), DeValue::Table(_))),
        DeValue::Table(_) => true,
        _ => false,
    }
}

/// A file that was read.
pub(super) struct File<'a> {
    pub(super) path: &'a str,
    pub(super) text: &'a str,
}

impl File<'_> {
    pub(super) fn place(&self, offset: usize, key: &str) -> Place {
        let line = 1 + self.text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count();
        Place::File { path: self.path.to_owned(), line, key: key.to_owned() }
    }

    /// A key outside tables.
    fn read_key(&self, key: &Key<'_>, value: &Value<'_>, raw: &mut Raw) {
        let place = self.place(key.span().start, key.get_ref());
        let Some(flag) = flags().find(|flag| flag.key() == Some(key.get_ref())) else {
            raw.problems.push(Problem::at(&place, unknown(key.get_ref(), flags().filter_map(Flag::key))));
            return;
        };
        let (texts, wrong) = self.read_value(flag, value);
        if flag.kind.is_list() || wrong.is_empty() {
            raw.given.push(Given { flag, place: place.clone(), texts });
        }
        for message in wrong {
            raw.reject(flag, &place, message);
        }
    }

    /// What stands under a name of tables.
    fn read_tables(&self, kind: &'static TableKind, key: &Key<'_>, value: &Value<'_>, raw: &mut Raw) {
        let DeValue::Array(items) = value.get_ref() else {
            let place = self.place(key.span().start, key.get_ref());
            raw.problems.push(Problem::at(&place, format!("is no array of tables: write [[{}]]", kind.name)));
            return;
        };
        for item in items.iter() {
            let place = self.place(item.span().start, &format!("[[{}]]", kind.name));
            let DeValue::Table(table) = item.get_ref() else {
                raw.problems.push(Problem::at(&place, self.no_table(item)));
                continue;
            };
            let table = self.read_table(kind, place, table, &mut raw.problems);
            match kind.name {
                "backend" => raw.tables.backends.push(table),
                "pool" => raw.tables.pools.push(table),
                _ => raw.tables.routes.push(table),
            }
        }
    }

    /// What stands under `[[rule]]`.
    fn read_rules(&self, key: &Key<'_>, value: &Value<'_>, raw: &mut Raw) {
        let DeValue::Array(items) = value.get_ref() else {
            let place = self.place(key.span().start, key.get_ref());
            raw.problems.push(Problem::at(&place, "is no array of tables: write [[rule]]"));
            return;
        };
        for (number, item) in (1..).zip(items.iter()) {
            let place = self.place(item.span().start, "[[rule]]");
            let DeValue::Table(table) = item.get_ref() else {
                raw.problems.push(Problem::at(&place, self.no_table(item)));
                continue;
            };
            raw.tables.rules.extend(rules::own(self, place, table, number, &mut raw.problems));
        }
    }

    fn no_table(&self, item: &Value<'_>) -> String {
        format!("{} is of type {}, not a table", &self.text[item.span()], item.get_ref().type_str())
    }

    fn read_table(
        &self,
        kind: &'static TableKind,
        place: Place,
        table: &DeTable<'_>,
        problems: &mut Vec<Problem>,
    ) -> Table {
        let mut read = Table { place, given: Vec::new(), bad: BTreeSet::new() };
        for (key, value) in in_order(table) {
            let place = self.place(key.span().start, &format!("{}.{}", kind.name, key.get_ref()));
            let Some(flag) = kind.all_keys().find(|flag| flag.name == key.get_ref()) else {
                problems.push(Problem::at(&place, out_of_place(kind, key.get_ref())));
                continue;
            };
            let (texts, wrong) = self.read_value(flag, value);
            if flag.kind.is_list() || wrong.is_empty() {
                read.given.push(Given { flag, place: place.clone(), texts });
            }
            for message in wrong {
                problems.push(Problem::at(&place, message));
                read.bad.insert(flag.name);
            }
        }
        read
    }

    /// The texts of a flag's value, written as on the command line, and what of it is of a wrong type.
    fn read_value(&self, flag: &Flag, value: &Spanned<DeValue<'_>>) -> (Vec<String>, Vec<String>) {
        let items = match value.get_ref() {
            DeValue::String(text) => return (split(flag, text), Vec::new()),
            DeValue::Array(items) if flag.kind.is_list() => &items[..],
            _ => std::slice::from_ref(value),
        };
        let (mut texts, mut wrong) = (Vec::new(), Vec::new());
        for item in items {
            match item.get_ref() {
                DeValue::String(text) => texts.push(text.to_string()),
                DeValue::Integer(integer) if flag.kind.takes_integers() => texts.push(decimal(integer)),
                other => wrong.push(self.wrong_type(flag, other, item.span())),
            }
        }
        (texts, wrong)
    }

    fn wrong_type(&self, flag: &Flag, value: &DeValue<'_>, span: Range<usize>) -> String {
        let integer = if flag.kind.takes_integers() { " or an integer" } else { "" };
        let array = if flag.kind.is_list() { ", or an array of them" } else { "" };
        format!("{} is of type {}, not a string{integer}{array}: {}", &self.text[span], value.type_str(), flag.kind)
    }
}

/// TOML also writes integers as `0x40` and `1_000`.
pub(super) fn decimal(integer: &DeInteger<'_>) -> String {
    match i128::from_str_radix(integer.as_str(), integer.radix()) {
        Ok(number) => number.to_string(),
        Err(_) => integer.as_str().to_owned(),
    }
}

/// What is wrong with a key of a table that is none of its own.
fn out_of_place(kind: &TableKind, key: &str) -> String {
    let Some(flag) = flags().find(|flag| flag.key() == Some(key)) else {
        return unknown(key, kind.all_keys().map(|flag| flag.name));
    };
    let table = TABLES.iter().find(|kind| kind.scopes.contains(&flag.scope));
    let or_in = table.map(|kind| format!(" or in [[{}]]", kind.name)).unwrap_or_default();
    format!("is no key of [[{}]]: it stands outside tables{or_in}", kind.name)
}

fn unknown(key: &str, all: impl Iterator<Item = &'static str>) -> String {
    match resembling(key, all) {
        Some(known) => format!("unknown key; did you mean {known}?"),
        None => "unknown key; the keys are the names of the flags in `tideover serve --help`".into(),
    }
}

/// Which of these keys is meant, if one seems to be.
pub(super) fn resembling(key: &str, all: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let written = key.replace('_', "-");
    let alike = |known: &str| strsim::jaro_winkler(&written, known);
    all.max_by(|a, b| alike(a).total_cmp(&alike(b))).filter(|known| alike(known) > 0.9)
}
