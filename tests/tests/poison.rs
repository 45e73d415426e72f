//! A message that kills every backend that reads it is set aside; nothing else ever is.

#[allow(dead_code, reason = "each test file uses its part")]
mod support;

use std::time::Duration;

use support::kill_one_every;
use tideover_tests::{
    Backend, Kind, Proxy,
    backend::{Event, What},
    client::{Client, Load, Transcript, run_many},
    clock::now_ns,
    deadline::{eventually, within},
    judge::Judge,
    lock::machine_alone,
    proxy::says,
};
use tokio::{sync::watch, task::JoinHandle};

const SOON: Duration = Duration::from_secs(60);
/// How long a killed process stays away at least: what a supervisor takes to start it.
const RESTART: Duration = Duration::from_millis(100);
/// How long a dead backend stays away.
const AWAY: Duration = Duration::from_millis(500);

/// From when to when a backend's process was there.
struct Life {
    from: u64,
    to: u64,
}

/// Starts backends again that have died, as a supervisor does, until told to stop; gives the backends back, and when
/// each process lived.
fn supervise(mut backends: Vec<Backend>, stop: watch::Receiver<bool>) -> JoinHandle<(Vec<Backend>, Vec<Life>)> {
    tokio::spawn(async move {
        let mut lives = Vec::new();
        let mut since = vec![now_ns(); backends.len()];
        let mut dead_since = vec![None; backends.len()];
        while !*stop.borrow() {
            for (index, backend) in backends.iter_mut().enumerate() {
                let now = now_ns();
                match dead_since[index] {
                    None if !backend.is_running() => {
                        lives.push(Life { from: since[index], to: now });
                        dead_since[index] = Some(now);
                    }
                    Some(at) if now - at > AWAY.as_nanos() as u64 => {
                        tokio::task::block_in_place(|| backend.restart());
                        (since[index], dead_since[index]) = (now_ns(), None);
                    }
                    None | Some(_) => {}
                }
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let now = now_ns();
        lives.extend(
            since
                .iter()
                .zip(&dead_since)
                .filter(|(_, dead)| dead.is_none())
                .map(|(from, _)| Life { from: *from, to: now }),
        );
        (backends, lives)
    })
}

/// Sends 1 to 49, the poison, then 51, and waits for the last echo.
async fn send_poisoned(url: String) -> Transcript {
    let mut client = Client::connect(1000, url.as_str()).await.expect("a session");
    for number in 1..=51 {
        let text = if number == 50 { "c1000-50 poison".to_owned() } else { format!("c1000-{number}") };
        client.send(text.as_str()).await;
    }
    while let Some(message) = client.next(SOON).await {
        if message.text.starts_with("c1000-51") {
            break;
        }
    }
    client.close(1000, "", SOON).await
}

/// Must be shown: of 50 pipelined messages where the 50th kills every backend that reads it, 1 to 49 are handled, only
/// the 50th is set aside, a pool of three is never down as a whole, and nobody else's session ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_message_that_kills_backends_is_set_aside_and_the_pool_is_never_down() {
    let _machine = machine_alone();
    let backends = Vec::from([Kind::Rust; 3].map(Backend::start));
    let proxy = Proxy::start(&backends, &["--on-poison", "drop"]);
    let (stopping, stop) = watch::channel(false);
    let others_url = proxy.url("/echo");
    let others = tokio::spawn(async move { run_many(&others_url, 0..20, Load::new(10, 40)).await });
    let at_work = || backends.iter().map(|backend| support::clients_on(backend).len()).sum::<usize>() == 20;
    eventually(SOON, "the others are at work", at_work).await;
    let supervisor = supervise(backends, stop);
    let poisoned =
        Box::pin(within(SOON, "the poisoned client gets its last echo", send_poisoned(proxy.url("/poison?on=poison"))))
            .await;
    let others = within(SOON, "the others end", others).await.expect("the clients end");
    stopping.send(true).expect("the supervisor listens");
    let (backends, lives) = supervisor.await.expect("the supervisor ends");

    let echoed: Vec<_> = poisoned.texts().into_iter().map(str::to_owned).collect();
    let wanted: Vec<_> = (1..=51).filter(|number| *number != 50).map(|number| format!("c1000-{number}")).collect();
    let mut first_echoes = echoed.clone();
    first_echoes.dedup();
    assert_eq!(first_echoes, wanted, "all but the 50th are handled, in order, and answered once");

    Judge::new(&backends, others).assert_nothing_lost_and_nobody_closed();

    let over = lives.iter().map(|life| life.to).max();
    let deaths: Vec<_> = lives.iter().map(|life| life.to).filter(|to| Some(*to) != over).collect();
    let alone = |at: &u64| !lives.iter().any(|life| life.from < *at && *at < life.to);
    assert!(deaths.len() >= 3, "it took three deaths to find it");
    assert_eq!(deaths.iter().filter(|at| alone(at)).count(), 0, "a moment without any backend");

    let read: Vec<_> = backends.iter().flat_map(Backend::events).collect();
    let poison_reads =
        read.iter().filter(|event| matches!(&event.what, What::Read(_, text) if text.contains("poison")));
    assert_eq!(poison_reads.count(), 5, "two deaths among others, then --max-replays alone");
    let set_aside = proxy.log_lines().into_iter().filter(|line| says(line, "message set aside: backends die of it"));
    assert_eq!(set_aside.count(), 1);
}

/// A message that takes long is at work whenever its backend is killed. Where backends are killed without it just as
/// often, that says nothing against it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_message_is_not_set_aside_where_backends_are_killed_without_it_too() {
    const READINGS: usize = 8;
    let _machine = machine_alone();
    let mut backends = [Kind::Rust; 3].map(Backend::start);
    let proxy = Proxy::start(&backends, &["--failover-timeout", "5m"]);
    let others_url = proxy.url("/echo");
    let others = tokio::spawn(async move { run_many(&others_url, 0..12, Load::new(20, 30)).await });
    let mut client = Client::connect(1000, proxy.url("/answer?ms=8000")).await.expect("a session");
    client.send("c1000-1").await;
    let readings = |backends: &[Backend]| {
        let read = |backend: &Backend| backend.events().iter().filter(|event| is_reading(event, "c1000-1")).count();
        backends.iter().map(read).sum::<usize>()
    };
    let deadline = now_ns() + SOON.as_nanos() as u64;
    while readings(&backends) < READINGS {
        assert!(now_ns() < deadline, "read {} times, then no more", readings(&backends));
        kill_each(&mut backends).await;
    }
    let answer = client.next(SOON).await.expect("the session goes on, and the message is answered");
    assert_eq!(answer.text, "re:c1000-1");
    let set_aside = proxy.log_lines().into_iter().filter(|line| says(line, "message set aside: backends die of it"));
    assert_eq!(set_aside.count(), 0);
    Judge::new(&backends, within(SOON, "the others end", others).await.expect("the clients end"))
        .assert_nothing_lost_and_nobody_closed();
}

/// Kills one after the other and starts it again: no handler of seconds gets through.
async fn kill_each(backends: &mut [Backend]) {
    for backend in backends {
        backend.kill();
        tokio::time::sleep(RESTART).await;
        backend.restart();
    }
}

fn is_reading(event: &Event, text: &str) -> bool {
    matches!(&event.what, What::Read(_, read) if read == text)
}

/// Must be shown: kills that no message is to blame for set nothing aside, and close nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_minutes_of_kills_every_300_ms_set_nothing_aside() {
    const SECONDS: u32 = 120;
    const KILLS: u32 = 400;
    let _machine = machine_alone();
    let mut backends = [Kind::Rust; 3].map(Backend::start);
    let proxy = Proxy::start(&backends, &["--on-poison", "drop"]);
    let url = proxy.url("/echo");
    let clients = tokio::spawn(async move { run_many(&url, 0..20, Load::new(50, SECONDS)).await });
    let kills = kill_one_every(Duration::from_millis(300), RESTART, &mut backends, KILLS).await;
    assert_eq!(kills.len() as u32, KILLS);
    Judge::new(&backends, clients.await.expect("the clients end")).assert_nothing_lost_and_nobody_closed();
    let set_aside = proxy.log_lines().into_iter().filter(|line| says(line, "message set aside: backends die of it"));
    assert_eq!(set_aside.count(), 0);
}
