//! HAProxy's agent-check text protocol: one line of words that says how a backend wants to be used.
//!
//! As the section `agent-check` of HAProxy's configuration manual describes it, so that existing agents work.

/// The words of one line, the last one of each sort. What a line does not mention stays as it was.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) struct Line {
    weight: Option<Weight>,
    maxconn: Option<usize>,
    mode: Option<AgentMode>,
    health: Option<AgentHealth>,
    /// What stands behind the `#`, for the log.
    pub(in super::super) reason: String,
    /// The first word that means nothing, for the log.
    pub(in super::super) unknown: Option<String>,
}

/// `75%`, `weight:75%` or `weight:75`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Weight {
    /// So many hundredths of the configured weight.
    Percent(u32),
    /// This weight, 0 to 256.
    Absolute(u32),
}

/// Whether the backend wants sessions (HAProxy: the administrative state).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AgentMode {
    /// It does.
    #[default]
    Ready,
    /// None, and those that it has are to go.
    Drain,
    /// None. Those that it has stay.
    Maint,
}

/// Whether the backend works, as its agent says (HAProxy: the operating state). Which of the three words for "no" it was
/// is in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AgentHealth {
    /// `up`, or never mentioned.
    #[default]
    Up,
    /// `down`, `fail` or `stopped`.
    Down,
}

/// What an agent has said so far. Only the agent takes it back.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Agent {
    weight: Option<Weight>,
    /// Sessions that the backend wants at most. `None`: any number.
    pub maxconn: Option<usize>,
    /// Whether the backend wants sessions.
    pub mode: AgentMode,
    /// Whether it works.
    pub health: AgentHealth,
}

/// The largest weight.
const MAX_WEIGHT: f64 = 256.0;

impl Agent {
    /// Takes a line in. Whether that changed anything.
    pub(in super::super) fn apply(&mut self, line: &Line) -> bool {
        let before = *self;
        self.weight = line.weight.or(self.weight);
        // As in HAProxy, 0 lifts the bound.
        self.maxconn = line.maxconn.map_or(self.maxconn, |most| Some(most).filter(|most| *most > 0));
        self.mode = line.mode.unwrap_or(self.mode);
        self.health = line.health.unwrap_or(self.health);
        *self != before
    }

    /// Whether any session may come, and be it one that sticks to the backend.
    pub(in super::super) fn lets_in(&self) -> bool {
        self.health == AgentHealth::Up && self.mode == AgentMode::Ready
    }

    /// The weight of a backend with this configured one: 0 to 256.
    pub(in super::super) fn weight(&self, configured: f64) -> f64 {
        match self.weight {
            None => configured,
            Some(Weight::Percent(percent)) => (configured * f64::from(percent) / 100.0).min(MAX_WEIGHT),
            Some(Weight::Absolute(weight)) => f64::from(weight),
        }
    }
}

impl Line {
    /// Reads what an agent sent: up to the first CR, LF or NUL, words between spaces, tabs and commas, in any case, then
    /// `#` and a reason. `None`: the line is not complete.
    pub(in super::super) fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0))?;
        let text = String::from_utf8_lossy(&bytes[..end]);
        let mut line = Self::default();
        let mut rest = &*text;
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if let Some(reason) = rest.strip_prefix('#') {
                line.reason = reason.trim().to_owned();
                return Some(line);
            }
            let (word, behind) = rest.split_at(rest.find([' ', '\t', ',']).unwrap_or(rest.len()));
            if word.is_empty() {
                return Some(line);
            }
            if line.word(&word.to_ascii_lowercase()).is_none() && line.unknown.is_none() {
                line.unknown = Some(word.to_owned());
            }
            rest = behind;
        }
    }

    /// Takes a word in; `None` if it means nothing.
    fn word(&mut self, word: &str) -> Option<()> {
        match word {
            "up" => self.health = Some(AgentHealth::Up),
            "down" | "fail" | "stopped" => self.health = Some(AgentHealth::Down),
            "ready" => self.mode = Some(AgentMode::Ready),
            "drain" => self.mode = Some(AgentMode::Drain),
            "maint" => self.mode = Some(AgentMode::Maint),
            _ => match word.split_once(':') {
                Some(("maxconn", number)) => self.maxconn = Some(digits(number)?),
                Some(("weight", weight)) => self.weight = Some(Weight::parse(weight)?),
                _ => self.weight = Some(Weight::Percent(digits(word.strip_suffix('%')?)?)),
            },
        }
        Some(())
    }
}

impl Weight {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(percent) => digits(percent).map(Self::Percent),
            None => digits(text).filter(|weight| *weight <= 256).map(Self::Absolute),
        }
    }
}

/// A whole number without a sign.
fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line::parse(text.as_bytes()).unwrap()
    }

    fn after(lines: &[&str]) -> Agent {
        let mut agent = Agent::default();
        for text in lines {
            let _ = agent.apply(&line(text));
        }
        agent
    }

    #[test]
    fn a_percentage_is_a_part_of_the_configured_weight() {
        for (text, weight) in [
            ("75%\n", 60.0),
            ("weight:75%\n", 60.0),
            ("WEIGHT:0%\n", 0.0),
            ("150%\n", 120.0),
            ("1000%\n", 256.0),
            ("weight:7\n", 7.0),
            ("weight:256\n", 256.0),
            ("up\n", 80.0),
            ("10%, 20%\n", 16.0),
        ] {
            assert_eq!(after(&[text]).weight(80.0), weight, "{text}");
        }
    }

    #[test]
    fn words_come_in_any_order_case_and_separation() {
        let expected = after(&["75%,maxconn:30,maint,down\n"]);
        assert_eq!(
            expected,
            Agent {
                weight: Some(Weight::Percent(75)),
                maxconn: Some(30),
                mode: AgentMode::Maint,
                health: AgentHealth::Down
            }
        );
        for text in
            ["DOWN\tMaint 75% MaxConn:30\r\n", ",, down,maint,,maxconn:30 75%\0up", "up down maint 75% maxconn:30\n"]
        {
            assert_eq!(after(&[text]), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_mentioned_stays_until_the_agent_takes_it_back() {
        let agent = after(&["drain down maxconn:5\n", "50%\n"]);
        assert_eq!((agent.mode, agent.health, agent.maxconn), (AgentMode::Drain, AgentHealth::Down, Some(5)));
        let agent = after(&["maint stopped 50%\n", "ready\n", "up\n", "maxconn:0\n", "100%\n"]);
        assert_eq!((agent.mode, agent.health, agent.maxconn), (AgentMode::Ready, AgentHealth::Up, None));
        assert_eq!(agent.weight(80.0), 80.0);
    }

    #[test]
    fn only_what_changes_is_news() {
        let mut agent = Agent::default();
        assert!(!agent.apply(&line("up ready\n")));
        assert!(agent.apply(&line("fail # database gone\n")));
        assert!(!agent.apply(&line("down\n")));
    }

    #[test]
    fn a_reason_stands_behind_a_sharp() {
        let line = line("down #  disk full, up 75%\r\nready\n");
        assert_eq!(line.reason, "disk full, up 75%");
        assert_eq!((line.health, line.weight, line.mode), (Some(AgentHealth::Down), None, None));
    }

    #[test]
    fn a_word_that_means_nothing_is_told_and_nothing_else_is_lost() {
        for word in
            ["hello", "75.5%", "-5%", "%", "weight:257", "weight:", "maxconn:-1", "maxconn:", "maxconn:3x", "75"]
        {
            let line = line(&format!("{word} drain\n"));
            assert_eq!(line.unknown.as_deref(), Some(word));
            assert_eq!((line.mode, line.weight, line.maxconn), (Some(AgentMode::Drain), None, None), "{word}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_complete() {
        assert_eq!(Line::parse(b"75%"), None);
        assert_eq!(Line::parse(b""), None);
        assert_eq!(Line::parse(b"\n"), Some(Line::default()));
    }
}
