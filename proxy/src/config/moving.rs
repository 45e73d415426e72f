//! How a pool moves sessions among its backends.

/// How a pool moves sessions among its backends. The default is that of the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moving {
    /// `--migrate-at-once`: sessions of the pool that may be on the move at a time, at least 1.
    pub at_once: usize,
    /// `--drain-rate`: sessions a second that are moved away from backends that drain, at least 1.
    pub drain_rate: u32,
    /// `--rebalance`, `--rebalance-rate`, `--rebalance-threshold`. `None`: sessions stay where they are.
    pub rebalance: Option<Rebalance>,
}

/// How a pool evens what its backends have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebalance {
    /// `--rebalance-rate`: sessions a second that are moved for it, at least 1.
    pub rate: u32,
    /// `--rebalance-threshold`: how far from its part a backend must be, in percent of that, for moves to begin. They
    /// end at half of it. At least 1.
    pub threshold: u32,
}

impl Default for Moving {
    fn default() -> Self {
        Self { at_once: 50, drain_rate: 100, rebalance: None }
    }
}

impl Default for Rebalance {
    fn default() -> Self {
        Self { rate: 10, threshold: 10 }
    }
}
