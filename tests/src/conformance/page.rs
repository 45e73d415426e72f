//! `docs/conformance.md`.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{Comparison, Verdict, Verdicts};

/// The page for what was found on both legs.
pub fn page(client_leg: &Comparison, backend_leg: &Comparison) -> String {
    let mut text = INTRODUCTION.to_owned();
    for (title, comparison) in [(CLIENT_LEG, client_leg), (BACKEND_LEG, backend_leg)] {
        let _ = writeln!(text, "\n{title}");
        write_sums(&mut text, comparison);
        write_differences(&mut text, comparison);
    }
    text
}

const INTRODUCTION: &str = "\
# Conformance to RFC 6455 and RFC 7692, measured

Written by `cargo run --release -p tideover-tests --bin conformance`; do not edit. All 517 cases of the Autobahn test suite,
run by PyPI's `kosoku` against the same peer twice: directly, and with Tideover between. The outcomes must be the same in
every case, Close codes included, or the proxy must be stricter, with the section of the RFC beside the case. A few cases on
the backend leg are neither: there the proxy is *less* strict on purpose (NON-STRICT, which the suite takes as conforming),
and the reason stands beside the case. Eight cases run at once; those that differ are run once more without the others, as
each has so much time.

Any ping counts as a deviation with the suite, so the proxy sends none of its own here (`--ping-interval off`, and
`--ack none` where the suite is the backend; there also `--reattach never`, since another connection would be another run
of the case). The other flags are at their defaults.

The peer is tokio-tungstenite, and in the cases of 12 and 13, which are about permessage-deflate,
Python `websockets`.
";

const CLIENT_LEG: &str = "\
## The client leg

The suite is the client of an echo server.
";

const BACKEND_LEG: &str = "\
## The backend leg

The suite is the server of an echo client.
";

fn write_sums(text: &mut String, comparison: &Comparison) {
    let (direct, proxied) = (sums(&comparison.direct), sums(&comparison.proxied));
    let _ = writeln!(text, "| messages | closing | direct | through the proxy |\n|---|---|---|---|");
    let mut outcomes: Vec<_> = direct.keys().chain(proxied.keys()).copied().collect();
    outcomes.sort_unstable();
    outcomes.dedup();
    for outcome @ (behavior, close) in outcomes {
        let count = |sums: &BTreeMap<_, usize>| sums.get(&outcome).copied().unwrap_or(0);
        let _ = writeln!(text, "| {behavior} | {close} | {} | {} |", count(&direct), count(&proxied));
    }
}

fn sums(verdicts: &Verdicts) -> BTreeMap<(&str, &str), usize> {
    let mut sums = BTreeMap::new();
    verdicts.values().for_each(|one| *sums.entry((one.behavior.as_str(), one.close.as_str())).or_default() += 1);
    sums
}

fn write_differences(text: &mut String, comparison: &Comparison) {
    let differing = comparison.differing();
    if differing.is_empty() {
        let _ = writeln!(text, "\nNo case differs.");
        return;
    }
    let _ = writeln!(
        text,
        "\nIn {} cases the outcomes are not the same. Where the proxy is *stricter*, it fails the connection with a Close \
         (RFC 6455 7.1.7) where the peer just cuts it; the reason is the one that it sends.\n",
        differing.len()
    );
    let _ = writeln!(text, "| case | direct | through the proxy | |\n|---|---|---|---|");
    for (case, direct, proxied) in differing {
        let verdict = comparison.excuse(&case, direct, proxied).unwrap_or_else(|| "**worse**".to_owned());
        let _ = writeln!(text, "| {case} | {} | {} | {verdict} |", cell(direct), cell(proxied));
    }
}

fn cell(verdict: Option<&Verdict>) -> String {
    let Some(Verdict { behavior, close, code, .. }) = verdict else { return "not run".to_owned() };
    let code = code.map_or_else(|| "no code".to_owned(), |code| code.to_string());
    format!("{behavior} / {close}, {code}")
}
