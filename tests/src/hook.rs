//! A hook for fresh credentials that the test plays itself, over plain HTTP or TLS.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::{clock::now_ns, raw::Head};

/// A server that writes down each call and answers as it was told last. Dropping it ends it.
#[derive(Debug)]
pub struct Hook {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

/// What it answers.
#[derive(Clone, Debug)]
pub enum Reply {
    /// 200 with this body, after so long.
    Json(String, Duration),
    /// These bytes.
    Bytes(String),
    /// Nothing: the connection stays open.
    Nothing,
}

/// A call as it came.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its head.
    pub head: Head,
    /// Its body.
    pub body: Value,
    /// When it was whole, in [`now_ns`].
    pub at: u64,
}

#[derive(Debug)]
struct State {
    reply: Reply,
    calls: Vec<Call>,
    under_way: usize,
    most_under_way: usize,
}

impl Reply {
    /// 200 with this JSON.
    pub fn json(body: &str) -> Self {
        Self::Json(body.to_owned(), Duration::ZERO)
    }

    /// This status, with more header lines and no body.
    pub fn status(status: u16, headers: &str) -> Self {
        Self::Bytes(format!("HTTP/1.1 {status} So\r\n{headers}Content-Length: 0\r\n\r\n"))
    }
}

impl Hook {
    /// Starts it on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start(reply: Reply) -> Self {
        Self::serve(reply, None).await
    }

    /// The same with TLS.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn start_tls(reply: Reply, acceptor: TlsAcceptor) -> Self {
        Self::serve(reply, Some(acceptor)).await
    }

    async fn serve(reply: Reply, acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let state = State { reply, calls: Vec::new(), under_way: 0, most_under_way: 0 };
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, acceptor) = (shared.clone(), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => answer(stream, &state).await,
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => answer(stream, &state).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { address, state, task }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, with a secret in the query.
    pub fn url(&self) -> String {
        format!("http://{}/renew?key=hook-secret", self.address)
    }

    /// From now on it answers this.
    pub fn reply(&self, reply: Reply) {
        locked(&self.state).reply = reply;
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        locked(&self.state).calls.clone()
    }

    /// The most calls that were whole and not yet answered at a time.
    pub fn most_under_way(&self) -> usize {
        locked(&self.state).most_under_way
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `None` when the connection ends early.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: &Mutex<State>) -> Option<()> {
    let (head, body) = request(&mut stream).await?;
    let body = serde_json::from_slice(&body).expect("a call has JSON");
    let reply = {
        let mut state = locked(state);
        state.calls.push(Call { head, body, at: now_ns() });
        state.under_way += 1;
        state.most_under_way = state.most_under_way.max(state.under_way);
        state.reply.clone()
    };
    let text = match reply {
        Reply::Json(body, after) => {
            tokio::time::sleep(after).await;
            let length = body.len();
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        }
        Reply::Bytes(bytes) => bytes,
        Reply::Nothing => {
            // Until the caller has enough of it.
            let _ = stream.read(&mut [0; 16]).await;
            String::new()
        }
    };
    locked(state).under_way -= 1;
    stream.write_all(text.as_bytes()).await.ok()?;
    stream.flush().await.ok()?;
    // Until the caller closes.
    let _ = stream.read(&mut [0; 16]).await;
    Some(())
}

async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<(Head, Vec<u8>)> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    };
    let head = Head::parse(&String::from_utf8_lossy(&read[..end]));
    let length: usize = head.header("Content-Length").and_then(|length| length.parse().ok())?;
    while read.len() < end + length {
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, read.split_off(end)))
}
