//! How long honest sessions wait beside each attack, against the same load without it: the table of `docs/attacks.md`.
//!
//! `attacks [--rounds 5] [--seconds 10] [--rate 50] [--only WORD] [--publish] [-- FLAG…]`
//!
//! The proxy, its backend and the honest are held to the first core, the attackers to the last. Nothing else should run on the
//! machine. Fails if any honest session loses a message or is closed, or if it waits more than twice as long at the 99th
//! percentile (medians of the rounds). `--only` takes the attacks whose titles have that word; flags behind `--` are the
//! proxy's.

use std::{error::Error, fmt::Write as _, fs, path::Path, process::ExitCode, time::Duration};

use tideover_tests::{
    attack::{Attack, Core, HONEST, Measured, hold_to, measure, preferred},
    client::Load,
    environment::raise_descriptor_limit,
    lock::machine_alone,
};

/// How many times longer the honest may wait.
const BAR: f64 = 2.0;
/// Before the table in `docs/attacks.md`.
const MARK: &str = "## Measured\n";

struct Options {
    rounds: usize,
    seconds: u32,
    rate: u32,
    only: String,
    publish: bool,
    flags: Vec<String>,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::from_arguments(std::env::args().skip(1))?;
    let _machine = machine_alone();
    raise_descriptor_limit();
    hold_to(Core::First);
    let preferred = preferred(true);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let flags: Vec<_> = options.flags.iter().map(String::as_str).collect();
    let mut table = Table::new(&options, preferred);
    for attack in Attack::ALL.into_iter().filter(|attack| attack.title().contains(&options.only)) {
        let load = Load::new(options.rate, options.seconds);
        table.add(attack, &runtime.block_on(measure(attack, options.rounds, load, &flags)));
    }
    println!("{}", table.text);
    if options.publish {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/attacks.md");
        let page = fs::read_to_string(&docs)?;
        let (words, _) = page.split_once(MARK).ok_or("docs/attacks.md has no heading of what was measured")?;
        fs::write(docs, format!("{words}{MARK}\n{}", table.text))?;
    }
    Ok(if table.holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Options {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let (only, flags) = (String::new(), Vec::new());
        let mut options = Self { rounds: 5, seconds: 10, rate: 50, only, publish: false, flags };
        while let Some(flag) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--rounds" => options.rounds = value()?.parse()?,
                "--seconds" => options.seconds = value()?.parse()?,
                "--rate" => options.rate = value()?.parse()?,
                "--only" => options.only = value()?,
                "--publish" => options.publish = true,
                "--" => options.flags = arguments.by_ref().collect(),
                _ => return Err(format!("unknown flag {flag}").into()),
            }
        }
        Ok(options)
    }
}

struct Table {
    text: String,
    holds: bool,
}

impl Table {
    fn new(options: &Options, preferred: bool) -> Self {
        let Options { rounds, seconds, rate, flags, .. } = options;
        let text = format!(
            "{HONEST} honest sessions, {rate} messages a second each; {rounds} rounds of {seconds} s without and with; medians. \
             Flags of the proxy: `{}`. The honest and their backend {} at their core.\n\n\
             | attack | p50 without, with | p99 without, with | ratio | longest, with | what the attackers did in a round |\n\
             |---|---|---|---|---|---|\n",
            [&["--workers 1".to_owned()], &flags[..]].concat().join(" "),
            if preferred { "come first" } else { "do not come first" },
        );
        Self { text, holds: true }
    }

    fn add(&mut self, attack: Attack, measured: &Measured) {
        let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
        let both = |(calm, attacked): (Duration, Duration)| format!("{}, {}", ms(calm), ms(attacked));
        let row = format!(
            "| {} | {} | {} | {:.2} | {} | {} |",
            attack.title(),
            both(measured.medians(|round| round.p50)),
            both(measured.medians(|round| round.p99)),
            measured.ratio(),
            ms(measured.medians(|round| round.longest).1),
            measured.done,
        );
        eprintln!("{row}");
        writeln!(self.text, "{row}").expect("a string takes all");
        self.holds &= measured.ratio() <= BAR;
    }
}
