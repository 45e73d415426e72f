//! An agent that says what the test wants, as one of HAProxy's does: a line a connection.

use std::{
    mem::MaybeUninit,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use socket2::SockRef;
use tideover_tests::deadline::eventually;
use tokio::{io::AsyncWriteExt, net::TcpListener, task::JoinHandle};

pub(crate) struct Agent {
    pub(crate) address: SocketAddr,
    line: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
    answering: JoinHandle<()>,
}

impl Agent {
    pub(crate) async fn start(line: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (line, asked) = (Arc::new(Mutex::new(line.to_owned())), Arc::new(AtomicUsize::new(0)));
        let (says, counts) = (line.clone(), asked.clone());
        let answering = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("accept");
                // Who did not wait for the answer does not hear it.
                if matches!(SockRef::from(&stream).peek(&mut [MaybeUninit::uninit()]), Ok(0)) {
                    continue;
                }
                let line = says.lock().expect("unpoisoned").clone();
                let _ = stream.write_all(format!("{line}\n").as_bytes()).await;
                counts.fetch_add(1, SeqCst);
            }
        });
        Self { address, line, asked, answering }
    }

    /// From now on it says this; waits until that has been heard: who asks again has done with the answer before.
    pub(crate) async fn say(&self, line: &str) {
        line.clone_into(&mut self.line.lock().expect("unpoisoned"));
        self.heard().await;
    }

    /// Waits until what it says now has been heard.
    pub(crate) async fn heard(&self) {
        let before = self.asked.load(SeqCst);
        let asked_twice = || self.asked.load(SeqCst) >= before + 2;
        // The first question may have been answered with the line before; so three in all.
        eventually(Duration::from_secs(10), "the agent is asked", asked_twice).await;
        let once_more = self.asked.load(SeqCst) + 1;
        eventually(Duration::from_secs(10), "the agent is asked", || self.asked.load(SeqCst) >= once_more).await;
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.answering.abort();
    }
}
