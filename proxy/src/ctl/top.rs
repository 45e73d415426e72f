//! `tideover ctl top`: the proxy and its backends, looked at again and again.

use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::client::{Answer, Client};
use super::print;
use super::problem::Problem;
use super::screen::Screen;
use super::show::{age, state, taking};
use super::table::{harmless, table};
use crate::admin::{Backend, Backends, Proxy};

/// The proxy at one moment.
struct Look {
    at: Instant,
    proxy: Proxy,
    backends: Vec<Backend>,
}

/// Shows it until Ctrl-C or SIGTERM; `once`, or where there is no terminal, prints it after the time of one `interval`,
/// which the rates are of.
pub(super) async fn watch(client: &Client, interval: Duration, once: bool, json: bool) -> Result<(), Problem> {
    if json {
        let (_, answer) = look(client).await?;
        print(&format!("{answer}\n"));
        return Ok(());
    }
    let failed = |error| Problem::Refused(format!("no signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let (mut before, _) = look(client).await?;
    let screen = if once { None } else { Screen::take() };
    if let Some(screen) = &screen {
        screen.draw(&page(&before, None)).map_err(gone)?;
    }
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        }
        let (now, _) = look(client).await?;
        let page = page(&now, Some(&before));
        match &screen {
            Some(screen) => screen.draw(&page).map_err(gone)?,
            None => {
                print(&page);
                return Ok(());
            }
        }
        before = now;
    }
}

fn gone(error: std::io::Error) -> Problem {
    Problem::Refused(format!("the terminal cannot be written to: {error}"))
}

async fn look(client: &Client) -> Result<(Look, Value), Problem> {
    let (proxy, backends) = tokio::try_join!(client.get("/v1/proxy"), client.get("/v1/backends"))?;
    let (proxy, mut backends) = (proxy.json()?, backends.json()?);
    let answer = json!({ "proxy": proxy, "backends": backends["backends"].take() });
    let all: Backends = read(json!({ "backends": answer["backends"] }))?;
    Ok((Look { at: Instant::now(), proxy: read(proxy)?, backends: all.backends }, answer))
}

fn read<T: DeserializeOwned>(answer: Value) -> Result<T, Problem> {
    serde_json::from_value(answer).map_err(|_| Answer::unexpected())
}

/// The whole page; rates are those since `before`.
fn page(now: &Look, before: Option<&Look>) -> String {
    let proxy = &now.proxy;
    let head = format!(
        "tideover {} {}, up {}: {} sessions of {}, {} without a backend\n",
        harmless(&proxy.version),
        taking(proxy.state),
        age(proxy.uptime_seconds),
        proxy.sessions,
        proxy.max_sessions,
        proxy.detached,
    );
    format!("{head}{}\n{}", rates(now, before), backends(now, before))
}

fn rates(now: &Look, before: Option<&Look>) -> String {
    let (totals, earlier) = (&now.proxy.totals, before.map(|before| &before.proxy.totals));
    let elapsed = before.map(|before| now.at - before.at);
    let rate = |of: fn(&crate::admin::Totals) -> u64| per_second(of(totals), earlier.map(of), elapsed);
    format!(
        "a second: {} messages up, {} down, {} replayed; {} sessions opened, {} ended; {} failovers, {} migrations\n",
        rate(|totals| totals.messages_received),
        rate(|totals| totals.messages_passed),
        rate(|totals| totals.messages_replayed),
        rate(|totals| totals.sessions_opened),
        rate(|totals| totals.sessions_ended),
        rate(|totals| totals.failovers),
        rate(|totals| totals.migrations),
    )
}

/// How much a count rises a second; `-` where there is nothing to compare it with. It may be another process by now,
/// whose counts began anew.
fn per_second(now: u64, before: Option<u64>, elapsed: Option<Duration>) -> String {
    let Some((before, elapsed)) = before.zip(elapsed) else { return "-".to_owned() };
    format!("{:.1}", now.saturating_sub(before) as f64 / elapsed.as_secs_f64().max(f64::EPSILON))
}

fn backends(now: &Look, before: Option<&Look>) -> String {
    let all: usize = now.backends.iter().map(|backend| backend.legs).sum();
    let rows = now.backends.iter().map(|backend| {
        let earlier = before.and_then(|before| before.backends.iter().find(|other| other.id == backend.id));
        let change = earlier.map(|earlier| backend.legs as i64 - earlier.legs as i64);
        let share = if all == 0 { 0.0 } else { backend.legs as f64 / all as f64 };
        let (percent, most) = (format!("{:.1}%", 100.0 * share), backend.max_sessions);
        let legs = most.map_or(backend.legs.to_string(), |most| format!("{} of {most}", backend.legs));
        let check = backend.last_check.as_ref().map_or("-", |check| if check.passed { "passed" } else { "failed" });
        let latency = backend.latency.map_or("-".to_owned(), |latency| format!("{:.1} ms", 1000.0 * latency));
        [
            backend.pool.clone(),
            backend.name.clone(),
            state(backend).to_owned(),
            legs,
            change.map_or("-".to_owned(), |change| format!("{change:+}")),
            percent,
            format!("{:.0}", backend.effective_weight),
            check.to_owned(),
            latency,
            backend.failed_dials.to_string(),
            backend.ejections.to_string(),
        ]
    });
    let headings = [
        "POOL",
        "BACKEND",
        "STATE",
        "LEGS",
        "CHANGE",
        "SHARE",
        "WEIGHT",
        "CHECK",
        "LATENCY",
        "FAILED DIALS",
        "EJECTED",
    ];
    table(headings, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_the_time_between_two_looks() {
        let second = Some(Duration::from_secs(2));
        assert_eq!(per_second(30, Some(10), second), "10.0");
        assert_eq!(per_second(30, None, None), "-");
        assert_eq!(per_second(3, Some(10), second), "0.0", "the proxy was started anew");
    }
}
