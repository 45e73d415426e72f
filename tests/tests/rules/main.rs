//! Rules and profiles from outside: what `tideover check` and `tideover profile` say, and what a proxy with them does between
//! a client and backends that the test plays.

mod cli;
mod sessions;
