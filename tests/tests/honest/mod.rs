//! A session that does everything right, beside others that do not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tideover_tests::raw::{Connection, Frame, Stage};
use tokio::task::JoinHandle;

const SOON: Duration = Duration::from_secs(10);

/// A client and a backend that exchange messages without a pause until [`Honest::end`].
pub(crate) struct Honest {
    stop: Arc<AtomicBool>,
    client: JoinHandle<u32>,
    backend: JoinHandle<Vec<Frame>>,
}

impl Honest {
    /// Begins to exchange.
    pub(crate) async fn begin(stage: &Stage) -> Self {
        let (client, leg) = stage.session().await;
        let stop = Arc::new(AtomicBool::new(false));
        Self { client: tokio::spawn(exchange(client, stop.clone())), backend: leg.echo(), stop }
    }

    /// Closes, and asserts that everything came through once and in order, and that the proxy never panicked.
    pub(crate) async fn end(self, stage: &Stage) {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.client.await.expect("the client is unharmed");
        assert!(sent > 10, "{sent} messages were exchanged");
        let read = self.backend.await.expect("the backend is unharmed");
        let expected = (1..=sent).map(|number| number.to_string()).collect::<Vec<_>>();
        let (close, messages) = read.split_last().expect("the Close is read");
        assert_eq!(close.close_code(), Some((1000, "honestly done")));
        assert_eq!(messages.iter().map(Frame::as_text).collect::<Vec<_>>(), expected);
        let log = stage.proxy.log_text();
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// A message each millisecond, one at a time; gives how many there were.
async fn exchange(mut client: Connection, stopped: Arc<AtomicBool>) -> u32 {
    let mut number = 0;
    let mut due = tokio::time::interval(Duration::from_millis(1));
    while !stopped.load(Ordering::Relaxed) || number <= 10 {
        due.tick().await;
        number += 1;
        let message = Frame::text(&number.to_string());
        client.send(&message).await.expect("sent");
        assert_eq!(client.next_answering_pings(SOON).await, Ok(message));
    }
    let close = Frame::close(1000, "honestly done");
    client.send(&close).await.expect("sent");
    assert_eq!(client.next_answering_pings(SOON).await, Ok(close));
    number
}
