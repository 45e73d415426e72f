//! `/metrics`, as far as law 8 needs it.

use std::{path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use crate::deadline::within;

const SOON: Duration = Duration::from_secs(30);

/// What became of messages, as law 8 has it.
const FATES: [&str; 7] = ["forgotten", "slid", "dropped", "abandoned", "expired", "poisoned", "retained"];

/// An answer of `/metrics`.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    text: String,
}

/// Asks on the operator's socket.
pub(super) async fn scrape(socket: &Path) -> Metrics {
    within(SOON, "/metrics", async {
        let mut stream = UnixStream::connect(socket).await.expect("the operator's socket");
        let request = b"GET /metrics HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("asked");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer");
        let text = String::from_utf8(answer).expect("UTF-8");
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        Metrics { text }
    })
    .await
}

impl Metrics {
    /// The value of `tideover_NAME`, all labels together.
    ///
    /// # Panics
    /// When it is not there: then nothing is known, and nothing is proven.
    pub(super) fn value(&self, name: &str) -> i64 {
        let values: Vec<f64> = self.text.lines().filter_map(|line| value_of(line, name)).collect();
        assert!(!values.is_empty(), "no tideover_{name} in /metrics");
        values.iter().sum::<f64>() as i64
    }

    /// Received messages that are in none of law 8's accounts, or in two (then less than 0).
    pub(super) fn unaccounted(&self) -> i64 {
        let fates = FATES.iter().map(|fate| match *fate {
            "retained" => self.value("messages_retained"),
            fate => self.value(&format!("messages_{fate}_total")),
        });
        self.value("messages_received_total") - fates.sum::<i64>()
    }

    /// Sessions that began, and neither live nor have ended. While some begin or end this may not be zero.
    pub(super) fn sessions_unaccounted(&self) -> i64 {
        self.value("sessions_opened_total") - self.value("sessions_live") - self.value("sessions_ended_total")
    }
}

fn value_of(line: &str, name: &str) -> Option<f64> {
    let rest = line.strip_prefix("tideover_")?.strip_prefix(name)?;
    let value = match rest.strip_prefix('{') {
        Some(labels) => labels.split_once('}')?.1,
        None => rest,
    };
    value.strip_prefix(' ')?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_summed_and_names_are_whole() {
        let text = "tideover_a_total 3\ntideover_a 1\ntideover_a{x=\"1\"} 4\ntideover_ab 9\n# TYPE tideover_a gauge\n";
        let metrics = Metrics { text: text.into() };
        assert_eq!((metrics.value("a"), metrics.value("a_total")), (5, 3));
    }

    #[test]
    fn a_message_in_no_account_shows() {
        let fates = FATES.map(|fate| {
            let name = if fate == "retained" { "messages_retained".into() } else { format!("messages_{fate}_total") };
            format!("tideover_{name} 2\n")
        });
        let with = |received: u32| Metrics {
            text: fates.concat() + &format!("tideover_messages_received_total {received}\n"),
        };
        assert_eq!((with(14).unaccounted(), with(15).unaccounted()), (0, 1));
    }
}
