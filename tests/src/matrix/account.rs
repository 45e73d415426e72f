//! What a cell's run came to, counted from the backends' logs and the sessions' records alone.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{
    fire::Shot,
    load::{Answer, Session},
};
use crate::{
    backend::{Event, What},
    judge::message_id,
};

/// The counts of a run. "Read" is read by a backend's handler, as the backend logged it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// SIGKILLs of a backend that served sessions.
    pub kills: usize,
    /// Those that ended at least one leg which had not yet read all that its session had sent before the kill that
    /// made it re-attach.
    pub kills_in_replay: usize,
    /// Messages that the sessions sent.
    pub sent: usize,
    /// Messages that no backend ever read.
    pub lost: usize,
    /// Messages whose answer never came to the client.
    pub lost_answers: usize,
    /// Second and further answers to a message, in the client's view.
    pub repeated_client: usize,
    /// Second and further readings of a message, each by a later process than the one before.
    pub repeated_backend: usize,
    /// Messages that were on their way when their session's backend was killed, and were read for the first time by
    /// a later process. For backends that speak the session protocol: legs after a session's first.
    pub rescued: usize,
    /// Answers that a later process gave and the client, which had the earlier process's, did not get.
    pub swallowed: usize,
    /// Answers that came after that of a later message, and messages that a backend read after a later one.
    pub disordered: usize,
    /// What came to a client and was no answer of its session.
    pub strange: usize,
    /// Sessions that ended other than by the client's Close.
    pub closed: usize,
}

/// A connection as its backend logged it.
struct Leg<'a> {
    opened: u64,
    pid: u32,
    client: u32,
    reads: Vec<(u32, u64)>,
    connection: &'a str,
}

/// What became of one message.
#[derive(Clone, Default)]
struct Fate {
    /// Index of the leg and time, in the order of the legs.
    reads: Vec<(usize, u64)>,
    answers: Vec<u64>,
}

impl Counts {
    pub(super) fn of(events: &[Event], sessions: &[Session], shots: &[Shot]) -> Self {
        let legs = legs(events);
        let done = done(events);
        let mut counts = Self { kills: shots.len(), ..Self::default() };
        let by_client = group(&legs);
        for session in sessions {
            let none = Vec::new();
            let own = by_client.get(&session.client).unwrap_or(&none);
            counts.add(session, &legs, own, &done, shots);
        }
        counts.kills_in_replay = shots.iter().filter(|shot| hit_a_replay(shot, &legs, sessions)).count();
        counts
    }

    fn add(
        &mut self,
        session: &Session,
        legs: &[Leg<'_>],
        own: &[usize],
        done: &HashMap<(&str, u32), u64>,
        shots: &[Shot],
    ) {
        let mut fates = vec![Fate::default(); session.sent.len()];
        for &leg in own {
            let rising = legs[leg].reads.windows(2).filter(|pair| pair[1].0 <= pair[0].0).count();
            self.disordered += rising;
            for &(number, at) in &legs[leg].reads {
                if let Some(fate) = fates.get_mut(number as usize - 1) {
                    fate.reads.push((leg, at));
                }
            }
        }
        let mut newest = 0;
        for answer in &session.got {
            let Some(fate) = fates.get_mut(answer.number as usize - 1) else {
                self.strange += 1;
                continue;
            };
            self.disordered += usize::from(fate.answers.is_empty() && answer.number < newest);
            newest = newest.max(answer.number);
            fate.answers.push(answer.at);
        }
        self.sent += fates.len();
        self.strange += session.strange.len();
        self.closed += usize::from(session.end.is_some());
        let ends = leg_ends(legs, own, shots);
        for (index, fate) in fates.iter().enumerate() {
            self.lost += usize::from(fate.reads.is_empty());
            self.lost_answers += usize::from(fate.answers.is_empty());
            self.repeated_client += fate.answers.len().saturating_sub(1);
            self.repeated_backend += fate.reads.len().saturating_sub(1);
            self.rescued += usize::from(was_rescued(fate, session.sent[index], legs, &ends));
            self.swallowed += swallowed(fate, legs, index as u32 + 1, done);
        }
    }
}

/// The first breaches of every kind in the clients' view, with their times, to find them in the logs.
pub(super) fn notes(sessions: &[Session]) -> Vec<String> {
    const EACH: usize = 3;
    let ended = sessions.iter().filter_map(|session| Some((session.client, session.end.as_ref()?)));
    let ended = ended.map(|(client, end)| format!("c{client} ended by {end:?}")).take(EACH);
    let strange = sessions.iter().flat_map(|session| session.strange.iter().map(|text| (session.client, text)));
    let strange = strange.map(|(client, text)| format!("c{client} got {text:?}")).take(EACH);
    let repeated = sessions.iter().filter_map(first_repeat).take(EACH);
    ended.chain(strange).chain(repeated).collect()
}

fn first_repeat(session: &Session) -> Option<String> {
    let mut seen = HashMap::new();
    let repeat = session.got.iter().find_map(|answer| Some((*answer, seen.insert(answer.number, answer.at)?)));
    repeat.map(|(Answer { number, at }, first)| {
        let client = session.client;
        format!("c{client} got the answer to c{client}-{number} at {first} and again at {at}")
    })
}

/// When each leg of a session was cut by a kill.
fn leg_ends(legs: &[Leg<'_>], own: &[usize], shots: &[Shot]) -> Vec<(u64, u64)> {
    let cut = |&leg: &usize| {
        let leg = &legs[leg];
        shots.iter().find(|shot| shot.kill.pid == leg.pid).map(|shot| (leg.opened, shot.kill.at))
    };
    own.iter().filter_map(cut).collect()
}

/// Whether it was sent while a leg lived that was killed before it was read, by a later leg.
fn was_rescued(fate: &Fate, sent: u64, legs: &[Leg<'_>], ends: &[(u64, u64)]) -> bool {
    let Some(&(reader, _)) = fate.reads.first() else { return false };
    let opened = legs[reader].opened;
    ends.iter().any(|&(_, killed)| sent < killed && killed < opened)
}

/// Later answers that did not reach the client: what later legs answered after the client had the first, less what the
/// client got more than once.
fn swallowed(fate: &Fate, legs: &[Leg<'_>], number: u32, done: &HashMap<(&str, u32), u64>) -> usize {
    let Some(&first_answer) = fate.answers.first() else { return 0 };
    let later = fate.reads.iter().skip(1).filter(|(_, read)| *read > first_answer);
    let answered = later.filter(|(leg, _)| done.contains_key(&(legs[*leg].connection, number))).count();
    answered.saturating_sub(fate.answers.len() - 1)
}

fn hit_a_replay(shot: &Shot, legs: &[Leg<'_>], sessions: &[Session]) -> bool {
    let Some(cause) = shot.cause else { return false };
    let cut = legs.iter().filter(|leg| leg.pid == shot.kill.pid && leg.opened > cause.at && leg.opened < shot.kill.at);
    let mut cut = cut.filter_map(|leg| Some((leg, sessions.iter().find(|session| session.client == leg.client)?)));
    cut.any(|(leg, session)| {
        let due = session.sent.partition_point(|sent| *sent < cause.at) as u32;
        leg.reads.last().is_none_or(|(newest, _)| *newest < due)
    })
}

/// Every leg, by the time it opened. The client's number is in the request target, so that a leg which read nothing
/// has its client too.
fn legs(events: &[Event]) -> Vec<Leg<'_>> {
    let mut legs: HashMap<&str, Leg<'_>> = HashMap::new();
    for event in events {
        let connection = event.connection.as_str();
        match &event.what {
            What::Open(target) => {
                let Some(client) = target.split_once("client=").and_then(|(_, client)| client.parse().ok()) else {
                    continue;
                };
                let leg = Leg { opened: event.at, pid: event.pid(), client, reads: Vec::new(), connection };
                legs.insert(connection, leg);
            }
            What::Read(_, text) => {
                let Some((leg, (client, number))) = legs.get_mut(connection).zip(message_id(text)) else { continue };
                assert_eq!(leg.client, client, "leg {connection} carried a message of another client");
                leg.reads.push((number, event.at));
            }
            What::Ready(_) | What::Done(..) | What::Close(..) | What::Eof | What::Check(_) => {}
        }
    }
    let mut legs: Vec<Leg<'_>> = legs.into_values().collect();
    legs.sort_by_key(|leg| leg.opened);
    legs
}

/// When a connection's handler was done with a message.
fn done(events: &[Event]) -> HashMap<(&str, u32), u64> {
    let of = |event: &Event| match &event.what {
        What::Done(_, text) => message_id(text).map(|(_, number)| number),
        What::Ready(_) | What::Open(_) | What::Read(..) | What::Close(..) | What::Eof | What::Check(_) => None,
    };
    events.iter().filter_map(|event| Some(((event.connection.as_str(), of(event)?), event.at))).collect()
}

fn group(legs: &[Leg<'_>]) -> HashMap<u32, Vec<usize>> {
    let mut by_client: HashMap<u32, Vec<usize>> = HashMap::new();
    for (index, leg) in legs.iter().enumerate() {
        by_client.entry(leg.client).or_default().push(index);
    }
    by_client
}
