//! What a connection does, read from its request target.

use std::time::Duration;

/// What happens on a connection. Those that end it do so after echoing `after` messages (the query's `after`, 0).
pub(crate) enum Behaviour {
    /// `/echo`, and every path that is not listed: each message comes back as it was.
    Echo,
    /// `/slow?ms=1000`: echoes each message after so long; nothing is read meanwhile.
    Slow(Duration),
    /// `/answer?ms=0`: as `Slow`, but what comes back is `re:` and the message.
    Answer(Duration),
    /// `/poison?on=TEXT`: echoes, until a message holds the text; reading that kills the process.
    Poison(String),
    /// `/push?every_ms=100&bytes=0`: sends `push-1`, `push-2`, …, padded with dots to so many bytes; never reads.
    Push(Duration, usize),
    /// One of the ends below.
    EndAfter(u64, End),
}

/// How a connection ends of the backend's own accord.
pub(crate) enum End {
    /// `/return` and `/eof`: the stream is dropped without a Close.
    Drop,
    /// `/raise`: the handler panics.
    Panic,
    /// `/reset`: sends `before-reset`, then resets the TCP connection.
    Reset,
    /// `/close?code=1000&reason=`: sends Close, then waits for the client's.
    Close(u16, String),
    /// `/close_codeless`: the same with an empty Close.
    CloseCodeless,
}

impl Behaviour {
    pub(crate) fn of_target(target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let value = |key: &str| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(k, _)| *k == key);
        let text = |key: &str| value(key).map(|(_, v)| v.to_owned()).unwrap_or_default();
        let number = |key: &str, default: u64| value(key).and_then(|(_, v)| v.parse().ok()).unwrap_or(default);
        let end = |end| Self::EndAfter(number("after", 0), end);
        match path {
            "/slow" => Self::Slow(Duration::from_millis(number("ms", 1000))),
            "/answer" => Self::Answer(Duration::from_millis(number("ms", 0))),
            "/poison" => Self::Poison(text("on")),
            "/push" => Self::Push(Duration::from_millis(number("every_ms", 100)), number("bytes", 0) as usize),
            "/return" | "/eof" => end(End::Drop),
            "/raise" => end(End::Panic),
            "/reset" => end(End::Reset),
            "/close" => end(End::Close(number("code", 1000) as u16, text("reason"))),
            "/close_codeless" => end(End::CloseCodeless),
            _ => Self::Echo,
        }
    }
}
