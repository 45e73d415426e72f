//! Reading the keys of a table that may have tables in it, with all that is wrong noted.

use std::ops::RangeInclusive;
use std::time::Duration;

use tideover_protocol::rules::model::Scalar;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::choice::either;
use crate::config::file::{File, decimal, in_order, resembling};
use crate::config::problem::{Place, Problem};
use crate::config::units::{format_duration, parse_duration};

type Value<'a> = Spanned<DeValue<'a>>;

/// A table that is being read. Whoever reads one asks for every key that it may have; the others are unknown.
pub(super) struct Fields<'f, 'a> {
    file: &'f File<'f>,
    /// What its keys are called by: `rule.pin`. Empty for the file itself.
    name: String,
    header: Place,
    table: &'f DeTable<'a>,
    asked: Vec<&'static str>,
    /// Any key may be there.
    any: bool,
    problems: &'f mut Vec<Problem>,
}

impl<'f, 'a> Fields<'f, 'a> {
    /// Reads the table `name`, whose header is at `header`.
    pub(super) fn read<T>(
        file: &'f File<'f>,
        (name, header): (&str, Place),
        table: &'f DeTable<'a>,
        problems: &'f mut Vec<Problem>,
        read: impl FnOnce(&mut Fields<'_, 'a>) -> T,
    ) -> T {
        let mut fields = Fields { file, name: name.to_owned(), header, table, asked: Vec::new(), any: false, problems };
        let value = read(&mut fields);
        fields.finish();
        value
    }

    /// Notes what nobody asked for.
    fn finish(self) {
        if self.any {
            return;
        }
        for (key, _) in in_order(self.table) {
            let (place, key) = (self.place_of(key), key.get_ref());
            if self.asked.iter().any(|asked| asked == key) {
                continue;
            }
            let message = match resembling(key, self.asked.iter().copied()) {
                Some(known) => format!("unknown key; did you mean {known}?"),
                None => format!("unknown key; there are {}", self.asked.join(", ")),
            };
            self.problems.push(Problem::at(&place, message));
        }
    }

    fn place_of(&self, key: &Spanned<std::borrow::Cow<'_, str>>) -> Place {
        let name =
            if self.name.is_empty() { key.get_ref().to_string() } else { format!("{}.{}", self.name, key.get_ref()) };
        self.file.place(key.span().start, &name)
    }

    fn get(&mut self, key: &'static str) -> Option<(&'f Value<'a>, Place)> {
        self.asked.push(key);
        let (found, value) = self.table.iter().find(|(found, _)| found.get_ref() == key)?;
        Some((value, self.place_of(found)))
    }

    /// The keys that are there, each with its place.
    pub(super) fn places(&self) -> Vec<(String, Place)> {
        in_order(self.table).into_iter().map(|(key, _)| (key.get_ref().to_string(), self.place_of(key))).collect()
    }

    pub(super) fn header(&self) -> &Place {
        &self.header
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.iter().any(|(found, _)| found.get_ref() == key)
    }

    /// How many things are wrong so far.
    pub(super) fn wrong(&self) -> usize {
        self.problems.len()
    }

    /// Notes what is wrong with a key, or with the table if the key is not there.
    pub(super) fn reject(&mut self, key: &str, message: impl Into<String>) {
        let found = self.table.iter().find(|(found, _)| found.get_ref() == key);
        let place = found.map_or_else(|| self.header.clone(), |(found, _)| self.place_of(found));
        self.problems.push(Problem::at(&place, message));
    }

    fn wrong_type<T>(&mut self, value: &Value<'_>, place: &Place, wanted: &str) -> Option<T> {
        let (text, found) = (&self.file.text[value.span()], value.get_ref().type_str());
        self.problems.push(Problem::at(place, format!("{text} is of type {found}, not {wanted}")));
        None
    }

    /// What `read` makes of a key's value; its errors say what is wrong behind the value.
    fn parsed<T>(&mut self, key: &'static str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let (value, place) = self.get(key)?;
        let DeValue::String(text) = value.get_ref() else { return self.wrong_type(value, &place, "a string") };
        let parsed = read(text);
        parsed.map_err(|why| self.problems.push(Problem::at(&place, format!("{text:?} {why}")))).ok()
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.parsed(key, |text| Ok(text.to_owned()))
    }

    /// A text that must be there.
    pub(super) fn needed(&mut self, key: &'static str) -> Option<String> {
        if !self.has(key) {
            self.reject(key, format!("{key} is needed"));
        }
        self.text(key)
    }

    /// One of these words.
    pub(super) fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        self.parsed(key, |text| {
            let known = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            known.ok_or_else(|| format!("is not {}", either(&words)))
        })
    }

    /// Bytes in hexadecimal digits, perhaps with spaces between them.
    pub(super) fn bytes(&mut self, key: &'static str) -> Option<Vec<u8>> {
        self.parsed(key, |text| unhex(text).ok_or_else(|| "is not bytes of two hexadecimal digits each".to_owned()))
    }

    /// A length of time above zero.
    pub(super) fn duration(&mut self, key: &'static str, most: Duration) -> Option<Duration> {
        self.parsed(key, |text| {
            let fits = |time: &Duration| !time.is_zero() && *time <= most;
            let wrong = || format!("is not a duration up to {}, such as 250ms or 1m 30s", format_duration(most));
            parse_duration(text).filter(fits).ok_or_else(wrong)
        })
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let (value, place) = self.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            _ => self.wrong_type(value, &place, "true or false"),
        }
    }

    /// Whether a key is `true`.
    pub(super) fn is_on(&mut self, key: &'static str) -> bool {
        self.boolean(key).unwrap_or(false)
    }

    pub(super) fn number(&mut self, key: &'static str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let (value, place) = self.get(key)?;
        let DeValue::Integer(integer) = value.get_ref() else { return self.wrong_type(value, &place, "an integer") };
        let number = decimal(integer).parse().ok().filter(|number| bounds.contains(number));
        if number.is_none() {
            let message = format!("{} is not from {} to {}", integer.as_str(), bounds.start(), bounds.end());
            self.problems.push(Problem::at(&place, message));
        }
        number
    }

    /// A value that JSON has, too.
    pub(super) fn scalar(&mut self, key: &'static str) -> Option<Scalar> {
        let (value, place) = self.get(key)?;
        scalar(value).or_else(|| self.wrong_type(value, &place, SCALARS))
    }

    pub(super) fn scalars(&mut self, key: &'static str) -> Option<Vec<Scalar>> {
        self.list(key, SCALARS, scalar)
    }

    pub(super) fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        self.list(key, "a string", |value| value.get_ref().as_str().map(str::to_owned))
    }

    fn list<T>(&mut self, key: &'static str, wanted: &str, read: impl Fn(&Value<'_>) -> Option<T>) -> Option<Vec<T>> {
        let (value, place) = self.get(key)?;
        let DeValue::Array(items) = value.get_ref() else { return self.wrong_type(value, &place, "an array") };
        items.iter().map(|item| read(item).or_else(|| self.wrong_type(item, &place, wanted))).collect()
    }

    /// What `read` makes of a table under this key.
    pub(super) fn table<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Fields<'_, 'a>) -> T) -> Option<T> {
        let (value, place) = self.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(self.inner(key, place, table, read)),
            _ => self.wrong_type(value, &place, "a table"),
        }
    }

    /// What `read` makes of each table of an array under this key.
    pub(super) fn tables<T>(&mut self, key: &'static str, read: impl Fn(&mut Fields<'_, 'a>) -> T) -> Vec<T> {
        let Some((value, place)) = self.get(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            let _noted: Option<()> = self.wrong_type(value, &place, "an array of tables");
            return Vec::new();
        };
        let mut found = Vec::new();
        for item in items.iter() {
            let title = if self.name.is_empty() { format!("[[{key}]]") } else { format!("{}.{key}", self.name) };
            let place = self.file.place(item.span().start, &title);
            match item.get_ref() {
                DeValue::Table(table) => found.push(self.inner(key, place, table, &read)),
                _ => self.wrong_type(item, &place, "a table").unwrap_or(()),
            }
        }
        found
    }

    fn inner<T>(
        &mut self,
        key: &str,
        place: Place,
        table: &'f DeTable<'a>,
        read: impl FnOnce(&mut Fields<'_, 'a>) -> T,
    ) -> T {
        let name = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        Fields::read(self.file, (&name, place), table, &mut *self.problems, read)
    }

    /// A text, or a table of which `read` makes the same.
    pub(super) fn text_or_table<T>(
        &mut self,
        key: &'static str,
        from_text: impl FnOnce(String) -> T,
        read: impl FnOnce(&mut Fields<'_, 'a>) -> Option<T>,
    ) -> Option<T> {
        let (value, place) = self.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(from_text(text.to_string())),
            DeValue::Table(table) => self.inner(key, place, table, read),
            _ => self.wrong_type(value, &place, "a string or a table"),
        }
    }

    /// The texts under any key.
    pub(super) fn all_texts(&mut self) -> Vec<(String, String)> {
        self.any = true;
        let mut texts = Vec::new();
        for (key, value) in in_order(self.table) {
            match value.get_ref() {
                DeValue::String(text) => texts.push((key.get_ref().to_string(), text.to_string())),
                _ => {
                    let place = self.place_of(key);
                    self.wrong_type(value, &place, "a string").unwrap_or(())
                }
            }
        }
        texts
    }
}

const SCALARS: &str = "a string, a number, true or false";

fn scalar(value: &Value<'_>) -> Option<Scalar> {
    Some(match value.get_ref() {
        DeValue::String(text) => Scalar::Text(text.to_string()),
        DeValue::Integer(integer) => Scalar::Number(decimal(integer)),
        DeValue::Float(float) => Scalar::Number(float.as_str().to_owned()),
        DeValue::Boolean(value) => Scalar::Bool(*value),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => return None,
    })
}

/// The bytes that hexadecimal digits say, two each; spaces do not count.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().filter(|char| *char != ' ').map(|char| char.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
