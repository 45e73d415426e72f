//! ORCA (Open Request Cost Aggregation) load reports in their text and JSON forms, as the response header
//! `endpoint-load-metrics` has them, and as the body of an HTTP answer.

use serde_json::{Map, Value};

/// What a backend reports of its load. Of the fields that ORCA has, these are used; others are passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in super::super) struct LoadReport {
    /// `application_utilization`: what the application itself thinks of it.
    application: Option<f64>,
    /// `cpu_utilization`: part of the processors in use.
    cpu: Option<f64>,
    /// `mem_utilization`: part of the memory in use.
    memory: Option<f64>,
    /// `rps_fractional`: requests a second.
    rps: Option<f64>,
    /// `rps`: the older field for the same, used when the other is absent.
    whole_rps: Option<f64>,
}

/// Why a text is no load report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Invalid {
    /// It is in ORCA's binary form, or in none.
    Form,
    /// A field that is used is no number, is negative, or stands twice.
    Field,
    /// It has none of the fields that are used.
    Empty,
}

impl Invalid {
    /// For the log.
    pub(in super::super) fn what(self) -> &'static str {
        match self {
            Self::Form => "neither ORCA's text form nor its JSON form",
            Self::Field => "a field that is no number from 0 up, or stands twice",
            Self::Empty => "no utilization and no rps",
        }
    }
}

impl LoadReport {
    /// Reads `TEXT cpu_utilization=0.3, mem_utilization=0.8`, `JSON {"cpu_utilization": 0.3}`, or either without the
    /// first word. In the text form a `:` may stand for the `=`; in JSON, names may be spelled `cpuUtilization`, and
    /// numbers as strings, as protobuf allows.
    pub(in super::super) fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let (form, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let report = match form.to_ascii_uppercase().as_str() {
            "TEXT" => Self::text(rest),
            "JSON" => Self::json(rest),
            "BIN" => Err(Invalid::Form),
            _ if text.starts_with('{') => Self::json(text),
            _ => Self::text(text),
        }?;
        if report == Self::default() { Err(Invalid::Empty) } else { Ok(report) }
    }

    fn text(text: &str) -> Result<Self, Invalid> {
        let mut report = Self::default();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (name, value) = item.split_once(['=', ':']).ok_or(Invalid::Form)?;
            report.set(name.trim_end(), value.trim().parse().ok())?;
        }
        Ok(report)
    }

    fn json(text: &str) -> Result<Self, Invalid> {
        let fields: Map<String, Value> = serde_json::from_str(text).map_err(|_| Invalid::Form)?;
        let mut report = Self::default();
        for (name, value) in &fields {
            let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
            report.set(name, number)?;
        }
        Ok(report)
    }

    fn set(&mut self, name: &str, value: Option<f64>) -> Result<(), Invalid> {
        let field = match name {
            "application_utilization" | "applicationUtilization" => &mut self.application,
            "cpu_utilization" | "cpuUtilization" => &mut self.cpu,
            "mem_utilization" | "memUtilization" => &mut self.memory,
            "rps_fractional" | "rpsFractional" => &mut self.rps,
            "rps" => &mut self.whole_rps,
            _ => return Ok(()),
        };
        let value = value.filter(|value| value.is_finite() && *value >= 0.0).ok_or(Invalid::Field)?;
        if field.replace(value).is_some() { Err(Invalid::Field) } else { Ok(()) }
    }

    /// The part of the backend that is in use, 0 to 1. What the application says goes before all; else the parts that
    /// are left of processors, memory and request rate are multiplied, so that a part that is the same everywhere makes
    /// no difference. `full_rps` is the request rate at which the backend is full; without it the rate is not used.
    ///
    /// `None`: the report has nothing but a rate, and that is not used.
    pub(in super::super) fn utilisation(&self, full_rps: Option<f64>) -> Option<f64> {
        // 0 is how protobuf says that a field is not set.
        if let Some(application) = self.application.filter(|part| *part > 0.0) {
            return Some(application.min(1.0));
        }
        let rate = self.rps.or(self.whole_rps).zip(full_rps).map(|(rps, full)| rps / full);
        let parts = [self.application, self.cpu, self.memory, rate];
        parts
            .iter()
            .any(Option::is_some)
            .then(|| 1.0 - parts.iter().flatten().map(|part| (1.0 - part).max(0.0)).product::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str) -> LoadReport {
        LoadReport::parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    #[test]
    fn text_and_json_say_the_same() {
        let expected = LoadReport { cpu: Some(0.3), memory: Some(0.8), rps: Some(120.5), ..LoadReport::default() };
        for text in [
            "TEXT cpu_utilization=0.3, mem_utilization=0.8,rps_fractional=120.5",
            "text cpu_utilization:0.3,mem_utilization:0.8,rps_fractional:120.5,eps:0.1",
            "cpu_utilization=0.3,mem_utilization=0.8,rps_fractional=120.5,named_metrics.queue=7",
            r#"JSON {"cpu_utilization": 0.3, "mem_utilization": 0.8, "rps_fractional": 120.5}"#,
            r#" {"cpuUtilization": 0.3, "memUtilization": "0.8", "rpsFractional": 1.205e2, "namedMetrics": {"queue": 7}}"#,
        ] {
            assert_eq!(report(text), expected, "{text}");
        }
        assert_eq!(report("TEXT rps=7").whole_rps, Some(7.0));
        assert_eq!(report(r#"JSON {"rps": "7", "application_utilization": 1.5}"#).application, Some(1.5));
    }

    #[test]
    fn what_cannot_be_meant_is_no_report() {
        for (text, why) in [
            ("", Invalid::Empty),
            ("TEXT", Invalid::Empty),
            ("TEXT eps=1,named_metrics.cpu_utilization=0.5", Invalid::Empty),
            ("JSON {}", Invalid::Empty),
            ("BIN CQAAAAAAAOA/", Invalid::Form),
            ("JSON [0.3]", Invalid::Form),
            ("<html>", Invalid::Form),
            ("TEXT cpu_utilization=a", Invalid::Field),
            ("TEXT cpu_utilization=NaN", Invalid::Field),
            ("TEXT cpu_utilization=inf", Invalid::Field),
            ("TEXT cpu_utilization=-0.1", Invalid::Field),
            ("TEXT cpu_utilization=0.1,cpu_utilization=0.2", Invalid::Field),
            (r#"{"cpu_utilization": 0.1, "cpuUtilization": 0.1}"#, Invalid::Field),
            (r#"JSON {"cpu_utilization": true}"#, Invalid::Field),
        ] {
            assert_eq!(LoadReport::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn utilisation_multiplies_what_is_left() {
        for (text, full_rps, utilisation) in [
            ("cpu_utilization=0.5", None, Some(0.5)),
            ("cpu_utilization=0.5,mem_utilization=0.8", None, Some(0.9)),
            ("cpu_utilization=0.5,rps_fractional=50", None, Some(0.5)),
            ("cpu_utilization=0.5,rps_fractional=50", Some(100.0), Some(0.75)),
            ("rps=50,rps_fractional=25", Some(100.0), Some(0.25)),
            ("rps=50", Some(100.0), Some(0.5)),
            ("rps=50", None, None),
            ("cpu_utilization=1.7", None, Some(1.0)),
            ("application_utilization=0.25,cpu_utilization=0.9", None, Some(0.25)),
            ("application_utilization=3", None, Some(1.0)),
            ("application_utilization=0,cpu_utilization=0.5", None, Some(0.5)),
            ("application_utilization=0", None, Some(0.0)),
        ] {
            let found = report(text).utilisation(full_rps);
            let alike = found.zip(utilisation).map_or(found == utilisation, |(a, b)| (a - b).abs() < 1e-9);
            assert!(alike, "{text}: {found:?}");
        }
    }
}
