//! The API's answers as tables.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::client::Answer;
use super::table::{pairs, table as columns};
use super::{Order, Problem};
use crate::admin::{
    BackendHealth as Health, Backends, Detail, Migrated, Page, Payload, PoisonedList, PoisonedMessage, State,
};

/// What the answer to an order looks like to people.
pub(super) fn table(order: &Order, answer: Value) -> Result<String, Problem> {
    Ok(match order {
        Order::Backends => backends(&read(answer)?),
        Order::Sessions { .. } => sessions(&read(answer)?),
        Order::Session { .. } => session(&read(answer)?),
        Order::Poisoned { forget: true, .. } => "forgotten\n".to_owned(),
        Order::Poisoned { seq: Some(_), .. } => message(&read(answer)?),
        Order::Poisoned { .. } => poisoned(&read(answer)?),
        Order::Close { id, .. } => format!("session {id} is told to close\n"),
        Order::Failover { id } => format!("session {id} is told to fail over\n"),
        Order::Migrate { .. } => migrated(&read(answer)?),
        Order::Health => "up and ready\n".to_owned(),
        Order::Metrics => answer.to_string(),
    })
}

fn read<T: DeserializeOwned>(answer: Value) -> Result<T, Problem> {
    serde_json::from_value(answer).map_err(|_| Answer::unexpected())
}

fn backends(answer: &Backends) -> String {
    let rows = answer.backends.iter().map(|backend| {
        let state = match (backend.state, backend.health) {
            (State::Draining, _) if backend.removed => "removed",
            (State::Draining, _) => "draining",
            (State::Disabled, _) => "disabled",
            (State::Ready, Health::Down) => "down",
            (State::Ready, Health::Ejected) => "ejected",
            (State::Ready, Health::Doubted) => "doubted",
            (State::Ready, Health::Up) if backend.failing => "failing",
            (State::Ready, Health::Up) => "up",
        };
        let check = backend.last_check.as_ref().map_or("-", |check| check.result.as_str()).to_owned();
        let pongs = match (backend.mute, backend.answers_pings) {
            (true, _) => "none".to_owned(),
            (false, true) => format!("{:?}", backend.pongs).to_lowercase(),
            (false, false) => "unknown".to_owned(),
        };
        let (legs, failed) = (backend.legs.to_string(), backend.failed_dials.to_string());
        let (id, pool, url) = (backend.id.to_string(), backend.pool.clone(), backend.url.clone());
        [id, pool, url, legs, state.to_owned(), check, failed, pongs]
    });
    columns(["ID", "POOL", "BACKEND", "LEGS", "STATE", "LAST CHECK", "FAILED DIALS", "PONGS"], rows)
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
    let session = &answer.session;
    let about = [
        ("session", session.id.to_string()),
        ("peer", session.peer.clone()),
        ("since", session.since.clone()),
        ("age", age(session.age_seconds)),
        ("epoch", session.epoch.to_string()),
        ("backend", session.backend.clone().unwrap_or_else(|| "-".to_owned())),
        ("retained", answer.retained.to_string()),
        ("unacknowledged", answer.unacknowledged.to_string()),
        ("buffered bytes", answer.buffered_bytes.to_string()),
    ];
    let counters = serde_json::to_value(&answer.counters).unwrap_or_default();
    let counters = counters.as_object().into_iter().flatten();
    let counters = counters.map(|(name, value)| (name.replace('_', " "), value.to_string()));
    pairs(about.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(counters))
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

fn age(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).map_or(0, |age| age.as_secs());
    humantime::format_duration(Duration::from_secs(whole)).to_string()
}
