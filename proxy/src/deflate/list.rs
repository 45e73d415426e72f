//! The lists of Sec-WebSocket-Extensions (RFC 6455 9.1).

use hyper::header::{self, HeaderMap};

/// An extension and its parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extension {
    pub(super) name: String,
    pub(super) parameters: Vec<(String, Option<String>)>,
}

/// The header does not have the form of RFC 6455 9.1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// All extensions in `headers`, in order; the field may stand several times (RFC 6455 9.1).
pub(super) fn extensions(headers: &HeaderMap) -> Result<Vec<Extension>, Malformed> {
    let mut all = Vec::new();
    for line in headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS) {
        let mut rest = Rest(line.to_str().map_err(|_| Malformed)?);
        loop {
            rest.skip_blanks();
            // An element of a list may be empty (RFC 9110 5.6.1.2).
            if !rest.0.is_empty() && !rest.0.starts_with(',') {
                all.push(rest.extension()?);
            }
            if rest.0.is_empty() {
                break;
            }
            rest.expect(',')?;
        }
    }
    Ok(all)
}

/// What is not read yet.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn extension(&mut self) -> Result<Extension, Malformed> {
        let name = self.token()?;
        let mut parameters = Vec::new();
        while self.accept(';') {
            parameters.push(self.parameter()?);
        }
        Ok(Extension { name, parameters })
    }

    fn parameter(&mut self) -> Result<(String, Option<String>), Malformed> {
        let name = self.token()?;
        let value = if self.accept('=') { Some(self.value()?) } else { None };
        Ok((name, value))
    }

    /// A token, or one in quotes: what is behind the quotes must be a token too (RFC 6455 9.1).
    fn value(&mut self) -> Result<String, Malformed> {
        if !self.accept('"') {
            return self.token();
        }
        let mut value = String::new();
        let mut characters = self.0.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    self.skip_blanks();
                    let is_token = !value.is_empty() && value.bytes().all(is_token_byte);
                    return if is_token { Ok(value) } else { Err(Malformed) };
                }
                '\\' => value.push(characters.next().ok_or(Malformed)?.1),
                other => value.push(other),
            }
        }
        Err(Malformed)
    }

    fn token(&mut self) -> Result<String, Malformed> {
        self.skip_blanks();
        let end = self.0.bytes().position(|byte| !is_token_byte(byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        self.skip_blanks();
        if token.is_empty() { Err(Malformed) } else { Ok(token.to_owned()) }
    }

    fn accept(&mut self, character: char) -> bool {
        self.skip_blanks();
        let behind = self.0.strip_prefix(character);
        self.0 = behind.unwrap_or(self.0);
        behind.is_some()
    }

    fn expect(&mut self, character: char) -> Result<(), Malformed> {
        if self.accept(character) { Ok(()) } else { Err(Malformed) }
    }

    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }
}

/// RFC 9110 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Vec<String>, Malformed> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::SEC_WEBSOCKET_EXTENSIONS, line.parse().unwrap());
        }
        let written = |extension: Extension| {
            let parameters = extension.parameters.iter().map(|(name, value)| match value {
                Some(value) => format!(";{name}={value}"),
                None => format!(";{name}"),
            });
            parameters.fold(extension.name, |all, parameter| all + &parameter)
        };
        extensions(&headers).map(|all| all.into_iter().map(written).collect())
    }

    #[test]
    fn lists_are_read_in_order_from_all_their_lines() {
        for (lines, expected) in [
            (&[][..], &[][..]),
            (&["a"], &["a"]),
            (&["a, b;x;y=1", "c"], &["a", "b;x;y=1", "c"]),
            (&[" a ; x = 1 ;\ty , b "], &["a;x=1;y", "b"]),
            (&[r#"a;x="1\5""#], &["a;x=15"]),
            (&["", ", a,, ,b,"], &["a", "b"]),
        ] {
            assert_eq!(read(lines).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_list_of_extensions_is_refused() {
        let bad =
            ["a b", ";x", "a;", "a;=1", "a;x=", "a;x=1 2", "a=1", r#"a;x=""#, r#"a;x="""#, r#"a;x="1 2""#, "a;;b"];
        for line in bad {
            assert_eq!(read(&["a", line]), Err(Malformed), "{line}");
        }
    }
}
