//! Tells in plain words what happens, with the pretend time of day before each line.

use std::io::{IsTerminal, Write};

use super::pace::Pace;

/// Writes the story to standard error, so that standard output stays free for the summary.
#[derive(Debug, Clone, Copy)]
pub struct Narrator {
    pace: Pace,
}

impl Narrator {
    /// Tells by this clock.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self { pace }
    }

    /// One thing that happened now.
    pub fn say(&self, words: impl AsRef<str>) {
        let words = words.as_ref();
        write_line(&format!("{}  {words}", Pace::clock_face(self.pace.now())));
    }

    /// A headline before a new part of the story.
    pub fn headline(&self, words: &str) {
        write_line("");
        if std::io::stderr().is_terminal() {
            write_line(&format!("\u{1b}[1m{}  {words}\u{1b}[0m", Pace::clock_face(self.pace.now())));
        } else {
            write_line(&format!("{}  {words}", Pace::clock_face(self.pace.now())));
        }
    }
}

/// One line of the story, without a time.
pub fn write_line(line: &str) {
    // Nobody may be listening; the run goes on.
    writeln!(std::io::stderr().lock(), "{line}").ok();
}
