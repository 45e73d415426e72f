//! A file that is replaced as deployment tools do it.

use std::path::PathBuf;

use crate::Scratch;

/// A file that is replaced by renaming; gone with the value.
#[derive(Debug)]
pub struct Replaced {
    scratch: Scratch,
}

impl Replaced {
    /// One with this text.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn new(text: &str) -> Self {
        let file = Self { scratch: Scratch::new("replaced") };
        file.replace(text);
        file
    }

    /// Gives it another text.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn replace(&self, text: &str) {
        let draft = self.scratch.path("draft");
        std::fs::write(&draft, text).expect("written");
        std::fs::rename(draft, self.path()).expect("renamed");
    }

    fn path(&self) -> PathBuf {
        self.scratch.path("file")
    }

    /// Its path, for a command line.
    ///
    /// # Panics
    /// When that is not UTF-8.
    pub fn text(&self) -> String {
        self.path().to_str().expect("a path in UTF-8").to_owned()
    }
}
