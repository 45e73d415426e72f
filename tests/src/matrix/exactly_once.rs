//! The examples of `examples/session-protocol` under fire: `--ack explicit` with backends that keep what they did.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::runtime::Runtime;

use super::{Counts, Outcome};
use crate::{
    Proxy,
    client::{Client, End, Transcript},
    clock::now_ns,
    deadline::wait_for,
    example::{Example, Language, Ledger},
    random::Random,
};

/// A pool of examples, in the languages given, and how often one of it is killed.
#[derive(Clone, Debug)]
pub struct ExactlyOnce {
    /// Over one database. At least four: two of them are never away on purpose.
    pub pool: Vec<Language>,
    /// SIGKILLs, at random times, of random backends.
    pub kills: usize,
}

const FLAGS: [&str; 2] = ["--ack", "explicit"];

/// Sessions, at work all the time.
const CLIENTS: u32 = 12;

/// Messages that a client keeps unanswered.
const IN_FLIGHT: usize = 8;

/// The least time between a client's messages.
const PACE: Duration = Duration::from_millis(10);

/// The numbers that a client has for its messages, so that a booking tells whose message it was.
const NUMBERS: u64 = 1_000_000;

impl ExactlyOnce {
    /// Starts the pool and a proxy, lets the clients work, kills, and counts.
    ///
    /// # Panics
    /// When a backend or the proxy does not start.
    pub fn run(&self) -> Outcome {
        let ledger = Ledger::create();
        let mut pool: Vec<Example> = self.pool.iter().map(|language| ledger.start(*language)).collect();
        let proxy = Proxy::before(pool.iter().map(Example::address), &FLAGS);
        let begun = Instant::now();
        let runtime = super::client_runtime();
        let ceased = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS).map(|id| runtime.spawn(book(proxy.url("/"), id, ceased.clone()))).collect();
        kill_at_random(&mut pool, self.kills, &runtime);
        ceased.store(true, Ordering::Relaxed);
        let clients = clients.into_iter().map(|client| runtime.block_on(client).expect("a client does not panic"));
        let clients: Vec<Transcript> = clients.collect();
        let (counts, notes) = count(&clients, &ledger);
        Outcome { counts: Counts { kills: self.kills, ..counts }, notes, took: begun.elapsed() }
    }

    /// Why counts prove nothing; empty if they do.
    pub fn void(&self, outcome: &Outcome) -> Vec<String> {
        let Counts { rescued, sent, .. } = outcome.counts;
        let mut reasons = Vec::new();
        if rescued < self.kills {
            reasons.push(format!("re-attached: {rescued} of {}", self.kills));
        }
        if sent < 20 * self.kills {
            reasons.push(format!("sent: {sent} of {}", 20 * self.kills));
        }
        reasons
    }
}

/// Kills one at random, again and again, but leaves at least two that accept connections.
fn kill_at_random(pool: &mut [Example], kills: usize, runtime: &Runtime) {
    let seed = now_ns();
    eprintln!("the kills' seed: {seed}");
    let mut random = Random::new(seed);
    for _ in 0..kills {
        wait_for(Duration::from_secs(60), "most of the pool is back", || (ready(pool).len() > 2).then_some(()));
        let pause = random.up_to(Duration::from_millis(100));
        runtime.block_on(async { tokio::time::sleep(pause).await });
        let ready = ready(pool);
        let victim = &mut pool[ready[random.below(ready.len() as u64) as usize]];
        victim.kill();
        victim.spawn();
    }
}

fn ready(pool: &[Example]) -> Vec<usize> {
    (0..pool.len()).filter(|&index| pool[index].is_ready()).collect()
}

/// The `number`-th amount of a client, from 1.
fn amount(client: u32, number: usize) -> u64 {
    u64::from(client) * NUMBERS + number as u64
}

/// Sends amounts until `ceased`, and waits for every answer.
async fn book(url: String, id: u32, ceased: Arc<AtomicBool>) -> Transcript {
    const ANSWER_WITHIN: Duration = Duration::from_secs(120);
    let mut client = Client::connect(id, url.as_str()).await.expect("connected");
    loop {
        let (sent, got) = (client.transcript().sent.len(), client.transcript().got.len());
        let ceased = ceased.load(Ordering::Relaxed);
        if ceased && got >= sent {
            break;
        }
        if !ceased && sent < got + IN_FLIGHT {
            client.send(amount(id, sent + 1).to_string()).await;
            tokio::time::sleep(PACE).await;
        } else if client.next(ANSWER_WITHIN).await.is_none() {
            return client.finish(ANSWER_WITHIN).await;
        }
    }
    client.close(1000, "", Duration::from_secs(60)).await
}

/// What was sent against what was booked, and what should have been answered against what was.
fn count(clients: &[Transcript], ledger: &Ledger) -> (Counts, Vec<String>) {
    let mut booked: HashMap<u64, usize> = HashMap::new();
    let mut counts = Counts::default();
    for amounts in ledger.amounts().values() {
        counts.disordered += amounts.windows(2).filter(|pair| pair[1] <= pair[0]).count();
        amounts.iter().for_each(|amount| *booked.entry(*amount).or_default() += 1);
    }
    let mut notes = Vec::new();
    for client in clients {
        let sent = client.sent.len();
        let times: Vec<usize> =
            (1..=sent).map(|number| booked.remove(&amount(client.client, number)).unwrap_or(0)).collect();
        counts.sent += sent;
        counts.lost += times.iter().filter(|times| **times == 0).count();
        counts.repeated_backend += times.iter().map(|times| times.saturating_sub(1)).sum::<usize>();
        count_answers(&mut counts, client);
        if client.end != End::Client {
            counts.closed += 1;
            notes.push(format!("client {} ended by {:?}", client.client, client.end));
        }
    }
    // What was booked and never sent.
    counts.strange += booked.values().sum::<usize>();
    counts.rescued = ledger.reattachments();
    (counts, notes)
}

/// The answers must be the running totals of what was sent.
fn count_answers(counts: &mut Counts, client: &Transcript) {
    let mut got: HashMap<&str, usize> = HashMap::new();
    client.texts().into_iter().for_each(|text| *got.entry(text).or_default() += 1);
    let mut total = 0;
    for number in 1..=client.sent.len() {
        total += amount(client.client, number);
        match got.remove(total.to_string().as_str()) {
            None => counts.lost_answers += 1,
            Some(times) => counts.repeated_client += times - 1,
        }
    }
    counts.strange += got.values().sum::<usize>();
    let totals: Vec<u64> = client.texts().iter().filter_map(|text| text.parse().ok()).collect();
    counts.disordered += totals.windows(2).filter(|pair| pair[1] < pair[0]).count();
}
