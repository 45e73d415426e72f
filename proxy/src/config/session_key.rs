//! The key that signs the session protocol's headers.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The least that a key may have, in bytes: fewer could be guessed.
const LEAST: usize = 16;
/// The most that a key file may have, in bytes. A larger one is some other file.
const MOST: usize = 4096;

/// The key of `--session-key-file`, at least 16 bytes. Its `Debug` shows none of them.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey(Arc<[u8]>);

impl SessionKey {
    /// The key in the file at `path`. A line end (LF or CRLF) behind it is not part of it.
    ///
    /// # Errors
    /// The file cannot be read, or has fewer than 16 bytes or more than 4096. The text has nothing of what is in it.
    pub fn read(path: &Path) -> Result<Self, String> {
        Self::new(&read_secret(path)?)
    }

    /// The key in these bytes, without a line end behind it.
    ///
    /// # Errors
    /// It has fewer than 16 bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, String> {
        let key = without_line_end(bytes);
        if key.len() < LEAST {
            return Err(format!("has a key of {} bytes; at least {LEAST} are needed", key.len()));
        }
        Ok(Self(key.into()))
    }

    /// The HMAC-SHA256 of `text` (RFC 2104) in lower-case hexadecimal digits, 64 of them.
    #[must_use]
    pub fn sign(&self, text: &[u8]) -> String {
        self.mac(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The HMAC-SHA256 of `text` (RFC 2104).
    #[must_use]
    pub fn mac(&self, text: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(text);
        mac.finalize().into_bytes().into()
    }

    /// A key that nobody else knows.
    ///
    /// # Panics
    /// The system has no random numbers.
    #[must_use]
    pub fn random() -> Self {
        let mut key = [0; 32];
        getrandom::fill(&mut key).expect("the system has random numbers");
        Self(key.as_slice().into())
    }
}

/// What is in a file with a secret: at most 4096 bytes.
pub(super) fn read_secret(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = read_bounded(path).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > MOST {
        return Err(format!("has more than {MOST} bytes: it is no key"));
    }
    Ok(bytes)
}

/// The bytes of a file without a line end (LF or CRLF) behind them.
pub(super) fn without_line_end(bytes: &[u8]) -> &[u8] {
    let line = bytes.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    line.unwrap_or(bytes)
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_at_least_16_bytes_without_its_line_end() {
        for good in ["0123456789abcdef", "0123456789abcdef\n", "0123456789abcdef\r\n"] {
            assert_eq!(&*SessionKey::new(good.as_bytes()).unwrap().0, b"0123456789abcdef");
        }
        assert_eq!(&*SessionKey::new(b"0123456789abcdef\n\n").unwrap().0, b"0123456789abcdef\n");
        for bad in ["", "0123456789abcde\n", "0123456789abcd\r\n"] {
            assert!(SessionKey::new(bad.as_bytes()).unwrap_err().contains("at least 16"));
        }
    }

    #[test]
    fn a_signature_is_hmac_sha256() {
        // RFC 4231 4.7: a key longer than a block.
        let key = SessionKey::new(&[0xaa; 131]).unwrap();
        let signature = key.sign(b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(signature, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    #[test]
    fn nothing_shows_the_key() {
        let key = SessionKey::new(b"correct horse battery staple").unwrap();
        assert_eq!(format!("{key:?}"), "SessionKey(…)");
    }
}
