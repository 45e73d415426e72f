//! Header fields and query keys that a handshake gets, checked.

use std::fmt;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::QueryEdit;
use crate::fields;

/// Header fields, or query keys, that may be named at a time.
const MOST: usize = 64;
/// Bytes that the name of a header field or query key may have.
const LONGEST_NAME: usize = 256;

/// Header fields and query keys that are set, or taken away, when a handshake is given to a backend again. Its `Debug`
/// shows names and no values: these are secrets.
///
/// No name in it is one that HTTP, WebSocket or the proxy gives a meaning, with dashes or underscores; no value has a
/// line end or another control character.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// `None` takes the field away.
    headers: Vec<(HeaderName, Option<HeaderValue>)>,
    query: QueryEdit,
}

/// What is wrong with a header field or query key. Its `Display` names it and shows no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidValues {
    /// The name is none that a header field may have.
    HeaderName(String),
    /// The field is not free: HTTP or the WebSocket handshake gives it a meaning, or the proxy sets it.
    Forbidden(HeaderName),
    /// The value has bytes that are no visible ASCII, space or tab.
    HeaderValue(HeaderName),
    /// A field is named twice, perhaps with an underscore for a dash.
    Twice(HeaderName),
    /// The key is empty or longer than 256 bytes.
    QueryKey,
    /// The value of this field or key is neither text nor, where that may be, nothing.
    Type(String),
    /// This is none of the keys that may be there.
    Unknown(String),
    /// More than 64 fields or keys.
    Many,
}

impl fmt::Display for InvalidValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeaderName(name) => write!(f, "{name:?} is no name of a header field"),
            Self::Forbidden(name) => write!(f, "the header field {name} cannot be set: it has a meaning already"),
            Self::HeaderValue(name) => {
                write!(f, "the value of the header field {name} has bytes that no field may have")
            }
            Self::Twice(name) => write!(f, "the header field {name} is named twice"),
            Self::QueryKey => write!(f, "a query key is empty or has more than {LONGEST_NAME} bytes"),
            Self::Type(name) => write!(f, "{name} is not of the right type"),
            Self::Unknown(name) => write!(f, "unknown key {name:?}"),
            Self::Many => write!(f, "more than {MOST} header fields or query keys"),
        }
    }
}

impl Values {
    /// The same, and with this field; without a value, the client's is taken away.
    ///
    /// # Errors
    /// The field may not be set, or not to this.
    pub fn header(mut self, name: &str, value: Option<&str>) -> Result<Self, InvalidValues> {
        let bad_name = || InvalidValues::HeaderName(name.chars().take(LONGEST_NAME).collect());
        let name = HeaderName::try_from(name).ok().filter(|name| name.as_str().len() <= LONGEST_NAME);
        let name = name.ok_or_else(bad_name)?;
        if !fields::is_free(&name) {
            return Err(InvalidValues::Forbidden(name));
        }
        if self.names(&name) {
            return Err(InvalidValues::Twice(name));
        }
        let value = value.map(|value| header_value(&name, value)).transpose()?;
        self.headers.push((name, value));
        if self.headers.len() > MOST { Err(InvalidValues::Many) } else { Ok(self) }
    }

    /// The same, and with this key of the query; without a value, it is taken away.
    ///
    /// # Errors
    /// The key is empty or too long, or one too many.
    pub fn query(mut self, key: &str, value: Option<&str>) -> Result<Self, InvalidValues> {
        if !(1..=LONGEST_NAME).contains(&key.len()) {
            return Err(InvalidValues::QueryKey);
        }
        self.query = match value {
            Some(value) => self.query.set(key, value),
            None => self.query.remove(key),
        };
        if self.query.keys() > MOST { Err(InvalidValues::Many) } else { Ok(self) }
    }

    /// Whether the field is set or taken away, an underscore in its name passing for a dash.
    #[must_use]
    pub fn names(&self, field: &HeaderName) -> bool {
        self.headers.iter().any(|(name, _)| fields::is_same(name, field))
    }

    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty() && self.query.is_empty()
    }

    /// What is done to the query.
    #[must_use]
    pub fn query_edit(&self) -> &QueryEdit {
        &self.query
    }

    /// Bytes that it takes, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        let value = |value: &Option<HeaderValue>| value.as_ref().map_or(0, HeaderValue::len);
        let headers: usize = self.headers.iter().map(|(name, own)| name.as_str().len() + value(own) + 64).sum();
        headers + self.query.bytes() + 64 * self.query.keys() + size_of::<Self>()
    }

    /// Puts the fields in the place of the client's of the same names, an underscore passing for a dash.
    pub fn apply_to(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            let same: Vec<_> = headers.keys().filter(|other| fields::is_same(other, name)).cloned().collect();
            same.iter().for_each(|other| drop(headers.remove(other)));
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
    }
}

fn header_value(name: &HeaderName, text: &str) -> Result<HeaderValue, InvalidValues> {
    let is_visible = |byte: u8| matches!(byte, b' '..=b'~' | b'\t');
    let value = HeaderValue::from_str(text).ok().filter(|_| text.bytes().all(is_visible));
    let mut value = value.ok_or_else(|| InvalidValues::HeaderValue(name.clone()))?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Values").field("headers", &names).field("query", &self.query).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Values {
        Values::default().header("Authorization", Some("Bearer secret")).unwrap().header("X-Old", None).unwrap()
    }

    #[test]
    fn what_http_or_websocket_or_the_proxy_means_something_by_cannot_be_set() {
        let forbidden = "Host host Connection Upgrade Sec-WebSocket-Key Sec-WebSocket-Protocol \
                         sec_websocket_extensions Sec-WebSocket-Version Keep-Alive \
                         Proxy-Authorization TE Trailer Transfer-Encoding Content-Length content_length transfer_encoding Tideover-Session tideover_epoch \
                         Tideover_Next-Seq X-Forwarded-For x_forwarded_for X-Forwarded-Proto \
                         X-Forwarded-Host Forwarded";
        for name in forbidden.split_whitespace() {
            let refused = Values::default().header(name, Some("1"));
            assert!(matches!(refused, Err(InvalidValues::Forbidden(_))), "{name}: {refused:?}");
            assert!(Values::default().header(name, None).is_err(), "{name} cannot be taken away either");
        }
    }

    #[test]
    fn a_value_is_one_line_of_visible_text() {
        for bad in ["a\r\nHost: evil", "a\n", "\r", "a\0b", "\u{7f}", "\u{e9}"] {
            let refused = Values::default().header("Cookie", Some(bad));
            assert!(matches!(refused, Err(InvalidValues::HeaderValue(_))), "{bad:?}");
        }
        for bad in ["", "a b", "a:b", "a\r\nb", "\u{e9}", &"x".repeat(300)] {
            assert!(matches!(Values::default().header(bad, Some("1")), Err(InvalidValues::HeaderName(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_field_is_named_once_however_it_is_spelled() {
        assert_eq!(some().header("x_old", Some("1")).unwrap_err().to_string(), "the header field x_old is named twice");
    }

    #[test]
    fn a_field_takes_the_place_of_all_that_a_backend_may_read_as_the_same() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("host", "h"), ("authorization", "1"), ("authorization", "2"), ("x_old", "3"), ("y", "4")]
        {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        some().apply_to(&mut headers);
        let mut left: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        left.sort();
        assert_eq!(left, ["authorization: Bearer secret", "host: h", "y: 4"]);
    }

    #[test]
    fn no_value_shows() {
        let values = some().query("token", Some("secret")).unwrap();
        assert!(!format!("{values:?}").contains("secret"));
    }
}
