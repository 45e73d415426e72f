//! The verdict on a run with numbered messages, from the backends' logs and the clients' transcripts alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    backend::{Backend, Event, What},
    client::{End, Transcript},
};

/// One connection to a backend, as the backend logged it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// The backend's name of the connection.
    pub connection: String,
    /// The backend's process.
    pub pid: u32,
    /// The client whose messages it carried; `None` if it carried none.
    pub client: Option<u32>,
    /// When it opened.
    pub opened: u64,
    /// When the backend logged a Close or the stream's end; `None` if it did not get to it.
    pub ended: Option<u64>,
    /// Number and time of each message that was handed to the handler, in that order.
    pub reads: Vec<(u32, u64)>,
}

/// A message that was read again on a later leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// Whose it is.
    pub client: u32,
    /// Its number.
    pub number: u32,
    /// The process that had read it before.
    pub earlier_pid: u32,
    /// When the session "sent" it on the earlier leg: when the client sent it, or when that leg opened if that was
    /// later (then it was already a replay there).
    pub sent_at: u64,
    /// When it was read again.
    pub read_again_at: u64,
}

/// All that was logged and seen in one run.
#[derive(Debug)]
pub struct Judge {
    /// Every leg, by the time it opened.
    pub legs: Vec<Leg>,
    /// Every client.
    pub transcripts: Vec<Transcript>,
}

impl Judge {
    /// Reads the backends' logs.
    ///
    /// # Panics
    /// When a leg carried messages of two clients.
    pub fn new<'a>(backends: impl IntoIterator<Item = &'a Backend>, transcripts: Vec<Transcript>) -> Self {
        let events: Vec<Event> = backends.into_iter().flat_map(Backend::events).collect();
        Self { legs: legs(&events), transcripts }
    }

    /// The legs of one client, by the time they opened.
    pub fn legs_of(&self, client: u32) -> impl Iterator<Item = &Leg> {
        self.legs.iter().filter(move |leg| leg.client == Some(client))
    }

    /// Messages that a client sent and no backend has read, as `c<client>-<n>`.
    pub fn lost(&self) -> Vec<String> {
        self.missing(|transcript| {
            self.legs_of(transcript.client).flat_map(|leg| leg.reads.iter().map(|(number, _)| *number)).collect()
        })
    }

    /// Messages that a client sent and got no echo of.
    pub fn lost_echoes(&self) -> Vec<String> {
        self.missing(|transcript| transcript.got.iter().filter_map(|got| Some(message_id(&got.text)?.1)).collect())
    }

    fn missing(&self, found: impl Fn(&Transcript) -> BTreeSet<u32>) -> Vec<String> {
        let missing_of = |transcript: &Transcript| {
            let found = found(transcript);
            let sent =
                transcript.sent.iter().filter(|sent| message_id(&sent.text).is_some_and(|(_, n)| !found.contains(&n)));
            sent.map(|sent| sent.text.clone()).collect::<Vec<_>>()
        };
        self.transcripts.iter().flat_map(missing_of).collect()
    }

    /// Breaches of Law 2, in words: on a leg the numbers rise by one each, and a leg begins no later than behind the
    /// last message that an earlier one has read. So first readings over all legs are in order and without a gap.
    pub fn disorder(&self) -> Vec<String> {
        let mut breaches = Vec::new();
        for transcript in &self.transcripts {
            let mut newest = 0;
            for leg in self.legs_of(transcript.client) {
                let mut previous = None;
                for &(number, _) in &leg.reads {
                    let in_order = previous.map_or(number <= newest + 1, |previous| number == previous + 1);
                    if !in_order {
                        let (client, leg) = (transcript.client, &leg.connection);
                        breaches.push(format!("c{client}-{number} on {leg} came after {previous:?}, newest {newest}"));
                    }
                    previous = Some(number);
                    newest = newest.max(number);
                }
            }
        }
        breaches
    }

    /// Echoes that a client got for the first time after that of a later message, as `c<client>-<n>`.
    pub fn echo_disorder(&self) -> Vec<String> {
        let late_in = |transcript: &Transcript| {
            let (mut seen, mut newest) = (BTreeSet::new(), 0);
            let numbered = transcript.got.iter().filter_map(|got| Some((message_id(&got.text)?.1, &got.text)));
            let late = numbered.filter(move |&(number, _)| {
                let late = seen.insert(number) && number < newest;
                newest = newest.max(number);
                late
            });
            late.map(|(_, text)| text.clone()).collect::<Vec<_>>()
        };
        self.transcripts.iter().flat_map(late_in).collect()
    }

    /// Every second and further reading of a message.
    pub fn repeats(&self) -> Vec<Repeat> {
        self.transcripts.iter().flat_map(|transcript| self.repeats_of(transcript)).collect()
    }

    fn repeats_of(&self, transcript: &Transcript) -> Vec<Repeat> {
        let client = transcript.client;
        let sent: BTreeMap<u32, u64> =
            transcript.sent.iter().filter_map(|sent| Some((message_id(&sent.text)?.1, sent.at))).collect();
        let mut last_leg: BTreeMap<u32, &Leg> = BTreeMap::new();
        let mut repeats = Vec::new();
        for leg in self.legs_of(client) {
            for &(number, read_again_at) in &leg.reads {
                let Some(earlier) = last_leg.insert(number, leg) else { continue };
                let sent_at = sent.get(&number).copied().unwrap_or(0).max(earlier.opened);
                repeats.push(Repeat { client, number, earlier_pid: earlier.pid, sent_at, read_again_at });
            }
        }
        repeats
    }

    /// Clients whose connection ended other than by their own Close.
    pub fn closed_clients(&self) -> Vec<(u32, &End)> {
        let ends = self.transcripts.iter().map(|transcript| (transcript.client, &transcript.end));
        ends.filter(|(_, end)| **end != End::Client).collect()
    }

    /// How long echoes took just before `time`, in nanoseconds: the longest round trip of any client among those that
    /// ended, or were still open, in the half second before. One that was still open counts with its age at `time`.
    ///
    /// All clients together see a stall of the proxy or of the machine that a single one may miss between two messages.
    pub fn round_trip_before(&self, time: u64) -> u64 {
        self.transcripts.iter().map(|transcript| transcript.round_trip_before(time)).max().unwrap_or(0)
    }

    /// Laws 1 and 2, the echoes and the clients' ends, for a run of echoes in which nothing may show but repeats.
    ///
    /// # Panics
    /// When a message or an echo is lost, order is broken, or a client did not end by its own Close.
    #[track_caller]
    pub fn assert_nothing_lost_and_nobody_closed(&self) {
        let sent: usize = self.transcripts.iter().map(|transcript| transcript.sent.len()).sum();
        assert!(sent > 0, "no client sent anything: {:?}", self.closed_clients());
        assert_none("clients closed", &self.closed_clients());
        assert_none("messages lost", &self.lost());
        assert_none("echoes lost", &self.lost_echoes());
        assert_none("messages out of order", &self.disorder());
        assert_none("echoes out of order", &self.echo_disorder());
    }
}

/// Asserts that a list is empty, and shows its beginning if not.
///
/// # Panics
/// When it is not.
#[track_caller]
pub fn assert_none<T: std::fmt::Debug>(what: &str, found: &[T]) {
    assert!(found.is_empty(), "{what}: {} in all, first {:#?}", found.len(), &found[..found.len().min(10)]);
}

/// Client and number of `c<client>-<n>`, also with a `:` and anything behind it.
pub fn message_id(text: &str) -> Option<(u32, u32)> {
    let id = text.split(':').next()?.strip_prefix('c')?;
    let (client, number) = id.split_once('-')?;
    Some((client.parse().ok()?, number.parse().ok()?))
}

/// Groups events by connection.
///
/// # Panics
/// When a leg carried messages of two clients.
pub fn legs(events: &[Event]) -> Vec<Leg> {
    let mut legs: BTreeMap<&str, Leg> = BTreeMap::new();
    for event in events {
        if let What::Open(_) = event.what {
            let (connection, pid) = (event.connection.clone(), event.pid());
            let leg = Leg { connection, pid, client: None, opened: event.at, ended: None, reads: Vec::new() };
            legs.insert(&event.connection, leg);
        }
        let Some(leg) = legs.get_mut(event.connection.as_str()) else { continue };
        match &event.what {
            What::Read(_, text) => {
                let Some((client, number)) = message_id(text) else { continue };
                let owner = *leg.client.get_or_insert(client);
                assert_eq!(owner, client, "leg {} carried messages of two clients", leg.connection);
                leg.reads.push((number, event.at));
            }
            What::Close(..) | What::Eof => leg.ended = leg.ended.or(Some(event.at)),
            What::Ready(_) | What::Open(_) | What::Done(..) | What::Check(_) => {}
        }
    }
    let mut legs: Vec<Leg> = legs.into_values().collect();
    legs.sort_by_key(|leg| leg.opened);
    legs
}
