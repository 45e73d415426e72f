//! Columns of text.

/// Rows under headings, in columns as wide as they need. What could drive a terminal is escaped.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(headings.map(str::to_owned))
        .chain(rows.into_iter().map(|row| row.map(|cell| harmless(&cell))))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// Names and values, one pair a line.
pub(super) fn pairs(pairs: impl IntoIterator<Item = (impl Into<String>, String)>) -> String {
    let pairs: Vec<(String, String)> = pairs.into_iter().map(|(name, value)| (name.into(), value)).collect();
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    pairs.iter().map(|(name, value)| format!("{name:width$}  {}\n", harmless(value))).collect()
}

/// The text with its control characters escaped, line ends and tabs too: it may be anybody's.
pub(super) fn harmless(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let rows = [["a".to_owned(), "1".to_owned()], ["långt".to_owned(), "22".to_owned()]];
        assert_eq!(table(["NAME", "N"], rows), "NAME   N\na      1\nlångt  22\n");
        assert_eq!(pairs([("a", "1".to_owned()), ("bb", "2".to_owned())]), "a   1\nbb  2\n");
    }

    #[test]
    fn a_terminal_is_not_driven_by_what_is_shown() {
        assert_eq!(harmless("a\u{1b}[2Jb\n\u{9b}é"), "a\\u{1b}[2Jb\\n\\u{9b}é");
    }
}
