//! Ids that backends choose: the client knows one, and each leg has its own for the same thing.

use std::ops::Range;

use tideover_replay_store::Ring;

use crate::rules::Key;
use crate::session::keys::Keys;

use super::Ruled;
use super::look::{frame, read_frames};
use super::marks::Id;

/// The ids that the answers to one pinned message brought.
#[derive(Debug, Default)]
pub(super) struct Translation {
    /// What the client was told.
    clients: Option<Vec<u8>>,
    /// What this leg's backend calls it.
    legs: Option<Vec<u8>>,
}

impl Translation {
    pub(super) fn allocated(&self) -> usize {
        [&self.clients, &self.legs].into_iter().flatten().map(Vec::len).sum()
    }

    pub(super) fn begin_leg(&mut self) {
        self.legs = None;
    }
}

/// Another id of the same kind: JSON's strings and numbers stay what they are.
fn another(id: &mut Vec<u8>) {
    match id.last() {
        Some(b'"') => id.insert(id.len() - 1, b'0'),
        _ => id.insert(usize::from(id.first() == Some(&b'-')), b'1'),
    }
}

/// `payload` with other bytes at `at`.
fn spliced(payload: &[u8], at: Range<usize>, id: &[u8]) -> Vec<u8> {
    [&payload[..at.start], id, &payload[at.end..]].concat()
}

impl Ruled {
    /// An answer to this pinned message brought an id; `told` says that the client gets to know it. If it knows something
    /// else by that, as the earlier backend chose the same, it gets to know another.
    pub(super) fn learn(&mut self, pin: u64, id: &[u8], told: bool) {
        let others = || self.pins.iter().filter(|other| other.id() != pin).map(|other| &other.state.ids);
        let knows = |name: &[u8]| others().any(|ids| ids.clients.as_deref() == Some(name));
        let mut clients = id.to_vec();
        // One that the same backend chose twice is its own affair.
        if told && knows(id) && !others().any(|ids| ids.legs.as_deref() == Some(id)) {
            while knows(&clients) {
                another(&mut clients);
            }
        }
        let Some(pin) = self.pins.get_mut(pin).filter(|pin| pin.state.learns) else { return };
        pin.state.ids.legs = Some(id.to_vec());
        if told {
            pin.state.ids.clients = Some(clients);
        }
    }

    /// What the client is to read in place of the id at `at`; `None` if that is what it knows.
    pub(super) fn for_client(&self, payload: &[u8], at: Range<usize>) -> Option<Vec<u8>> {
        let said = payload.get(at.clone())?;
        let pin = self.pins.iter().find(|pin| pin.state.ids.legs.as_deref() == Some(said))?;
        let clients = pin.state.ids.clients.as_deref()?;
        (clients != said).then(|| spliced(payload, at, clients))
    }

    /// The id at `at`, if a backend chose it.
    pub(super) fn find_id(&self, payload: &[u8], at: Range<usize>) -> Option<Id> {
        let said = payload.get(at.clone())?;
        let known = self.pins.iter().any(|pin| pin.state.ids.clients.as_deref() == Some(said));
        known.then(|| Id { at, clients: said.to_vec() })
    }

    /// The key of the pin whose answer brought what the client knows by this id.
    pub(super) fn key_of_id(&self, clients: &[u8]) -> Option<Key> {
        let pin = self.pins.iter().find(|pin| pin.state.ids.clients.as_deref() == Some(clients));
        pin.map(|pin| Key(pin.key()))
    }

    fn legs_id(&self, clients: &[u8]) -> Option<&[u8]> {
        let pin = self.pins.iter().find(|pin| pin.state.ids.clients.as_deref() == Some(clients))?;
        pin.state.ids.legs.as_deref()
    }

    /// What the backend is to read in place of the id; `None` if that stands there.
    pub(super) fn for_leg(&self, payload: &[u8], id: &mut Id) -> Option<Vec<u8>> {
        let legs = self.legs_id(&id.clients)?;
        if payload.get(id.at.clone())? == legs {
            return None;
        }
        let payload = spliced(payload, id.at.clone(), legs);
        id.at.end = id.at.start + legs.len();
        Some(payload)
    }

    /// The retained messages that say something else on this leg, by rising seq.
    pub(super) fn translate_retained(&mut self, ring: &Ring, keys: &mut Keys) -> Vec<(u64, Vec<u8>)> {
        let mut changes = Vec::new();
        let mut ids: Vec<_> = self.marks.with_ids().map(|(seq, id)| (seq, id.clone())).collect();
        for (seq, id) in &mut ids {
            let Some(place) = ring.place_of(*seq) else { continue };
            let read = read_frames(
                place,
                self.inspect_bytes.saturating_mul(2),
                |at, out| ring.peek(at, out),
                |from, to| ring.slices(from, to),
            );
            let Ok(content) = read else { continue };
            if let Some(payload) = self.for_leg(&content.payload, id) {
                changes.push((*seq, frame(content.kind, &payload, Some(keys.mask()))));
            }
        }
        for ((_, mark), (_, id)) in self.marks.with_ids().zip(ids) {
            *mark = id;
        }
        changes
    }
}
