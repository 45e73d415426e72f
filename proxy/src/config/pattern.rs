//! What a handshake must look like for a route to take it.

use std::fmt;
use std::str::FromStr;

use hyper::header::{HeaderMap, HeaderName};

/// A host name, or all names below one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    /// In lower case, without `*.` and a final dot.
    name: Box<str>,
    /// Whether it stands for the names below it, not for itself.
    below: bool,
}

impl HostPattern {
    /// Whether it stands for `host`: a name or an address, without its port, in any case.
    #[must_use]
    pub fn takes(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        if !self.below {
            return host.eq_ignore_ascii_case(&self.name);
        }
        let Some(labels) = host.len().checked_sub(self.name.len()).filter(|labels| *labels > 1) else { return false };
        host.is_char_boundary(labels)
            && host[..labels].ends_with('.')
            && host[labels..].eq_ignore_ascii_case(&self.name)
    }
}

impl FromStr for HostPattern {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let is_name = name.split('.').all(|label| !label.is_empty() && label.bytes().all(is_name_byte));
        let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_v6 = !below && address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
        if is_name || is_v6 { Ok(Self { name: name.into(), below }) } else { Err(()) }
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_".contains(&byte)
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.below { "*." } else { "" }, self.name)
    }
}

/// The beginning of a path, whole segments of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPrefix(Box<str>);

impl PathPrefix {
    /// Whether `path` is that path or below it, byte for byte as the client wrote it. A path with dot segments (RFC 3986
    /// 3.3), which a backend may take for another one, is below no prefix but `/`.
    #[must_use]
    pub fn takes(&self, path: &str) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let rest = path.strip_prefix(&*self.0);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) && !path.split('/').any(is_dot_segment)
    }
}

fn is_dot_segment(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}

impl FromStr for PathPrefix {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
        if !text.starts_with('/') || !visible || text.split('/').any(is_dot_segment) {
            return Err(());
        }
        Ok(Self(text.strip_suffix('/').unwrap_or(text).into()))
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "/" } else { &self.0 })
    }
}

/// A header field that must be there, maybe with a certain value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderPattern {
    name: HeaderName,
    value: Option<Box<str>>,
}

impl HeaderPattern {
    /// Whether a line of that name is there, of exactly that value if one is wanted.
    #[must_use]
    pub fn takes(&self, headers: &HeaderMap) -> bool {
        match &self.value {
            None => headers.contains_key(&self.name),
            Some(value) => headers.get_all(&self.name).iter().any(|line| line.as_bytes() == value.as_bytes()),
        }
    }
}

impl FromStr for HeaderPattern {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value.trim())));
        let name = HeaderName::try_from(name.trim()).map_err(drop)?;
        Ok(Self { name, value: value.map(Box::from) })
    }
}

impl fmt::Display for HeaderPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> HostPattern {
        text.parse().unwrap()
    }

    fn path(text: &str) -> PathPrefix {
        text.parse().unwrap()
    }

    #[test]
    fn a_host_is_exact_or_all_names_below() {
        for taken in ["chat.example.com", "CHAT.Example.com", "chat.example.com."] {
            assert!(host("Chat.example.com.").takes(taken), "{taken}");
        }
        for other in ["example.com", "a.chat.example.com", "chat.example.comm", ""] {
            assert!(!host("chat.example.com").takes(other), "{other}");
        }
        for taken in ["a.example.com", "b.A.example.COM"] {
            assert!(host("*.example.com").takes(taken), "{taken}");
        }
        for other in ["example.com", ".example.com", "badexample.com", "a.example.com.evil", "é.xample.com"] {
            assert!(!host("*.example.com").takes(other), "{other}");
        }
        assert!(host("[::1]").takes("[::1]") && host("127.0.0.1").takes("127.0.0.1"));
        for bad in ["", "*", "*.", "a..b", "*.*.a", "a b", "chat:80", "http://a", "*.[::1]"] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_is_a_prefix_of_whole_segments() {
        for taken in ["/chat", "/chat/", "/chat/1"] {
            assert!(path("/chat").takes(taken) && path("/chat/").takes(taken) && path("/").takes(taken), "{taken}");
        }
        for other in ["/", "/chatter", "/Chat", "/a/chat"] {
            assert!(!path("/chat").takes(other), "{other}");
        }
        for bad in ["", "chat", "/chat?x", "/a b", "/a/../b", "/%2E%2e", "/é"] {
            assert!(bad.parse::<PathPrefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn dot_segments_do_not_lead_around_a_prefix() {
        for around in ["/chat/../admin", "/chat/%2e%2E/admin", "/chat/./x", "/chat/.%2e"] {
            assert!(!path("/chat").takes(around), "{around}");
        }
        assert!(path("/chat").takes("/chat/..a/.b"));
    }

    #[test]
    fn a_header_is_there_or_has_a_value() {
        let mut headers = HeaderMap::new();
        headers.append("x-tenant", "a".parse().unwrap());
        headers.append("x-tenant", "b=c".parse().unwrap());
        let takes = |text: &str| text.parse::<HeaderPattern>().unwrap().takes(&headers);
        assert!(takes("X-Tenant") && takes("x-tenant=a") && takes("X-Tenant = b=c"));
        assert!(!takes("X-Tenant=A") && !takes("x-tenant=") && !takes("x-other"));
        for bad in ["", "=a", "a b=c"] {
            assert!(bad.parse::<HeaderPattern>().is_err(), "{bad}");
        }
    }
}
