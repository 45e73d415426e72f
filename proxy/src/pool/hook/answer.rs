//! What a hook may answer.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::renewal::{InvalidValues, Values};

/// The longest delay that a hook may ask for.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// An answer that can be followed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Attach with these, after so long.
    Values { values: Values, delay: Duration },
    /// Do not attach.
    Deny,
}

/// Why an answer cannot be followed. Shows nothing of it but names.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum InvalidAnswer {
    /// No JSON object.
    Json,
    /// Something in it is not what it should be.
    Values(InvalidValues),
    /// A delay of more than a minute.
    Delay,
}

impl fmt::Display for InvalidAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json => f.write_str("it is no JSON object"),
            Self::Values(why) => why.fmt(f),
            Self::Delay => f.write_str("delay_ms is more than a minute"),
        }
    }
}

impl From<InvalidValues> for InvalidAnswer {
    fn from(why: InvalidValues) -> Self {
        Self::Values(why)
    }
}

impl Answer {
    /// The answer that changes nothing.
    pub(super) fn nothing() -> Self {
        Self::Values { values: Values::default(), delay: Duration::ZERO }
    }

    /// Reads the body of a 200.
    ///
    /// # Errors
    /// It cannot be followed. Nothing of it is, then.
    pub(super) fn parse(body: &[u8]) -> Result<Self, InvalidAnswer> {
        let Ok(Value::Object(answer)) = serde_json::from_slice(body) else { return Err(InvalidAnswer::Json) };
        let (mut values, mut delay, mut deny) = (Values::default(), Duration::ZERO, false);
        for (key, value) in &answer {
            let wrong = || InvalidValues::Type(key.clone());
            match key.as_str() {
                "headers" => values = fields(value.as_object().ok_or_else(wrong)?, values, Values::header)?,
                "query" => values = fields(value.as_object().ok_or_else(wrong)?, values, Values::query)?,
                "delay_ms" => delay = Duration::from_millis(value.as_u64().ok_or_else(wrong)?),
                "deny" => deny = value.as_bool().ok_or_else(wrong)?,
                _ => return Err(InvalidValues::Unknown(key.chars().take(64).collect()).into()),
            }
        }
        match (deny, delay <= LONGEST_DELAY) {
            (true, _) => Ok(Self::Deny),
            (false, true) => Ok(Self::Values { values, delay }),
            (false, false) => Err(InvalidAnswer::Delay),
        }
    }
}

fn fields(
    entries: &Map<String, Value>,
    values: Values,
    add: impl Fn(Values, &str, Option<&str>) -> Result<Values, InvalidValues>,
) -> Result<Values, InvalidValues> {
    entries.iter().try_fold(values, |values, (name, value)| match value {
        Value::String(text) => add(values, name, Some(text)),
        Value::Null => add(values, name, None),
        _ => Err(InvalidValues::Type(name.chars().take(64).collect())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_sets_removes_and_delays() {
        let body = br#"{"headers": {"Authorization": "Bearer 2", "X-Old": null},
                        "query": {"token": "a b", "sid": null}, "delay_ms": 250}"#;
        let values =
            Values::default().header("authorization", Some("Bearer 2")).unwrap().header("x-old", None).unwrap();
        // The object's own order is lost.
        let values = values.query("sid", None).unwrap().query("token", Some("a b")).unwrap();
        let Answer::Values { values: read, delay } = Answer::parse(body).unwrap() else { panic!("denied") };
        assert_eq!(delay, Duration::from_millis(250));
        assert_eq!(read, values);
        assert_eq!(Answer::parse(b"{}").unwrap(), Answer::nothing());
    }

    #[test]
    fn a_denial_counts_whatever_else_is_there() {
        assert_eq!(Answer::parse(br#"{"deny": true, "headers": {"a": "b"}}"#).unwrap(), Answer::Deny);
        assert_eq!(Answer::parse(br#"{"deny": false}"#).unwrap(), Answer::nothing());
    }

    #[test]
    fn an_answer_that_cannot_be_followed_shows_no_value() {
        let wrong = [
            ("", "it is no JSON object"),
            ("[]", "it is no JSON object"),
            ("{\"headers\": {\"a\": \"secret\"}} x", "it is no JSON object"),
            (r#"{"header": {"a": "secret"}}"#, "unknown key \"header\""),
            (r#"{"headers": "secret"}"#, "headers is not of the right type"),
            (r#"{"headers": {"a": 12345}}"#, "a is not of the right type"),
            (r#"{"headers": {"Host": "secret"}}"#, "the header field host cannot be set: it has a meaning already"),
            (
                r#"{"headers": {"a": "secret\r\nb: c"}}"#,
                "the value of the header field a has bytes that no field may have",
            ),
            (r#"{"deny": "yes"}"#, "deny is not of the right type"),
            (r#"{"delay_ms": -1}"#, "delay_ms is not of the right type"),
            (r#"{"delay_ms": 60001}"#, "delay_ms is more than a minute"),
        ];
        for (body, why) in wrong {
            assert_eq!(Answer::parse(body.as_bytes()).unwrap_err().to_string(), why, "{body}");
        }
    }
}
