//! Finding the backends of a pool outside the configuration: what a DNS name stands for, over and over.
//!
//! Lists in files are watched by [`crate::reload`], together with the configuration.

mod dns;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::{Fleet, Pool, Source};
use crate::config::{Config, DnsName};

/// What is asked on behalf of a pool.
type Question = (DnsName, Option<SocketAddr>);

/// The tasks that follow DNS names, one a pool at most. Dropping it ends them.
#[derive(Debug, Default)]
pub struct Discovery {
    tasks: HashMap<Box<str>, (Question, Follower)>,
}

#[derive(Debug)]
struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Discovery {
    /// Follows what `config` says, and nothing else, from now on. To be called on a runtime.
    pub fn apply(&mut self, config: &Config, fleet: &Fleet) {
        let question = |name: &str| {
            let pool = config.pools.iter().find(|pool| pool.name == name)?;
            Some((pool.dns.clone()?, pool.settings.dns_server))
        };
        self.tasks.retain(|name, (asked, _)| question(name).as_ref() == Some(asked));
        for pool in &config.pools {
            let (Some(asked), Some(live)) = (question(&pool.name), fleet.pool(&pool.name)) else { continue };
            if !self.tasks.contains_key(&*pool.name) {
                let task = Follower(tokio::spawn(follow(live, asked.clone())));
                self.tasks.insert(pool.name.as_str().into(), (asked, task));
            }
        }
    }
}

async fn follow(pool: Arc<Pool>, (name, server): Question) {
    let mut failing = false;
    loop {
        let wait = match dns::resolve(&name, server).await {
            Ok(found) => {
                if std::mem::take(&mut failing) {
                    tracing::info!(pool = %pool.name, %name, "the name is resolved again");
                }
                pool.list(Source::Dns, found.backends);
                found.lasts
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(pool = %pool.name, %name, %error, "cannot resolve the name; its last answer stays");
                }
                dns::RETRY
            }
        };
        tokio::time::sleep(wait).await;
    }
}
