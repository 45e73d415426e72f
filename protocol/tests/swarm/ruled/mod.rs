//! The swarm of sessions with rules: a client that logs in, subscribes, asks and notifies, backends that want the login
//! first and answer out of order, refuse or fall silent, and a shadow that knows the rules by their words alone.
//!
//! What is said begins with a letter, and most with a number of its own:
//!
//! | client | | backend | |
//! |---|---|---|---|
//! | `L.n` | login: pinned, held | `l`, `l!` | the answer to it, the refusal, which ends topic 0 |
//! | `S`, `M` `k.n` | subscribes to `k`: pinned; `M` moves to the end | `s` `k` | the answer to that |
//! | `U`, `V` `k.n` | unsubscribes now, or once that is acknowledged | `o.n`, `a.n` | what a question gets once; its answer |
//! | `Q.n` | a question: only its answer acknowledges it | `e` `k` | the end of a subscription |
//! | `R.n` | concerns this leg only | `g` | what each backend says first |
//! | `E.n` | ephemeral | `p.n` | a push |
//! | `N.n` | a notification | | |
//! | `X.n` | no session with it | | |

mod backend;
mod shadow;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tideover_protocol::rules::{
    Again, BackendVerdict, ClientVerdict, Key, Message, Pin, Replay, Rules, Unpin, UnpinWhen,
};
use tideover_protocol::sabotage::{Sabotage, choose};

use world::World;

const SEEDS: u64 = 400;
const STEPS: u64 = 1200;

/// The rules of this swarm.
#[derive(Debug)]
struct Letters;

/// What stands between the letter and the dot, or behind it.
fn parts(text: &str) -> (char, &str, &str) {
    let letter = text.chars().next().unwrap_or(' ');
    let rest = text.get(1..).unwrap_or_default();
    let (topic, number) = rest.split_once('.').unwrap_or((rest, ""));
    (letter, topic, number)
}

fn key(letter: char, name: &str) -> Key {
    Key::of(format!("{letter}{name}").as_bytes())
}

impl Rules for Letters {
    fn client(&self, message: &Message<'_>) -> ClientVerdict {
        let text = std::str::from_utf8(message.payload).expect("text");
        let (letter, topic, number) = parts(text);
        let pin = |again, hold| {
            let name = if letter == 'L' { key('L', "") } else { key('S', topic) };
            Some(Pin { key: name, again, expects: Some(name), hold, learns: false })
        };
        let unpin = |when| Some(Unpin { key: key('S', topic), when });
        let none = ClientVerdict::default();
        match letter {
            'L' => ClientVerdict { pin: pin(Again::Replace, true), ..none },
            'S' => ClientVerdict { pin: pin(Again::Replace, false), ..none },
            'M' => ClientVerdict { pin: pin(Again::Move, false), ..none },
            'U' => ClientVerdict { unpin: unpin(UnpinWhen::Now), ..none },
            'V' => ClientVerdict { unpin: unpin(UnpinWhen::Acknowledged), ..none },
            'Q' => ClientVerdict { acknowledge: Some(key('Q', number)), ..none },
            'R' => ClientVerdict { replay: Replay::LegLocal, ..none },
            'E' => ClientVerdict { replay: Replay::Ephemeral, ..none },
            'X' => ClientVerdict { close: true, ..none },
            _ => none,
        }
    }

    fn backend(&self, message: &Message<'_>) -> BackendVerdict {
        let text = std::str::from_utf8(message.payload).expect("text");
        let (letter, topic, number) = parts(text);
        let none = BackendVerdict::default();
        match letter {
            'l' => {
                // A refusal ends a subscription, unless another backend is to be asked.
                let refuses = topic == "!";
                let unpin = refuses.then(|| key('S', "0"));
                BackendVerdict { answers: Some(key('L', "")), refuses, unpin, ..none }
            }
            's' => BackendVerdict { answers: Some(key('S', topic)), ..none },
            'e' => BackendVerdict { unpin: Some(key('S', topic)), ..none },
            'o' => BackendVerdict { once: Some(key('Q', number)), ..none },
            'a' => BackendVerdict { acknowledge: Some(key('Q', number)), ..none },
            'g' => BackendVerdict { swallow: Some(1), ..none },
            _ => none,
        }
    }

    fn closes_opaque(&self, _: bool) -> bool {
        false
    }

    fn looks_at(&self, _: bool) -> bool {
        true
    }
}

/// A situation that the runs must have met.
#[derive(Clone, Copy, Debug)]
enum Met {
    Failover,
    Prelude,
    PinnedAndRetained,
    Superseded,
    PinArrivedWhileDialling,
    Swallowed,
    FirstAnswerOnALaterLeg,
    GreetedAgain,
    HoldPassed,
    HoldRefused,
    RefusedToTheClient,
    HoldEnded,
    HoldTimedOut,
    ClosedTwiceInHolds,
    OutOfOrder,
    OnceSwallowed,
    EvictedKeyed,
    LegLocalDropped,
    LegLocalRefused,
    EphemeralDropped,
    Unpinned,
    UnpinnedLater,
    UnpinnedByBackend,
    PinRefused,
    NotAttachedAgain,
    RuleClose,
    Isolation,
    Migrated,
    FellToPrepared,
    CutInPrelude,
    Peaceful,
}

const SITUATIONS: usize = Met::Peaceful as usize + 1;

#[derive(Debug)]
struct Coverage([u64; SITUATIONS]);

impl Coverage {
    fn new() -> Self {
        Self([0; SITUATIONS])
    }

    fn meet(&mut self, met: Met) {
        self.0[met as usize] += 1;
    }

    fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, more)| *sum += more);
    }
}

/// One run: sessions until its steps are used up. What failed, if anything did.
fn run(seed: u64, steps: u64) -> Result<Coverage, String> {
    let sessions = || {
        let (mut sum, mut left) = (Coverage::new(), steps);
        for session in 0.. {
            if left == 0 {
                break;
            }
            let mut world = World::new(seed << 16 | session);
            left -= world.go(left);
            sum.add(&world.shadow.coverage);
        }
        sum
    };
    crate::report_once();
    crate::RUNNING.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(sessions));
    crate::RUNNING.set(false);
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
    })
}

#[test]
fn every_run_with_rules_keeps_the_laws() {
    let steps = crate::knob("TIDEOVER_SWARM_STEPS").unwrap_or(STEPS);
    let first = crate::knob("TIDEOVER_SWARM_FIRST").unwrap_or(0);
    let seeds = match crate::knob("TIDEOVER_SWARM_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + crate::knob("TIDEOVER_SWARM_SEEDS").unwrap_or(SEEDS),
    };
    let enough = seeds.end - seeds.start >= SEEDS && steps >= STEPS;
    let (mut sum, mut failed) = (Coverage::new(), Vec::new());
    for seed in seeds {
        match run(seed, steps) {
            Ok(coverage) => sum.add(&coverage),
            Err(why) => failed.push(format!(
                "TIDEOVER_SWARM_SEED={seed} TIDEOVER_SWARM_STEPS={steps} cargo test -p tideover-protocol --test swarm \
                 every_run_with_rules\n    {why}"
            )),
        }
    }
    let shown = &failed[..failed.len().min(crate::MOST_SHOWN)];
    assert!(failed.is_empty(), "{} runs fail:\n{}", failed.len(), shown.join("\n"));
    println!("{sum:?}");
    let missing = sum.0.iter().position(|count| *count == 0);
    assert!(!enough || missing.is_none(), "situation {missing:?} was never met, so never tested: {sum:?}");
}

/// The first run that catches the engine broken in this way, and what it says.
pub(crate) fn catch(sabotage: Sabotage, within: u64) -> Option<(u64, String)> {
    choose(Some(sabotage));
    let caught = (0..within).find_map(|seed| Some((seed, run(seed, STEPS).err()?)));
    choose(None);
    caught
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
