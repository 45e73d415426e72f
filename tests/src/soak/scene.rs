//! The proxy before two pools, on a port with TLS and one without.

use std::{net::SocketAddr, time::Duration};

use super::{
    metrics::{Metrics, scrape},
    samples::Sample,
};
use crate::{
    Backend, Kind, Proxy, Replaced, Scratch,
    deadline::wait_for,
    proxy::{field, says},
    random::Random,
    tls::{Authority, Files, VALID},
};

const SOON: Duration = Duration::from_secs(10);

/// What the load runs through.
pub(super) struct Scene {
    pub(super) proxy: Proxy,
    /// Three that also answer plain requests, then two that compress.
    backends: Vec<Backend>,
    plain: SocketAddr,
    scratch: Scratch,
    _config: Replaced,
    _files: Files,
}

impl Scene {
    pub(super) fn set() -> Self {
        let kinds = [Kind::Rust, Kind::Rust, Kind::Rust, Kind::NodeSync, Kind::Aiohttp];
        let backends: Vec<_> = kinds.into_iter().map(Backend::start).collect();
        let urls = |of: &[Backend]| {
            let urls = of.iter().map(|backend| format!("'ws://{}'", backend.address()));
            urls.collect::<Vec<_>>().join(", ")
        };
        let config = Replaced::new(&format!(
            "[[pool]]\nname = 'plain'\nbackend = [{}]\n[[pool]]\nname = 'compressing'\nbackend = [{}]\n\
             [[route]]\nhost = 'localhost'\npool = 'compressing'\n[[route]]\nhost = '127.0.0.1'\npool = 'plain'\n",
            urls(&backends[..3]),
            urls(&backends[3..]),
        ));
        let (files, scratch) = (Files::default(), Scratch::new("soak"));
        let pair = Authority::shared().pair(&files, "soak", &["localhost", "127.0.0.1"], VALID);
        let (file, admin) = (config.text(), format!("unix:{}", scratch.path("admin.sock").display()));
        let flags = ["--listen", "ws://127.0.0.1:0", "--config", &file, "--admin", &admin, "--workers", "1"];
        let proxy = Proxy::before([], &[&pair.flags()[..], &flags].concat());
        let plain = wait_for(SOON, "both ports listen", || {
            let lines = proxy.log_lines();
            let listening = lines.iter().filter(|line| says(line, "listening"));
            let addresses: Vec<_> = listening.filter_map(|line| field(line, "addr").parse().ok()).collect();
            addresses.into_iter().find(|address| *address != proxy.address())
        });
        Self { proxy, backends, plain, scratch, _config: config, _files: files }
    }

    /// Where clients without TLS connect.
    pub(super) fn plain(&self) -> SocketAddr {
        self.plain
    }

    /// Kills any backend, and gives which.
    pub(super) fn kill_one(&mut self, random: &mut Random) -> usize {
        let chosen = random.below(self.backends.len() as u64) as usize;
        self.backends[chosen].kill();
        chosen
    }

    /// Starts one again.
    pub(super) fn restart(&mut self, killed: usize) {
        self.backends[killed].restart();
    }

    /// What the kernel and `/metrics` say of the proxy now.
    pub(super) async fn sample(&self) -> Sample {
        let metrics: Metrics = scrape(&self.scratch.path("admin.sock")).await;
        Sample { rss_kib: self.proxy.rss_kib(), descriptors: self.proxy.descriptors(), metrics }
    }
}
