//! The first step: what each source gives, as written, with its place.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use super::problem::{Place, Problem, Problems};
use super::rules::OwnRule;
use super::{Config, Flag, file, flags, valid};

/// Where a configuration is read from. The default is empty: no flag, no variable, no file.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The name of a flag, without dashes, and its value; again for a list.
    pub flags: Vec<(&'static str, String)>,
    /// Environment variables; those of no flag do not matter.
    pub env: Vec<(OsString, OsString)>,
}

/// What one source gives for a flag: one text, or the items of a list.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) flag: &'static Flag,
    pub(super) place: Place,
    pub(super) texts: Vec<String>,
}

/// What all sources give, and what of them could not be read.
#[derive(Debug, Default)]
pub(super) struct Raw {
    /// The first of a flag goes before its others.
    pub(super) given: Vec<Given>,
    pub(super) tables: Tables,
    pub(super) problems: Vec<Problem>,
    /// The flags with a bad value: nothing that involves them with others is judged.
    pub(super) bad: BTreeSet<&'static str>,
    /// The file could not be read, so what seems missing may stand there.
    pub(super) lacks_file: bool,
}

/// The tables of the file, in its order.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) backends: Vec<Table>,
    pub(super) pools: Vec<Table>,
    pub(super) routes: Vec<Table>,
    /// Those that can be read.
    pub(super) rules: Vec<OwnRule>,
}

/// A table of the file.
#[derive(Debug)]
pub(super) struct Table {
    /// Its header.
    pub(super) place: Place,
    pub(super) given: Vec<Given>,
    /// The keys with a value of a wrong type.
    pub(super) bad: BTreeSet<&'static str>,
}

impl Raw {
    /// Notes that what is given for a flag at `place` is wrong.
    pub(super) fn reject(&mut self, flag: &Flag, place: &Place, message: String) {
        self.problems.push(Problem::at(place, message));
        self.bad.insert(flag.name);
    }
}

impl Sources {
    /// The valid configuration; reads the file if one is named.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn config(&self) -> Result<Config, Problems> {
        valid::config(self.raw())
    }

    /// The path of the file that a flag or a variable names.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        let flag = flags().find(|flag| flag.key().is_none())?;
        let given = self.flags.iter().rev().find(|(name, _)| *name == flag.name).map(|(_, path)| path.into());
        let variable = || self.env.iter().find(|(name, _)| name.to_str() == Some(&flag.env()));
        given.or_else(|| Some(PathBuf::from(&variable()?.1))).filter(|path: &PathBuf| !path.as_os_str().is_empty())
    }

    fn raw(&self) -> Raw {
        let mut raw = Raw::default();
        for flag in flags() {
            self.gather_flag(flag, &mut raw);
        }
        for flag in flags() {
            self.gather_env(flag, &mut raw);
        }
        let file = raw.given.iter().find(|given| given.flag.key().is_none()).cloned();
        // An empty path is the default: no file.
        if let Some(Given { place, texts, .. }) = file.filter(|given| given.texts != [""]) {
            file::gather(&place, &PathBuf::from(texts.concat()), &mut raw);
        }
        raw
    }

    fn gather_flag(&self, flag: &'static Flag, raw: &mut Raw) {
        let values: Vec<&str> =
            self.flags.iter().filter(|(name, _)| *name == flag.name).map(|(_, value)| value.as_str()).collect();
        if !values.is_empty() {
            let texts = values.into_iter().flat_map(|value| split(flag, value)).collect();
            raw.given.push(Given { flag, place: Place::Flag(flag.name), texts });
        }
    }

    fn gather_env(&self, flag: &'static Flag, raw: &mut Raw) {
        let variable = flag.env();
        let Some((_, value)) = self.env.iter().find(|(name, _)| name.to_str() == Some(&variable)) else { return };
        let place = Place::Env(variable);
        match value.to_str() {
            Some(value) => raw.given.push(Given { flag, place, texts: split(flag, value) }),
            None => raw.reject(flag, &place, format!("{value:?} is not UTF-8")),
        }
    }
}

/// The items of a list as written on the command line, else the text itself.
pub(super) fn split(flag: &Flag, text: &str) -> Vec<String> {
    if !flag.kind.is_list() {
        return vec![text.to_owned()];
    }
    match text.trim() {
        "" => Vec::new(),
        list => list.split(',').map(|item| item.trim().to_owned()).collect(),
    }
}
