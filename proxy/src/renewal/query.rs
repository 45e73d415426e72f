//! Changing keys of a query and nothing else.

use std::fmt;

use hyper::Uri;

/// Keys of a query that are removed, and keys that are set. Its `Debug` shows keys and no values: these may be secrets.
///
/// A query is a list of `key=value` between ampersands, as forms and `URLSearchParams` write it: keys are compared
/// decoded, `%XX` for a byte and `+` for a space. Pairs that are not named stay as they are, byte for byte, and in
/// their order. A key that is set takes the place of its first pair, or comes last; further pairs of its name go.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct QueryEdit {
    /// Each key once; `None` removes it.
    keys: Vec<(Box<str>, Option<Box<str>>)>,
}

impl QueryEdit {
    /// The same, and without `key`. What was to become of that key before is forgotten.
    #[must_use]
    pub fn remove(self, key: &str) -> Self {
        self.with(key, None)
    }

    /// The same, and with `value`, not encoded yet, for `key`. What was to become of that key before is forgotten.
    #[must_use]
    pub fn set(self, key: &str, value: &str) -> Self {
        self.with(key, Some(value.into()))
    }

    fn with(mut self, key: &str, value: Option<Box<str>>) -> Self {
        match self.keys.iter_mut().find(|(known, _)| **known == *key) {
            Some((_, old)) => *old = value,
            None => self.keys.push((key.into(), value)),
        }
        self
    }

    /// The same, and then `later`, which goes before it where both name a key.
    #[must_use]
    pub fn then(self, later: &Self) -> Self {
        later.keys.iter().fold(self, |edit, (key, value)| edit.with(key, value.clone()))
    }

    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys it names.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Bytes of the keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.keys.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, |value| value.len())).sum()
    }

    /// The target of a request as it is changed; `None` if that would be longer than one can be (64 KiB).
    #[must_use]
    pub fn changed(&self, target: &Uri) -> Option<Uri> {
        if self.is_empty() {
            return Some(target.clone());
        }
        Uri::try_from(self.apply(target.path_and_query().map_or("/", |target| target.as_str()))).ok()
    }

    /// The target, a path with or without a query (RFC 9112 3.2.1), as it is changed. A query of which nothing is left
    /// goes with its question mark.
    #[must_use]
    pub fn apply(&self, target: &str) -> String {
        if self.is_empty() {
            return target.to_owned();
        }
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let mut waiting: Vec<&(Box<str>, Option<Box<str>>)> = self.keys.iter().collect();
        let mut pairs: Vec<String> = Vec::new();
        for pair in query.into_iter().flat_map(|query| query.split('&')) {
            let key = key_of(pair);
            let Some((name, value)) = self.keys.iter().find(|(name, _)| name.as_bytes() == key) else {
                pairs.push(pair.to_owned());
                continue;
            };
            let first = waiting.iter().position(|(waiting, _)| waiting == name).map(|at| waiting.remove(at)).is_some();
            pairs.extend(value.as_ref().filter(|_| first).map(|value| encoded(name, value)));
        }
        pairs.extend(waiting.iter().filter_map(|(name, value)| Some(encoded(name, value.as_ref()?))));
        if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
    }
}

impl fmt::Debug for QueryEdit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys.iter().map(|(key, value)| (key, if value.is_some() { "set" } else { "removed" }));
        f.debug_map().entries(keys).finish()
    }
}

/// Whether the query of a target, a path with or without one, has this key.
#[must_use]
pub fn has_key(target: &str, key: &str) -> bool {
    let query = target.split_once('?').map(|(_, query)| query);
    query.into_iter().flat_map(|query| query.split('&')).any(|pair| key_of(pair) == key.as_bytes())
}

/// The key of `key=value`, or of `key`, decoded.
fn key_of(pair: &str) -> Vec<u8> {
    decoded(pair.split_once('=').map_or(pair, |(key, _)| key))
}

/// `%XX` as its byte, `+` as a space; what only looks like an escape stands for itself.
fn decoded(text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    loop {
        (rest, _) = match *rest {
            [] => return bytes,
            [b'%', high, low, ref rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |digit: u8| char::from(digit).to_digit(16).expect("a hexadecimal digit") as u8;
                (rest, bytes.push(digit(high) << 4 | digit(low)))
            }
            [b'+', ref rest @ ..] => (rest, bytes.push(b' ')),
            [byte, ref rest @ ..] => (rest, bytes.push(byte)),
        }
    }
}

/// `key=value` with all but the unreserved characters (RFC 3986 2.3) escaped, which every decoder reads the same.
fn encoded(key: &str, value: &str) -> String {
    let mut text = String::with_capacity(key.len() + value.len() + 1);
    let mut push = |part: &str| {
        for byte in part.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
        std::mem::take(&mut text)
    };
    let (key, value) = (push(key), push(value));
    format!("{key}={value}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn edit() -> QueryEdit {
        QueryEdit::default()
    }

    #[test]
    fn what_is_not_named_stays_byte_for_byte() {
        let odd = "/a%2Fb;x?q=%7e%7E+%20&&=&flag&b=1=2&%zz=%&c=\u{fc}";
        assert_eq!(edit().remove("none").apply(odd), odd);
        assert_eq!(edit().set("t", "1").apply(odd), format!("{odd}&t=1"));
        assert_eq!(edit().apply("/?"), "/?");
        assert_eq!(edit().remove("x").apply("/?"), "/?");
    }

    #[test]
    fn a_key_is_there_however_it_is_spelled() {
        for target in ["/io/?EIO=4&sid=a", "/?%73id", "/?sid"] {
            assert!(has_key(target, "sid"), "{target}");
        }
        for target in ["/sid", "/sid=1", "/?side=1", "/?a=sid", "/?"] {
            assert!(!has_key(target, "sid"), "{target}");
        }
    }

    #[test]
    fn a_removed_key_goes_with_all_its_pairs_however_it_is_spelled() {
        assert_eq!(
            edit().remove("sid").apply("/io/?EIO=4&sid=a&transport=x&sid=b&%73id&sid"),
            "/io/?EIO=4&transport=x"
        );
        assert_eq!(edit().remove("a b").apply("/?a+b=1&a%20b=2&ab=3"), "/?ab=3");
        assert_eq!(edit().remove("sid").apply("/?sid=1"), "/");
        assert_eq!(edit().remove("si").apply("/?sid=1"), "/?sid=1");
    }

    #[test]
    fn a_key_that_is_set_takes_the_place_of_its_first_pair_or_comes_last() {
        let edit = edit().set("token", "new");
        assert_eq!(edit.apply("/?a=1&token=old&b=2&token=older"), "/?a=1&token=new&b=2");
        assert_eq!(edit.apply("/?token"), "/?token=new");
        assert_eq!(edit.apply("/path"), "/path?token=new");
        assert_eq!(edit.apply("/path?a"), "/path?a&token=new");
    }

    #[test]
    fn what_is_set_is_escaped() {
        let edit = edit().set("a&b", "x y+\u{e9}=%#?/~._-");
        assert_eq!(edit.apply("/"), "/?a%26b=x%20y%2B%C3%A9%3D%25%23%3F%2F~._-");
        assert_eq!(edit.apply("/?a%26b=1&a=2"), "/?a%26b=x%20y%2B%C3%A9%3D%25%23%3F%2F~._-&a=2");
    }

    #[test]
    fn the_later_edit_goes_before_the_earlier_one() {
        let earlier = edit().remove("sid").set("transport", "polling");
        let both = earlier.then(&edit().set("sid", "1").set("transport", "websocket"));
        assert_eq!(both.apply("/?sid=0&transport=polling"), "/?sid=1&transport=websocket");
    }

    #[test]
    fn a_target_that_would_be_too_long_is_none() {
        assert_eq!(edit().set("token", &"x".repeat(70_000)).changed(&Uri::from_static("/")), None);
        let short = edit().set("token", "\r\n ").changed(&Uri::from_static("/p?a"));
        assert_eq!(short.unwrap(), "/p?a&token=%0D%0A%20");
    }

    #[test]
    fn no_value_shows() {
        let text = format!("{:?}", edit().set("token", "secret").remove("sid"));
        assert_eq!(text, r#"{"token": "set", "sid": "removed"}"#);
    }

    proptest! {
        #[test]
        fn what_was_set_is_read_back(key in ".{1,12}", value in ".{0,24}", query in "[a-z0-9&=%+]{0,40}") {
            let target = edit().set(&key, &value).apply(&format!("/p?{query}"));
            prop_assert!(target.parse::<hyper::Uri>().is_ok());
            let (_, changed) = target.split_once('?').unwrap();
            let same: Vec<_> = changed.split('&').filter(|pair| {
                decoded(pair.split_once('=').map_or(pair, |(key, _)| key)) == key.as_bytes()
            }).collect();
            prop_assert_eq!(same.len(), 1);
            prop_assert_eq!(decoded(same[0].split_once('=').unwrap().1), value.as_bytes());
        }

        #[test]
        fn the_rest_is_untouched(query in "[a-c0-9&=%+]{0,40}") {
            let target = format!("/p?{query}");
            let changed = edit().remove("zz").set("z", "1").apply(&target);
            prop_assert_eq!(changed, format!("{}&z=1", target));
        }
    }
}
