//! The echo client that Autobahn's server tries: it asks how many cases there are, runs each, and says when all are
//! done.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    backend::python,
    client::{Socket, connect},
    deadline::wait_for,
};

/// Runs all cases of the suite at `base`, so many at a time.
///
/// # Panics
/// When the suite does not answer, or the cases take longer than `within`.
pub(super) fn run_cases(base: &str, parallel: usize, within: Duration) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let run = async {
        let count = count_of_cases(base).await;
        let next = Arc::new(AtomicUsize::new(1));
        let workers: Vec<_> = (0..parallel).map(|_| tokio::spawn(work(base.to_owned(), next.clone(), count))).collect();
        for worker in workers {
            worker.await.expect("a worker does not panic");
        }
        echo(open(&format!("{base}/updateReports?agent=echo")).await).await;
    };
    let done = runtime.expect("a runtime").block_on(async { timeout(within, run).await });
    done.unwrap_or_else(|_| panic!("the cases are not done within {within:?}"));
}

/// The same by Python `websockets`, which compresses.
///
/// # Panics
/// As [`run_cases`].
pub(super) fn run_compressed_cases(base: &str, parallel: usize, within: Duration) {
    let mut client = python("clients/cases.py");
    client.args(["--url", base, "--parallel", &parallel.to_string()]).stdin(Stdio::piped());
    let mut client = client.spawn().expect("python starts");
    let status = wait_for(within, "the cases are done", || client.try_wait().expect("try_wait"));
    assert!(status.success(), "the client failed: {status}");
}

async fn count_of_cases(base: &str) -> usize {
    let mut socket = open(&format!("{base}/getCaseCount")).await;
    let count = socket.next().await.expect("an answer").expect("a message");
    count.to_text().expect("text").parse().expect("a number")
}

/// Runs the next case until there is none.
async fn work(base: String, next: Arc<AtomicUsize>, count: usize) {
    loop {
        let case = next.fetch_add(1, Ordering::Relaxed);
        if case > count {
            return;
        }
        echo(open(&format!("{base}/runCase?case={case}&agent=echo")).await).await;
    }
}

async fn open(url: &str) -> Socket {
    connect(url).await.unwrap_or_else(|error| panic!("{url}: {error}")).0
}

/// Sends back what comes until the connection's end, whatever that is.
async fn echo(mut socket: Socket) {
    while let Some(Ok(message)) = socket.next().await {
        if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).await.is_err() {
            return;
        }
    }
}
