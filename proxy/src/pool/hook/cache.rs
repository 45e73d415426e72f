//! How long a hook's answers are good.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::header::{HeaderMap, HeaderName};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::super::locked;
use crate::renewal::Values;

/// Bytes of answers that a hook's cache holds. Of more, the oldest go.
const MOST: usize = 16 << 20;
/// What an entry takes besides its values, in bytes, about.
const ENTRY: usize = 256;

/// Who an answer is for: a session and the credential that it came with, as a digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Credential {
    session: Uuid,
    digest: [u8; 32],
}

impl Credential {
    /// That of a session whose client came with these values under `names`.
    pub(super) fn new(session: Uuid, names: &[HeaderName], headers: &HeaderMap) -> Self {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        for name in names {
            add(name.as_str().as_bytes());
            let values = headers.get_all(name);
            add(&(values.iter().count() as u64).to_be_bytes());
            values.iter().for_each(|value| add(value.as_bytes()));
        }
        Self { session, digest: hash.finalize().into() }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.session)
    }
}

/// The answers that are still good.
#[derive(Debug)]
pub(super) struct Cache {
    good_for: Duration,
    most: usize,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    known: HashMap<Credential, Entry>,
    /// In the order in which they came. One whose entry is not of that number any more was replaced or forgotten.
    order: VecDeque<(Credential, u64)>,
    number: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    values: Arc<Values>,
    until: Instant,
    number: u64,
    bytes: usize,
}

impl Cache {
    /// One whose answers are good for so long. Zero: none is kept.
    pub(super) fn new(good_for: Duration) -> Self {
        Self { good_for, most: MOST, entries: Mutex::default() }
    }

    /// What was answered, if it is still good.
    pub(super) fn get(&self, credential: &Credential) -> Option<Arc<Values>> {
        self.get_at(credential, Instant::now())
    }

    fn get_at(&self, credential: &Credential, now: Instant) -> Option<Arc<Values>> {
        let entries = locked(&self.entries);
        entries.known.get(credential).filter(|entry| now < entry.until).map(|entry| entry.values.clone())
    }

    /// Keeps an answer.
    pub(super) fn put(&self, credential: Credential, values: Arc<Values>) {
        if !self.good_for.is_zero() {
            self.put_at(credential, values, Instant::now());
        }
    }

    fn put_at(&self, credential: Credential, values: Arc<Values>, now: Instant) {
        let mut entries = locked(&self.entries);
        entries.forget(&credential);
        entries.number += 1;
        let entry =
            Entry { bytes: values.memory() + ENTRY, values, until: now + self.good_for, number: entries.number };
        entries.bytes += entry.bytes;
        let number = entry.number;
        entries.order.push_back((credential, number));
        entries.known.insert(credential, entry);
        entries.clear_away(self.most, now);
    }

    /// Forgets an answer.
    pub(super) fn forget(&self, credential: &Credential) {
        locked(&self.entries).forget(credential);
    }
}

impl Entries {
    fn forget(&mut self, credential: &Credential) {
        if let Some(entry) = self.known.remove(credential) {
            self.bytes -= entry.bytes;
        }
    }

    /// All are good for the same time, so those that came first go first: what is over, and what is too much. What lies
    /// in the order of those that were forgotten before goes with its time, at most so many as came in it.
    fn clear_away(&mut self, most: usize, now: Instant) {
        while let Some((credential, number)) = self.order.front().copied() {
            let current = self.known.get(&credential).filter(|entry| entry.number == number);
            if current.is_some_and(|entry| now < entry.until) && self.bytes <= most {
                return;
            }
            if current.is_some() {
                self.forget(&credential);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn credential(session: u128, cookie: &'static str) -> Credential {
        let headers = HeaderMap::from_iter([(hyper::header::COOKIE, cookie.parse().unwrap())]);
        Credential::new(Uuid::from_u128(session), &[hyper::header::COOKIE], &headers)
    }

    fn values(text: &str) -> Arc<Values> {
        Arc::new(Values::default().query("token", Some(text)).unwrap())
    }

    #[test]
    fn an_answer_is_for_a_session_and_its_credential() {
        let (cache, now) = (Cache::new(SECOND), Instant::now());
        cache.put_at(credential(1, "a"), values("1"), now);
        assert_eq!(cache.get_at(&credential(1, "a"), now), Some(values("1")));
        assert_eq!(cache.get_at(&credential(2, "a"), now), None);
        assert_eq!(cache.get_at(&credential(1, "b"), now), None);
    }

    #[test]
    fn where_one_value_ends_and_the_next_begins_matters() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(hyper::header::COOKIE, value.parse().unwrap());
            }
            Credential::new(Uuid::nil(), &[hyper::header::COOKIE], &headers)
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["abc"]), of(&["ab", "c"]));
        assert_ne!(of(&[]), of(&[""]));
    }

    #[test]
    fn an_answer_is_good_for_its_time_and_until_it_is_forgotten() {
        let (cache, now) = (Cache::new(SECOND), Instant::now());
        cache.put_at(credential(1, "a"), values("1"), now);
        assert!(cache.get_at(&credential(1, "a"), now + SECOND).is_none());
        cache.put_at(credential(1, "a"), values("2"), now);
        cache.forget(&credential(1, "a"));
        assert!(cache.get_at(&credential(1, "a"), now).is_none());
        assert_eq!(locked(&cache.entries).bytes, 0);
    }

    #[test]
    fn nothing_is_kept_for_no_time() {
        let cache = Cache::new(Duration::ZERO);
        cache.put(credential(1, "a"), values("1"));
        assert!(locked(&cache.entries).known.is_empty());
    }

    #[test]
    fn the_oldest_go_first_when_there_are_too_many() {
        let now = Instant::now();
        let each = values("x").memory() + ENTRY;
        let cache = Cache { most: 2 * each, ..Cache::new(SECOND) };
        for session in 1..=3 {
            cache.put_at(credential(session, "a"), values("x"), now);
        }
        let known = [1, 2, 3].map(|session| cache.get_at(&credential(session, "a"), now).is_some());
        assert_eq!(known, [false, true, true]);
        for session in 4..1000 {
            cache.put_at(credential(session, "a"), values("x"), now + 2 * SECOND);
        }
        let entries = locked(&cache.entries);
        assert!(entries.bytes <= 2 * each && entries.known.len() == 2 && entries.order.len() == 2);
    }
}
