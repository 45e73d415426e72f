//! A terminal that a live view has for itself, and gets back as it was.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use rustix::termios::tcgetwinsize;

/// The other screen, and no cursor (xterm's private modes 1049 and 25).
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// All that back.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// To the upper left corner.
const HOME: &str = "\x1b[H";
/// Clears from here to the end of the line.
const CLEAR_LINE: &str = "\x1b[K";
/// Clears from here to the end of the screen.
const CLEAR_BELOW: &str = "\x1b[J";
/// What is assumed where the terminal does not say.
const USUAL: (usize, usize) = (24, 80);

/// The terminal, while it shows the view. Dropping it restores what was there.
#[derive(Debug)]
pub(super) struct Screen(());

impl Screen {
    /// Takes the terminal that standard output is. `None`: it is none, or cannot be drawn on.
    pub(super) fn take() -> Option<Self> {
        let is_drawable = io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        (is_drawable && write(ENTER).is_ok()).then(|| Self(()))
    }

    /// Shows these lines in place of what was shown, as far as they fit.
    pub(super) fn draw(&self, text: &str) -> io::Result<()> {
        let (rows, columns) = size();
        write(&frame(text, rows, columns))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = write(LEAVE);
    }
}

fn size() -> (usize, usize) {
    let size = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
    size.map_or(USUAL, |size| (size.ws_row.into(), size.ws_col.into()))
}

fn frame(text: &str, rows: usize, columns: usize) -> String {
    let mut frame = HOME.to_owned();
    for (row, line) in text.lines().take(rows).enumerate() {
        let line: String = line.chars().take(columns).collect();
        let end = if row == 0 { "" } else { "\r\n" };
        // Writing to a String does not fail.
        let _ = write!(frame, "{end}{line}{CLEAR_LINE}");
    }
    frame + CLEAR_BELOW
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_no_larger_than_the_terminal() {
        let frame = frame("eins\nzwei\ndrei\n", 2, 3);
        assert_eq!(frame, "\x1b[Hein\x1b[K\r\nzwe\x1b[K\x1b[J");
    }
}
