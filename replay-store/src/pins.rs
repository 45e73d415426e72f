//! Pinned messages: what a session says first on every new leg.

use std::sync::Arc;

/// Bounds of the pinned messages of one session.
#[derive(Clone, Copy, Debug)]
pub struct PinLimits {
    /// Messages.
    pub messages: usize,
    /// Their bytes, headers included.
    pub bytes: usize,
}

/// A message of which the bounds leave no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinsFull;

/// A pinned message, and what its owner knows of it.
#[derive(Debug)]
pub struct Pin<T> {
    id: u64,
    key: u128,
    seq: u64,
    frames: Arc<[u8]>,
    /// A newer one has its key. It stays as long as its message is retained, ahead of the newer one.
    superseded: bool,
    /// What its owner knows of it.
    pub state: T,
}

impl<T> Pin<T> {
    /// Its number among the pins, which is never used again.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Seq of the message; 0 if it never had one.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The message as it goes on the wire, frames and all.
    #[must_use]
    pub fn frames(&self) -> &Arc<[u8]> {
        &self.frames
    }
}

/// The pinned messages of one session in the order in which a new leg is written them.
///
/// Memory: their bytes, and less than 200 bytes a message with what its owner knows of it; nothing when empty.
#[derive(Debug)]
pub struct Pins<T> {
    entries: Vec<Pin<T>>,
    limits: PinLimits,
    bytes: usize,
    next_id: u64,
}

impl<T> Pins<T> {
    /// No pins.
    #[must_use]
    pub fn new(limits: PinLimits) -> Self {
        Self { entries: Vec::new(), limits, bytes: 0, next_id: 1 }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn allocated(&self) -> usize {
        self.bytes + self.entries.capacity() * size_of::<Pin<T>>()
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &Pin<T>> {
        self.entries.iter()
    }

    /// In order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Pin<T>> {
        self.entries.iter_mut()
    }

    /// The pin of this number, if it is still there.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut Pin<T>> {
        self.entries.iter_mut().find(|pin| pin.id == id)
    }

    /// Pins a message. One with the same key makes way: the new one takes its place, or goes `to_end`. It stays ahead of
    /// the new one while `retained` says of its seq that it may still have to be handled.
    ///
    /// # Errors
    /// If the bounds leave no room. Nothing has changed then.
    pub fn pin(
        &mut self,
        key: u128,
        to_end: bool,
        (seq, frames): (u64, Vec<u8>),
        state: T,
        retained: impl Fn(u64) -> bool,
    ) -> Result<(), PinsFull> {
        let older = self.entries.iter().position(|pin| pin.key == key && !pin.superseded);
        let stays = older.is_some_and(|older| retained(self.entries[older].seq));
        let gone = older.filter(|_| !stays).map_or(0, |older| self.entries[older].frames.len());
        let count = self.entries.len() + 1 - usize::from(older.is_some() && !stays);
        let bytes = self.bytes - gone + frames.len();
        if count > self.limits.messages || bytes > self.limits.bytes {
            return Err(PinsFull);
        }
        let pin = Pin { id: self.next_id, key, seq, frames: frames.into(), superseded: false, state };
        self.next_id += 1;
        self.bytes = bytes;
        match older {
            Some(older) if stays => {
                self.entries[older].superseded = true;
                self.entries.insert(if to_end { self.entries.len() } else { older + 1 }, pin);
            }
            Some(older) if to_end => {
                self.entries.remove(older);
                self.entries.push(pin);
            }
            Some(older) => self.entries[older] = pin,
            None => self.entries.push(pin),
        }
        Ok(())
    }

    /// The pin of this key ends, with those that it superseded. Returns the seqs of their messages.
    pub fn unpin(&mut self, key: u128) -> Vec<u64> {
        self.remove_where(|pin| pin.key == key)
    }

    /// The pin of the message with this seq ends.
    pub fn remove_seq(&mut self, seq: u64) {
        self.remove_where(|pin| pin.seq == seq);
    }

    /// Those that are superseded go whose messages are not retained any more.
    pub fn settle(&mut self, retained: impl Fn(u64) -> bool) {
        if self.entries.iter().any(|pin| pin.superseded) {
            self.remove_where(|pin| pin.superseded && !retained(pin.seq));
        }
    }

    fn remove_where(&mut self, goes: impl Fn(&Pin<T>) -> bool) -> Vec<u64> {
        let mut seqs = Vec::new();
        self.entries.retain(|pin| {
            let goes = goes(pin);
            if goes {
                self.bytes -= pin.frames.len();
                seqs.push(pin.seq);
            }
            !goes
        });
        if self.entries.is_empty() {
            self.entries = Vec::new();
        }
        seqs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins(messages: usize, bytes: usize) -> Pins<()> {
        Pins::new(PinLimits { messages, bytes })
    }

    fn add(pins: &mut Pins<()>, key: u128, to_end: bool, text: &str, retained: bool) -> Result<(), PinsFull> {
        pins.pin(key, to_end, (u64::from(text.as_bytes()[0]), text.as_bytes().to_vec()), (), |_| retained)
    }

    fn texts(pins: &Pins<()>) -> Vec<&str> {
        pins.iter().map(|pin| std::str::from_utf8(pin.frames()).unwrap()).collect()
    }

    #[test]
    fn a_newer_pin_takes_the_olders_place_or_goes_to_the_end() {
        let mut pins = pins(3, 100);
        for (key, text) in [(1, "a"), (2, "b"), (3, "c")] {
            add(&mut pins, key, false, text, false).unwrap();
        }
        add(&mut pins, 1, false, "A", false).unwrap();
        assert_eq!(texts(&pins), ["A", "b", "c"]);
        add(&mut pins, 2, true, "B", false).unwrap();
        assert_eq!(texts(&pins), ["A", "c", "B"]);
    }

    #[test]
    fn an_older_pin_stays_ahead_while_its_message_may_still_have_to_be_handled() {
        let mut pins = pins(4, 100);
        add(&mut pins, 1, false, "a", true).unwrap();
        add(&mut pins, 2, false, "b", true).unwrap();
        add(&mut pins, 1, false, "A", true).unwrap();
        assert_eq!(texts(&pins), ["a", "A", "b"]);
        add(&mut pins, 1, true, "x", true).unwrap();
        assert_eq!(texts(&pins), ["a", "A", "b", "x"]);
        pins.settle(|seq| seq != u64::from(b'a'));
        assert_eq!(texts(&pins), ["A", "b", "x"]);
        assert_eq!(pins.unpin(1), [u64::from(b'A'), u64::from(b'x')]);
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut pins = pins(2, 10);
        add(&mut pins, 1, false, "aaaa", false).unwrap();
        add(&mut pins, 2, false, "bbbb", false).unwrap();
        assert_eq!(add(&mut pins, 3, false, "c", false), Err(PinsFull), "too many");
        assert_eq!(add(&mut pins, 2, false, "ccccccc", false), Err(PinsFull), "too large");
        assert_eq!(texts(&pins), ["aaaa", "bbbb"]);
        add(&mut pins, 2, false, "cccccc", false).unwrap();
        pins.unpin(1);
        pins.unpin(2);
        assert_eq!(pins.allocated(), 0);
    }
}
