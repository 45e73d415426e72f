//! Tideover beside other proxies and beside no proxy, under the same load. `--help` says how it is measured.

mod backend;
mod client;
mod error;
mod failover;
mod idle;
mod load;
mod machine;
mod metrics;
mod opening;
mod options;
mod peers;
mod process;
mod relaying;
mod report;
mod stage;
mod wire;

use std::process::ExitCode;

use clap::Parser;
use rustix::process::{Resource, getrlimit, setrlimit};

use error::Result;
use machine::Machine;
use options::{Case, Options, Part, Role};
use peers::{Contestant, Kind, Variant};
use process::{Cores, pin};
use report::{Entrant, Results};
use stage::{Running, Scratch};

fn main() -> ExitCode {
    let options = Options::parse();
    raise_descriptor_limit();
    let done = match &options.role {
        Some(Role::Backend { pongs, port }) => backend::run(*pongs, *port).map_err(Into::into),
        None => compare(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // With too few, opening connections says so.
    let _ = setrlimit(Resource::Nofile, limit);
}

fn compare(options: &Options) -> Result<()> {
    let machine = Machine::this();
    let contestants = Contestant::all(options)?;
    // After the build, which may use all cores.
    let cores = if options.no_pin { None } else { Cores::of_this_machine() };
    if let Some(cores) = cores {
        pin(cores.load)?;
    }
    let scratch = Scratch::new()?;
    let mut results = Results {
        machine,
        pinned: cores.is_some(),
        rounds: options.rounds,
        entrants: contestants.iter().map(entrant).collect(),
        relaying: Vec::new(),
        opening: Vec::new(),
        idle: Vec::new(),
        failover: Vec::new(),
        scaling: Vec::new(),
    };
    let bench = Bench { options, contestants: &contestants, cores, scratch: &scratch };
    bench.relay(&mut results)?;
    bench.open(&mut results)?;
    bench.idle(&mut results)?;
    bench.fail_over(&mut results)?;
    bench.scale(&mut results)?;
    print!("{}", results.markdown());
    options.json.iter().try_for_each(|path| results.write_json(path))?;
    options.markdown.iter().try_for_each(|path| results.write_markdown(path))
}

fn entrant(contestant: &Contestant) -> Entrant {
    Entrant { name: contestant.name.clone(), version: contestant.version(), is_measure: contestant.is_measure() }
}

struct Bench<'a> {
    options: &'a Options,
    contestants: &'a [Contestant],
    cores: Option<Cores>,
    scratch: &'a Scratch,
}

impl<'a> Bench<'a> {
    fn start(&self, contestant: &'a Contestant) -> Result<Option<Running<'a>>> {
        Running::start(contestant, self.cores, self.scratch)
    }

    fn start_all(&self, takes_part: impl Fn(&Contestant) -> bool) -> Result<Vec<Running<'a>>> {
        let all = self.contestants.iter().filter(|contestant| takes_part(contestant));
        let started = all.filter_map(|contestant| self.start(contestant).transpose());
        started.collect()
    }

    fn relay(&self, results: &mut Results) -> Result<()> {
        if !self.options.wants(Part::Relay) {
            return Ok(());
        }
        let running = self.start_all(|contestant| contestant.name != peers::TWO_WORKERS)?;
        self.relay_cases(&running, &self.options.cases(), &mut results.relaying)
    }

    /// With those that the bars are set against, and tideover with one worker and two.
    fn scale(&self, results: &mut Results) -> Result<()> {
        if !self.options.wants(Part::Scaling) {
            return Ok(());
        }
        let takes_part = |it: &Contestant| it.is_measure() || ["tideover", peers::TWO_WORKERS].contains(&&*it.name);
        let running = self.start_all(takes_part)?;
        self.relay_cases(&running, &self.options.scaling_cases(), &mut results.scaling)
    }

    fn relay_cases(&self, running: &[Running<'a>], cases: &[Case], turns: &mut Vec<relaying::Turn>) -> Result<()> {
        for &case in cases {
            for round in 0..self.options.rounds {
                for running in rotated(running, round) {
                    let turn = relaying::turn(running, case, round, self.options.seconds);
                    let Some(turn) = unless_only_shown(running.contestant, turn)? else { continue };
                    eprintln!(
                        "{case} {}: {:.2} µs, {:.0}/s, p99 {:.0} µs",
                        turn.contestant,
                        turn.cpu_per_message(),
                        turn.rate(),
                        turn.p99
                    );
                    turns.push(turn);
                }
            }
        }
        Ok(())
    }

    fn open(&self, results: &mut Results) -> Result<()> {
        if !self.options.wants(Part::Opening) {
            return Ok(());
        }
        let running = self.start_all(|contestant| contestant.variant == Variant::Default)?;
        for round in 0..self.options.rounds {
            for running in rotated(&running, round) {
                let turn = opening::turn(running, round, self.options.openings);
                let Some(turn) = unless_only_shown(running.contestant, turn)? else { continue };
                eprintln!("opening {}: {:.0} µs, {:.0}/s", turn.contestant, turn.cpu_per_session(), turn.rate());
                results.opening.push(turn);
            }
        }
        Ok(())
    }

    fn idle(&self, results: &mut Results) -> Result<()> {
        if !self.options.wants(Part::Idle) {
            return Ok(());
        }
        let proxies = self.contestants.iter().filter(|it| it.kind != Kind::Direct && it.variant == Variant::Default);
        for round in 0..self.options.rounds {
            for contestant in proxies.clone() {
                let Some(running) = self.start(contestant)? else { continue };
                let turn = idle::turn(&running, round, self.options.idle);
                let Some(turn) = unless_only_shown(contestant, turn)? else { continue };
                eprintln!("idle {}: {:.0} bytes", turn.contestant, turn.per_session());
                results.idle.push(turn);
            }
        }
        Ok(())
    }

    fn fail_over(&self, results: &mut Results) -> Result<()> {
        if !self.options.wants(Part::Failover) {
            return Ok(());
        }
        let is_set_so = |it: &&Contestant| it.kind == Kind::Tideover && it.variant == Variant::Default;
        let tideovers = self.contestants.iter().filter(is_set_so);
        for (round, sessions) in
            (0..self.options.rounds).flat_map(|round| [(round, 1), (round, self.options.failovers)])
        {
            for contestant in tideovers.clone() {
                let turn = failover::turn(contestant, self.cores, self.scratch, round, sessions)?;
                if let Some(turn) = turn {
                    eprintln!(
                        "failover of {} {}: {:.1} ms, last {:.1} ms",
                        turn.sessions, turn.contestant, turn.p50, turn.last
                    );
                    results.failover.push(turn);
                }
            }
        }
        Ok(())
    }
}

/// A turn that failed ends the run, unless it is that of a proxy which is only shown: then there is none.
fn unless_only_shown<T>(contestant: &Contestant, turn: Result<T>) -> Result<Option<T>> {
    match turn {
        Err(error)
            if contestant.kind != Kind::Direct && contestant.kind != Kind::Tideover && !contestant.is_measure() =>
        {
            eprintln!("no turn of {}: {error}", contestant.name);
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// All, from another one in each round: nobody always comes behind the same one.
fn rotated<T>(all: &[T], round: usize) -> impl Iterator<Item = &T> {
    all.iter().cycle().skip(round % all.len().max(1)).take(all.len())
}
