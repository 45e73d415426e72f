//! What the session protocol says in a handshake (`docs/session-protocol.md`).

use std::time::{SystemTime, UNIX_EPOCH};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use crate::config::SessionKey;

const SESSION: HeaderName = HeaderName::from_static("tideover-session");
const EPOCH: HeaderName = HeaderName::from_static("tideover-epoch");
const NEXT_SEQ: HeaderName = HeaderName::from_static("tideover-next-seq");
const PINNED: HeaderName = HeaderName::from_static("tideover-pinned");
const DELIVERED: HeaderName = HeaderName::from_static("tideover-delivered");
const SIGNATURE: HeaderName = HeaderName::from_static("tideover-signature");

/// What each backend handshake of a session says about it; frozen when the dial begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionHeaders {
    /// The session, for its whole life.
    pub session: Uuid,
    /// The number of the leg that this handshake is for, from 1.
    pub epoch: u32,
    /// The seq of the first message on this leg that is not pinned. `None`: not known yet, and left out, as the session
    /// goes on with another leg meanwhile.
    pub next_seq: Option<u64>,
    /// How many pinned messages precede it on this leg. They are not counted in the seqs. `None` like `next_seq`.
    pub pinned: Option<u32>,
    /// Messages of the session's backends that the client was given already. `None` like `next_seq`.
    pub delivered: Option<u64>,
}

impl SessionHeaders {
    /// Those of the first leg.
    #[must_use]
    pub fn first(session: Uuid) -> Self {
        Self { session, epoch: 1, next_seq: Some(1), pinned: Some(0), delivered: Some(0) }
    }

    /// Adds the fields to a request for `target` (path and query); with a key, signed as of now.
    pub(super) fn add_to(&self, headers: &mut HeaderMap, target: &str, key: Option<&SessionKey>) {
        let fields = [
            (SESSION, Some(self.session.to_string())),
            (EPOCH, Some(self.epoch.to_string())),
            (NEXT_SEQ, self.next_seq.map(|seq| seq.to_string())),
            (PINNED, self.pinned.map(|pinned| pinned.to_string())),
            (DELIVERED, self.delivered.map(|delivered| delivered.to_string())),
        ];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let signature = key.map(|key| (SIGNATURE, self.signature(target, key, unix_seconds())));
        for (name, value) in fields.chain(signature) {
            headers.insert(name, HeaderValue::try_from(value).expect("digits and letters are a header value"));
        }
    }

    /// `t=TIME, v1=HMAC` over what is said, when, and to which request.
    fn signature(&self, target: &str, key: &SessionKey, time: u64) -> String {
        let Self { session, epoch, .. } = self;
        let [next_seq, pinned, delivered] = [self.next_seq, self.pinned.map(u64::from), self.delivered]
            .map(|number| number.map_or(String::new(), |number| number.to_string()));
        let text = format!("v1\n{session}\n{epoch}\n{next_seq}\n{pinned}\n{delivered}\n{time}\nGET {target}");
        format!("t={time}, v1={}", key.sign(text.as_bytes()))
    }
}

/// 0 for a clock before 1970: no backend takes a signature that old.
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of `docs/session-protocol.md`, whose example checks them too.
    #[test]
    fn the_signatures_are_those_of_the_documents_test_vectors() {
        let attached = SessionHeaders {
            session: "01920c5e-7d3a-7b64-9c1f-3f2a8e5d4c01".parse().unwrap(),
            epoch: 2,
            next_seq: Some(18),
            pinned: Some(0),
            delivered: Some(17),
        };
        let key = SessionKey::new(b"correct horse battery staple\n").unwrap();
        let early = SessionHeaders { epoch: 3, next_seq: None, pinned: None, delivered: None, ..attached };
        let document = include_str!("../../../docs/session-protocol.md");
        for headers in [attached, early] {
            let signature = headers.signature("/room?user=a%20b", &key, 1_760_000_000);
            assert!(document.contains(&signature), "{signature}");
        }
    }

    #[test]
    fn what_is_not_known_yet_is_left_out_and_signed_as_nothing() {
        let headers =
            SessionHeaders { next_seq: None, pinned: None, delivered: None, ..SessionHeaders::first(Uuid::nil()) };
        let mut fields = HeaderMap::new();
        headers.add_to(&mut fields, "/", None);
        assert_eq!(fields.len(), 2);
        let key = SessionKey::new(b"correct horse battery staple").unwrap();
        let signed = key.sign(format!("v1\n{}\n1\n\n\n\n7\nGET /", Uuid::nil()).as_bytes());
        assert_eq!(headers.signature("/", &key, 7), format!("t=7, v1={signed}"));
    }

    #[test]
    fn without_a_key_nothing_is_signed() {
        let mut headers = HeaderMap::new();
        SessionHeaders::first(Uuid::nil()).add_to(&mut headers, "/", None);
        let fields: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(
            fields,
            [
                ("tideover-session", "00000000-0000-0000-0000-000000000000"),
                ("tideover-epoch", "1"),
                ("tideover-next-seq", "1"),
                ("tideover-pinned", "0"),
                ("tideover-delivered", "0"),
            ]
        );
    }
}
