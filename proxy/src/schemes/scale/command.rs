//! Running `--on-scale`.

use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::config::OnScale;

/// How much of what a command says on standard error is logged, in bytes.
const SAID: u64 = 1024;
/// How long it is waited for the last of that once the command has ended.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What a command is told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Order {
    pub(super) pool: Box<str>,
    pub(super) wanted: u32,
    pub(super) present: u32,
    /// Rounded.
    pub(super) sessions: u64,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With exit code 0.
    Done,
    /// With another exit code; `None` if a signal ended it.
    Failed(Option<i32>),
    /// It took too long and was killed, with all that it had started.
    TimedOut,
    /// It could not be started.
    NotStarted(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("exit code 0"),
            Self::Failed(Some(code)) => write!(f, "exit code {code}"),
            Self::Failed(None) => f.write_str("ended by a signal"),
            Self::TimedOut => f.write_str("killed: it took too long"),
            Self::NotStarted(why) => write!(f, "not started: {why}"),
        }
    }
}

/// Runs the program, without a shell, as `PROGRAM POOL WANTED PRESENT`, and waits for its end. Also gives the beginning
/// of what it said on standard error. If this is dropped, the program and what it started are killed.
pub(super) async fn run(on_scale: &OnScale, order: &Order) -> (Ended, String) {
    let mut command = Command::new(&on_scale.program);
    command
        .arg(&*order.pool)
        .args([order.wanted, order.present].map(|number| number.to_string()))
        .env("TIDEOVER_SCALE_POOL", &*order.pool)
        .env("TIDEOVER_SCALE_WANTED", order.wanted.to_string())
        .env("TIDEOVER_SCALE_PRESENT", order.present.to_string())
        .env("TIDEOVER_SCALE_SESSIONS", order.sessions.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // Of its own, so that a signal to the proxy's is not one to it, and so that it can be killed with its children.
        .process_group(0);
    match command.spawn() {
        Ok(child) => watch(Group(child), on_scale.timeout).await,
        Err(error) => (Ended::NotStarted(error.to_string()), String::new()),
    }
}

async fn watch(mut group: Group, most: Duration) -> (Ended, String) {
    let stderr = group.0.stderr.take();
    let mut said = Vec::new();
    let (running, ended) = oneshot::channel::<()>();
    let waiting = async {
        let ended = wait(&mut group, most).await;
        drop(running);
        ended
    };
    // What the command started may go on, and keep standard error open.
    let deaf = async {
        let _ = ended.await;
        sleep(LAST_WORDS).await;
    };
    let listening = async {
        tokio::select! {
            () = listen(stderr, &mut said) => {}
            () = deaf => {}
        }
    };
    let (ended, ()) = tokio::join!(waiting, listening);
    (ended, String::from_utf8_lossy(&said).trim_end().to_owned())
}

async fn wait(group: &mut Group, most: Duration) -> Ended {
    match timeout(most, group.0.wait()).await {
        Ok(Ok(status)) if status.success() => Ended::Done,
        Ok(Ok(status)) => Ended::Failed(status.code()),
        Ok(Err(error)) => Ended::NotStarted(error.to_string()),
        Err(_) => {
            group.kill();
            // So that it is no zombie; what it ended with is known.
            let _ = group.0.wait().await;
            Ended::TimedOut
        }
    }
}

/// Keeps the beginning and reads on, so that nobody is stopped by a full pipe.
async fn listen(stderr: Option<impl AsyncRead + Unpin>, said: &mut Vec<u8>) {
    let Some(mut stderr) = stderr else { return };
    // What cannot be read was not said.
    let _ = (&mut stderr).take(SAID).read_to_end(said).await;
    let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
}

/// A child that leads a process group, killed with it when dropped before its end.
struct Group(Child);

impl Group {
    fn kill(&self) {
        // `None` once it was waited for: the number may be another's by then.
        if let Some(pid) = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // An error means that it is gone.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::time::Instant;

    /// A script in a directory of its own, which goes with it.
    struct Script(PathBuf);

    impl Script {
        fn new(name: &str, text: &str) -> Self {
            let directory = std::env::temp_dir().join(format!("tideover-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&directory).unwrap();
            let path = directory.join("on-scale");
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            Self(directory)
        }

        async fn run(&self, timeout: Duration) -> (Ended, String) {
            let order = Order { pool: "chat $HOME".into(), wanted: 4, present: 3, sessions: 321 };
            run(&OnScale { program: self.0.join("on-scale"), timeout }, &order).await
        }

        fn file(&self, name: &str) -> String {
            std::fs::read_to_string(self.0.join(name)).unwrap_or_default()
        }
    }

    impl Drop for Script {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn it_is_told_by_arguments_and_variables_as_they_are() {
        let text = r#"printf '%s|' "$@" "$TIDEOVER_SCALE_POOL" "$TIDEOVER_SCALE_WANTED" "$TIDEOVER_SCALE_PRESENT" \
            "$TIDEOVER_SCALE_SESSIONS" > "${0%/*}/told""#;
        let script = Script::new("told", text);
        assert_eq!(script.run(LONG).await, (Ended::Done, String::new()));
        assert_eq!(script.file("told"), "chat $HOME|4|3|chat $HOME|4|3|321|");
    }

    #[tokio::test]
    async fn its_exit_code_and_the_beginning_of_what_it_said_are_kept() {
        let script = Script::new("failed", "echo no quota >&2; head -c 1000000 /dev/zero >&2; exit 3");
        let (ended, said) = script.run(LONG).await;
        assert_eq!((ended, said.len()), (Ended::Failed(Some(3)), SAID as usize));
        assert!(said.starts_with("no quota"));
        let killed = Script::new("killed", "kill -9 $$");
        assert_eq!(killed.run(LONG).await.0, Ended::Failed(None));
    }

    #[tokio::test]
    async fn when_its_time_is_up_it_is_killed_with_what_it_started() {
        let script = Script::new("slow", "sleep 1000 & echo $! > \"${0%/*}/child\"; wait");
        let start = Instant::now();
        // Long enough for a shell to start on a busy machine.
        assert_eq!(script.run(Duration::from_secs(3)).await.0, Ended::TimedOut);
        assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
        let child = script.file("child").trim().to_owned();
        let gone = || match std::fs::read_to_string(format!("/proc/{child}/stat")) {
            // An orphan whose end nobody has asked for yet.
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        };
        while !gone() {
            assert!(start.elapsed() < LONG, "process {child} is still there");
            sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn what_it_leaves_running_is_not_waited_for() {
        let script = Script::new("daemon", "sleep 30 & exit 0");
        let start = Instant::now();
        assert_eq!(script.run(LONG).await.0, Ended::Done);
        assert!(start.elapsed() < LONG);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_not_started() {
        let order = Order { pool: "default".into(), wanted: 1, present: 0, sessions: 0 };
        let (ended, _) = run(&OnScale { program: "/nonexistent/on-scale".into(), timeout: LONG }, &order).await;
        assert!(matches!(ended, Ended::NotStarted(_)), "{ended}");
    }
}
