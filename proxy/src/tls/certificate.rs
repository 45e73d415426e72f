//! A certificate with its key: read, and judged before anybody is shown it.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_cert::Certificate as X509;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::{PairFiles, pem, provider};

/// A certificate, its chain and its key, found to fit each other and to be valid.
#[derive(Debug)]
pub struct Certificate {
    files: PairFiles,
    names: Vec<String>,
    not_after: SystemTime,
    pub(super) key: Arc<CertifiedKey>,
}

impl Certificate {
    /// Reads the pair. At `now`, each certificate of the chain must be valid; the key must belong to the first.
    pub(super) fn read(files: &PairFiles, now: SystemTime) -> Result<Self, String> {
        let chain = pem::certificates(&files.certificate)?;
        let key = pem::key(&files.key)?;
        let parsed = chain.iter().enumerate().map(|(n, der)| parse(der, n, now)).collect::<Result<Vec<_>, _>>();
        let parsed = parsed.map_err(|why| format!("{}: {why}", files.certificate.display()))?;
        let signing = provider().key_provider.load_private_key(key);
        let signing = signing.map_err(|error| format!("{}: the key cannot be used: {error}", files.key.display()))?;
        let key = Arc::new(CertifiedKey::new(chain, signing));
        match key.keys_match() {
            // A key that does not say what its public part is; none of ring's.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                return Err(format!("{}: the key is not that of {}", files.key.display(), files.certificate.display()));
            }
            Err(error) => return Err(format!("{}: {error}", files.certificate.display())),
        }
        let not_after = parsed.iter().map(|certificate| certificate.not_after).min().unwrap_or(now);
        let names = parsed.into_iter().next().map(|leaf| leaf.names).unwrap_or_default();
        Ok(Self { files: files.clone(), names, not_after, key })
    }

    /// The names of hosts that it is for, in lower case, wildcards included. Its IP addresses are not among them: no
    /// client asks for one (RFC 6066 3).
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// When the first certificate of its chain expires.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = if self.names.is_empty() { "no name".to_owned() } else { self.names.join(", ") };
        write!(f, "{} for {names}, valid until {}", self.files.certificate.display(), date(self.not_after))
    }
}

struct Parsed {
    names: Vec<String>,
    not_after: SystemTime,
}

/// Reads the certificate of that number in its chain, from 0, and checks that it is valid at `now`.
fn parse(der: &CertificateDer<'_>, number: usize, now: SystemTime) -> Result<Parsed, String> {
    let which = match number {
        0 => "the certificate".to_owned(),
        _ => format!("certificate {} of the chain", number + 1),
    };
    let x509 = X509::from_der(der).map_err(|error| format!("{which} cannot be understood: {error}"))?;
    let validity = x509.tbs_certificate().validity();
    let (not_before, not_after) = (validity.not_before.to_system_time(), validity.not_after.to_system_time());
    if now < not_before {
        return Err(format!("{which} is not valid before {}", date(not_before)));
    }
    if now > not_after {
        return Err(format!("{which} has expired on {}", date(not_after)));
    }
    let names = names(&x509).map_err(|error| format!("{which} has bad names: {error}"))?;
    Ok(Parsed { names, not_after })
}

fn names(x509: &X509) -> Result<Vec<String>, x509_cert::der::Error> {
    let Some((_, SubjectAltName(names))) = x509.tbs_certificate().get_extension::<SubjectAltName>()? else {
        return Ok(Vec::new());
    };
    let name = |name: &GeneralName| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        _ => None,
    };
    Ok(names.iter().filter_map(name).collect())
}

/// As in RFC 3339, in UTC.
pub(super) fn date(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
