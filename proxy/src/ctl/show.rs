//! The API's answers as tables.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::client::Answer;
use super::order::Order;
use super::problem::Problem;
use super::table::{pairs, table as columns};
use crate::admin::{
    Backend, BackendHealth as Health, Backends, Detail, Leaving, Migrated, Page, Payload, PoisonedList,
    PoisonedMessage, Proxy, Reload, State, Taking,
};

/// What the answer to an order looks like to people.
pub(super) fn table(order: &Order, answer: Value) -> Result<String, Problem> {
    Ok(match order {
        Order::Status | Order::Pause | Order::Resume => status(&read(answer)?),
        Order::Reload => reloaded(&read(answer)?),
        Order::Backends { .. } => backends(&read::<Backends>(answer)?.backends),
        Order::Backend(_) => backend(&read(answer)?),
        Order::Add { .. }
        | Order::Set { .. }
        | Order::Remove { .. }
        | Order::Enable(_)
        | Order::Disable(_)
        | Order::Drain { .. }
        | Order::Reset(_) => backends(&[read(answer)?]),
        Order::Sessions(_) => sessions(&read(answer)?),
        Order::Session { .. } => session(&read(answer)?),
        Order::Poisoned { forget: true, .. } => "forgotten\n".to_owned(),
        Order::Poisoned { seq: Some(_), .. } => message(&read(answer)?),
        Order::Poisoned { .. } => poisoned(&read(answer)?),
        Order::Close { id, .. } => format!("session {id} is told to close\n"),
        Order::Failover { id: Some(id), .. } => format!("session {id} is told to fail over\n"),
        Order::Failover { id: None, .. } => leaving(&read(answer)?),
        Order::Migrate { .. } => migrated(&read(answer)?),
        Order::Health => "up and ready\n".to_owned(),
        Order::Metrics | Order::Top { .. } => answer.to_string(),
    })
}

fn read<T: DeserializeOwned>(answer: Value) -> Result<T, Problem> {
    serde_json::from_value(answer).map_err(|_| Answer::unexpected())
}

fn status(answer: &Proxy) -> String {
    let totals = serde_json::to_value(&answer.totals).unwrap_or_default();
    let about = [
        ("state", taking(answer.state).to_owned()),
        ("version", answer.version.clone()),
        ("since", answer.since.clone()),
        ("uptime", age(answer.uptime_seconds)),
        ("sessions", format!("{} of {}", answer.sessions, answer.max_sessions)),
        ("detached", answer.detached.to_string()),
    ];
    pairs(about.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(numbers(&totals)))
}

pub(super) fn taking(state: Taking) -> &'static str {
    match state {
        Taking::Serving => "serving",
        Taking::Paused => "paused",
        Taking::Draining => "draining",
    }
}

/// The numbers of an object, with spaces in their names.
fn numbers(object: &Value) -> impl Iterator<Item = (String, String)> + '_ {
    object.as_object().into_iter().flatten().map(|(name, value)| (name.replace('_', " "), value.to_string()))
}

fn reloaded(answer: &Reload) -> String {
    let all = [
        ("added", &answer.added),
        ("changed", &answer.changed),
        ("removed", &answer.removed),
        ("takes a restart", &answer.restart),
    ];
    let lines: Vec<_> = all.into_iter().filter(|(_, names)| !names.is_empty()).collect();
    match lines.is_empty() {
        true => "reloaded: no backend and no setting of the process differs\n".to_owned(),
        false => pairs(lines.into_iter().map(|(what, names)| (what, names.join(", ")))),
    }
}

fn leaving(answer: &Leaving) -> String {
    format!("{} sessions are told to leave backend {}\n", answer.sessions, answer.backend)
}

/// In one word what matters most of a backend.
pub(super) fn state(backend: &Backend) -> &'static str {
    match (backend.state, backend.health) {
        (State::Draining, _) if backend.removed => "removed",
        (State::Draining, _) => "draining",
        (State::Disabled, _) => "disabled",
        (State::Ready, Health::Down) => "down",
        (State::Ready, Health::Ejected) => "ejected",
        (State::Ready, Health::Doubted) => "doubted",
        (State::Ready, Health::Up) if backend.failing => "failing",
        (State::Ready, Health::Up) => "up",
    }
}

/// A backend with all that is known of it.
fn backend(answer: &Backend) -> String {
    let all = serde_json::to_value(answer).unwrap_or_default();
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let check = answer.last_check.as_ref().map(|check| format!("{}: {}, {} ms", check.at, check.result, check.took_ms));
    let rows = all.as_object().into_iter().flatten().map(|(name, value)| match (name.as_str(), &check) {
        ("last_check", Some(check)) => ("last check".to_owned(), check.clone()),
        _ => (name.replace('_', " "), text(value)),
    });
    pairs(rows)
}

fn backends(answer: &[Backend]) -> String {
    let rows = answer.iter().map(|backend| {
        let state = state(backend);
        let check = backend.last_check.as_ref().map_or("-", |check| check.result.as_str()).to_owned();
        let pongs = match (backend.mute, backend.answers_pings) {
            (true, _) => "none".to_owned(),
            (false, true) => format!("{:?}", backend.pongs).to_lowercase(),
            (false, false) => "unknown".to_owned(),
        };
        let (legs, failed) = (backend.legs.to_string(), backend.failed_dials.to_string());
        let (id, pool, url) = (backend.id.to_string(), backend.pool.clone(), backend.url.clone());
        // By default it is called by its host and port.
        let name = if url.ends_with(&format!("//{}", backend.name)) { "-".to_owned() } else { backend.name.clone() };
        let weight = backend.weight.to_string();
        [id, pool, name, url, weight, legs, state.to_owned(), check, failed, pongs]
    });
    let headings = ["ID", "POOL", "NAME", "BACKEND", "WEIGHT", "LEGS", "STATE", "LAST CHECK", "FAILED DIALS", "PONGS"];
    columns(headings, rows)
}

fn sessions(answer: &Page) -> String {
    let rows = answer.sessions.iter().map(|session| {
        let backend = session.backend.clone().unwrap_or_else(|| "-".to_owned());
        let (age, epoch) = (age(session.age_seconds), session.epoch.to_string());
        [session.id.to_string(), session.peer.clone(), age, epoch, backend]
    });
    columns(["SESSION", "PEER", "AGE", "EPOCH", "BACKEND"], rows)
}

fn session(answer: &Detail) -> String {
    let (session, ring) = (&answer.session, &answer.ring);
    let about = [
        ("session", session.id.to_string()),
        ("peer", session.peer.clone()),
        ("since", session.since.clone()),
        ("age", age(session.age_seconds)),
        ("epoch", session.epoch.to_string()),
        ("backend", session.backend.clone().unwrap_or_else(|| "-".to_owned())),
        ("leg age", seconds(answer.leg_age_seconds)),
        ("pool", session.pool.clone()),
        ("route", session.route.clone()),
        ("received seq", ring.received_seq.to_string()),
        ("written seq", ring.written_seq.to_string()),
        ("acknowledged seq", ring.acknowledged_seq.to_string()),
        ("forgotten seq", ring.forgotten_seq.to_string()),
        ("ring messages", format!("{} of {}", answer.retained, ring.max_messages)),
        ("ring bytes", format!("{} of {}", ring.bytes, ring.max_bytes)),
        ("oldest in ring", seconds(ring.oldest_age_seconds)),
        ("retained", answer.retained.to_string()),
        ("unacknowledged", answer.unacknowledged.to_string()),
        ("buffered bytes", answer.buffered_bytes.to_string()),
    ];
    let counters = serde_json::to_value(&answer.counters).unwrap_or_default();
    pairs(about.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(numbers(&counters)))
}

fn migrated(answer: &Migrated) -> String {
    format!("session {} is on {} now\n", answer.session, answer.backend)
}

fn poisoned(answer: &PoisonedList) -> String {
    let rows = answer.poisoned.iter().map(|poisoned| {
        let (seq, deaths) = (poisoned.seq.to_string(), poisoned.deaths.to_string());
        let kept = if poisoned.payload_kept { "kept" } else { "-" };
        let (bytes, backend) = (poisoned.wire_bytes.to_string(), poisoned.backend.clone());
        [poisoned.session.to_string(), seq, poisoned.at.clone(), deaths, bytes, backend, kept.to_owned()]
    });
    columns(["SESSION", "SEQ", "AT", "DEATHS", "BYTES", "BACKEND", "PAYLOAD"], rows)
}

fn message(answer: &PoisonedMessage) -> String {
    let about = &answer.about;
    let payload = match &answer.payload {
        None => "not kept; see --keep-poison-payload".to_owned(),
        Some(Payload::Text(text)) => format!("text: {text}"),
        Some(Payload::Base64(base64)) => format!("base64: {base64}"),
        Some(Payload::Deflate(base64)) => format!("deflate, base64: {base64}"),
    };
    pairs([
        ("session", about.session.to_string()),
        ("seq", about.seq.to_string()),
        ("at", about.at.clone()),
        ("deaths", about.deaths.to_string()),
        ("last epoch", about.epoch.to_string()),
        ("last backend", about.backend.clone()),
        ("bytes on the wire", about.wire_bytes.to_string()),
        ("payload", payload),
    ])
}

/// With milliseconds; `-` for none.
fn seconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.3}s"))
}

pub(super) fn age(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).map_or(0, |age| age.as_secs());
    humantime::format_duration(Duration::from_secs(whole)).to_string()
}
