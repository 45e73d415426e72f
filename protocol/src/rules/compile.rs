//! From rules as data to what messages are tried with; all mistakes at once.

use regex::bytes::{Regex, RegexBuilder};

use super::condition::{self, Condition, Value};
use super::json::{MAX_POINTERS, Pointer};
use super::model::{Actions, HexTest, Match, PinAction, Rule, RuleError, Scalar, Side, ValueTest};
use super::set::{Compiled, Does, PinDoes, RuleSet, SideRules};
use super::template::{self, Part, Template, Written};

/// Bytes that a compiled regular expression may take.
const REGEX_BYTES: usize = 1 << 20;
/// Bytes of a message in which a place can be named.
const MAX_PLACE: usize = 1 << 20;

impl RuleSet {
    /// # Errors
    /// Everything that is wrong with the rules.
    pub fn compile(rules: &[Rule]) -> Result<Self, Vec<RuleError>> {
        let mut set = Self::default();
        let mut errors = Vec::new();
        if rules.len() > usize::from(u16::MAX) {
            errors.push(RuleError { rule: usize::from(u16::MAX), key: "", message: "there are too many rules".into() });
        }
        for (index, rule) in rules.iter().enumerate() {
            let side = match rule.from {
                Side::Client => &mut set.client,
                Side::Backend => &mut set.backend,
            };
            let mut compiler = Compiler { side, rule, index, groups: 0, names_groups: false, errors: &mut errors };
            let compiled = compiler.rule();
            side.rules.push(compiled);
        }
        if errors.is_empty() { Ok(set) } else { Err(errors) }
    }
}

struct Compiler<'a> {
    side: &'a mut SideRules,
    rule: &'a Rule,
    index: usize,
    /// Groups of the rule's regex, the whole included.
    groups: usize,
    /// A template names one of them.
    names_groups: bool,
    errors: &'a mut Vec<RuleError>,
}

impl Compiler<'_> {
    fn error(&mut self, key: &'static str, message: impl Into<String>) {
        self.errors.push(RuleError { rule: self.index, key, message: message.into() });
    }

    /// The value, or a note of what is wrong with it.
    fn good<T>(&mut self, key: &'static str, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.error(key, message)).ok()
    }

    fn rule(&mut self) -> Compiled {
        self.check_sides();
        let rule = self.rule;
        let mut conditions = self.conditions(&rule.matches);
        let does = self.does(&rule.does);
        for condition in &mut conditions {
            if let Condition::Regex { groups, .. } = condition {
                *groups = self.names_groups;
            }
        }
        Compiled { name: rule.name.clone(), number: self.index as u16, conditions, goes_on: rule.goes_on, does }
    }

    // Matches: the cheap ones first.

    fn conditions(&mut self, matches: &Match) -> Vec<Condition> {
        let mut conditions = Vec::new();
        conditions.extend(matches.nth.map(Condition::Nth));
        if matches.nth == Some(0) {
            self.error("nth", "messages are counted from 1");
        }
        conditions.extend(matches.kind.map(Condition::Kind));
        conditions.extend(matches.text_prefix.clone().map(|prefix| Condition::Prefix(prefix.into_bytes())));
        conditions.extend(matches.hex.as_ref().and_then(|test| self.hex(test)));
        for test in &matches.json {
            conditions.extend(self.json(&test.pointer, &test.test));
        }
        if let Some(text) = &matches.regex
            && let Some(regex) = self.regex("regex", text)
        {
            self.groups = regex.captures_len();
            conditions.push(Condition::Regex { regex, groups: false });
        }
        conditions
    }

    fn hex(&mut self, test: &HexTest) -> Option<Condition> {
        let mask = test.mask.clone().unwrap_or_else(|| vec![0xff; test.bytes.len()]);
        if test.bytes.is_empty() || mask.len() != test.bytes.len() {
            self.error("hex", "bytes must not be empty, and mask must be as long");
            return None;
        }
        if test.at > MAX_PLACE {
            self.error("hex", format!("at must be at most {MAX_PLACE}"));
        }
        if test.bytes.iter().zip(&mask).any(|(byte, mask)| byte & !mask != 0) {
            self.error("hex", "bytes has ones where mask has none, so that nothing matches");
        }
        Some(Condition::Hex { at: test.at, bytes: test.bytes.clone(), mask })
    }

    fn json(&mut self, pointer: &str, test: &ValueTest) -> Option<Condition> {
        let (pointer, _) = self.pointer("json", pointer)?;
        let value = match test {
            ValueTest::Exists(wanted) => Value::Exists(*wanted),
            ValueTest::OneOf(scalars) => Value::OneOf(scalars.iter().map(scalar).collect()),
            ValueTest::Matches(text) => Value::Matches(self.regex("json", text)?),
            ValueTest::Operation { operation, named } => {
                let named = match named {
                    Some(named) => Some(self.one("json", named)?),
                    None => None,
                };
                Value::Operation { operation: *operation, named }
            }
        };
        Some(Condition::Json { pointer, value })
    }

    fn regex(&mut self, key: &'static str, text: &str) -> Option<Regex> {
        let built = RegexBuilder::new(text).size_limit(REGEX_BYTES).dfa_size_limit(REGEX_BYTES).build();
        self.good(key, built.map_err(|error| error.to_string()))
    }

    /// The number of a pointer among those that are looked for in a message of this side.
    fn pointer(&mut self, key: &'static str, text: &str) -> Option<(usize, bool)> {
        let pointer = self.good(key, Pointer::parse(text))?;
        let many = pointer.is_many();
        let known = self.side.pointers.iter().position(|known| *known == pointer);
        let number = known.unwrap_or_else(|| {
            self.side.pointers.push(pointer);
            self.side.pointers.len() - 1
        });
        if number >= MAX_POINTERS {
            self.error(key, format!("the rules of a side name more than {MAX_POINTERS} different JSON pointers"));
            return None;
        }
        Some((number, many))
    }

    // Actions.

    fn does(&mut self, does: &Actions) -> Does {
        Does {
            pin: does.pin.as_ref().and_then(|pin| self.pin(pin)),
            unpin: does.unpin.as_ref().and_then(|(key, when)| Some((self.template("unpin", key)?, *when))),
            acknowledge: self.optional("acknowledge", does.acknowledge.as_deref()),
            gives_up: self.optional("gives-up", does.gives_up.as_deref()),
            answers: self.optional("answers", does.answers.as_deref()),
            refuses: does.refuses,
            once: self.optional("once", does.once.as_deref()),
            swallow: does.swallow,
            replay: does.replay,
            max_age: does.max_age,
            close: does.close,
            translate: does.translate.as_deref().and_then(|pointer| self.one("translate", pointer)),
            learn: does.learn.as_deref().and_then(|pointer| self.one("learn", pointer)),
        }
    }

    fn pin(&mut self, pin: &PinAction) -> Option<PinDoes> {
        if pin.expects.is_none() && (pin.hold || pin.learns) {
            self.error("pin", "hold and learns wait for an answer: it needs expects");
        }
        Some(PinDoes {
            key: self.template("pin", &pin.key)?,
            again: pin.again,
            expects: self.optional("pin", pin.expects.as_deref()),
            hold: pin.hold,
            learns: pin.learns,
        })
    }

    fn optional(&mut self, key: &'static str, text: Option<&str>) -> Option<Template> {
        text.and_then(|text| self.template(key, text))
    }

    /// A pointer to one value.
    fn one(&mut self, key: &'static str, text: &str) -> Option<usize> {
        let (pointer, many) = self.pointer(key, text)?;
        if many {
            self.error(key, "* stands for several values, and this takes one");
        }
        Some(pointer)
    }

    fn template(&mut self, key: &'static str, text: &str) -> Option<Template> {
        let written = self.good(key, template::read(text))?;
        written.into_iter().map(|part| self.part(key, part)).collect::<Option<_>>().map(Template)
    }

    fn part(&mut self, key: &'static str, part: Written<'_>) -> Option<Part> {
        Some(match part {
            Written::Text(text) => Part::Text(text.into_bytes()),
            Written::Pointer(text) => {
                let (pointer, many) = self.pointer(key, text)?;
                Part::Json { pointer, many }
            }
            Written::Group(group) if group < self.groups => {
                self.names_groups = true;
                Part::Group(group)
            }
            Written::Group(group) => {
                self.error(key, format!("{{{group}}}: the rule has no regex with such a group"));
                return None;
            }
            Written::Bytes(range) if range.end > MAX_PLACE => {
                self.error(key, format!("{{hex …}} must end at {MAX_PLACE} or before"));
                return None;
            }
            Written::Bytes(range) => Part::Bytes(range),
        })
    }

    /// What only the other side's messages can have.
    fn check_sides(&mut self) {
        let Actions {
            pin, unpin, gives_up, answers, refuses, once, swallow, replay, max_age, learn, translate, ..
        } = &self.rule.does;
        let not_here = match self.rule.from {
            Side::Client => vec![
                ("answers", answers.is_some()),
                ("refuses", *refuses),
                ("once", once.is_some()),
                ("swallow", *swallow),
                ("learn", learn.is_some()),
            ],
            Side::Backend => vec![
                ("pin", pin.is_some()),
                ("gives-up", gives_up.is_some()),
                ("leg-local", *replay == super::Replay::LegLocal),
                ("ephemeral", *replay == super::Replay::Ephemeral),
                ("max-age", max_age.is_some()),
                ("unpin", unpin.as_ref().is_some_and(|(_, when)| *when == super::UnpinWhen::Acknowledged)),
            ],
        };
        let other = match self.rule.from {
            Side::Client => "a backend",
            Side::Backend => "the client",
        };
        for (key, _) in not_here.into_iter().filter(|(_, there)| *there) {
            self.error(key, format!("only for messages of {other}"));
        }
        let lonely = [("refuses", *refuses), ("learn", learn.is_some())];
        for (key, _) in lonely.into_iter().filter(|(_, there)| *there && answers.is_none()) {
            self.error(key, "needs answers");
        }
        if learn.is_some() && translate.is_some() {
            self.error("learn", "a message that brings an id has none to translate");
        }
    }
}

fn scalar(scalar: &Scalar) -> condition::Scalar {
    match scalar {
        Scalar::Text(text) => condition::Scalar::Text(text.clone().into_bytes()),
        Scalar::Number(text) => condition::Scalar::Other(text.clone().into_bytes()),
        Scalar::Bool(value) => condition::Scalar::Other(value.to_string().into_bytes()),
        Scalar::Null => condition::Scalar::Other(b"null".to_vec()),
    }
}
