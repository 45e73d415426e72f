//! The server: `echo`, and two subscriptions in the way of Ethereum nodes, whose state is in this process.

use std::{io, sync::Arc, time::Duration};

use jsonrpsee::{
    RpcModule,
    core::SubscriptionResult,
    server::{PendingSubscriptionSink, RandomStringIdProvider, Server, ServerConfig},
    types::{ErrorObjectOwned, Params},
};
use serde_json::{Value, json};
use tideover_tests::interop::journal::{Journal, What};
use tokio::sync::broadcast;

use crate::Flags;

/// What all connections of this process share.
struct Shared {
    journal: Arc<Journal>,
    /// Topic and message of what was published.
    published: broadcast::Sender<(String, String)>,
}

pub(crate) async fn serve(flags: &Flags, journal: Arc<Journal>) -> io::Result<()> {
    let port = flags.number("--port")?;
    let config = ServerConfig::builder().set_id_provider(RandomStringIdProvider::new(16)).build();
    let server = Server::builder().set_config(config).build(format!("127.0.0.1:{port}")).await?;
    let shared = Shared { journal: journal.clone(), published: broadcast::channel(1024).0 };
    let running = server.start(module(shared).expect("each method is named once"));
    journal.log(What::Ready, "", &port.to_string());
    running.stopped().await;
    Ok(())
}

fn module(shared: Shared) -> Result<RpcModule<Shared>, jsonrpsee::core::RegisterMethodError> {
    let mut module = RpcModule::new(shared);
    module.register_method("eth_chainId", |_, _, _| "0x1")?;
    module.register_async_method("echo", |params, shared, _| async move {
        let id: String = params.one()?;
        tokio::time::sleep(Duration::from_millis(5)).await;
        shared.journal.log(What::Did, "", &id);
        Ok::<_, ErrorObjectOwned>(id)
    })?;
    module.register_async_method("publish", |params, shared, _| async move {
        let (topic, id): (String, String) = params.parse()?;
        shared.journal.log(What::Did, "", &id);
        let _ = shared.published.send((topic, id.clone()));
        // The pushes leave before the answer does.
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok::<_, ErrorObjectOwned>(id)
    })?;
    module.register_subscription(
        "eth_subscribe",
        "eth_subscription",
        "eth_unsubscribe",
        |params, pending, shared, _| subscription(params, pending, shared),
    )?;
    Ok(module)
}

/// `["newHeads"]`: numbered blocks all the time. `["topic", name]`: what is published there.
async fn subscription(
    params: Params<'static>,
    pending: PendingSubscriptionSink,
    shared: Arc<Shared>,
) -> SubscriptionResult {
    let asked: Vec<String> = params.parse()?;
    let mut published = shared.published.subscribe();
    let sink = pending.accept().await?;
    shared.journal.log(What::Subscribe, "", &format!("{asked:?}"));
    let mut block = 0;
    loop {
        let message: Value = if let [_, name] = &asked[..] {
            match published.recv().await {
                Ok((topic, id)) if topic == *name => json!(id),
                Ok(_) => continue,
                Err(error) => return Err(error.into()),
            }
        } else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            block += 1;
            json!({ "number": format!("{block:#x}") })
        };
        sink.send(serde_json::value::to_raw_value(&message)?).await?;
    }
}
