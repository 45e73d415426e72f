//! Sizes and durations as people write them.

use std::time::Duration;

use bytesize::ByteSize;

/// Bytes: `65536`, `64KiB` (binary) or `64KB` (decimal).
pub(super) fn parse_size(text: &str) -> Option<u64> {
    text.parse::<ByteSize>().ok().map(|size| size.as_u64())
}

/// A length of time: `250ms`, `1m 30s`; without a unit only `0`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

/// The size in the largest binary unit that divides it: `64KiB`.
pub(super) fn format_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let thousands = (bytes.max(1).trailing_zeros() / 10).min(4);
    format!("{}{}", bytes >> (10 * thousands), UNITS[thousands as usize])
}

/// The duration as [`parse_duration`] reads it.
pub(super) fn format_duration(duration: Duration) -> String {
    if duration.is_zero() { "0".into() } else { humantime::format_duration(duration).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_decimal_or_plain_bytes() {
        let cases =
            [("1048576", 1 << 20), ("64KiB", 65536), ("1 MiB", 1 << 20), ("64KB", 64_000), ("1.5MB", 1_500_000)];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "KiB", "-1", "1MiBB", "1 2", "é"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn durations_have_units_unless_they_are_zero() {
        let cases = [("250ms", 250), ("10s", 10_000), ("1m 30s", 90_000), ("1m30s", 90_000), ("0", 0), ("0s", 0)];
        for (text, millis) in cases {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "-1s", "1 parsec", "off"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_formatted_reads_back() {
        for bytes in [0, 1, 125, 8 << 10, 1 << 20, 3 << 30, 1 << 40, 1 << 50, (1 << 20) + 1] {
            assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
        }
        assert_eq!([format_size(0), format_size(8 << 10), format_size(1536)], ["0B", "8KiB", "1536B"]);
        for millis in [0, 1, 90_000, 30 * 24 * 3_600_000] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        }
    }
}
