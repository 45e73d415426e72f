//! What the suite found, case by case, and what differs.

use std::{collections::BTreeMap, fs::File, io, path::Path};

use serde_json::Value;

/// The cases in their order: `9.1.2` is `[9, 1, 2]`.
pub type Verdicts = BTreeMap<Vec<u32>, Verdict>;

/// What the suite found in a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its word on the messages: `OK`, `NON-STRICT`, `FAILED`, ….
    pub behavior: String,
    /// Its word on the closing handshake.
    pub close: String,
    /// The code of the Close that the suite got, if there was one with a code.
    pub code: Option<u64>,
    /// Its reason.
    pub reason: String,
}

/// The same cases on a direct connection and through the proxy.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Without the proxy.
    pub direct: Verdicts,
    /// With it.
    pub proxied: Verdicts,
    /// What the proxy does otherwise on purpose.
    pub on_purpose: &'static [OnPurpose],
}

/// Where the proxy does otherwise on purpose, and the suite still takes that as conforming: as NON-STRICT.
#[derive(Clone, Copy, Debug)]
pub struct OnPurpose {
    /// The cases.
    pub cases: &'static [&'static str],
    /// Why.
    pub why: &'static str,
}

impl Verdict {
    fn outcome(&self) -> (&str, &str, Option<u64>) {
        (&self.behavior, &self.close, self.code)
    }

    /// Whether it is a case of compression that conforms, where the two peers alone agree on none. The proxy offers what
    /// it can relay, which more peers take.
    fn is_agreed_on_unlike(&self, direct: &Self) -> bool {
        (direct.behavior.as_str(), &direct.close, direct.code) == ("UNIMPLEMENTED", &self.close, self.code)
            && self.behavior == "OK"
    }

    /// Whether it differs from `direct` just so far that the peer is told why it is failed: where the other one cut the
    /// connection without a Close, this one sends it, as RFC 6455 7.1.7 asks for. Its reason names the section that the
    /// peer broke.
    pub fn is_stricter_than(&self, direct: &Self) -> bool {
        let same = (&self.behavior, &self.close) == (&direct.behavior, &direct.close);
        same && direct.code.is_none()
            && matches!(self.code, Some(1002 | 1007 | 1009))
            && self.reason.contains("RFC 6455")
    }
}

impl Comparison {
    /// Of no case yet.
    pub fn new(on_purpose: &'static [OnPurpose]) -> Self {
        Self { direct: Verdicts::new(), proxied: Verdicts::new(), on_purpose }
    }

    /// Adds what was found directly and through the proxy, in place of what was found before in the same cases.
    pub fn add(&mut self, [mut direct, mut proxied]: [Verdicts; 2]) {
        self.direct.append(&mut direct);
        self.proxied.append(&mut proxied);
    }

    /// The cases whose outcomes are not equal, Close code included: direct and proxied. `None`: not run there.
    pub fn differing(&self) -> Vec<(String, Option<&Verdict>, Option<&Verdict>)> {
        let cases = self.direct.keys().chain(self.proxied.keys().filter(|case| !self.direct.contains_key(*case)));
        let both = cases.map(|case| (name(case), self.direct.get(case), self.proxied.get(case)));
        both.filter(|(_, direct, proxied)| direct.map(Verdict::outcome) != proxied.map(Verdict::outcome)).collect()
    }

    /// Why an outcome that differs is right; `None` if it is not.
    pub fn excuse(&self, case: &str, direct: Option<&Verdict>, proxied: Option<&Verdict>) -> Option<String> {
        let (direct, proxied) = direct.zip(proxied)?;
        if proxied.is_stricter_than(direct) {
            return Some(format!("stricter: {}", proxied.reason));
        }
        if proxied.is_agreed_on_unlike(direct) {
            return Some("compression is agreed on, as it is not between the two alone".to_owned());
        }
        let conforms = (proxied.behavior.as_str(), proxied.close.as_str()) == ("NON-STRICT", "OK");
        let purpose = self.on_purpose.iter().find(|purpose| conforms && purpose.cases.contains(&case))?;
        Some(format!("on purpose: {}", purpose.why))
    }

    /// Those of [`Self::differing`] that nothing excuses.
    fn not_excused(&self) -> impl Iterator<Item = (String, Option<&Verdict>, Option<&Verdict>)> {
        let differing = self.differing().into_iter();
        differing.filter(|(case, direct, proxied)| self.excuse(case, *direct, *proxied).is_none())
    }

    /// The names of the cases that differ without excuse.
    pub fn unexcused(&self) -> Vec<String> {
        self.not_excused().map(|(case, ..)| case).collect()
    }

    /// The same in words.
    pub fn worse(&self) -> Vec<String> {
        self.not_excused().map(|(case, direct, proxied)| format!("{case}: {direct:?} became {proxied:?}")).collect()
    }
}

fn name(case: &[u32]) -> String {
    case.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

/// Reads the report in `directory`: `index.json`, and the reasons from the file of each case.
pub(super) fn read(directory: &Path) -> io::Result<Verdicts> {
    let index: BTreeMap<String, BTreeMap<String, Value>> =
        serde_json::from_reader(File::open(directory.join("index.json"))?)?;
    let cases = index.into_values().flatten();
    cases.map(|(case, verdict)| Ok((number(&case)?, read_case(directory, &verdict)?))).collect()
}

fn number(case: &str) -> io::Result<Vec<u32>> {
    let parts = case.split('.').map(str::parse).collect::<Result<_, _>>();
    parts.map_err(|error| io::Error::other(format!("case {case}: {error}")))
}

fn read_case(directory: &Path, verdict: &Value) -> io::Result<Verdict> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let details: Value = serde_json::from_reader(File::open(directory.join(text(&verdict["reportfile"])))?)?;
    Ok(Verdict {
        behavior: text(&verdict["behavior"]),
        close: text(&verdict["behaviorClose"]),
        code: verdict["remoteCloseCode"].as_u64(),
        reason: text(&details["remoteCloseReason"]),
    })
}
