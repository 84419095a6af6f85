//! Looks at what the agent stands on, and says what would lose data and how to set it.
//!
//! In: the configuration, and what broker, disk, clock and hub answer. Out: [`Finding`]s. Works while the agent runs and
//! while it does not: it uses client ids, topics and files of its own, removes them, and acknowledges nothing of the
//! agent's. Never writes to the store.

mod broker;
mod hub;
mod machine;
mod mosquitto;

use std::{fmt::Write, path::PathBuf, time::Duration};

use serde::Serialize;

use crate::{clock::Clock, config::Config};

/// How bad a finding is, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Fine,
    /// Worth knowing; nothing is lost by it.
    Note,
    /// Cannot be found out from here.
    Unknown,
    /// Something is lost, or would be lost in a fault that does happen.
    LosesData,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: `broker`, `topics`, `disk`, `clock`, `hub`, `certificate` or `bundle`.
    pub about: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, in a sentence.
    pub what: String,
    /// What would be lost, and when.
    pub lost: Option<String>,
    /// How to set it right.
    pub remedy: Option<String>,
}

impl Finding {
    fn new(about: &'static str, severity: Severity, what: impl Into<String>) -> Self {
        Self { about, severity, what: what.into(), lost: None, remedy: None }
    }

    fn fine(about: &'static str, what: impl Into<String>) -> Self {
        Self::new(about, Severity::Fine, what)
    }

    fn note(about: &'static str, what: impl Into<String>) -> Self {
        Self::new(about, Severity::Note, what)
    }

    fn unknown(about: &'static str, what: impl Into<String>) -> Self {
        Self::new(about, Severity::Unknown, what)
    }

    fn loses(about: &'static str, what: impl Into<String>, lost: impl Into<String>) -> Self {
        Self { lost: Some(lost.into()), ..Self::new(about, Severity::LosesData, what) }
    }

    fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

/// What the doctor is asked beyond the configuration.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The broker's own configuration, when it is not where mosquitto looks for it.
    pub broker_config: Option<PathBuf>,
    /// How long the topics are listened to.
    pub listen: Duration,
}

/// Looks at everything, one after the other.
pub async fn examine(config: &Config, clock: &Clock, asked: &Asked) -> Vec<Finding> {
    let mut findings = broker::examine(config, asked.listen).await;
    findings.extend(mosquitto::examine(&config.mqtt, asked.broker_config.as_deref()));
    findings.extend(machine::disk(config));
    findings.push(machine::clock());
    findings.extend(hub::examine(config, clock).await);
    findings.push(Finding::fine("bundle", "the rules in force are complete; `check-config` reads the same file"));
    findings
}

/// The findings for people, the worst last, where a terminal shows it.
#[must_use]
pub fn in_words(findings: &[Finding]) -> String {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| finding.severity);
    let mut text = String::new();
    for finding in sorted {
        let mark = match finding.severity {
            Severity::Fine => "fine      ",
            Severity::Note => "note      ",
            Severity::Unknown => "unknown   ",
            Severity::LosesData => "LOSES DATA",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{mark}  {}: {}", finding.about, finding.what);
        for (word, more) in [("lost", &finding.lost), ("do", &finding.remedy)] {
            if let Some(more) = more {
                let _ = writeln!(text, "            {word}: {more}");
            }
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_stands_last_with_what_is_lost_and_what_to_do() {
        let findings = [
            Finding::loses("disk", "it is full", "every reading").remedy("make room"),
            Finding::fine("clock", "it is set"),
        ];
        let text = in_words(&findings);
        assert_eq!(
            text,
            "fine        clock: it is set\nLOSES DATA  disk: it is full\n            lost: every reading\n            do: make room"
        );
    }
}
