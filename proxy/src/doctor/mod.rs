//! `tideover doctor`: what a backend is like, and which settings fit it.
//!
//! - `examine` connects a few times, sends what it was told to and writes down what came when,
//! - `wire` is one of these connections, `restart` watches one end,
//! - `profile` knows the protocols that a backend may be recognised by,
//! - `findings` are what was seen, `advice` what to make of it, `report` says both.
//!
//! Sends nothing but pings, what it was told to send, and what a named profile opens a connection with or asks.

mod advice;
mod examine;
mod findings;
mod options;
mod profile;
mod report;
mod restart;
#[cfg(test)]
mod tests;
mod wire;

use std::process::ExitCode;

pub use options::Options;

/// Examines a backend and says what it found. The exit code is 0 if it could be examined, 1 if it could not be reached
/// or refused, 2 if this was called wrongly.
#[must_use]
pub fn run(options: Options) -> ExitCode {
    let json = options.json;
    let plan = match options.plan() {
        Ok(plan) => plan,
        Err(why) => {
            eprintln!("tideover doctor: {why}");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no runtime: {error}")),
    };
    match runtime.block_on(Box::pin(examine::examine(&plan))) {
        Ok(findings) => {
            let advice = advice::advise(&findings);
            print!("{}", if json { report::json(&findings, &advice) } else { report::text(&findings, &advice) });
            ExitCode::SUCCESS
        }
        Err(why) => fail(&format!("{}: {why}", plan.title())),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("tideover doctor: {why}");
    ExitCode::FAILURE
}
