//! Reading PEM files (RFC 7468), with errors that say which file and what is the matter with it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The most that a file may have, in bytes: several times the bundle of all public roots. A larger one is some other
/// file.
const MOST: u64 = 4 << 20;
/// How DER, the binary form, begins: an ASN.1 SEQUENCE.
const DER: u8 = 0x30;

/// The certificates in a file, in its order; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = contents(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(format!("{}: {}", path.display(), lacks(&text, "certificate"))),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{}: is not valid PEM: {error}", path.display())),
    }
}

/// The first private key in a file.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = contents(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => format!("{}: {}", path.display(), lacks(&text, "private key")),
        error => format!("{}: is not valid PEM: {error}", path.display()),
    })
}

fn contents(path: &Path) -> Result<Vec<u8>, String> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error: io::Error| format!("{}: cannot be read: {error}", path.display()))?;
    match bytes.len() as u64 > MOST {
        true => Err(format!("{}: has more than {MOST} bytes: it is some other file", path.display())),
        false => Ok(bytes),
    }
}

/// Why there may be none of what is looked for.
fn lacks(text: &[u8], wanted: &str) -> String {
    let has = |label: &str| text.windows(label.len()).any(|window| window == label.as_bytes());
    let instead = if has("BEGIN ENCRYPTED PRIVATE KEY") || has("Proc-Type: 4,ENCRYPTED") {
        "; its key is encrypted: write it without a passphrase with `openssl pkey`"
    } else if text.first() == Some(&DER) {
        "; it is DER: make PEM of it with `openssl x509 -inform der` or `openssl pkey -inform der`"
    } else if has("PRIVATE KEY") {
        "; it has a private key: are certificate and key exchanged?"
    } else if has("BEGIN CERTIFICATE") {
        "; it has a certificate: are certificate and key exchanged?"
    } else {
        ""
    };
    format!("has no {wanted} in PEM{instead}")
}
