//! A backend of the demo: answers each text message with the message and its own process id, so that a client can tell
//! who answered. It knows nothing of the proxy.

use std::io;
use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{accept_async, tungstenite};
use tungstenite::Message;

/// Flags of the echo backend.
#[derive(clap::Args, Clone, Debug)]
pub struct EchoOptions {
    /// Address to listen on
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
}

/// Prints `ready ADDR` and serves until it is killed.
pub(super) async fn run(options: EchoOptions) -> io::Result<()> {
    let listener = TcpListener::bind(options.listen).await?;
    println!("ready {}", listener.local_addr()?);
    serve(listener).await
}

/// Serves all who connect. Returns only if accepting fails.
pub(super) async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A client that breaks off is no concern of the others.
        tokio::spawn(async { converse(stream).await.ok() });
    }
}

async fn converse(stream: TcpStream) -> Result<(), tungstenite::Error> {
    let mut socket = accept_async(stream).await?;
    let process = std::process::id();
    while let Some(message) = socket.next().await {
        if let Message::Text(text) = message? {
            socket.send(Message::text(format!("{text} {process}"))).await?;
        }
    }
    Ok(())
}
