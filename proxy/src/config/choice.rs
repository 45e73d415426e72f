//! Settings that are one of a few words.

use tideover_protocol::session::{
    AckMode, Commit, OnAmbiguous, OnExpired, OnFull, OnMigrateTimeout, OnPoison, OnRate, Reattach,
};

use super::tls::{ProxyProtocol, SendProxy};
use super::{Balance, Compression, Http, LogFormat, Mode, OnHookFailure, ReattachOrder};
use crate::tls::ClientAuth;

/// A type whose values are written as words.
pub(super) trait Choice: Copy + 'static {
    /// Each value with its word.
    const WORDS: &'static [(&'static str, Self)];
}

/// The words of a choice.
pub(super) fn names<T: Choice>() -> Vec<&'static str> {
    T::WORDS.iter().map(|(word, _)| *word).collect()
}

/// The value that `word` stands for.
pub(super) fn parse<T: Choice>(word: &str) -> Option<T> {
    T::WORDS.iter().find(|(known, _)| *known == word).map(|(_, value)| *value)
}

/// `a, b or c`.
pub(super) fn either(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [firsts @ .., last] => format!("{} or {last}", firsts.join(", ")),
    }
}

impl Choice for AckMode {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("none", Self::None),
        ("pong", Self::Pong),
        ("reply", Self::Reply),
        ("rules", Self::Rules),
        ("explicit", Self::Explicit),
    ];
}

impl Choice for bool {
    const WORDS: &'static [(&'static str, Self)] = &[("on", true), ("off", false)];
}

impl Choice for Commit {
    const WORDS: &'static [(&'static str, Self)] = &[("off", Self::Off), ("barrier", Self::Barrier)];
}

impl Choice for OnPoison {
    const WORDS: &'static [(&'static str, Self)] = &[("close", Self::Close), ("drop", Self::Drop)];
}

impl Choice for OnExpired {
    const WORDS: &'static [(&'static str, Self)] = &[("close", Self::Close), ("drop-prefix", Self::DropPrefix)];
}

impl Choice for OnAmbiguous {
    const WORDS: &'static [(&'static str, Self)] =
        &[("probe", Self::Probe), ("failover", Self::Failover), ("end", Self::End)];
}

impl Choice for OnMigrateTimeout {
    const WORDS: &'static [(&'static str, Self)] = &[("failover", Self::FailOver), ("stay", Self::Stay)];
}

impl Choice for Reattach {
    const WORDS: &'static [(&'static str, Self)] =
        &[("always", Self::Always), ("whole", Self::Whole), ("never", Self::Never)];
}

impl Choice for ReattachOrder {
    const WORDS: &'static [(&'static str, Self)] =
        &[("other-first", Self::OtherFirst), ("same-first", Self::SameFirst), ("same-only", Self::SameOnly)];
}

impl Choice for OnHookFailure {
    const WORDS: &'static [(&'static str, Self)] =
        &[("wait", Self::Wait), ("attach", Self::Attach), ("close", Self::Close)];
}

impl Choice for Compression {
    const WORDS: &'static [(&'static str, Self)] = &[("relay", Self::Relay), ("off", Self::Off)];
}

impl Choice for Balance {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("least-conn", Self::LeastConn),
        ("round-robin", Self::RoundRobin),
        ("random-two", Self::RandomTwo),
        ("latency", Self::Latency),
        ("hash", Self::Hash),
        ("score", Self::Score),
    ];
}

impl Choice for OnFull {
    const WORDS: &'static [(&'static str, Self)] =
        &[("block", Self::Block), ("close", Self::Close), ("drop-oldest", Self::DropOldest)];
}

impl Choice for OnRate {
    const WORDS: &'static [(&'static str, Self)] = &[("throttle", Self::Throttle), ("close", Self::Close)];
}

impl Choice for ClientAuth {
    const WORDS: &'static [(&'static str, Self)] = &[("required", Self::Required), ("optional", Self::Optional)];
}

impl Choice for ProxyProtocol {
    const WORDS: &'static [(&'static str, Self)] = &[("off", Self::Off), ("in", Self::In)];
}

impl Choice for SendProxy {
    const WORDS: &'static [(&'static str, Self)] = &[("off", Self::Off), ("v2", Self::V2)];
}

impl Choice for Http {
    const WORDS: &'static [(&'static str, Self)] = &[("proxy", Self::Proxy), ("reject", Self::Reject)];
}

impl Choice for Mode {
    const WORDS: &'static [(&'static str, Self)] = &[("proxy", Self::Proxy), ("redirect", Self::Redirect)];
}

impl Choice for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}
