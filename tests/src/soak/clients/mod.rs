//! Who makes the load.

mod foreign;
mod plain;
mod talk;

use std::{net::SocketAddr, time::Duration};

use tokio::{sync::watch, task::JoinHandle};

use super::{Plan, account::Account, scene::Scene};
use crate::deadline::within;
use talk::{Manner, Way};

/// How long clients may take to leave: each waits for the echoes of what it sent.
const LEAVE_WITHIN: Duration = Duration::from_secs(60);

/// All clients of a run.
pub(super) struct Crowd {
    clients: Vec<JoinHandle<Account>>,
    over: watch::Sender<bool>,
}

impl Crowd {
    /// They begin.
    pub(super) fn come(scene: &Scene, plan: Plan) -> Self {
        let (over, stop) = watch::channel(false);
        let (plain, tls) = (scene.plain(), scene.proxy.address());
        let mut clients: Vec<_> = manners(plan.sessions)
            .enumerate()
            .map(|(number, (way, manner))| {
                let address = if way == Way::Tls { tls } else { plain };
                tokio::spawn(talk::run(address, way, manner, number as u64, stop.clone()))
            })
            .collect();
        clients.push(tokio::spawn(plain::run(plain, stop.clone())));
        clients.push(tokio::spawn(foreign::run(localhost(plain), plan.time, stop)));
        Self { clients, over }
    }

    /// They finish what they have begun and leave.
    pub(super) async fn leave(&mut self) -> Account {
        self.over.send_replace(true);
        let mut all = Account::default();
        for client in self.clients.drain(..) {
            all += within(LEAVE_WITHIN, "a client has its echoes", client).await.expect("a client does not panic");
        }
        all
    }
}

/// The route of compressing clients has this name.
fn localhost(address: SocketAddr) -> String {
    format!("ws://localhost:{}/echo", address.port())
}

/// Half of those that stay speak TLS. For ten that stay, one comes and goes on each way; and two read slowly in all.
fn manners(stay: u32) -> impl Iterator<Item = (Way, Manner)> {
    let passing = (stay / 10).max(1);
    [Way::Plain, Way::Tls].into_iter().flat_map(move |way| {
        let staying = std::iter::repeat_n((way, Manner::Stays), stay.div_ceil(2) as usize);
        let passing = std::iter::repeat_n((way, Manner::ComesAndGoes), passing.div_ceil(2) as usize);
        staying.chain(passing).chain([(way, Manner::ReadsSlowly)])
    })
}
