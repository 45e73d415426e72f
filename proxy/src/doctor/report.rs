//! What is printed.

use std::fmt::Write;

use serde_json::json;

use super::advice::Advice;
use super::findings::{Answers, Compression, Departure, Ending, Findings, Greeting, PongOrder};

/// For programs: one JSON object.
pub(super) fn json(findings: &Findings, advice: &[Advice]) -> String {
    format!("{:#}\n", json!({ "findings": findings, "advice": advice }))
}

/// For people.
pub(super) fn text(findings: &Findings, advice: &[Advice]) -> String {
    let mut text = format!("{}\n", findings.backend);
    for (what, seen) in seen(findings) {
        writeln!(text, "  {what:<13} {seen}").expect("a string takes all");
    }
    text.push_str("\nUse\n");
    let flags: Vec<_> = advice.iter().map(|advice| format!("{} {}", advice.flag, advice.value)).collect();
    let width = flags.iter().map(String::len).max().unwrap_or_default();
    for (flag, advice) in flags.iter().zip(advice) {
        let indent = width + 4;
        writeln!(text, "  {flag:<width$}  {}", wrapped(&advice.why, indent)).expect("a string takes all");
    }
    text
}

/// Columns of a line.
const COLUMNS: usize = 110;

fn wrapped(text: &str, indent: usize) -> String {
    let width = COLUMNS.saturating_sub(indent).max(30);
    let (mut lines, mut column) = (String::new(), 0);
    for word in text.split(' ') {
        if column > 0 && column + 1 + word.len() > width {
            lines += &format!("\n{:indent$}", "");
            column = 0;
        } else if column > 0 {
            lines.push(' ');
            column += 1;
        }
        lines += word;
        column += word.len();
    }
    lines
}

fn seen(findings: &Findings) -> Vec<(&'static str, String)> {
    let mut seen = vec![
        ("handshake", format!("101 after {:.1} ms; {}", findings.handshake_ms, subprotocol(findings))),
        ("compression", compression(&findings.compression)),
        ("greeting", greeting(findings.greeting)),
        (
            "pings",
            match findings.ping_ms {
                Some(took) => format!("answered, after {took:.1} ms"),
                None => "not answered".into(),
            },
        ),
    ];
    match &findings.answers {
        None => seen.push(("answers", "nothing was sent: give --send TEXT, or --profile".into())),
        Some(found) => {
            seen.push(("answers", answers(found)));
            seen.push(("pong", pong(found)));
            seen.push((
                "same again",
                match found.repeatable {
                    Some(true) => "yes: a second connection gave the same answers to the same messages".into(),
                    Some(false) => "no: a second connection gave other answers to the same messages".into(),
                    None => "not known: there were no answers to compare".into(),
                },
            ));
        }
    }
    if let Some(found) = &findings.profile {
        seen.push(("speaks", format!("{}: {}", found.name, found.why)));
    }
    if let Some(found) = &findings.restart {
        seen.push(("restart", departure(found)));
    }
    seen
}

fn subprotocol(findings: &Findings) -> String {
    match (&findings.subprotocol, findings.offered.join(", ")) {
        (Some(chosen), offered) => format!("subprotocol {chosen}, of {offered}"),
        (None, none) if none.is_empty() => "no subprotocol was offered".into(),
        (None, offered) => format!("no subprotocol, though {offered} was offered"),
    }
}

fn compression(found: &Compression) -> String {
    match found {
        Compression::Accepted { answer } => format!("accepted without context takeover: {answer}"),
        Compression::Declined => "declined".into(),
        Compression::Failed { why } => format!("with an offer, the handshake fails: {why}"),
    }
}

fn greeting(found: Greeting) -> String {
    match found {
        Greeting::Messages { count: 0 } => "none, on 2 connections".into(),
        Greeting::Messages { count } => format!("messages before anything was sent: {count}, on each of 2 connections"),
        Greeting::Varies { first, second } => {
            format!("messages before anything was sent: {first} on one connection, {second} on the next")
        }
        Greeting::Pushes { count } => format!("it goes on sending by itself: {count} messages while it was listened"),
    }
}

fn answers(found: &Answers) -> String {
    let total = found.counts.len();
    let took = found.took_ms.map_or(String::new(), |[least, most]| format!(", after {least:.1} to {most:.1} ms"));
    let ended = found.ended.as_ref().map_or(String::new(), |end| format!("; then it ended with {}", ending(end)));
    if found.is_one_each() {
        format!("one to each of {total} messages{took}{ended}")
    } else if found.is_silent() {
        format!("none to {total} messages{ended}")
    } else {
        let counts: Vec<_> = found.counts.iter().map(usize::to_string).collect();
        format!("to {total} messages, each: {}{took}{ended}", counts.join(", "))
    }
}

fn pong(found: &Answers) -> String {
    let Answers { pongs_after: after, pongs_before: before, pongs_missing: missing, .. } = found;
    let counted = after + before;
    match found.order {
        PongOrder::After => format!("behind the answer, {after} of {counted} times"),
        PongOrder::Before => format!("before the answer, {before} of {counted} times"),
        PongOrder::Mixed => format!("before the answer {before} times, behind it {after} times"),
        PongOrder::Unknown if *missing > 0 => format!("not answered {missing} times behind a message"),
        PongOrder::Unknown => "where it stands to the answer is not known".into(),
    }
}

fn departure(found: &Departure) -> String {
    let failed = found.command_failed.as_ref().map_or(String::new(), |why| format!("; the command failed: {why}"));
    match &found.ending {
        Some(end) => format!("it left with {}, after {:.0} ms{failed}", ending(end), found.after_ms),
        None => format!("the connection did not end within {:.0} ms{failed}", found.after_ms),
    }
}

fn ending(end: &Ending) -> String {
    match end {
        Ending::Close { code, reason } if reason.is_empty() => format!("Close {code}"),
        Ending::Close { code, reason } => format!("Close {code} ({})", reason.escape_debug()),
        Ending::Codeless => "a Close without a code".into(),
        Ending::Eof => "an end of stream, without a Close".into(),
        Ending::Reset => "a reset, without a Close".into(),
        Ending::Broken { why } => format!("something that is no WebSocket: {why}"),
    }
}
