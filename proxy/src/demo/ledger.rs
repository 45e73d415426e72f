//! The books of one client, and their sum: what was sent, what came back, in which order, and how long it was silent.
//!
//! Pure: the time is an argument. A client numbers its messages from 1; an echo tells the number and the process that
//! answered. At-least-once delivery allows a number to come again (*repeated*). It allows neither a number to be passed
//! over (*lost*) nor a passed-over one to come after all (*out of order*).
//!
//! A **silence** is a time in which something was outstanding and no number came for the first time: it begins with
//! the last such echo, or with the sending of what is outstanding if that was later. A **failover** is seen when another
//! process answers than before; the **gap** that the client felt is the silence that ended with the first new echo from
//! there.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// Gaps that a client remembers for the median; the oldest go first.
const GAPS_KEPT: usize = 256;

/// The books of one client.
#[derive(Default)]
pub(super) struct Ledger {
    sent: u64,
    /// The highest number that came back.
    highest: u64,
    /// Numbers below `highest` that have not come back.
    passed_over: BTreeSet<u64>,
    repeated: u64,
    out_of_order: u64,
    /// Answers that fit no message of this client.
    foreign: u64,
    /// The process that answered last.
    process: Option<u32>,
    failovers: u64,
    /// Another process answers, and no new number has come from it yet.
    moved: bool,
    silent_since: Option<Instant>,
    gaps: VecDeque<Duration>,
    worst_silence: Duration,
    /// Why the connection ended before its time.
    closed: Option<String>,
}

impl Ledger {
    /// Enters a message that is about to be sent; returns its number.
    pub(super) fn send(&mut self, now: Instant) -> u64 {
        self.silent_since.get_or_insert(now);
        self.sent += 1;
        self.sent
    }

    /// Enters an echo of message `number`, answered by `process`.
    pub(super) fn echo(&mut self, number: u64, process: u32, now: Instant) {
        if number == 0 || number > self.sent {
            return self.foreign();
        }
        if self.process.replace(process).is_some_and(|before| before != process) {
            self.failovers += 1;
            self.moved = true;
        }
        if number > self.highest {
            self.passed_over.extend(self.highest + 1..number);
            self.highest = number;
            self.end_silence(now);
        } else if self.passed_over.remove(&number) {
            self.out_of_order += 1;
        } else {
            self.repeated += 1;
        }
    }

    /// Enters an answer that fits no message.
    pub(super) fn foreign(&mut self) {
        self.foreign += 1;
    }

    /// Enters that the connection ended before its time.
    pub(super) fn closed(&mut self, reason: String) {
        self.closed.get_or_insert(reason);
    }

    /// Messages whose echo may still come.
    pub(super) fn outstanding(&self) -> u64 {
        self.sent - self.highest
    }

    fn end_silence(&mut self, now: Instant) {
        let silence = self.silence(now);
        self.silent_since = (self.outstanding() > 0).then_some(now);
        self.worst_silence = self.worst_silence.max(silence);
        if std::mem::take(&mut self.moved) {
            if self.gaps.len() == GAPS_KEPT {
                self.gaps.pop_front();
            }
            self.gaps.push_back(silence);
        }
    }

    fn silence(&self, now: Instant) -> Duration {
        self.silent_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

/// The sum of all clients' books.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Messages sent.
    pub sent: u64,
    /// Messages that came back, each counted once.
    pub echoed: u64,
    /// Messages whose echo may still come.
    pub outstanding: u64,
    /// Messages that were passed over: a later one came back.
    pub lost: u64,
    /// Echoes of messages that had come back before.
    pub repeated: u64,
    /// Echoes that came behind a later message's.
    pub out_of_order: u64,
    /// Answers that fit no message of their client.
    pub foreign: u64,
    /// How often a client was answered by another process than before.
    pub failovers: u64,
    /// Median of the gaps that clients felt at a failover (the last 256 of each client).
    pub median_gap: Option<Duration>,
    /// The longest silence of any client, whatever its cause, one still going on included.
    pub worst_silence: Duration,
    /// Why connections ended before their time, one entry a client.
    pub closed: Vec<String>,
}

impl Totals {
    /// Adds up the books as they stand at `now`.
    pub(super) fn of<'a>(ledgers: impl IntoIterator<Item = &'a Ledger>, now: Instant) -> Self {
        let mut totals = Self::default();
        let mut gaps = Vec::new();
        for ledger in ledgers {
            totals.add(ledger, now);
            gaps.extend(&ledger.gaps);
        }
        totals.median_gap = median(gaps);
        totals
    }

    fn add(&mut self, ledger: &Ledger, now: Instant) {
        let lost = ledger.passed_over.len() as u64;
        self.sent += ledger.sent;
        self.echoed += ledger.highest - lost;
        self.outstanding += ledger.outstanding();
        self.lost += lost;
        self.repeated += ledger.repeated;
        self.out_of_order += ledger.out_of_order;
        self.foreign += ledger.foreign;
        self.failovers += ledger.failovers;
        self.worst_silence = self.worst_silence.max(ledger.worst_silence).max(ledger.silence(now));
        self.closed.extend(ledger.closed.clone());
    }

    /// At the end nothing can come any more: what is outstanding is lost.
    pub(super) fn settle(&mut self) {
        self.lost += std::mem::take(&mut self.outstanding);
    }

    /// Whether the promise was kept: nothing lost, order kept, nobody closed.
    pub(super) fn kept(&self) -> bool {
        self.lost == 0 && self.out_of_order == 0 && self.foreign == 0 && self.closed.is_empty()
    }
}

fn median(mut values: Vec<Duration>) -> Option<Duration> {
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable(middle).1)
}

#[cfg(test)]
mod tests;
