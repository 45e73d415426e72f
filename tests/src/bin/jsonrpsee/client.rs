//! The client: two subscriptions that stay, and requests one after the other.

use std::{
    collections::HashSet,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jsonrpsee::{
    client_transport::ws::{Url, WsTransportClientBuilder},
    core::client::{Client, ClientBuilder, ClientT, Error, Subscription, SubscriptionClientT, SubscriptionKind},
    rpc_params,
};
use serde_json::Value;
use tideover_tests::interop::journal::{Journal, What};
use tokio::{sync::watch, task::JoinSet};

use crate::Flags;

/// The library gives up a request after a time; here the test decides how long is too long.
const NEVER: Duration = Duration::from_secs(3600);

/// One client, and what it still misses.
struct Session {
    number: u64,
    journal: Arc<Journal>,
    missing: Mutex<(u64, HashSet<String>)>,
}

impl Session {
    fn log(&self, what: What, id: &str) {
        self.journal.log(what, &self.number.to_string(), id);
    }

    fn missing(&self) -> std::sync::MutexGuard<'_, (u64, HashSet<String>)> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, kind: &str) -> String {
        let mut missing = self.missing();
        missing.0 += 1;
        let id = format!("{kind}-{}-{}", self.number, missing.0);
        missing.1.insert(id.clone());
        self.log(What::Ask, &id);
        id
    }

    fn want(&self, id: &str) {
        self.missing().1.insert(id.to_owned());
        self.log(What::Want, id);
    }

    fn found(&self, what: What, id: &str) {
        self.log(what, id);
        self.missing().1.remove(id);
    }

    fn misses(&self, id: &str) -> bool {
        self.missing().1.contains(id)
    }

    async fn complete(&self, patience: Duration) {
        let end = Instant::now() + patience;
        while !self.missing().1.is_empty() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub(crate) async fn run(flags: Flags, journal: Arc<Journal>, finish: watch::Receiver<bool>) -> io::Result<()> {
    let flags = Arc::new(flags);
    let mut clients = Vec::new();
    let first = flags.number("--first")?;
    for number in first..first + flags.number("--sessions")? {
        let session = Arc::new(Session { number, journal: journal.clone(), missing: Mutex::default() });
        let (flags, finish) = (flags.clone(), finish.clone());
        clients.push(tokio::spawn(async move {
            if let Err(error) = live(&session, &flags, finish).await {
                session.log(What::Fault, &format!("failed: {error}"));
            }
            session.log(What::Done, "");
        }));
    }
    for client in clients {
        client.await?;
    }
    Ok(())
}

async fn connect(url: &str) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let (sender, receiver) =
        WsTransportClientBuilder::default().connection_timeout(Duration::from_secs(60)).build(Url::parse(url)?).await?;
    Ok(ClientBuilder::default().request_timeout(NEVER).build_with_tokio(sender, receiver))
}

async fn live(
    session: &Arc<Session>,
    flags: &Flags,
    mut finish: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let client = Arc::new(connect(flags.text("--url")?).await?);
    let mut listeners = JoinSet::new();
    listeners.spawn(tell_the_end(client.clone(), session.clone()));
    let topic = format!("topic-{}", session.number);
    let quiet = flags.has("--quiet");
    let patience = Duration::from_millis(flags.number("--patience-ms")?);

    let published: Subscription<String> =
        client.subscribe("eth_subscribe", rpc_params!["topic", &topic], "eth_unsubscribe").await?;
    listeners.spawn(listen(published, session.clone()));
    let mut blocks = None;
    if !quiet {
        let subscription: Subscription<Value> =
            client.subscribe("eth_subscribe", rpc_params!["newHeads"], "eth_unsubscribe").await?;
        let SubscriptionKind::Subscription(id) = subscription.kind().clone() else { unreachable!("ids are asked for") };
        listeners.spawn(watch_blocks(subscription, session.clone()));
        blocks = Some(id);
    }
    request(&client, session, None);
    session.complete(Duration::from_secs(60)).await;
    session.log(What::Settled, "");
    let mut count = 0;
    while !*finish.borrow() {
        if !quiet && session.missing().1.len() < 6 {
            count += 1;
            request(&client, session, (count % 4 == 0).then_some(&topic));
        }
        tokio::time::timeout(Duration::from_millis(10), finish.changed()).await.ok();
    }
    if blocks.is_some() {
        session.want("block");
    }
    request(&client, session, None);
    request(&client, session, Some(&topic));
    session.complete(patience).await;
    if let Some(id) = blocks {
        unsubscribe(&client, session, id);
        session.complete(patience).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await; // what comes a second time comes soon
    listeners.shutdown().await;
    Ok(())
}

/// Sends `echo`, or `publish` to a topic, and does not wait for the answer here.
fn request(client: &Arc<Client>, session: &Arc<Session>, topic: Option<&String>) {
    let (client, session, topic) = (client.clone(), session.clone(), topic.cloned());
    let id = session.ask(if topic.is_some() { "publish" } else { "echo" });
    if topic.is_some() {
        session.want(&format!("got-{id}"));
    }
    tokio::spawn(async move {
        let answer: Result<String, Error> = match topic {
            Some(topic) => client.request("publish", rpc_params![topic, &id]).await,
            None => client.request("echo", rpc_params![&id]).await,
        };
        match answer {
            Ok(answer) if answer == id => session.found(What::Answer, &id),
            Ok(answer) => session.log(What::Fault, &format!("{answer} is the answer to {id}")),
            Err(error) => session.log(What::Fault, &format!("error for {id}: {error}")),
        }
    });
}

/// By the id that the client knows: the server must find it by the one that it gave itself.
fn unsubscribe(client: &Arc<Client>, session: &Arc<Session>, subscription: impl serde::Serialize + Send + 'static) {
    let (client, session) = (client.clone(), session.clone());
    let id = session.ask("unsubscribe");
    tokio::spawn(async move {
        match client.request("eth_unsubscribe", rpc_params![subscription]).await {
            Ok(true) => session.found(What::Answer, &id),
            other => session.log(What::Fault, &format!("not unsubscribed: {other:?}")),
        }
    });
}

async fn listen(mut published: Subscription<String>, session: Arc<Session>) {
    while let Some(Ok(id)) = published.next().await {
        session.found(What::Get, &format!("got-{id}"));
    }
    session.log(What::Fault, "the subscription to the topic ended");
}

async fn watch_blocks(mut blocks: Subscription<Value>, session: Arc<Session>) {
    while let Some(Ok(_)) = blocks.next().await {
        if session.misses("block") {
            session.found(What::Get, "block");
        }
    }
}

async fn tell_the_end(client: Arc<Client>, session: Arc<Session>) {
    let error = client.on_disconnect().await;
    session.log(What::Fault, &format!("closed: {error}"));
}
