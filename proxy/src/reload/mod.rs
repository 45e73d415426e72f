//! Taking a new configuration while sessions go on: on SIGHUP, and when its file, a list of backends, the
//! values for re-attaches, a rule file or a file of TLS changes.
//!
//! A configuration that is wrong changes nothing.

mod tls;
mod watch;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::Notify;

use crate::config::{BackendsFile, Config, Problems, Profile, Sources, ValuesFile};
use crate::pool::{Changes, Discovery, Fleet, Source};
use tls::Seen;
use watch::Watch;

/// How often it is looked whether the last leg of a removed backend is gone.
const SWEEP: Duration = Duration::from_millis(500);

const BAD_LIST: &str = "the list of backends is not taken: nothing was changed";
const BAD_VALUES: &str = "the values for re-attaches are not taken: those before stay";

/// What a reload came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// What changed among the backends.
    pub changes: Changes,
    /// Settings that differ from those in force, and take a restart.
    pub restart: Vec<&'static str>,
}

/// Brings what the sources of the configuration say now to the running process.
#[derive(Debug)]
pub struct Reloader {
    sources: Sources,
    fleet: Arc<Fleet>,
    /// What the process was started with: its own settings are in force as long as it lives.
    started: Config,
    state: Mutex<State>,
    /// There may be other files to watch.
    reloaded: Notify,
}

#[derive(Debug)]
struct State {
    /// The latest good configuration.
    config: Config,
    discovery: Discovery,
    /// The configuration's file as it was read last, good or bad; `None` if it could not be read.
    text: Option<Vec<u8>>,
    /// What is wrong with which list of backends, as far as it was logged.
    bad_lists: Vec<(PathBuf, String)>,
    /// What is wrong with which values for re-attaches, likewise.
    bad_values: Vec<(PathBuf, String)>,
    /// The files of TLS as they were read last, good or bad.
    certificates: Seen,
    /// The rule files, likewise.
    rule_files: Vec<RuleFile>,
}

impl Reloader {
    /// One for a process that was started with `config`, out of `sources`.
    #[must_use]
    pub fn new(sources: Sources, config: Config, fleet: Arc<Fleet>) -> Self {
        let text = read(&sources);
        let discovery = Discovery::default();
        let certificates = Seen::now(&config);
        let (bad_lists, bad_values) = (Vec::new(), Vec::new());
        let rule_files = rule_files(&config);
        let config_now = config.clone();
        let state = State { config: config_now, discovery, text, bad_lists, bad_values, certificates, rule_files };
        Self { sources, fleet, started: config, state: Mutex::new(state), reloaded: Notify::new() }
    }

    /// Reads the configuration again and makes the fleet what it says. To be called on a runtime.
    ///
    /// # Errors
    /// All that is wrong with it. Nothing was changed.
    pub fn reload(&self) -> Result<Reloaded, Problems> {
        let mut state = self.state();
        state.text = read(&self.sources);
        let mut config = self.sources.config()?;
        config.check_total(self.started.buffer_total_bytes)?;
        let changes = self.fleet.apply(&config);
        state.discovery.apply(&config, &self.fleet);
        state.bad_lists.clear();
        state.bad_values.clear();
        let restart = self.started.differs_in(&config);
        if let (Some(server), Some(new)) = (&self.started.tls, &config.tls) {
            server.adopt(new);
            tls::log_certificates(server, "certificates loaded again");
        }
        config.tls.clone_from(&self.started.tls);
        state.certificates = Seen::now(&config);
        state.rule_files = rule_files(&config);
        state.config = config;
        self.reloaded.notify_one();
        Ok(Reloaded { changes, restart })
    }

    /// Follows DNS names, SIGHUP (`hangup`), and the files, for ever.
    pub async fn run(&self, hangup: Signal) {
        {
            let mut state = self.state();
            let State { config, discovery, .. } = &mut *state;
            discovery.apply(config, &self.fleet);
        }
        tokio::join!(self.follow(hangup), self.sweep());
    }

    async fn follow(&self, mut hangup: Signal) {
        let mut watch = Watch::new();
        loop {
            self.catch_up(&mut watch);
            // Whatever wakes it, all is looked at: a change that was settling meanwhile is not lost.
            tokio::select! {
                // The log has what came of it.
                Some(()) = hangup.recv() => drop(self.reload_and_log("SIGHUP")),
                () = watch.changed() => {}
                () = self.reloaded.notified() => {}
            }
        }
    }

    /// Not beside the watch in one `select!`: each turn would forget a change that is settling.
    async fn sweep(&self) {
        let mut turn = tokio::time::interval(SWEEP);
        loop {
            turn.tick().await;
            self.fleet.sweep();
        }
    }

    /// Takes what has changed until nothing has. Each look comes behind the watching: what changes while folders are
    /// watched anew is not told.
    fn catch_up(&self, watch: &mut Watch) {
        loop {
            watch.follow(&self.files());
            if !self.look() {
                return;
            }
        }
    }

    /// As [`Self::reload`], with what came of it in the log.
    ///
    /// # Errors
    /// As [`Self::reload`].
    pub fn reload_and_log(&self, cause: &'static str) -> Result<Reloaded, Problems> {
        let reloaded = self.reload();
        match &reloaded {
            Ok(Reloaded { changes, restart }) => {
                let Changes { added, changed, removed } = changes;
                tracing::info!(cause, ?added, ?changed, ?removed, "configuration reloaded");
                if !restart.is_empty() {
                    tracing::warn!(settings = restart.join(", "), "these settings take a restart");
                }
            }
            Err(problems) => {
                for problem in &problems.0 {
                    tracing::error!(%problem, "the new configuration is wrong");
                }
                tracing::error!(cause, problems = problems.0.len(), "configuration not reloaded: nothing was changed");
            }
        }
        reloaded
    }

    /// Takes what differs in the files from what was read last. Whether something does.
    fn look(&self) -> bool {
        let text = read(&self.sources);
        let differs = text != self.state().text;
        let rules = self.rule_files_differ();
        if differs {
            drop(self.reload_and_log("its file changed"));
        } else if rules {
            drop(self.reload_and_log("a rule file changed"));
        }
        let lists = self.look_at_lists();
        let values = self.look_at_values();
        let certificates = self.look_at_certificates();
        differs || rules || lists || values || certificates
    }

    /// Whether the rule files are not as they were read last, good or bad.
    fn rule_files_differ(&self) -> bool {
        let mut state = self.state();
        let now = rule_files(&state.config);
        let differ = now != state.rule_files;
        state.rule_files = now;
        differ
    }

    fn look_at_certificates(&self) -> bool {
        let mut state = self.state();
        let now = Seen::now(&state.config);
        let differ = now != state.certificates;
        if differ {
            state.certificates = now;
            tls::reload(&state.config);
        }
        differ
    }

    fn look_at_lists(&self) -> bool {
        let (mut state, mut differ) = (self.state(), false);
        let State { config, bad_lists, .. } = &mut *state;
        for pool in &mut config.pools {
            let Some(before) = &mut pool.file else { continue };
            match BackendsFile::read(&before.path) {
                Ok(now) => {
                    bad_lists.retain(|(path, _)| *path != now.path);
                    if now != *before {
                        differ = true;
                        before.clone_from(&now);
                        self.fleet.pool(&pool.name).map(|pool| pool.list(Source::File, now.backends));
                    }
                }
                Err(why) => log_once(bad_lists, &before.path, why, BAD_LIST),
            }
        }
        differ
    }

    fn look_at_values(&self) -> bool {
        let (mut state, mut differ) = (self.state(), false);
        let State { config, bad_values, .. } = &mut *state;
        for file in config.routes.iter_mut().filter_map(|route| route.renewal.file.as_mut()) {
            match ValuesFile::read(&file.path) {
                Ok(now) => {
                    bad_values.retain(|(path, _)| *path != now.path);
                    if now != *file {
                        differ = true;
                        file.clone_from(&now);
                        self.fleet.set_values(&now.path, &now.values);
                        tracing::info!(file = %now.path.display(), values = ?now.values, "values for re-attaches loaded again");
                    }
                }
                Err(why) => log_once(bad_values, &file.path, why, BAD_VALUES),
            }
        }
        differ
    }

    /// The files that are watched.
    fn files(&self) -> Vec<PathBuf> {
        let state = self.state();
        let lists = state.config.pools.iter().filter_map(|pool| pool.file.as_ref()).map(|file| file.path.clone());
        let values = state.config.routes.iter().filter_map(|route| route.renewal.file.as_ref());
        let values = values.map(|file| file.path.clone());
        let rules = state.rule_files.iter().map(|(path, _)| path.clone());
        lists.chain(values).chain(rules).chain(self.sources.file()).chain(tls::files(&state.config)).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A rule file and what stands in it; `None` if it cannot be read.
type RuleFile = (PathBuf, Option<Vec<u8>>);

fn rule_files(config: &Config) -> Vec<RuleFile> {
    let profiles = config.routes.iter().filter_map(|route| route.rules.profile.as_ref());
    profiles.filter_map(Profile::path).map(|path| (path.to_owned(), std::fs::read(path).ok())).collect()
}

/// Once, until it is good again or wrong in another way.
fn log_once(logged: &mut Vec<(PathBuf, String)>, path: &PathBuf, why: String, what: &str) {
    if !logged.iter().any(|(other, said)| other == path && *said == why) {
        tracing::error!(file = %path.display(), why, "{what}");
        logged.retain(|(other, _)| other != path);
        logged.push((path.clone(), why));
    }
}

fn read(sources: &Sources) -> Option<Vec<u8>> {
    std::fs::read(sources.file()?).ok()
}
