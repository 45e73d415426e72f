//! Origins of web pages.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

/// Which pages are meant by an item of `--assign-origin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `*`: those of every origin.
    Any,
    /// Those of this one, as browsers write it (RFC 6454 6.2): `https://host` or `https://host:port`, in lower case and
    /// without the scheme's own port.
    One(String),
    /// Those of every host below a domain, as in `https://*.example.com`.
    Below {
        /// `https://`.
        scheme: String,
        /// `.example.com`, with the port if it is not the scheme's own.
        domain: String,
    },
}

impl Origin {
    /// Whether an `Origin` field of this value is meant.
    #[must_use]
    pub fn is(&self, origin: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => one.as_bytes() == origin,
            Self::Below { scheme, domain } => {
                let host = origin.strip_prefix(scheme.as_bytes()).and_then(|rest| rest.strip_suffix(domain.as_bytes()));
                host.is_some_and(|host| {
                    !host.is_empty() && host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
                })
            }
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::One(one) => f.write_str(one),
            Self::Below { scheme, domain } => write!(f, "{scheme}*{domain}"),
        }
    }
}

impl FromStr for Origin {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some((scheme, domain)) = text.split_once("://*.") {
            let Self::One(one) = format!("{scheme}://{domain}").parse()? else { return Err(()) };
            let (scheme, domain) = one.split_once("://").ok_or(())?;
            return Ok(Self::Below { scheme: format!("{scheme}://"), domain: format!(".{domain}") });
        }
        let uri: Uri = text.parse().map_err(|_| ())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(()) };
        let own = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => return Err(()),
        };
        let written = format!("{scheme}://{authority}").to_ascii_lowercase();
        // A path, even a slash, is not part of an origin; a port that is none does not match anything.
        if text.to_ascii_lowercase() != written || authority.as_str().contains(['@', '*']) || text.ends_with(':') {
            return Err(());
        }
        Ok(Self::One(written.strip_suffix(own).unwrap_or(&written).to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        let cases = [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.com:443", "https://app.example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:80", "http://[::1]"),
            ("*", "*"),
            ("https://*.Example.com:443", "https://*.example.com"),
            ("http://*.localhost:3000", "http://*.localhost:3000"),
        ];
        for (text, written) in cases {
            assert_eq!(text.parse::<Origin>().map(|origin| origin.to_string()), Ok(written.to_owned()), "{text}");
        }
        for text in [
            "",
            "null",
            "app.example.com",
            "https://a/",
            "https://a/x",
            "ws://a",
            "https://me@a",
            "https://a:",
            "https://*",
            "https://*.",
            "https://a.*.b",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(()), "{text}");
        }
    }

    #[test]
    fn a_wildcard_is_for_all_hosts_below_and_nothing_that_only_looks_like_one() {
        let origin: Origin = "https://*.example.com".parse().unwrap();
        for good in ["https://app.example.com", "https://a.b.example.com"] {
            assert!(origin.is(good.as_bytes()), "{good}");
        }
        for bad in [
            "https://example.com",
            "http://app.example.com",
            "https://evil-example.com",
            "https://app.example.com:8443",
            "https://evil.com/.example.com",
            "https://evil.com#.example.com",
            "https://me@evil.com:1.example.com",
            "https://app.example.com.evil.com",
            "null",
        ] {
            assert!(!origin.is(bad.as_bytes()), "{bad}");
        }
    }
}
