//! What of a handshake the choice of a backend goes by: the key that is hashed, and the cookie that clients stick by.

use std::net::IpAddr;
use std::sync::OnceLock;

use hyper::Uri;
use hyper::header::{self, HeaderMap, HeaderValue};

use super::Pool;
use super::backend::{Backend, BackendId};
use super::balance::{Wish, key_hash};
use super::handshake::KeptHandshake;
use crate::config::{Balance, CookieName, HashKey, SessionKey};

/// Bytes of a MAC that a cookie has: as many as a random UUID.
const TOKEN: usize = 16;

impl Pool {
    /// What the session of this handshake wants.
    pub(super) fn wish(&self, handshake: &KeptHandshake) -> Wish {
        if !self.has_wishes() {
            return Wish::default();
        }
        let (target, headers) = handshake.parse();
        self.wish_of(&target, &headers, handshake.address())
    }

    fn has_wishes(&self) -> bool {
        let settings = self.settings();
        settings.balancing.balance == Balance::Hash || settings.balancing.sticky_cookie.is_some()
    }

    /// What a request wants, as a handshake with the same target and header would.
    pub(super) fn wish_of(&self, target: &Uri, headers: &HeaderMap, client: Option<IpAddr>) -> Wish {
        let settings = self.settings();
        let by = &settings.balancing;
        let hashed = || key(&by.hash_key, target, headers, client);
        Wish {
            sticky: by.sticky_cookie.as_ref().and_then(|name| self.stuck_to(headers, name)),
            key: (by.balance == Balance::Hash).then(hashed).flatten().map(|key| key_hash(&key)),
        }
    }

    /// The Set-Cookie that brings the client of this handshake back to `backend`; `None` if it has that already, or the
    /// pool sets none.
    #[must_use]
    pub fn sticky_cookie(&self, handshake: &KeptHandshake, backend: &Backend) -> Option<HeaderValue> {
        self.settings().balancing.sticky_cookie.as_ref()?;
        self.sticky_cookie_for(&handshake.parse().1, backend)
    }

    /// The same for a request with this header, as backends get it.
    pub(super) fn sticky_cookie_for(&self, headers: &HeaderMap, backend: &Backend) -> Option<HeaderValue> {
        let settings = self.settings();
        let name = settings.balancing.sticky_cookie.as_ref()?;
        if self.stuck_to(headers, name) == Some(backend.id) {
            return None;
        }
        let token = hex(&self.token(backend));
        // X-Forwarded-Proto is ours, or what a trusted peer says of the client's own leg.
        let https =
            headers.get("x-forwarded-proto").is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
        let secure = if https { "; Secure" } else { "" };
        HeaderValue::try_from(format!("{name}={token}; Path=/; HttpOnly; SameSite=Lax{secure}")).ok()
    }

    /// The backend of this pool that the client's cookie names.
    fn stuck_to(&self, headers: &HeaderMap, name: &CookieName) -> Option<BackendId> {
        let shown = unhex(cookie(headers, name)?)?;
        self.backends().iter().find(|backend| is_equal(&self.token(backend), &shown)).map(|backend| backend.id)
    }

    /// What stands for a backend in a cookie: a MAC of the names of both, so that nobody can make one up, list them, or
    /// bring one from another pool. The same for a backend that was removed and added again.
    fn token(&self, backend: &Backend) -> [u8; TOKEN] {
        static OWN: OnceLock<SessionKey> = OnceLock::new();
        let settings = self.settings();
        let key = settings.balancing.sticky_key.as_ref().unwrap_or_else(|| OWN.get_or_init(SessionKey::random));
        let mac = key.mac(format!("sticky cookie\n{}\n{}", self.name, backend.name).as_bytes());
        *mac.first_chunk().expect("a MAC is longer")
    }
}

/// The bytes to hash; `None` if the handshake has no such thing.
fn key(key: &HashKey, target: &Uri, headers: &HeaderMap, client: Option<IpAddr>) -> Option<Vec<u8>> {
    match key {
        HashKey::Header(name) => headers.get(name).map(|value| value.as_bytes().to_vec()),
        HashKey::Cookie(name) => cookie(headers, name).map(<[u8]>::to_vec),
        HashKey::Query(name) => {
            let mut pairs = target.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            pairs.find(|(found, _)| found == name).map(|(_, value)| value.as_bytes().to_vec())
        }
        HashKey::Address => client.map(|address| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        }),
    }
}

/// The value of the first cookie of that name (RFC 6265 4.2.1), without quotes.
fn cookie<'a>(headers: &'a HeaderMap, name: &CookieName) -> Option<&'a [u8]> {
    let lines = headers.get_all(header::COOKIE).iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_str().as_bytes())?.strip_prefix(b"=")?;
        Some(value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value))
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

fn unhex(text: &[u8]) -> Option<[u8; TOKEN]> {
    let digits: Vec<u8> =
        text.iter().map(|digit| char::from(*digit).to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    bytes.try_into().ok().filter(|_| text.len() == 2 * TOKEN)
}

/// Takes as long whatever differs.
fn is_equal(one: &[u8; TOKEN], other: &[u8; TOKEN]) -> bool {
    one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BackendConfig, Balancing, Config, PoolConfig, PoolSettings};

    fn pool(name: &str, backends: &[&str], key: &[u8]) -> Pool {
        let balancing = Balancing {
            balance: Balance::Hash,
            hash_key: HashKey::Query("room".into()),
            sticky_cookie: CookieName::new("back"),
            sticky_key: Some(SessionKey::new(key).unwrap()),
            ..Balancing::default()
        };
        let backends: Vec<_> = backends.iter().map(|url| BackendConfig::new(url.parse().unwrap())).collect();
        let config = Config::with_backends(&[backends[0].url.clone()]).unwrap().pools.remove(0);
        let settings = PoolSettings { balancing, ..config.settings };
        Pool::new(&PoolConfig { name: name.into(), settings, backends, ..config })
    }

    fn handshake(target: &str, fields: &[(&'static str, &str)]) -> KeptHandshake {
        let fields = fields.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::try_from(*value).unwrap()));
        KeptHandshake::new(target, &fields.collect(), 8192).unwrap()
    }

    const KEY: &[u8] = b"correct horse battery staple";

    fn set(pool: &Pool, backend: usize) -> String {
        let cookie = pool.sticky_cookie(&handshake("/", &[]), &pool.backends()[backend]).unwrap();
        cookie.to_str().unwrap().to_owned()
    }

    fn value(cookie: &str) -> &str {
        cookie.split(';').next().unwrap()
    }

    #[test]
    fn a_cookie_leads_back_and_is_set_only_when_it_is_news() {
        let pool = pool("chat", &["ws://a", "ws://b"], KEY);
        let cookie = set(&pool, 1);
        assert!(cookie.starts_with("back=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
        let back = handshake("/", &[("cookie", &format!("x=1; {}", value(&cookie)))]);
        let backends = pool.backends();
        assert_eq!(pool.wish(&back).sticky, Some(backends[1].id));
        assert_eq!(pool.sticky_cookie(&back, &backends[1]), None);
        assert!(pool.sticky_cookie(&back, &backends[0]).is_some());
        let https = handshake("/", &[("x-forwarded-proto", "https")]);
        assert!(pool.sticky_cookie(&https, &backends[0]).unwrap().to_str().unwrap().ends_with("; Secure"));
    }

    #[test]
    fn a_cookie_is_good_for_its_pool_and_key_only() {
        let chat = pool("chat", &["ws://a", "ws://b"], KEY);
        let again = pool("chat", &["ws://b", "ws://c", "ws://a"], KEY);
        let cookie = set(&chat, 0);
        let back = handshake("/", &[("cookie", value(&cookie))]);
        assert_eq!(again.wish(&back).sticky, Some(again.backends()[2].id), "the same after a restart");
        for other in [
            pool("admin", &["ws://a"], KEY),
            pool("chat", &["ws://a"], b"another key of 16 bytes"),
            pool("chat", &["ws://b"], KEY),
        ] {
            assert_eq!(other.wish(&back).sticky, None);
        }
        assert_ne!(value(&set(&chat, 0)), value(&set(&chat, 1)));
        for forged in ["back=", "back=a:80", "back=00000000000000000000000000000000", &format!("{}0", value(&cookie))] {
            assert_eq!(chat.wish(&handshake("/", &[("cookie", forged)])).sticky, None, "{forged}");
        }
    }

    #[test]
    fn a_key_is_found_where_the_flag_says() {
        let request = handshake(
            "/c?a=1&room=7&room=8&x",
            &[("x-user", "me"), ("cookie", "a=1; sid=\"s;\"; sid=2"), ("cookie", "t=3")],
        );
        let (target, headers) = request.parse();
        let client = Some(IpAddr::from([192, 0, 2, 7]));
        let found = |text: &str| key(&HashKey::parse(text).unwrap(), &target, &headers, client);
        assert_eq!(found("header:X-User").unwrap(), b"me");
        assert_eq!(found("header:X-Other"), None);
        assert_eq!(found("cookie:t").unwrap(), b"3");
        assert_eq!(found("cookie:a").unwrap(), b"1");
        assert_eq!(found("cookie:si"), None);
        assert_eq!(found("query:room").unwrap(), b"7");
        assert_eq!(found("query:x").unwrap(), b"");
        assert_eq!(found("query:ro"), None);
        assert_eq!(found("address").unwrap(), [192, 0, 2, 7]);
    }

    #[test]
    fn a_wish_has_the_key_of_the_handshake() {
        let pool = pool("chat", &["ws://a"], KEY);
        assert_eq!(pool.wish(&handshake("/?room=7", &[])).key, Some(key_hash(b"7")));
        assert_eq!(pool.wish(&handshake("/", &[])).key, None);
    }
}
