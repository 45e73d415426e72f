//! Backends that speak the session protocol are killed at random: each message is done once, and each answer reaches its
//! client once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tideover_tests::{
    Proxy,
    client::{Client, End, Transcript},
    clock::now_ns,
    deadline::eventually,
    example::{Example, Language, Ledger},
    lock::machine_alone,
    random::Random,
};

const KILLS: u32 = 200;
const CLIENTS: u32 = 12;

/// Messages that a client keeps unanswered.
const IN_FLIGHT: usize = 8;

/// The least time between a client's messages.
const PACE: Duration = Duration::from_millis(10);

/// Must be shown: `explicit`: 0 lost, 0 applied twice, 0 answers lost. The pool mixes both languages, so both carriers of
/// the acknowledgement, over one database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_each_message_is_done_once_and_each_answer_comes_once() {
    let _machine = machine_alone();
    let ledger = Ledger::create();
    let mut pool = [Language::Python, Language::Node, Language::Python, Language::Node].map(|one| ledger.start(one));
    let proxy = Proxy::before(pool.iter().map(Example::address), &["--ack", "explicit"]);
    let ceased = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS).map(|id| tokio::spawn(book(proxy.url("/"), id, ceased.clone()))).collect();
    kill_at_random(&mut pool).await;
    ceased.store(true, Ordering::Relaxed);
    let mut sent = Vec::new();
    for client in clients {
        let transcript = client.await.expect("a client gets its answers");
        assert_eq!(transcript.end, End::Client);
        assert_eq!(transcript.texts(), totals(transcript.sent.len()), "the answers of client {}", transcript.client);
        sent.push(transcript.sent.len() as u64);
    }
    let mut booked = Vec::new();
    for (session, amounts) in ledger.amounts() {
        assert_eq!(amounts, (1..=amounts.len() as u64).collect::<Vec<_>>(), "what was booked for {session}");
        booked.push(amounts.len() as u64);
    }
    sent.sort_unstable();
    booked.sort_unstable();
    assert_eq!(booked, sent, "what was booked against what was sent, by session");
    eprintln!("{} messages", sent.iter().sum::<u64>());
}

/// Kills one at random, again and again, but leaves at least two that accept connections.
async fn kill_at_random(pool: &mut [Example]) {
    let seed = now_ns();
    eprintln!("the kills' seed: {seed}");
    let mut random = Random::new(seed);
    for _ in 0..KILLS {
        eventually(Duration::from_secs(30), "most of the pool is back", || ready(pool).len() > 2).await;
        tokio::time::sleep(random.up_to(Duration::from_millis(100))).await;
        let ready = ready(pool);
        let victim = &mut pool[ready[random.below(ready.len() as u64) as usize]];
        victim.kill();
        victim.spawn();
    }
}

fn ready(pool: &[Example]) -> Vec<usize> {
    (0..pool.len()).filter(|&index| pool[index].is_ready()).collect()
}

/// Sends the amounts 1, 2, 3, … until `ceased`, and waits for every answer.
async fn book(url: String, id: u32, ceased: Arc<AtomicBool>) -> Transcript {
    const ANSWER_WITHIN: Duration = Duration::from_secs(40);
    let mut client = Client::connect(id, url.as_str()).await.expect("connected");
    loop {
        let (sent, got) = (client.transcript().sent.len(), client.transcript().got.len());
        let ceased = ceased.load(Ordering::Relaxed);
        if ceased && got >= sent {
            break;
        }
        if !ceased && sent < got + IN_FLIGHT {
            client.send((sent + 1).to_string()).await;
            tokio::time::sleep(PACE).await;
        } else if client.next(ANSWER_WITHIN).await.is_none() {
            return client.finish(ANSWER_WITHIN).await;
        }
    }
    client.close(1000, "", Duration::from_secs(10)).await
}

/// The running totals of 1, 2, 3, …: what each message's answer must be.
fn totals(messages: usize) -> Vec<String> {
    let sum = |total: &mut usize, amount| {
        *total += amount;
        Some(total.to_string())
    };
    (1..=messages).scan(0, sum).collect()
}
