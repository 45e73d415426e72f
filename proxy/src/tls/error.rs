//! What a failed handshake means, in words for the operator.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use super::certificate::date;

/// Why a TLS handshake failed. The text has nothing of what was sent inside.
#[must_use]
pub fn explain(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => explain_tls(error),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "the connection ended within the TLS handshake".into(),
        None => error.to_string(),
    }
}

fn explain_tls(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(why) => explain_certificate(why),
        Error::InvalidMessage(_) => "it does not speak TLS, or not a version from 1.2 on".into(),
        Error::NoCertificatesPresented => "it shows no certificate, and must".into(),
        Error::AlertReceived(AlertDescription::CertificateRequired) => "it wants a certificate of ours".into(),
        Error::AlertReceived(alert) => format!("it refused the handshake: {alert:?}"),
        other => other.to_string(),
    }
}

/// The name in what rustls writes, such as `DnsName("a.example")`.
fn bare(name: &str) -> &str {
    let inner = name.strip_suffix(')').and_then(|name| name.split_once('(')).map_or(name, |(_, inner)| inner);
    inner.trim_matches('"')
}

fn explain_certificate(why: &CertificateError) -> String {
    use CertificateError as Why;
    match why {
        Why::ExpiredContext { not_after, .. } => {
            let since = std::time::UNIX_EPOCH + std::time::Duration::from_secs(not_after.as_secs());
            format!("its certificate has expired on {}", date(since))
        }
        Why::Expired => "its certificate has expired".into(),
        Why::NotValidYetContext { not_before, .. } => {
            let from = std::time::UNIX_EPOCH + std::time::Duration::from_secs(not_before.as_secs());
            format!("its certificate is not valid before {}", date(from))
        }
        Why::NotValidYet => "its certificate is not valid yet".into(),
        Why::NotValidForNameContext { expected, presented } => {
            let presented: Vec<_> = presented.iter().map(|name| bare(name)).collect();
            let presented = if presented.is_empty() { "nobody".to_owned() } else { presented.join(", ") };
            format!("its certificate is for {presented}, not for {}", expected.to_str())
        }
        Why::NotValidForName => "its certificate is for another name".into(),
        Why::UnknownIssuer => "its certificate is of an authority that is not trusted here".into(),
        other => format!("its certificate is not good: {other}"),
    }
}
