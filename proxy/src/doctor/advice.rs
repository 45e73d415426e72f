//! Which settings fit what was seen. Pure.

use serde::Serialize;

use super::findings::{Answers, Departure, Ending, Findings, Greeting, PongOrder, Spoken};

/// The proxy's own linger time where pongs come early (`--ack-linger auto`), in milliseconds.
const AUTO_LINGER: f64 = 250.0;
/// Profiles whose rules change messages, or cut them anew.
const CHANGING: [&str; 2] = ["eth-subscribe", "mqtt"];
/// The codes that lead to a failover by themselves (`--failover-codes`).
const LEAVING: [u16; 4] = [1001, 1012, 1013, 1014];

/// A setting, and the evidence for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Advice {
    /// The flag.
    pub(super) flag: &'static str,
    /// Its value.
    pub(super) value: String,
    /// Why.
    pub(super) why: String,
}

impl Advice {
    fn new(flag: &'static str, value: impl Into<String>, why: impl Into<String>) -> Self {
        Self { flag, value: value.into(), why: why.into() }
    }
}

/// The settings, in the order in which one reads them.
pub(super) fn advise(findings: &Findings) -> Vec<Advice> {
    let mut advice = Vec::new();
    if let Some(profile) = &findings.profile {
        advice.push(Advice::new(
            "--profile",
            profile.name,
            format!(
                "{}; it knows what to pin, to swallow and to wait for, and acknowledges by key where the \
                protocol has one",
                profile.why
            ),
        ));
    }
    advice.extend(match &findings.profile {
        Some(profile) => with_profile(profile, findings),
        None => without_profile(findings),
    });
    advice.extend(findings.restart.as_ref().and_then(departure));
    advice
}

/// A profile's rules acknowledge, and swallow greetings: what else would do that stands in their way.
fn with_profile(profile: &Spoken, findings: &Findings) -> Vec<Advice> {
    let mut advice = vec![
        Advice::new(
            "--ack",
            "rules",
            "the default with this profile: a message is done with when its own answer has come",
        ),
        keyless_linger(findings),
        Advice::new("--greeting", "0", "the profile's rules swallow what a new backend says again"),
        Advice::new("--dedupe-replies", "off", "the default with rules that acknowledge"),
    ];
    if CHANGING.contains(&profile.name) {
        advice.push(Advice::new(
            "--compression",
            "off",
            "the default with this profile, which changes or cuts messages",
        ));
    }
    advice
}

fn without_profile(findings: &Findings) -> Vec<Advice> {
    let ack = ack(findings);
    let by_pongs = ack.value == "pong";
    let linger = by_pongs.then(|| linger(findings));
    let rest = [greeting(findings.greeting), dedupe(findings, by_pongs)];
    [ack].into_iter().chain(linger).chain(rest).collect()
}

fn ack(findings: &Findings) -> Advice {
    let ack = |value: &str, why: String| Advice::new("--ack", value, why);
    if findings.explicit {
        return ack("explicit", "it says Tideover-Ack in its handshake: it acknowledges by itself".into());
    }
    let Some(answers) = &findings.answers else {
        return match findings.ping_ms {
            Some(_) => ack(
                "pong",
                "it answers pings; nothing was sent, so where the pong stands to an answer \
                is not known: give --send"
                    .into(),
            ),
            None => ack(
                "pong",
                "it answered no ping: the newest messages are kept as far as they fit; with \
                --send it shows whether --ack reply could be used"
                    .into(),
            ),
        };
    };
    let (one_each, total) = (answers.is_one_each(), answers.counts.len());
    let pushes = matches!(findings.greeting, Greeting::Pushes { .. });
    match answers.order {
        PongOrder::After => ack(
            "pong",
            format!(
                "the pong came behind the answer, {total} of {total} times: it \
            says that the message was handled"
            ),
        ),
        PongOrder::Before | PongOrder::Mixed if one_each => ack(
            "reply",
            format!(
                "the pong came before the answer, {}: it proves nothing but that the message \
                was read; and each of {total} messages had one answer",
                early(answers)
            ),
        ),
        PongOrder::Before | PongOrder::Mixed => ack(
            "pong",
            format!(
                "the pong came before the answer, {}, so it proves only that the message was \
                read; but not each message had one answer, so that --ack reply would fall back: a linger time \
                must bridge the handler",
                early(answers)
            ),
        ),
        PongOrder::Unknown if one_each && !pushes => {
            ack("reply", format!("it answered no ping, and each of {total} messages had one answer"))
        }
        PongOrder::Unknown if findings.ping_ms.is_none() => ack(
            "pong",
            "it answered no ping, and its messages are not one answer each: the newest of the \
                client's messages are kept as far as they fit"
                .into(),
        ),
        PongOrder::Unknown if pushes => ack(
            "pong",
            "it sends messages by itself, so which of them are answers is not known; it answers \
                pings"
                .into(),
        ),
        PongOrder::Unknown => ack("pong", "nothing answered what was sent, but pings were answered".into()),
    }
}

fn early(answers: &Answers) -> String {
    format!("{} of {} times", answers.pongs_before, answers.pongs_before + answers.pongs_after)
}

/// For messages that pongs acknowledge.
fn linger(findings: &Findings) -> Advice {
    let linger = |value: String, why: &str| Advice::new("--ack-linger", value, why);
    let lag = findings.answers.as_ref().and_then(|answers| answers.lag_ms);
    match (findings.answers.as_ref().map(|answers| answers.order), lag) {
        (Some(PongOrder::After), _) => linger("auto".into(), "that is none here, as pongs come behind answers"),
        (_, Some(lag)) if 2.0 * lag > AUTO_LINGER => {
            let enough = (2.0 * lag / 100.0).ceil() * 100.0;
            linger(
                format!("{enough}ms"),
                &format!(
                    "the last answer came up to {lag:.0} ms behind the pong; twice that leaves room, but a \
                        slower handler's message would be lost with it"
                ),
            )
        }
        (_, Some(lag)) => linger(
            "auto".into(),
            &format!("250 ms where pongs come early, and answers came within {lag:.0} ms of the pong"),
        ),
        (_, None) => linger(
            "auto".into(),
            "the proxy sees by itself where pongs come, and keeps messages for 250 ms until it knows",
        ),
    }
}

/// With rules: subscriptions, notifications, QoS 0 and the like.
fn keyless_linger(findings: &Findings) -> Advice {
    let linger = linger(findings);
    Advice { why: format!("what has no answer of its own is done with by ping and pong: {}", linger.why), ..linger }
}

fn greeting(seen: Greeting) -> Advice {
    let greeting = |count: usize, why: String| Advice::new("--greeting", count.to_string(), why);
    match seen {
        Greeting::Messages { count: 0 } => greeting(0, "nothing came before something was sent".into()),
        Greeting::Messages { count } => greeting(
            count,
            format!("{count} came before anything was sent, on each of 2 connections: a client should see them once"),
        ),
        Greeting::Varies { first, second } => greeting(
            0,
            format!(
                "{first} messages came before anything was sent, then {second}: what is not always as many \
                    cannot be told from the rest by counting; a rule can swallow it"
            ),
        ),
        Greeting::Pushes { count } => greeting(
            0,
            format!("it sends by itself, {count} messages while it was listened: what it sends first is no greeting"),
        ),
    }
}

fn dedupe(findings: &Findings, by_pongs: bool) -> Advice {
    let dedupe = |value: &str, why: &str| Advice::new("--dedupe-replies", value, why);
    let repeatable = findings.answers.as_ref().and_then(|answers| answers.repeatable);
    match (by_pongs, repeatable) {
        (false, _) => dedupe("off", "an answered message is not sent again"),
        (true, Some(true)) => dedupe(
            "on",
            "a second connection gave the same answers to the same messages, so those that come again are recognised",
        ),
        (true, Some(false)) => dedupe(
            "off",
            "a second connection gave other answers to the same messages, so those that come again would not be \
                recognised; where the pong comes behind the answer, --commit barrier lets the client see each once",
        ),
        (true, None) => dedupe("on", "no answers were seen; it does no harm"),
    }
}

fn departure(departure: &Departure) -> Option<Advice> {
    match departure.ending.as_ref()? {
        Ending::Close { code, .. } if LEAVING.contains(code) => Some(Advice::new(
            "--failover-codes",
            "1001,1012,1013,1014",
            format!("it left with Close {code}, which is among them: no setting is needed"),
        )),
        Ending::Close { code: 1011, .. } | Ending::Codeless | Ending::Eof | Ending::Reset => Some(Advice::new(
            "--on-ambiguous",
            "probe",
            "how it left says nothing certain; the proxy asks whether it is there, so it must refuse \
                connections while it restarts; behind a virtual address, or with forked workers, use failover",
        )),
        Ending::Close { code, .. } => Some(Advice::new(
            "--failover-codes",
            format!("1001,1012,1013,1014,{code}"),
            format!(
                "it left with Close {code}, which clients would be shown: add it if it means nothing but a \
                    restart, or have it close with 1001"
            ),
        )),
        Ending::Broken { .. } => None,
    }
}
