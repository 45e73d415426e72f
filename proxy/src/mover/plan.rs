//! Which sessions go where so that every backend has its part. Pure: the loads come in, moves come out.
//!
//! `docs/balancing.md` has the formulas. Why no session goes to and fro:
//!
//! - A move is made only if the backend that takes has less for its weight *after* it than the one that gives had
//!   *before*. So the largest load for its weight never rises, who gave never takes, and the opposite move is none.
//! - It begins beyond the threshold and ends at half of it ([`Evening`]), so noise about the threshold moves nobody.
//! - A session that was moved is not among those that its backend can give, for a while.

use crate::pool::BackendId;

#[cfg(test)]
mod tests;

/// A backend that takes part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    /// Which one.
    pub(crate) backend: BackendId,
    /// Sessions that it has, and those that are on their way to it; not those on their way from it.
    pub(crate) sessions: usize,
    /// How many of them may be moved now.
    pub(crate) movable: usize,
    /// How many more it may have.
    pub(crate) room: usize,
    /// What its part of all sessions is proportional to. 0: it is to have none.
    pub(crate) weight: f64,
}

/// A session of one backend goes to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) from: BackendId,
    pub(super) to: BackendId,
}

/// Whether a pool is being evened.
///
/// ```text
///  at rest ── spread above the threshold, and a move would help ──▶ going
///  going ── spread at most half of it, or no move would help ──▶ at rest
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Evening {
    going: bool,
}

impl Evening {
    pub(super) fn is_going(self) -> bool {
        self.going
    }

    /// Whether there is something to move, where a spread above `threshold` is too large.
    pub(super) fn is_due(self, threshold: f64, places: &[Place]) -> bool {
        let limit = if self.going { threshold / 2.0 } else { threshold };
        spread(places) > limit && best(places).is_some()
    }

    /// The next moves, `most` at most. They are taken for done the next time: `places` must have them then.
    pub(super) fn plan(&mut self, threshold: f64, places: &[Place], most: usize) -> Vec<Move> {
        let mut places = places.to_vec();
        let mut moves = Vec::new();
        let parts = parts(&places);
        loop {
            let limit = if self.going { threshold / 2.0 } else { threshold };
            let chosen = best(&places).filter(|_| spread_from(&places, &parts) > limit);
            self.going = chosen.is_some();
            let Some((from, to)) = chosen.filter(|_| moves.len() < most) else { return moves };
            moves.push(Move { from: places[from].backend, to: places[to].backend });
            places[from].give();
            places[to].take();
        }
    }
}

impl Place {
    /// What it has for its weight.
    fn load(&self) -> f64 {
        if self.sessions == 0 { 0.0 } else { self.sessions as f64 / self.weight }
    }

    /// The same with one more.
    fn load_with_one_more(&self) -> f64 {
        (self.sessions as f64 + 1.0) / self.weight
    }

    fn give(&mut self) {
        self.sessions -= 1;
        self.movable -= 1;
    }

    fn take(&mut self) {
        self.sessions += 1;
        self.room -= 1;
    }
}

/// Who gives and who takes, if a move makes it more even.
fn best(places: &[Place]) -> Option<(usize, usize)> {
    let givers = places.iter().enumerate().filter(|(_, place)| place.movable > 0 && place.sessions > 0);
    let (from, gives) = givers.max_by(|(_, a), (_, b)| a.load().total_cmp(&b.load()))?;
    let takers = places.iter().enumerate().filter(|(_, place)| place.room > 0 && place.weight > 0.0);
    let (to, takes) = takers.min_by(|(_, a), (_, b)| a.load_with_one_more().total_cmp(&b.load_with_one_more()))?;
    (takes.load_with_one_more() < gives.load()).then_some((from, to))
}

/// The largest distance of a backend from its part, as a fraction of that; distances below one session count as none.
pub(crate) fn spread(places: &[Place]) -> f64 {
    spread_from(places, &parts(places))
}

fn spread_from(places: &[Place], parts: &[f64]) -> f64 {
    let distance = |(place, part): (&Place, &f64)| {
        let distance = (place.sessions as f64 - part).abs();
        if distance < 1.0 { 0.0 } else { distance / part.max(1.0) }
    };
    places.iter().zip(parts).map(distance).fold(0.0, f64::max)
}

/// How many sessions each should have: all of them, shared out by weight; what does not fit on one, the others share.
/// If all are full, or none has a weight, less than all is shared out.
fn parts(places: &[Place]) -> Vec<f64> {
    let bounds: Vec<f64> = places.iter().map(|place| place.sessions as f64 + place.room as f64).collect();
    let mut left = places.iter().map(|place| place.sessions as f64).sum::<f64>();
    let mut parts = vec![None; places.len()];
    loop {
        let open = || (0..places.len()).filter(|at| parts[*at].is_none());
        let weights = open().map(|at| places[at].weight).sum::<f64>();
        let share = |at: usize| if weights > 0.0 { left * places[at].weight / weights } else { 0.0 };
        let full: Vec<_> = open().filter(|at| bounds[*at] < share(*at)).collect();
        if full.is_empty() {
            return (0..places.len()).map(|at| parts[at].unwrap_or_else(|| share(at))).collect();
        }
        for at in full {
            parts[at] = Some(bounds[at]);
            left -= bounds[at];
        }
    }
}
