//! The `--config` file: TOML whose keys are the names of the flags. No tables.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::problem::{Place, Problem};
use super::raw::{Given, Raw, split};
use super::{Flag, flags};

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
    for error in &errors {
        let place = file.place(error.span().map_or(0, |span| span.start), "");
        raw.problems.push(Problem::at(&place, error.message()));
    }
    // What is recovered from a broken file is a guess, not what was meant.
    if !errors.is_empty() {
        raw.lacks_file = true;
        return;
    }
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let place = file.place(key.span().start, key.get_ref());
        match read_entry(key.get_ref(), value) {
            Ok((flag, texts)) => raw.given.push(Given { flag, place, texts }),
            Err(message) => raw.problems.push(Problem::at(&place, message)),
        }
    }
}

/// A file that was read.
struct File<'a> {
    path: &'a str,
    text: &'a str,
}

impl File<'_> {
    fn place(&self, offset: usize, key: &str) -> Place {
        let line = 1 + self.text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count();
        Place::File { path: self.path.to_owned(), line, key: key.to_owned() }
    }
}

fn read_entry(key: &str, value: &Spanned<DeValue<'_>>) -> Result<(&'static Flag, Vec<String>), String> {
    let flag = flags().find(|flag| flag.key() == Some(key)).ok_or_else(|| unknown(key))?;
    let texts = match value.get_ref() {
        DeValue::String(text) => split(flag, text),
        DeValue::Array(items) if flag.kind.is_list() => {
            items.iter().map(|item| read_scalar(flag, item.get_ref())).collect::<Result<_, _>>()?
        }
        other => vec![read_scalar(flag, other)?],
    };
    Ok((flag, texts))
}

/// A value that is not a list, written as on the command line.
fn read_scalar(flag: &Flag, value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(integer) if flag.kind.takes_integers() => Ok(decimal(integer)),
        other => {
            let integer = if flag.kind.takes_integers() { " or an integer" } else { "" };
            let array = if flag.kind.is_list() { ", or an array of them" } else { "" };
            let given = other.type_str();
            Err(format!("of type {given}, but takes a string{integer}{array}: {}", flag.kind))
        }
    }
}

/// TOML also writes integers as `0x40` and `1_000`.
fn decimal(integer: &DeInteger<'_>) -> String {
    match i128::from_str_radix(integer.as_str(), integer.radix()) {
        Ok(number) => number.to_string(),
        Err(_) => integer.as_str().to_owned(),
    }
}

fn unknown(key: &str) -> String {
    let alike = |flag: &&Flag| strsim::jaro_winkler(&key.replace('_', "-"), flag.name) > 0.9;
    match flags().filter(|flag| flag.key().is_some()).find(alike) {
        Some(flag) => format!("unknown key; did you mean {}?", flag.name),
        None => "unknown key; the keys are the names of the flags in `tideover serve --help`".into(),
    }
}
