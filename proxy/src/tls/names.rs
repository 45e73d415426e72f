//! Which certificate a client is shown, by the name that it asks for (SNI, RFC 6066 3).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::Certificate;

/// Certificates by name. The exact name goes before a wildcard, which stands for one label (RFC 9525 6.3); who asks
/// for no name, or for one that none is for, is shown the first. Where several are for a name, it is the first that the
/// client can verify: so a name may have an ECDSA and an RSA certificate.
#[derive(Debug)]
pub(super) struct ByName {
    certificates: Vec<Arc<CertifiedKey>>,
    /// Names as in the certificates, `*.example.com` included.
    names: HashMap<String, Vec<usize>>,
}

impl ByName {
    /// `certificates` are at least one.
    pub(super) fn new(certificates: &[Certificate]) -> Self {
        let mut names: HashMap<String, Vec<usize>> = HashMap::new();
        for (number, certificate) in certificates.iter().enumerate() {
            for name in certificate.names() {
                names.entry(name.clone()).or_default().push(number);
            }
        }
        Self { certificates: certificates.iter().map(|certificate| certificate.key.clone()).collect(), names }
    }

    pub(super) fn pick(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Arc<CertifiedKey>> {
        let numbers = name.map(str::to_ascii_lowercase).and_then(|name| self.numbers(&name));
        let mut candidates = numbers.unwrap_or(&[0]).iter().map(|number| &self.certificates[*number]);
        let first = candidates.clone().next();
        candidates.find(|candidate| candidate.key.choose_scheme(schemes).is_some()).or(first)
    }

    fn numbers(&self, name: &str) -> Option<&[usize]> {
        let wildcard = || name.split_once('.').and_then(|(_, parent)| self.names.get(&format!("*.{parent}")));
        self.names.get(name).or_else(wildcard).map(Vec::as_slice)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.pick(hello.server_name(), hello.signature_schemes()).cloned()
    }
}
