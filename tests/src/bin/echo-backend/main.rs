//! The Rust test backend: tokio-tungstenite, one task a connection, each message read and handled in turn.
//!
//! `echo-backend --port PORT --log FILE`. What a connection does is chosen by its path (see `behaviour`); what happened
//! goes to the log as `tests/README.md` describes. SIGTERM closes every connection with 1001 and ends the process;
//! so does the end of standard input, without the Close, so that no backend outlives a killed test.

mod behaviour;
mod connection;
mod health;

use std::{
    io::{self, Read},
    net::Ipv4Addr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use tideover_tests::backend::EventLog;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, port_flag, port, log_flag, log] = &arguments[..] else { return Err(usage()) };
    if port_flag != "--port" || log_flag != "--log" {
        return Err(usage());
    }
    let port = port.parse().map_err(|_| usage())?;
    std::thread::spawn(end_with_the_test);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(port, Path::new(log)))
}

fn usage() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "usage: echo-backend --port PORT --log FILE")
}

/// The test holds the other end of our standard input: its end is the test's end.
fn end_with_the_test() {
    let _ = io::copy(&mut io::stdin().by_ref(), &mut io::sink());
    std::process::exit(1);
}

async fn serve(port: u16, log: &Path) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let health: Arc<Path> = log.with_file_name("health").into();
    let log = Arc::new(EventLog::append(log)?);
    let (stopping, stop) = watch::channel(());
    let mut terminate = signal(SignalKind::terminate())?;
    log.ready(port);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                let (log, health, stop) = (log.clone(), health.clone(), stop.clone());
                tokio::spawn(async move {
                    match health::is_check(&stream).await {
                        true => health::answer(stream, &health, &log).await,
                        false => connection::handle(stream, log, stop).await,
                    }
                });
            }
            _ = terminate.recv() => break,
        }
    }
    drop((listener, stop));
    stopping.send_replace(());
    // Every connection holds a receiver until it has ended; a client that never answers the Close is not waited for.
    let _ = tokio::time::timeout(Duration::from_secs(5), stopping.closed()).await;
    Ok(())
}
