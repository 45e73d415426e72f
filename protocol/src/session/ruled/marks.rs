//! What is known of retained messages of the client that rules see.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use tideover_replay_store::Ring;

use crate::rules::Key;

/// Where an id stands in a message that a backend chose.
#[derive(Clone, Debug)]
pub(super) struct Id {
    /// In the payload as it is in the ring.
    pub(super) at: Range<usize>,
    /// The one that the client knows.
    pub(super) clients: Vec<u8>,
}

/// What is known of one message.
#[derive(Debug, Default)]
pub(super) struct Mark {
    pub(super) seq: u64,
    /// What acknowledges it.
    pub(super) key: Option<Key>,
    /// The pin that ends when it is acknowledged.
    pub(super) unpin: Option<Key>,
    pub(super) max_age: Option<Duration>,
    /// The leg that last said the answer which the client is to get once.
    pub(super) told: Option<u32>,
    pub(super) id: Option<Box<Id>>,
}

impl Mark {
    fn allocated(&self) -> usize {
        self.id.as_deref().map_or(0, |id| size_of::<Id>() + id.clients.len())
    }

    fn says_anything(&self) -> bool {
        self.key.is_some() || self.unpin.is_some() || self.max_age.is_some() || self.id.is_some()
    }
}

/// The marks of the retained messages, by rising seq. A mark may outlive its message for a while: there are never more
/// than twice as many as messages, and 32.
#[derive(Debug, Default)]
pub(super) struct Marks {
    list: VecDeque<Mark>,
    /// How many have a pin that is to end.
    unpins: usize,
    /// How many have an age.
    aged: usize,
    /// Bytes of ids.
    ids: usize,
}

impl Marks {
    pub(super) fn add(&mut self, mark: Mark) {
        if mark.says_anything() {
            self.unpins += usize::from(mark.unpin.is_some());
            self.aged += usize::from(mark.max_age.is_some());
            self.ids += mark.allocated();
            self.list.push_back(mark);
        }
    }

    pub(super) fn allocated(&self) -> usize {
        self.list.capacity() * size_of::<Mark>() + self.ids
    }

    /// The oldest retained message with this key.
    pub(super) fn oldest(&mut self, key: Key, ring: &Ring) -> Option<&mut Mark> {
        self.list.iter_mut().find(|mark| mark.key == Some(key) && ring.retains(mark.seq))
    }

    /// The oldest message with this key that the current leg was given.
    pub(super) fn given(&self, key: Key, ring: &Ring) -> Option<u64> {
        self.list.iter().find(|mark| mark.key == Some(key) && ring.is_given(mark.seq)).map(|mark| mark.seq)
    }

    /// The oldest retained message with this key has none any more. Returns its seq.
    pub(super) fn give_up(&mut self, key: Key, ring: &Ring) -> Option<u64> {
        let mark = self.oldest(key, ring)?;
        mark.key = None;
        Some(mark.seq)
    }

    /// The messages in which an id stands.
    pub(super) fn with_ids(&mut self) -> impl Iterator<Item = (u64, &mut Id)> {
        self.list.iter_mut().filter_map(|mark| Some((mark.seq, mark.id.as_deref_mut()?)))
    }

    /// The messages that are to be no older than so much when they are replayed.
    pub(super) fn with_ages(&self) -> impl Iterator<Item = (u64, Duration)> {
        let aged = self.list.iter().filter(|_| self.aged > 0);
        aged.filter_map(|mark| Some((mark.seq, mark.max_age?)))
    }

    /// The pins that end because their messages are acknowledged by now. Marks of forgotten messages go.
    pub(super) fn settle(&mut self, ring: &Ring) -> Vec<Key> {
        let mut ended = Vec::new();
        if self.unpins > 0 {
            for mark in self.list.iter_mut().filter(|mark| mark.unpin.is_some() && ring.is_acknowledged(mark.seq)) {
                self.unpins -= 1;
                ended.extend(mark.unpin.take());
            }
        }
        let first = ring.first_retained().unwrap_or(ring.last_seq() + 1);
        while let Some(mark) = self.list.pop_front_if(|mark| mark.seq < first) {
            self.aged -= usize::from(mark.max_age.is_some());
            self.ids -= mark.allocated();
        }
        if self.list.len() > 2 * ring.retained() + 32 {
            self.list.retain(|mark| ring.retains(mark.seq));
            self.aged = self.list.iter().filter(|mark| mark.max_age.is_some()).count();
            self.ids = self.list.iter().map(Mark::allocated).sum();
        }
        if self.list.is_empty() {
            self.list = VecDeque::new();
        }
        ended
    }
}
