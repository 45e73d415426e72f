//! The health of backends: active checks, and what failed dials and deaths say (`docs/health.md`).
//!
//! Health decides in which order backends are tried, never whether: one that is down or ejected is tried when all others
//! have failed a session. And it never ends a leg: sessions stay on a backend that is down while their legs work. What is
//! pure is pure: [`checks`], [`trust`], [`machine`] and [`panic`] get the time as an argument.

mod check;
mod checks;
mod handle;
mod machine;
mod panic;
#[cfg(test)]
mod tests;
mod trust;
mod ward;
mod watch;

pub use handle::LastCheck;
pub(super) use handle::{Health, PoolHealth};
pub(super) use machine::Dial;
pub use machine::{HealthState, Standing};
pub(super) use trust::Failure;
