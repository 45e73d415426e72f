//! `tideover check`: whether a configuration is valid, and what its rules make of sample messages.
//!
//! - `options` is the command line, `explain` what is said of a message
//!
//! Connects to nothing and listens nowhere.

mod explain;
mod options;

use std::process::ExitCode;

pub use options::Options;

use crate::config::{Config, Flag, Look, Problems, RouteConfig, Sources};
use explain::Explained;

/// Judges and explains. The exit code is 2 if something is wrong, with all of it on standard error.
#[must_use]
pub fn run(options: Options) -> ExitCode {
    let mut sources = options.config.sources();
    let alone = !names_backends(&sources);
    if alone {
        sources.flags.push(("backend", "ws://127.0.0.1:1".into()));
    }
    let config = match sources.config() {
        Ok(config) => config,
        Err(problems) => return refuse(&problems),
    };
    if !alone {
        println!("the configuration is valid");
    }
    for (number, route) in (1..).zip(&config.routes) {
        println!("{}", described(number, route));
    }
    if options.samples.0.is_empty() {
        return ExitCode::SUCCESS;
    }
    let route = match chosen(&config, options.route.as_deref()) {
        Ok(route) => route,
        Err(why) => return refuse(&why),
    };
    for (nth, sample) in (1..).zip(&options.samples.0) {
        print!("\n{}", Explained { route, from: options.from, sample, nth });
    }
    ExitCode::SUCCESS
}

fn refuse(why: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(Problems::EXIT_CODE)
}

/// Whether the sources say what is proxied, or there is a file that should: rules can be tried without.
fn names_backends(sources: &Sources) -> bool {
    let is_given = |flag: &Flag| {
        sources.flags.iter().any(|(name, _)| *name == flag.name)
            || sources.env.iter().any(|(name, _)| name.to_str() == Some(&flag.env()))
    };
    let names = ["backend", "backends-file", "backends-dns"];
    sources.file().is_some() || names.iter().filter_map(|name| Flag::named(name)).any(is_given)
}

/// A line about a route.
fn described(number: usize, route: &RouteConfig) -> String {
    let name = route.name.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default();
    let profile = match &route.rules.profile {
        Some(profile) => format!("profile {profile}"),
        None => "no profile".to_owned(),
    };
    let look = match &route.rules.look {
        Look::Not => "no rules".to_owned(),
        Look::Rules(rules) => format!("{} rules", rules.len()),
        Look::Code(_) => "rules in code".to_owned(),
    };
    let (ack, compression) = (route.session.ack, route.compression);
    let words = format!("acknowledged by {ack:?}, compression {compression:?}").to_lowercase();
    format!("route {number}{name}, {}, to pool {:?}: {profile}, {look}; {words}", route.title(), route.pool)
}

/// The route of that name or number; without one, the only one.
fn chosen<'c>(config: &'c Config, wanted: Option<&str>) -> Result<&'c RouteConfig, String> {
    let routes = &config.routes;
    let Some(wanted) = wanted else {
        return match &routes[..] {
            [only] => Ok(only),
            _ => Err(format!("there are {} routes: say which one the messages are for, with --route", routes.len())),
        };
    };
    let named = routes.iter().find(|route| route.name.as_deref() == Some(wanted));
    let numbered = || routes.get(wanted.parse::<usize>().ok()?.checked_sub(1)?);
    named.or_else(numbered).ok_or_else(|| format!("--route: there is no route {wanted:?}"))
}
