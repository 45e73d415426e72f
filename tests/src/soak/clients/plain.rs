//! Plain requests beside the sessions.

use std::{net::SocketAddr, time::Duration};

use tokio::{sync::watch, time::interval};

use super::super::account::Account;
use crate::raw::Connection;

const EVERY: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(60);

/// A request on a connection of its own, again and again. Each is answered; who asks while backends die may be told so.
pub(super) async fn run(address: SocketAddr, over: watch::Receiver<bool>) -> Account {
    let mut account = Account::default();
    let mut due = interval(EVERY);
    while !*over.borrow() {
        due.tick().await;
        match status(address).await {
            Ok(200) => account.answered += 1,
            Ok(502..=504) => account.refused += 1,
            Ok(other) => account.breaches.push(format!("a plain request was answered {other}")),
            Err(what) => account.breaches.push(format!("a plain request was not answered: {what}")),
        }
    }
    account
}

async fn status(address: SocketAddr) -> Result<u16, String> {
    let mut connection = Connection::dial(address).await.map_err(|error| error.to_string())?;
    let request = "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    connection.send_bytes(request).await.map_err(|error| error.to_string())?;
    let head = connection.head(PATIENCE).await.map_err(|ended| format!("{ended:?}"))?;
    Ok(head.status())
}
