//! x
#![allow(dead_code, unused, missing_docs)]
mod checks;
mod machine;
mod panic;
#[cfg(test)]
mod tests;
mod trust;
