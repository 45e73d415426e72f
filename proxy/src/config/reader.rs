//! Reading one flag after the other, with all that is wrong noted.

use std::collections::BTreeSet;
use std::time::Duration;

use super::choice::Choice;
use super::flags::tables::TableKind;
use super::parse;
use super::problem::{Place, Problem};
use super::raw::{Given, Table};
use super::{Fallback, Flag};

/// Reads one flag after the other and notes what is wrong. In place of a bad value it goes on with the default.
///
/// One for the top level, and one for each table: what stands there goes before what is given for all.
pub(super) struct Reader<'a> {
    /// The first of a flag goes before its others.
    given: Vec<&'a Given>,
    /// The flags with a bad value: nothing that involves them with others is judged.
    bad: BTreeSet<&'static str>,
    table: Option<(&'a Place, &'static TableKind)>,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// Of what all sources give outside tables.
    pub(super) fn top(given: &'a [Given], bad: BTreeSet<&'static str>) -> Self {
        Self { given: given.iter().collect(), bad, table: None, problems: Vec::new() }
    }

    /// Of a table, and behind it what is given outside and `inherited`.
    pub(super) fn table(&self, table: &'a Table, kind: &'static TableKind, inherited: impl Fn(&Flag) -> bool) -> Self {
        let outside = self.given.iter().copied().filter(|given| inherited(given.flag));
        let bad = self.bad.iter().copied().filter(|name| Flag::named(name).is_some_and(&inherited));
        Self {
            given: table.given.iter().chain(outside).collect(),
            bad: table.bad.iter().copied().chain(bad).collect(),
            table: Some((&table.place, kind)),
            problems: Vec::new(),
        }
    }

    /// The value of a flag that takes one: that of the first source that gives it.
    pub(super) fn one<T>(&mut self, name: &'static str, parse: impl Fn(&Flag, &str) -> Result<T, String>) -> T {
        let mut values = self.list(name, parse);
        values.swap_remove(0)
    }

    /// The value of a flag that must be given; `None` if it is not, or bad.
    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&Flag, &str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.if_given(name, parse);
        if value.is_none() {
            self.reject(&[name], format!("{name} is needed"));
            self.bad.insert(name);
        }
        value
    }

    /// The value of a flag whose default depends on others; `None` if it is not given, or bad.
    pub(super) fn if_given<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&Flag, &str) -> Result<T, String>,
    ) -> Option<T> {
        self.given(self.flag(name), parse).and_then(|mut values| values.pop())
    }

    /// The values of a flag that takes a list. Those of all sources are judged; the first source's are returned.
    pub(super) fn list<T>(&mut self, name: &'static str, parse: impl Fn(&Flag, &str) -> Result<T, String>) -> Vec<T> {
        let flag = self.flag(name);
        self.given(flag, &parse).unwrap_or_else(|| default(flag, parse))
    }

    /// The good values of the first source that gives the flag, if all that any source gives is good.
    fn given<T>(&mut self, flag: &'static Flag, parse: impl Fn(&Flag, &str) -> Result<T, String>) -> Option<Vec<T>> {
        let name = flag.name;
        let mut first = None;
        for Given { place, texts, .. } in self.given.iter().filter(|given| given.flag.name == name) {
            let parsed: Vec<_> = texts.iter().map(|text| parse(flag, text).map_err(|why| (text, why))).collect();
            for (text, why) in parsed.iter().filter_map(|result| result.as_ref().err()) {
                self.problems.push(Problem::at(place, format!("{text:?} {why}")));
                self.bad.insert(name);
            }
            first.get_or_insert(parsed.into_iter().filter_map(Result::ok).collect::<Vec<T>>());
        }
        first.filter(|_| !self.bad.contains(name))
    }

    pub(super) fn choice<T: Choice>(&mut self, name: &'static str) -> T {
        self.one(name, parse::choice)
    }

    pub(super) fn number<T: TryFrom<u64>>(&mut self, name: &'static str) -> T {
        self.one(name, parse::number)
    }

    pub(super) fn duration(&mut self, name: &'static str) -> Duration {
        self.duration_or_word(name).expect("only a flag that may be a word is one")
    }

    pub(super) fn duration_or_word(&mut self, name: &'static str) -> Option<Duration> {
        self.one(name, parse::duration)
    }

    /// Notes that these flags do not fit each other, unless one of them is bad by itself.
    pub(super) fn reject(&mut self, names: &[&'static str], message: String) {
        if !names.iter().any(|name| self.bad.contains(name)) {
            let places = names.iter().map(|name| self.place(name)).collect();
            self.problems.push(Problem { places, message });
        }
    }

    /// Notes that what stands behind this flag is wrong, which is said elsewhere.
    pub(super) fn spoil(&mut self, name: &'static str) {
        self.bad.insert(name);
    }

    /// As [`Self::reject`], with a place that is no flag's.
    pub(super) fn reject_with(&mut self, names: &[&'static str], place: &Place, message: String) {
        if !names.iter().any(|name| self.bad.contains(name)) {
            let places = names.iter().map(|name| self.place(name)).filter(|other| other != place).collect::<Vec<_>>();
            self.problems.push(Problem { places: places.into_iter().chain([place.clone()]).collect(), message });
        }
    }

    /// Whether nothing was wrong with this flag.
    pub(super) fn is_good(&self, name: &str) -> bool {
        !self.bad.contains(name)
    }

    /// Whether some source gives this flag.
    pub(super) fn has(&self, name: &str) -> bool {
        self.given.iter().any(|given| given.flag.name == name)
    }

    fn own(&self, name: &str) -> Option<&'static Flag> {
        self.table.and_then(|(_, kind)| kind.keys.iter().find(|flag| flag.name == name))
    }

    fn flag(&self, name: &str) -> &'static Flag {
        self.own(name).or_else(|| Flag::named(name)).expect("a flag of the table")
    }

    /// Where a flag is given, or else what its default belongs to.
    pub(super) fn place(&self, name: &'static str) -> Place {
        if let Some(given) = self.given.iter().find(|given| given.flag.name == name) {
            return given.place.clone();
        }
        match (self.table, self.own(name), self.flag(name).default) {
            (Some((place, _)), Some(_), _) => place.clone(),
            (_, _, Fallback::Required) => Place::Flag(name),
            (_, _, Fallback::Value(_) | Fallback::Computed(_)) => Place::Default(name),
        }
    }
}

fn default<T>(flag: &Flag, parse: impl Fn(&Flag, &str) -> Result<T, String>) -> Vec<T> {
    let text = match flag.default {
        Fallback::Required => return Vec::new(),
        Fallback::Value(text) => text.to_owned(),
        Fallback::Computed(_) => cores().to_string(),
    };
    let parse = |text: String| parse(flag, &text).expect("the defaults of the table are valid");
    super::raw::split(flag, &text).into_iter().map(parse).collect()
}

/// The default of `--workers`, the one flag whose default is computed here.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(1024))
}
