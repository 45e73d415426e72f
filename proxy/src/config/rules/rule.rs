//! `[[rule]]`: from a table to a rule of the model, and where each of its keys stands.

use std::time::Duration;

use tideover_protocol::rules::model::{
    Actions, HexTest, JsonTest, Match, Operation, PinAction, Rule, RuleError, Scalar, Side, ValueTest,
};
use tideover_protocol::rules::{Again, Kind, Replay, UnpinWhen};

use super::fields::Fields;
use crate::config::problem::{Place, Problem};

/// The longest `max-age`.
const LONGEST_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// A rule, and where it was written.
#[derive(Clone, Debug)]
pub(in crate::config) struct Written {
    pub(super) rule: Rule,
    pub(super) header: Place,
    keys: Vec<(String, Place)>,
}

impl Written {
    /// What is wrong with it, at the key that the error names.
    pub(super) fn problem(&self, error: &RuleError) -> Problem {
        let name = error.key.split('.').next().unwrap_or_default();
        let place = self.keys.iter().find(|(key, _)| key == name).map_or(&self.header, |(_, place)| place);
        Problem::at(place, format!("in the rule {:?}: {}", self.rule.name, error.message))
    }
}

/// Reads a rule, the `number`-th of its file. `None`: something is wrong with it, and noted.
pub(super) fn read(fields: &mut Fields<'_, '_>, number: usize) -> Option<Written> {
    let before = fields.wrong();
    let name = fields.text("name").unwrap_or_else(|| format!("rule {number}"));
    if !fields.has("from") {
        fields.reject("from", "from is needed: client or backend");
    }
    let from = fields.word("from", &[("client", Side::Client), ("backend", Side::Backend)]);
    let (matches, goes_on, does) = (matches(fields), fields.is_on("continue"), actions(fields));
    let rule = Rule { name, from: from?, matches, goes_on, does };
    let good = fields.wrong() == before;
    good.then(|| Written { rule, header: fields.header().clone(), keys: fields.places() })
}

fn matches(fields: &mut Fields<'_, '_>) -> Match {
    Match {
        kind: fields.word("kind", &[("text", Kind::Text), ("binary", Kind::Binary)]),
        text_prefix: fields.text("text-prefix"),
        regex: fields.text("regex"),
        json: fields.tables("json", json_test).into_iter().flatten().collect(),
        hex: fields.table("hex", hex_test).flatten(),
        nth: fields.number("nth", 1..=u64::from(u32::MAX)),
    }
}

/// The tests that there are for a value. TOML has no null.
const TESTS: [&str; 6] = ["equals", "one-of", "exists", "matches", "null", "operation"];

/// What `operation` may be.
const OPERATIONS: [(&str, Operation); 3] =
    [("query", Operation::Query), ("mutation", Operation::Mutation), ("subscription", Operation::Subscription)];

fn json_test(fields: &mut Fields<'_, '_>) -> Option<JsonTest> {
    let pointer = fields.needed("pointer");
    let equals = fields.scalar("equals").map(|value| ValueTest::OneOf(vec![value]));
    let one_of = fields.scalars("one-of").map(ValueTest::OneOf);
    let exists = fields.boolean("exists").map(ValueTest::Exists);
    let matches = fields.text("matches").map(ValueTest::Matches);
    let null = fields.boolean("null").map(|_| ValueTest::OneOf(vec![Scalar::Null]));
    let given = TESTS.iter().filter(|test| fields.has(test)).count();
    if given != 1 {
        fields.reject("", format!("one of {} is needed, and no more", TESTS.join(", ")));
    }
    if fields.has("null") && fields.boolean("null") == Some(false) {
        fields.reject("null", "can be true only; a value that is not null is not told from one that is not there");
    }
    let named = fields.text("named");
    if named.is_some() && !fields.has("operation") {
        fields.reject("named", "says where the name of an operation stands: it needs operation");
    }
    let operation = fields.word("operation", &OPERATIONS).map(|operation| ValueTest::Operation { operation, named });
    let test = equals.or(one_of).or(exists).or(matches).or(null).or(operation)?;
    Some(JsonTest { pointer: pointer?, test })
}

fn hex_test(fields: &mut Fields<'_, '_>) -> Option<HexTest> {
    if !fields.has("bytes") {
        fields.reject("bytes", "bytes is needed");
    }
    let at = fields.number("at", 0..=u64::from(u32::MAX)).unwrap_or(0);
    let (bytes, mask) = (fields.bytes("bytes"), fields.bytes("mask"));
    Some(HexTest { at: usize::try_from(at).ok()?, bytes: bytes?, mask })
}

fn actions(fields: &mut Fields<'_, '_>) -> Actions {
    Actions {
        pin: fields.table("pin", pin).flatten(),
        unpin: fields.text_or_table("unpin", |key| (key, UnpinWhen::Now), unpin),
        acknowledge: fields.text("acknowledge"),
        gives_up: fields.text("gives-up"),
        answers: fields.text("answers"),
        refuses: fields.is_on("refuses"),
        once: fields.text("once"),
        swallow: fields.is_on("swallow"),
        replay: replay(fields),
        max_age: fields.duration("max-age", LONGEST_AGE),
        close: fields.is_on("close"),
        translate: fields.text("translate"),
        learn: fields.text("learn"),
    }
}

pub(super) fn pin(fields: &mut Fields<'_, '_>) -> Option<PinAction> {
    let key = fields.needed("key");
    let again = fields.word("again", &[("replace", Again::Replace), ("move", Again::Move)]).unwrap_or_default();
    let expects = fields.text("expects");
    let (hold, learns) = (fields.is_on("hold"), fields.is_on("learns"));
    Some(PinAction { key: key?, again, expects, hold, learns })
}

fn unpin(fields: &mut Fields<'_, '_>) -> Option<(String, UnpinWhen)> {
    let key = fields.needed("key");
    let when = fields.word("when", &[("now", UnpinWhen::Now), ("acknowledged", UnpinWhen::Acknowledged)]);
    Some((key?, when.unwrap_or(UnpinWhen::Now)))
}

fn replay(fields: &mut Fields<'_, '_>) -> Replay {
    match (fields.is_on("leg-local"), fields.is_on("ephemeral")) {
        (false, false) => Replay::Normal,
        (true, false) => Replay::LegLocal,
        (false, true) => Replay::Ephemeral,
        (true, true) => {
            fields.reject("ephemeral", "leg-local and ephemeral are two ways not to be replayed: one of them");
            Replay::LegLocal
        }
    }
}
