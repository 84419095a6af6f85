//! What is printed: one JSON object a line, and the text for people beside it.

use std::io::Write;

use serde_json::{Value, json};

/// Prints lines; in words too, unless only lines are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    /// Nothing but JSON lines.
    pub json: bool,
}

/// What an aim compares.
pub struct Aim<'a> {
    /// Which benchmark.
    pub bench: &'a str,
    /// Which case of it.
    pub case: &'a str,
    /// Our figure.
    pub ours: f64,
    /// The peer and its figure; without one the aim is a bound by itself.
    pub peer: Option<(&'a str, f64)>,
    /// The bound, in words.
    pub aim: &'a str,
    /// Whether it holds.
    pub holds: bool,
}

impl Printer {
    /// Tells people what is going on.
    pub fn say(self, text: &str) {
        if !self.json {
            eprintln!("{text}");
        }
    }

    /// Prints one line.
    pub fn line(self, value: &Value) {
        // A reader that has closed its end (`| head`) is no failure.
        let _ = writeln!(std::io::stdout(), "{value}");
    }

    /// Prints the line of an aim.
    pub fn aim(self, aim: &Aim<'_>) -> bool {
        let theirs = aim.peer.map(|(_, figure)| figure);
        let ratio = theirs.filter(|t| *t != 0.0).map(|t| rounded(aim.ours / t));
        self.line(&json!({
            "bench": aim.bench, "case": aim.case, "ours": rounded(aim.ours), "peer": aim.peer.map(|(name, _)| name),
            "theirs": theirs.map(rounded), "ratio": ratio, "aim": aim.aim, "holds": aim.holds,
        }));
        aim.holds
    }
}

/// Three digits behind the point are more than a run can tell.
pub fn rounded(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}
