//! What failed and answered dials say about a backend: doubt, ejection, the trial that ends them. Pure.

use std::time::{Duration, Instant};

use crate::config::Ejection;

/// How long a backend is doubted after a failed dial, at least.
const LEAST_DOUBT: Duration = Duration::from_secs(1);
/// Failed handshakes in a row, none answered between them, that are a proof.
const HANDSHAKES: u32 = 3;

/// Why a backend is thought not to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pool) enum Failure {
    /// It was reached and the handshake failed. A single one may be the doing of the session that dialled.
    Handshake,
    /// There is no connection to be had, or all its legs were lost at once: no session could have caused that.
    Proof,
}

/// Whether a backend is trusted with sessions.
///
/// ```text
///  trusted ── failed handshake ──▶ doubted ── proof, or the third failure in a row ──▶ ejected
///  trusted ── proof ──▶ ejected
///  doubted, ejected ── time over ──▶ half-open ── trial answered ──▶ trusted
///                                    half-open ── trial failed ──▶ doubted; ejected, for twice as long
///  any ── answered ──▶ trusted
/// ```
///
/// Doubt ends like an ejection, with a trial. It differs in its length, which never grows, and in not counting among
/// the half of a pool that may be ejected. Either way the backend goes to the end of the order, not out of it.
#[derive(Debug, Default)]
pub(super) struct Trust {
    out: Option<Out>,
    /// Failures since a dial was answered.
    streak: u32,
    /// How often the ejections have doubled: failed trials, and ejections soon after the end of another.
    grown: u32,
    /// When the latest ejection ended.
    back: Option<Instant>,
}

/// Out of the rotation.
#[derive(Clone, Copy, Debug)]
struct Out {
    ejected: bool,
    /// From then on the next session that comes by is the trial.
    until: Instant,
    /// A trial is under way, at most until then: whoever was to decide it may have gone away.
    trial: Option<Instant>,
}

impl Trust {
    /// Whether a session may be sent there as to any other backend; a half-open one takes one session at a time.
    pub(super) fn admits(&self, now: Instant) -> bool {
        self.out.is_none_or(|out| now >= out.until && out.trial.is_none_or(|deadline| now >= deadline))
    }

    /// Whether it is ejected; still, while the trial is under way.
    pub(super) fn is_ejected(&self) -> bool {
        self.out.is_some_and(|out| out.ejected)
    }

    /// Whether an answered dial would change anything.
    pub(super) fn is_troubled(&self) -> bool {
        self.out.is_some() || self.streak > 0
    }

    /// Until when nobody is sent there for a trial, if it is out.
    pub(super) fn out_until(&self) -> Option<Instant> {
        self.out.map(|out| out.until)
    }

    /// Failures since a dial was answered.
    pub(super) fn streak(&self) -> u32 {
        self.streak
    }

    /// A session is about to dial. If that is the trial, the others stay away for up to `patience`.
    pub(super) fn picked(&mut self, patience: Duration, now: Instant) {
        if let Some(out) = &mut self.out
            && now >= out.until
            && out.trial.is_none_or(|deadline| now >= deadline)
        {
            out.trial = Some(now + patience);
        }
    }

    /// A dial that took `took` failed. True if this ejects it, or ejects it again.
    ///
    /// `may_eject`: enough of the pool would be left. One that lets dials time out is out for as long as that took, so
    /// that it does not eat most of the time of those who try it.
    pub(super) fn failed(
        &mut self,
        failure: Failure,
        took: Duration,
        may_eject: bool,
        settings: &Ejection,
        now: Instant,
    ) -> bool {
        self.streak = self.streak.saturating_add(1);
        if self.out.is_some_and(|out| out.ejected && now < out.until) {
            // Of many dials under way the first made the difference; the others say the same once more.
            return false;
        }
        let proven = failure == Failure::Proof || self.streak >= HANDSHAKES || self.is_ejected();
        match settings.time.filter(|_| proven && may_eject) {
            Some(least) => self.eject(least, took, settings.max, now),
            None => self.doubt(took, now),
        }
        self.is_ejected()
    }

    fn eject(&mut self, least: Duration, took: Duration, longest: Duration, now: Instant) {
        let lately = self.back.is_some_and(|back| now.saturating_duration_since(back) < longest);
        self.grown = if self.is_ejected() || lately { self.grown.saturating_add(1) } else { 0 };
        let time = least.saturating_mul(2_u32.saturating_pow(self.grown)).min(longest).max(took);
        self.out = Some(Out { ejected: true, until: now + time, trial: None });
    }

    fn doubt(&mut self, took: Duration, now: Instant) {
        let until = now + took.max(LEAST_DOUBT);
        // It is never forgiven earlier because it failed again.
        let until = self.out.map_or(until, |out| out.until.max(until));
        self.out = Some(Out { ejected: false, until, trial: None });
    }

    /// A dial or a probe was answered. True if that ends an ejection.
    pub(super) fn answered(&mut self, now: Instant) -> bool {
        self.streak = 0;
        self.readmit(now)
    }

    /// A check says the same of a half-open backend as a trial would. It leaves the streak alone: a process that is
    /// stopped still lets its kernel accept connections, and its next failed handshake shall eject it again.
    pub(super) fn check_passed(&mut self, now: Instant) -> bool {
        self.out.is_some_and(|out| now >= out.until) && self.readmit(now)
    }

    /// A failed check of a half-open backend is a failed trial. Others are left to add up to a fall. True if this ejects
    /// it again.
    pub(super) fn check_failed(&mut self, may_eject: bool, settings: &Ejection, now: Instant) -> bool {
        let half_open = self.out.is_some_and(|out| out.ejected && now >= out.until);
        half_open && self.failed(Failure::Proof, Duration::ZERO, may_eject, settings, now)
    }

    /// Ends doubt and ejection. True if it was ejected.
    pub(super) fn readmit(&mut self, now: Instant) -> bool {
        let ejected = self.out.take().is_some_and(|out| out.ejected);
        if ejected {
            self.back = Some(now);
        }
        ejected
    }
}
