//! Sessions at work, and a server that is killed while they are in a given state.

use std::{
    collections::HashSet,
    fs::File,
    io::Write,
    path::PathBuf,
    process::{Child, ChildStdin, Stdio},
    time::{Duration, Instant},
};

use super::{
    Counts, Software, State,
    journal::{Entry, What, read},
    software::Servers,
    tap::{Awaited, Tap},
};
use crate::{
    Proxy,
    clock::now_ns,
    deadline::{wait_for, within},
    metrics::{METRICS, metric},
    scratch::Scratch,
};

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Whether the proxy has the profile.
    pub profile: bool,
    /// Kills in each state, each of a server with sessions of its own.
    pub kills: usize,
    /// Every second of these hits a leg that is being attached after another kill.
    pub later_legs: bool,
    /// Clients at work.
    pub sessions: usize,
    /// How long clients wait for what is missing when all servers are back. The longest that a success may take.
    pub patience: Duration,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was counted.
    pub counts: Counts,
    /// The first faults, and the first of what is missing, as they were written down.
    pub notes: Vec<String>,
    /// From the first start to the last end.
    pub took: Duration,
}

/// How long a state may take to come.
const REACHED_WITHIN: Duration = Duration::from_secs(60);

/// After which it is not awaited any more without the profile.
const NOT_REACHED_AFTER: Duration = Duration::from_secs(30);

impl Software {
    /// Starts servers, proxy and clients, and kills.
    ///
    /// # Panics
    /// When something does not start, or, with the profile, when a state does not come.
    pub fn run(self, plan: Plan) -> Outcome {
        let begun = Instant::now();
        let mut stage = Stage::set(self, plan);
        for state in self.states() {
            for number in 0..plan.kills {
                // Only with a profile does a later leg begin as the first one did.
                let again = plan.profile && plan.later_legs && number % 2 == 1;
                let before = again.then_some(if state == State::Idle { State::Idle } else { State::Streaming });
                stage.episode(before, state);
            }
        }
        stage.account(begun.elapsed())
    }
}

/// The servers, each behind its tap, and the proxy before them.
struct Stage {
    software: Software,
    plan: Plan,
    servers: Servers,
    taps: Vec<Tap>,
    proxy: Proxy,
    scratch: Scratch,
    episodes: usize,
    killed: HashSet<u32>,
    clients: Vec<Entry>,
    counts: Counts,
    notes: Vec<String>,
}

impl Stage {
    fn set(software: Software, plan: Plan) -> Self {
        let servers = software.start();
        let taps: Vec<Tap> = servers.killed.iter().map(|server| Tap::before(server.address())).collect();
        let (plain, profiled) = software.flags();
        let flags = if plan.profile { profiled } else { plain };
        let flags: Vec<&str> = flags.iter().map(String::as_str).chain(METRICS).collect();
        let proxy = Proxy::before(taps.iter().map(Tap::address), &flags);
        let scratch = Scratch::new(software.name());
        let stage = Self {
            software,
            plan,
            servers,
            taps,
            proxy,
            scratch,
            episodes: 0,
            killed: HashSet::new(),
            clients: Vec::new(),
            counts: Counts::default(),
            notes: Vec::new(),
        };
        stage.forget_connections();
        stage
    }

    /// Clients from their start to their end, and a kill; or one, and at once another on the leg that comes of it.
    fn episode(&mut self, before: Option<State>, state: State) {
        let client = ClientProcess::start(self, state == State::Idle);
        let mut away = Vec::new();
        if let Some(before) = before {
            self.wait_until_settled(&client);
            self.look_for(before);
            let victim = self.kill_in(before, &client, Some(state));
            away.extend(victim.and_then(|victim| self.leave_away(victim)));
        } else {
            self.look_for(state);
        }
        away.extend(self.kill_in(state, &client, None));
        self.counts.kills.entry(state).or_default().on_a_later_leg += usize::from(before.is_some());
        let killed_at = now_ns();
        for victim in away {
            self.bring_back(victim);
        }
        self.let_work(&client, killed_at);
        let entries = client.finish(self.plan.patience);
        self.wait_until_all_sessions_end();
        self.note(&entries, state);
        self.clients.extend(entries);
        self.episodes += 1;
    }

    /// A session whose client has left may still say something to a server, which would be taken for a sign.
    fn wait_until_all_sessions_end(&self) {
        let proxy = &self.proxy;
        let wait = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(within(REACHED_WITHIN, "the sessions of the episode end", async {
                while metric(proxy, "sessions_live").await > 0.0 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }));
        };
        // There may be a runtime on this thread.
        std::thread::scope(|scope| scope.spawn(wait).join()).expect("they end");
    }

    fn look_for(&self, state: State) {
        self.taps.iter().for_each(Tap::look_anew);
        if let Some(sign) = self.software.sign(state) {
            self.taps[0].await_sign(sign);
        }
    }

    fn forget_connections(&self) {
        let awaited = Awaited::default();
        self.taps.iter().for_each(|tap| tap.forget_connections(&awaited));
    }

    /// Waits for the state and kills the server that is in it, and says which; `next` is looked for in connections that
    /// begin from then on.
    fn kill_in(&mut self, state: State, client: &ClientProcess, next: Option<State>) -> Option<usize> {
        let victim = self.reached(state, client);
        self.taps.iter().for_each(Tap::forget_sign);
        let Some(victim) = victim else {
            self.notes.push(format!("{}: not reached", state.title()));
            return None;
        };
        if let Some(next) = next {
            self.forget_connections();
            self.look_for(next);
        }
        self.taps[victim].close();
        self.killed.insert(self.servers.killed[victim].kill());
        self.counts.kills.entry(state).or_default().all += 1;
        Some(victim)
    }

    /// A server that is not alone stays away until the other one is killed, too.
    fn leave_away(&mut self, victim: usize) -> Option<usize> {
        if self.taps.len() > 1 {
            return Some(victim);
        }
        self.bring_back(victim);
        None
    }

    fn wait_until_settled(&self, client: &ClientProcess) {
        wait_for(REACHED_WITHIN, "the clients settle", || client.all_settled(self.plan.sessions).then_some(()));
    }

    fn reached(&self, state: State, client: &ClientProcess) -> Option<usize> {
        let found = || match state {
            State::Idle if client.all_settled(self.plan.sessions) => {
                self.taps.iter().position(|tap| tap.sessions() > 0)
            }
            State::Idle => None,
            _ => self.taps.iter().position(Tap::has_seen),
        };
        let (name, begun) = (self.software.name(), Instant::now());
        // Clients that are closed and connect again, over and over, need not come to every state.
        let gives_up = || !self.plan.profile && begun.elapsed() > NOT_REACHED_AFTER;
        let reached = || found().map(Some).or_else(|| gives_up().then_some(None));
        wait_for(REACHED_WITHIN, format_args!("{name} is {}", state.title()), reached)
    }

    fn bring_back(&mut self, victim: usize) {
        self.servers.killed[victim].spawn();
        self.servers.killed[victim].wait_until_ready();
        self.taps[victim].open();
    }

    /// Until each session had answers after the kill, or will not have any.
    fn let_work(&self, client: &ClientProcess, since: u64) {
        const ENOUGH: usize = 5;
        const AT_MOST: Duration = Duration::from_secs(2);
        let begun = Instant::now();
        wait_for(2 * AT_MOST, "work goes on", || {
            let entries = client.entries();
            let answers = entries.iter().filter(|entry| entry.at > since && entry.what == What::Answer).count();
            (answers >= ENOUGH * self.plan.sessions || begun.elapsed() > AT_MOST).then_some(())
        });
    }

    fn note(&mut self, entries: &[Entry], state: State) {
        const MOST: usize = 12;
        let faults = entries.iter().filter(|entry| entry.what == What::Fault);
        let lines = faults.map(|fault| format!("{}: session {}: {}", state.title(), fault.session, fault.id));
        let counts = Counts::of(entries, &[], &HashSet::new());
        let missing = (counts.unanswered + counts.missed > 0)
            .then(|| format!("{}: {} unanswered, {} missed", state.title(), counts.unanswered, counts.missed));
        self.notes.extend(lines.take(3).chain(missing));
        self.notes.truncate(MOST);
    }

    fn account(self, took: Duration) -> Outcome {
        let servers: Vec<Entry> = self.servers.killed.iter().flat_map(|server| read(&server.journal())).collect();
        let counts = Counts { kills: self.counts.kills, ..Counts::of(&self.clients, &servers, &self.killed) };
        Outcome { counts, notes: self.notes, took }
    }
}

/// The program with the clients of an episode. Dropping it kills it.
struct ClientProcess {
    child: Child,
    stdin: ChildStdin,
    journal: PathBuf,
    stderr: PathBuf,
}

impl ClientProcess {
    fn start(stage: &Stage, quiet: bool) -> Self {
        let Stage { software, plan, servers, scratch, episodes, proxy, .. } = stage;
        let [journal, stderr] = ["jsonl", "stderr"].map(|end| scratch.path(&format!("{episodes}.{end}")));
        let mut command = software.client(servers);
        command
            .args(["--url", &software.url(proxy.address())])
            .args(["--sessions", &plan.sessions.to_string(), "--first", &(episodes * plan.sessions).to_string()])
            .args(["--patience-ms", &plan.patience.as_millis().to_string()])
            .arg("--log")
            .arg(&journal)
            .args(quiet.then_some("--quiet"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&stderr).expect("a log file"));
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} did not start: {error}"));
        let stdin = child.stdin.take().expect("a pipe");
        Self { child, stdin, journal, stderr }
    }

    fn entries(&self) -> Vec<Entry> {
        read(&self.journal)
    }

    fn all_settled(&self, sessions: usize) -> bool {
        self.entries().iter().filter(|entry| entry.what == What::Settled).count() == sessions
    }

    /// Tells the clients that the faults are over, and waits until they have ended.
    fn finish(mut self, patience: Duration) -> Vec<Entry> {
        self.stdin.write_all(b"finish\n").expect("the clients are there");
        let deadline = 3 * patience + REACHED_WITHIN;
        let status = wait_for(deadline, "the clients end", || self.child.try_wait().expect("try_wait"));
        let said = std::fs::read_to_string(&self.stderr).unwrap_or_default();
        assert!(status.success(), "the clients failed with {status}:\n{said}");
        self.entries()
    }
}

impl Drop for ClientProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
