//! `tideover ctl`: the operator's API from the shell.
//!
//! Tables for people, `--json` for scripts. Knows the API by its types only; it reads no state of a proxy.

mod client;
mod obey;
mod order;
mod problem;
mod resolve;
mod screen;
mod show;
mod table;
mod top;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::config::AdminToken;
use client::{Client, Target};
use order::Order;
use problem::Problem;

/// What `tideover ctl` is called with.
#[derive(Debug, Args)]
pub struct Options {
    /// Where the operator's API listens: http://host:port, or unix:PATH
    #[arg(long, value_name = "URL|unix:PATH", env = "TIDEOVER_ADMIN", default_value = "http://127.0.0.1:8081")]
    #[arg(global = true)]
    admin: Target,
    /// The file with the API's token, for TCP
    #[arg(long, value_name = "PATH", env = "TIDEOVER_ADMIN_TOKEN_FILE", global = true)]
    token_file: Option<PathBuf>,
    /// Print the API's JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    order: Order,
}

/// Does one thing. The exit code is 0 if that succeeded, 1 if it was refused or failed, 2 if it was asked wrongly, 3 if
/// the API cannot be reached.
#[must_use]
pub fn run(options: Options) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Problem::Refused(format!("no runtime: {error}"))),
    };
    match runtime.block_on(carry_out(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => fail(&problem),
    }
}

fn fail(problem: &Problem) -> ExitCode {
    eprintln!("tideover ctl: {problem}");
    problem.exit_code()
}

async fn carry_out(options: &Options) -> Result<(), Problem> {
    // An empty path is none, as in `serve`.
    let path = options.token_file.as_deref().filter(|path| !path.as_os_str().is_empty());
    let token = path.map(AdminToken::read).transpose();
    let token = token.map_err(|error| Problem::Usage(format!("the token file {error}")))?;
    let client = Client::new(options.admin.clone(), token);
    let answer = match &options.order {
        Order::Top { interval, once } => return top::watch(&client, *interval, *once, options.json).await,
        Order::Metrics => {
            print(&client.get("/metrics").await?.text());
            return Ok(());
        }
        order => obey::obey(&client, order).await?,
    };
    print(&if options.json { format!("{answer}\n") } else { show::table(&options.order, answer)? });
    Ok(())
}

/// Who reads no further, such as `head`, has seen enough.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}
