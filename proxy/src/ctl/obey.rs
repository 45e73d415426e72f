//! Orders as calls of the API.

use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Map, Value, json};

use super::client::{self, Answer, Client};
use super::order::{Attachment, Filter, Order, Settings};
use super::problem::Problem;
use super::resolve;

/// How often it is looked whether a backend's sessions are gone.
const LOOK: Duration = Duration::from_millis(200);

/// Carries the order out, and gives the API's answer to it.
pub(super) async fn obey(client: &Client, order: &Order) -> Result<Value, Problem> {
    match order {
        Order::Status => client.get("/v1/proxy").await?.json(),
        Order::Pause => client.post("/v1/proxy/pause", None).await?.json(),
        Order::Resume => client.post("/v1/proxy/resume", None).await?.json(),
        Order::Reload => client.post("/v1/proxy/reload", None).await?.json(),
        Order::Backends { pool } => {
            let query: Vec<_> = pool.iter().map(|pool| ("pool", pool.clone())).collect();
            client.get(&client::path("/v1/backends", &query)).await?.json()
        }
        Order::Backend(one) => {
            let id = resolve::backend(client, &one.backend).await?;
            client.get(&format!("/v1/backends/{id}")).await?.json()
        }
        Order::Add { url, name, pool, settings } => {
            let mut new = fields(settings);
            new.insert("url".into(), json!(url));
            new.insert("pool".into(), json!(pool));
            new.extend(name.iter().map(|name| ("name".to_owned(), json!(name))));
            client.post("/v1/backends", Some(new.into())).await?.json()
        }
        Order::Set { backend, settings } => {
            let change = fields(settings);
            if change.is_empty() {
                return Err(Problem::Usage("nothing to set: give --weight, --max-sessions or --priority".into()));
            }
            let id = resolve::backend(client, &backend.backend).await?;
            client.call(Method::PATCH, &format!("/v1/backends/{id}"), Some(change.into())).await?.json()
        }
        Order::Remove { backend, wait } => {
            let id = resolve::backend(client, &backend.backend).await?;
            let answer = client.call(Method::DELETE, &format!("/v1/backends/{id}"), None).await?.json()?;
            wait_until_empty(client, id, wait.wait, answer).await
        }
        Order::Drain { backend, wait } => {
            let id = resolve::backend(client, &backend.backend).await?;
            let answer = client.post(&format!("/v1/backends/{id}/drain"), None).await?.json()?;
            wait_until_empty(client, id, wait.wait, answer).await
        }
        Order::Enable(one) => tell_backend(client, &one.backend, "enable").await,
        Order::Disable(one) => tell_backend(client, &one.backend, "disable").await,
        Order::Reset(one) => tell_backend(client, &one.backend, "reset").await,
        Order::Failover { backend: Some(backend), .. } => tell_backend(client, backend, "failover").await,
        Order::Failover { id, backend: None } => {
            let id = id.ok_or_else(|| Problem::Usage("which session?".into()))?;
            client.post(&format!("/v1/sessions/{id}/failover"), None).await?.json()
        }
        Order::Sessions(filter) => sessions(client, filter).await,
        Order::Session { id } => client.get(&format!("/v1/sessions/{id}")).await?.json(),
        Order::Close { id, code, reason } => {
            let closing = json!({ "code": code, "reason": reason });
            client.post(&format!("/v1/sessions/{id}/close"), Some(closing)).await?.json()
        }
        Order::Migrate { id, to } => {
            client.post(&format!("/v1/sessions/{id}/migrate"), Some(json!({ "to": to }))).await?.json()
        }
        Order::Poisoned { session: Some(session), seq: Some(seq), forget } => {
            let method = if *forget { Method::DELETE } else { Method::GET };
            client.call(method, &format!("/v1/poisoned/{session}/{seq}"), None).await?.json()
        }
        Order::Poisoned { .. } => client.get("/v1/poisoned").await?.json(),
        Order::Health => {
            client.get("/healthz").await?;
            client.get("/readyz").await?.json()
        }
        // These print by themselves.
        Order::Metrics | Order::Top { .. } => Ok(Value::Null),
    }
}

fn fields(settings: &Settings) -> Map<String, Value> {
    let Settings { weight, max_sessions, priority } = settings;
    let weight = weight.map(|weight| ("weight", json!(weight)));
    let most = max_sessions.map(|most| ("max_sessions", json!(most.0)));
    let priority = priority.map(|priority| ("priority", json!(priority)));
    [weight, most, priority].into_iter().flatten().map(|(name, value)| (name.to_owned(), value)).collect()
}

async fn tell_backend(client: &Client, backend: &str, what: &str) -> Result<Value, Problem> {
    let id = resolve::backend(client, backend).await?;
    client.post(&format!("/v1/backends/{id}/{what}"), None).await?.json()
}

/// Gives the latest answer about the backend when it has no leg. One that is forgotten has none.
async fn wait_until_empty(
    client: &Client,
    id: u32,
    at_most: Option<Duration>,
    mut answer: Value,
) -> Result<Value, Problem> {
    let Some(at_most) = at_most else { return Ok(answer) };
    let began = Instant::now();
    loop {
        let left = answer["legs"].as_u64().ok_or_else(Answer::unexpected)?;
        if left == 0 {
            return Ok(answer);
        }
        if began.elapsed() >= at_most {
            return Err(Problem::Refused(format!("the backend still has {left} sessions")));
        }
        tokio::time::sleep(LOOK).await;
        match client.find(&format!("/v1/backends/{id}")).await? {
            Some(now) => answer = now.json()?,
            None => answer["legs"] = json!(0),
        }
    }
}

/// All pages together.
async fn sessions(client: &Client, filter: &Filter) -> Result<Value, Problem> {
    let wanted = query(filter);
    let mut all: Vec<Value> = Vec::new();
    let mut next = Value::Null;
    loop {
        let left = filter.limit.map_or(usize::MAX, |limit| limit.saturating_sub(all.len()));
        if left == 0 {
            break;
        }
        let mut query = wanted.clone();
        query.push(("limit", left.min(1000).to_string()));
        query.extend(next.as_str().map(|after| ("after", after.to_owned())));
        let mut page = client.get(&client::path("/v1/sessions", &query)).await?.json()?;
        next = page["next"].take();
        match page["sessions"].take() {
            Value::Array(sessions) => all.extend(sessions),
            _ => return Err(Answer::unexpected()),
        }
        if next.is_null() {
            break;
        }
    }
    Ok(json!({ "sessions": all, "next": next }))
}

fn query(filter: &Filter) -> Vec<(&'static str, String)> {
    let state = filter.state.map(|state| match state {
        Attachment::Attached => "attached".to_owned(),
        Attachment::Detached => "detached".to_owned(),
    });
    let seconds = |age: Option<Duration>| age.map(|age| age.as_secs().to_string());
    let all = [
        ("backend", filter.backend.clone()),
        ("pool", filter.pool.clone()),
        ("route", filter.route.clone()),
        ("peer", filter.peer.clone()),
        ("state", state),
        ("min_age_seconds", seconds(filter.min_age)),
        ("max_age_seconds", seconds(filter.max_age)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
