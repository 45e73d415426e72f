//! Watching a backend leave.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::findings::{Departure, millis};
use super::options::{Plan, Restart};
use super::wire::{Came, QUIET, Wire};
use crate::deflate::Offers;
use crate::pool::KnockError;

/// How long a command may take to make the backend leave.
const COMMAND: Duration = Duration::from_secs(60);
/// How long a person may take.
const PERSON: Duration = Duration::from_secs(600);

/// Opens a connection, has the backend restarted, and sees how the connection ends.
///
/// # Errors
/// There is no connection.
pub(super) async fn watch(plan: &Plan) -> Result<Departure, KnockError> {
    let (mut wire, _) = Wire::connect(plan, &plan.subprotocols, Offers::default()).await?;
    if let Some(opening) = &plan.opening {
        // How it ended, the next read says.
        let _ = wire.send(opening.clone()).await;
    }
    wire.listen(QUIET, Instant::now() + plan.wait).await;
    let begun = Instant::now();
    let (patience, mut child, mut command_failed) = match &plan.restart {
        Restart::Command(command) => match shell(command).spawn() {
            Ok(child) => (COMMAND, Some(child), None),
            Err(error) => (Duration::ZERO, None, Some(error.to_string())),
        },
        Restart::Ask | Restart::No => {
            eprintln!("restart the backend now, as you always do; waiting for up to {} minutes", PERSON.as_secs() / 60);
            (PERSON, None, None)
        }
    };
    let mut until = begun + patience;
    let ending = loop {
        tokio::select! {
            came = wire.next(until) => match came {
                Some(Came::End(ending)) => break Some(ending),
                Some(Came::Message(_) | Came::Pong(_)) => {}
                None => break None,
            },
            status = wait(&mut child) => {
                child = None;
                if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
                    command_failed = Some(status.map_or_else(|error| error.to_string(), |status| status.to_string()));
                    until = until.min(Instant::now() + plan.wait);
                }
            }
        }
    };
    let after_ms = millis(begun.elapsed());
    if let Some(mut child) = child {
        // A command that runs the server itself never ends.
        let _ = tokio::time::timeout(plan.wait, child.wait()).await;
    }
    Ok(Departure { ending, after_ms, command_failed })
}

/// What it prints is none of our output.
fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(std::io::stderr());
    shell
}

async fn wait(child: &mut Option<tokio::process::Child>) -> std::io::Result<std::process::ExitStatus> {
    match child {
        Some(child) => child.wait().await,
        None => std::future::pending().await,
    }
}
