//! What the schemes count, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of a question to the DNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsAnswer {
    /// It has an answer, perhaps without records of the wanted type.
    Answered,
    /// There is no such name.
    NoName,
    /// The name is not ours, or what is asked is not given away.
    Refused,
    /// There is no backend to name.
    NoBackend,
    /// It is not understood.
    Bad,
    /// Beyond the rate: told to ask by TCP.
    Shortened,
    /// Beyond the rate: dropped.
    Dropped,
}

/// How a client was told where to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// By `/.tideover/assign`.
    Assign,
    /// By a 307.
    Redirect,
    /// By an answer of the DNS, which may stand for many clients.
    Dns,
}

/// Why `/.tideover/assign` told nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssignRefusal {
    /// The page's origin is not let in.
    Origin,
    /// It was one too many.
    Rate,
    /// The method is another one.
    Method,
    /// There is no backend.
    NoBackend,
}

/// How a command to scale ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// With exit code 0.
    Done,
    /// In another way.
    Failed,
    /// Killed, because it took too long.
    TimedOut,
    /// Before it began.
    NotStarted,
}

/// A kind of things that are counted each for itself.
pub trait Counted: Copy + Sized + 'static {
    /// Each with its word, as a label of a metric, in the order of the enum.
    const WORDS: &'static [(&'static str, Self)];
}

impl Counted for DnsAnswer {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("answered", Self::Answered),
        ("no_name", Self::NoName),
        ("refused", Self::Refused),
        ("no_backend", Self::NoBackend),
        ("bad", Self::Bad),
        ("shortened", Self::Shortened),
        ("dropped", Self::Dropped),
    ];
}

impl Counted for Scheme {
    const WORDS: &'static [(&'static str, Self)] =
        &[("assign", Self::Assign), ("redirect", Self::Redirect), ("dns", Self::Dns)];
}

impl Counted for AssignRefusal {
    const WORDS: &'static [(&'static str, Self)] =
        &[("origin", Self::Origin), ("rate", Self::Rate), ("method", Self::Method), ("no_backend", Self::NoBackend)];
}

impl Counted for Command {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("done", Self::Done),
        ("failed", Self::Failed),
        ("timed_out", Self::TimedOut),
        ("not_started", Self::NotStarted),
    ];
}

/// All counts since the start.
#[derive(Debug, Default)]
pub struct Counts {
    assigned: [AtomicU64; 3],
    refused: [AtomicU64; 4],
    dns: [AtomicU64; 7],
    commands: [AtomicU64; 4],
}

impl Counts {
    pub(super) fn assigned(&self, scheme: Scheme) {
        self.assigned[scheme as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, why: AssignRefusal) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn dns(&self, answer: DnsAnswer) {
        self.dns[answer as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn command(&self, ended: Command) {
        self.commands[ended as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Clients told where to go, by the word of the [`Scheme`].
    pub fn of_assignments(&self) -> impl Iterator<Item = (&'static str, u64)> {
        rows::<Scheme>(&self.assigned)
    }

    /// Requests for an assignment that got none, by the word of the [`AssignRefusal`].
    pub fn of_refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        rows::<AssignRefusal>(&self.refused)
    }

    /// Questions to the DNS, by the word of the [`DnsAnswer`].
    pub fn of_dns(&self) -> impl Iterator<Item = (&'static str, u64)> {
        rows::<DnsAnswer>(&self.dns)
    }

    /// Commands to scale, by the word of the [`Command`].
    pub fn of_commands(&self) -> impl Iterator<Item = (&'static str, u64)> {
        rows::<Command>(&self.commands)
    }
}

fn rows<T: Counted>(counts: &[AtomicU64]) -> impl Iterator<Item = (&'static str, u64)> {
    T::WORDS.iter().zip(counts).map(|((word, _), count)| (*word, count.load(Ordering::Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_in_order<T: Counted>(place: impl Fn(T) -> usize) -> bool {
        T::WORDS.iter().enumerate().all(|(n, (_, value))| place(*value) == n)
    }

    #[test]
    fn each_word_stands_at_the_place_of_its_count() {
        assert!(is_in_order(|answer: DnsAnswer| answer as usize) && DnsAnswer::WORDS.len() == 7);
        assert!(is_in_order(|scheme: Scheme| scheme as usize) && Scheme::WORDS.len() == 3);
        assert!(is_in_order(|why: AssignRefusal| why as usize) && AssignRefusal::WORDS.len() == 4);
        assert!(is_in_order(|ended: Command| ended as usize) && Command::WORDS.len() == 4);
    }
}
