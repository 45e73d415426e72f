//! Where the operator's API listens, and the token that its callers show.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::session_key::{read_secret, without_line_end};

/// The longest path of a unix socket in bytes, without the zero byte behind it (`sun_path` of Linux).
const LONGEST_PATH: usize = 107;
/// The fewest characters of a token: fewer could be guessed.
const LEAST: usize = 16;

/// Where the operator's API listens (`--admin`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// A TCP port. Port 0 takes a free one.
    Tcp(SocketAddr),
    /// A unix socket, of mode 0600. Its path has 1 to 107 bytes.
    Unix(PathBuf),
}

impl FromStr for AdminAddress {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some(path) if (1..=LONGEST_PATH).contains(&path.len()) && !path.contains('\0') => {
                Ok(Self::Unix(path.into()))
            }
            Some(_) => Err(()),
            None => text.parse().map(Self::Tcp).map_err(|_| ()),
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The token of `--admin-token-file`: 16 to 4096 visible ASCII characters. Its `Debug` shows none of them.
#[derive(Clone)]
pub struct AdminToken(String);

impl AdminToken {
    /// The token in the file at `path`. A line end (LF or CRLF) behind it is not part of it.
    ///
    /// # Errors
    /// The file cannot be read, or what is in it is no token. The text has nothing of what is in it.
    pub fn read(path: &Path) -> Result<Self, String> {
        Self::new(&read_secret(path)?)
    }

    /// The token in these bytes, without a line end behind it.
    ///
    /// # Errors
    /// It has fewer than 16 characters, or one that is not visible ASCII.
    pub fn new(bytes: &[u8]) -> Result<Self, String> {
        let token = without_line_end(bytes);
        if token.len() < LEAST {
            return Err(format!("has a token of {} characters; at least {LEAST} are needed", token.len()));
        }
        if !token.iter().all(u8::is_ascii_graphic) {
            return Err("has a token that is not one line of visible ASCII characters".into());
        }
        Ok(Self(token.iter().copied().map(char::from).collect()))
    }

    /// Whether `shown` is this token. How long that takes says nothing about the token: what is compared are MACs
    /// under a key of this moment.
    #[must_use]
    pub fn is(&self, shown: &[u8]) -> bool {
        let mut key = [0; 32];
        if getrandom::fill(&mut key).is_err() {
            return false;
        }
        let mac = |text: &[u8]| {
            Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length").chain_update(text)
        };
        mac(shown).verify(&mac(self.0.as_bytes()).finalize().into_bytes()).is_ok()
    }

    /// The token itself, to be shown to the API and to nobody else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_port_or_the_path_of_a_socket() {
        for text in ["127.0.0.1:8081", "[::1]:0", "unix:/run/tideover.sock", "unix:relative"] {
            assert_eq!(text.parse::<AdminAddress>().unwrap().to_string(), text);
        }
        for text in ["", "unix:", "8081", "localhost:8081", "http://127.0.0.1:1", "/run/tideover.sock"] {
            assert_eq!(text.parse::<AdminAddress>(), Err(()), "{text}");
        }
        assert!(format!("unix:/{}", "a".repeat(LONGEST_PATH)).parse::<AdminAddress>().is_err());
    }

    #[test]
    fn a_token_is_one_line_of_visible_characters() {
        let token = AdminToken::new(b"0123456789abcdef\r\n").unwrap();
        assert!(token.is(b"0123456789abcdef"));
        for wrong in [&b"0123456789abcdeF"[..], b"0123456789abcde", b"0123456789abcdef\n", b""] {
            assert!(!token.is(wrong));
        }
        for bad in
            [&b"0123456789abcde\n"[..], b"0123456789 abcdef", b"0123456789abcdef\nmore", "0123456789abcdé".as_bytes()]
        {
            assert!(AdminToken::new(bad).is_err());
        }
        assert_eq!(format!("{token:?}"), "AdminToken(…)");
    }
}
