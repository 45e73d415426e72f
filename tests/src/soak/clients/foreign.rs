//! Compressing sessions of Node `ws`, a process of some after the other.

use std::{collections::BTreeSet, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::super::account::Account;
use crate::client::{End, ForeignClients, ForeignKind, Load, Transcript};

const CLIENTS: u32 = 8;
const RATE: u32 = 10;
/// How long one process works.
const ROUND: Duration = Duration::from_secs(20);

/// Begins the last round in time for its end to be the load's.
pub(super) async fn run(url: String, time: Duration, over: watch::Receiver<bool>) -> Account {
    let (begun, mut account) = (Instant::now(), Account::default());
    while !*over.borrow() {
        let left = time.saturating_sub(begun.elapsed()).min(ROUND).as_secs() as u32;
        if left == 0 {
            break;
        }
        let clients = ForeignClients::start_compressed(ForeignKind::Node, &url, 0..CLIENTS, Load::new(RATE, left));
        for transcript in clients.finish().await {
            account += of(&transcript);
        }
    }
    account
}

fn of(transcript: &Transcript) -> Account {
    let mut seen = BTreeSet::new();
    let repeated = transcript.got.iter().filter(|got| !seen.insert(got.text.as_str())).count();
    let missing = transcript.sent.iter().filter(|sent| !seen.contains(sent.text.as_str())).count();
    let (sent, name) = (transcript.sent.len(), transcript.client);
    let mut breaches = Vec::new();
    if missing > 0 {
        breaches.push(format!("compressing client {name}: {missing} of {sent} messages have no echo"));
    }
    if transcript.end != End::Client || sent == 0 {
        breaches.push(format!("compressing client {name}, {sent} sent: {:?}", transcript.end));
    }
    Account {
        sessions: 1,
        sent: sent as u64,
        echoed: (sent - missing) as u64,
        bytes: transcript.got.iter().map(|got| got.len as u64).sum(),
        repeated: repeated as u64,
        breaches,
        ..Account::default()
    }
}
