//! Must be shown, 9: thousands of random and mutated inputs on the data port. The proxy stays up, loses no descriptor,
//! and an honest session beside them is unharmed.

use std::time::Duration;

use tideover_tests::{
    attack::{Inputs, send},
    clock::now_ns,
    deadline::eventually,
    lock::machine_alone,
    raw::{Connection, Stage},
};

mod honest;
use honest::Honest;

/// `TIDEOVER_TEST_INPUTS=100000` sends more.
const INPUTS: u64 = 20_000;
/// How many are on their way at once.
const AT_ONCE: u64 = 16;
/// The proxy waits ten seconds for a request's head and two for the end of a connection.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_input_harms_nobody() {
    let _machine = machine_alone();
    let seed = std::env::var("TIDEOVER_TEST_SEED").map_or_else(|_| now_ns(), |seed| seed.parse().expect("a number"));
    let count = std::env::var("TIDEOVER_TEST_INPUTS").map_or(INPUTS, |count| count.parse().expect("a number"));
    eprintln!("TIDEOVER_TEST_SEED={seed} TIDEOVER_TEST_INPUTS={count}");
    let mut stage =
        Stage::start(2, &["--max-message-bytes", "64KiB", "--close-timeout", "1s", "--http", "reject"]).await;
    let honest = Honest::begin(&stage).await;
    let before = stage.proxy.descriptors();
    let address = stage.proxy.address();
    let senders = (0..AT_ONCE).map(|sender| {
        tokio::spawn(async move {
            for number in (sender..count).step_by(AT_ONCE as usize) {
                let mut inputs = Inputs::of(seed.wrapping_add(number));
                let client = Connection::dial(address).await.expect("the port accepts");
                send(client, inputs.next(), inputs.is_impatient()).await;
            }
        })
    });
    let senders: Vec<_> = senders.collect();
    stage
        .echoing_while(async {
            for sender in senders {
                sender.await.expect("every connection ends");
            }
        })
        .await;
    honest.end(&stage).await;
    let leaked = "the descriptors of all these connections are closed";
    eventually(ENDS_WITHIN, leaked, || stage.proxy.descriptors() <= before).await;
    assert!(stage.proxy.is_running());
}
