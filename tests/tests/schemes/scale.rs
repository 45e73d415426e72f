//! Advice for scaling: the command is really run, when it is due and not before.

use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use tideover_tests::{
    Backend, Kind, Proxy, client::Client, deadline::eventually, lock::machine_shared, scratch::Scratch,
};

use crate::SOON;

/// A program that writes down how it was called.
struct Scaler(Scratch);

impl Scaler {
    /// `fails`: how often it fails first.
    fn new(fails: usize) -> Self {
        let scratch = Scratch::new("scale");
        let text = format!(
            "#!/bin/sh\ncd \"${{0%/*}}\"\necho \"$* $TIDEOVER_SCALE_SESSIONS\" >> calls\n\
             test \"$(wc -l < calls)\" -gt {fails}\n"
        );
        let scaler = Self(scratch);
        std::fs::write(scaler.path(), text).expect("a script");
        std::fs::set_permissions(scaler.path(), PermissionsExt::from_mode(0o755)).expect("an executable script");
        scaler
    }

    fn path(&self) -> PathBuf {
        self.0.path("on-scale")
    }

    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.path("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn start(&self, backends: &[Backend], debounce: &str) -> Proxy {
        let program = self.path();
        let program = program.to_str().expect("a path of text");
        let flags = ["--sessions-per-backend", "2", "--scale-debounce", debounce, "--on-scale", program];
        Proxy::start(backends, &flags)
    }
}

async fn sessions(proxy: &Proxy, count: u32) -> Vec<Client> {
    let mut clients = Vec::new();
    for id in 0..count {
        clients.push(Client::connect(id, proxy.url("/echo")).await.expect("a session"));
    }
    clients
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_is_run_with_the_wanted_number_when_that_has_lasted_and_not_for_a_burst() {
    let _machine = machine_shared();
    let scaler = Scaler::new(0);
    let backends = [Backend::start(Kind::Rust), Backend::start(Kind::Rust)];
    let proxy = scaler.start(&backends, "4s");
    drop(sessions(&proxy, 12).await);
    let clients = sessions(&proxy, 5).await;
    eventually(SOON, "the command is run", || !scaler.calls().is_empty()).await;
    assert_eq!(scaler.calls(), ["default 3 2 5"], "for what lasted: two sessions a backend");
    drop(clients);
    eventually(SOON, "the command is run again", || scaler.calls().len() > 1).await;
    assert_eq!(scaler.calls(), ["default 3 2 5", "default 1 2 0"], "for nothing, the fewest");
    eventually(SOON, "both are in the log", || proxy.log_text().matches("the on-scale command has run").count() == 2)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_fails_is_logged_and_run_again() {
    let _machine = machine_shared();
    let scaler = Scaler::new(1);
    let backends = [Backend::start(Kind::Rust)];
    let proxy = scaler.start(&backends, "0s");
    let _clients = sessions(&proxy, 3).await;
    eventually(SOON, "the command has run well", || proxy.log_text().contains("the on-scale command has run")).await;
    assert_eq!(scaler.calls(), ["default 2 1 3", "default 2 1 3"]);
    assert!(proxy.log_text().contains("exit code 1"), "{}", proxy.log_text());
}
