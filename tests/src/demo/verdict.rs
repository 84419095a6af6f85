//! Asks the checker what became of the run, and shows its answer.
//!
//! The checker is a program of its own in another language (`tests/checker/check.py`); nothing is judged here.

use std::{path::Path, process::Stdio};

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::process::Command;

use super::narrate::write_line;

/// What the checker said.
#[derive(Debug)]
pub struct Verdict {
    /// Its summary.
    pub summary: Value,
    /// What it found wrong, one sentence each; empty if all is well.
    pub problems: Vec<String>,
}

/// Runs the checker over the files of a run.
/// # Errors
/// If Python or the checker cannot be run; not if the run was bad.
pub async fn ask(checker: &Path, folder: &Path) -> anyhow::Result<Verdict> {
    let mut command = Command::new("python3");
    command.arg(checker).arg(folder).arg("--json").stdin(Stdio::null());
    let output = command.output().await.context("running python3; the checker needs it")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let Ok(summary) = serde_json::from_slice(&output.stdout) else {
        bail!("the checker gave no summary ({}): {said}", output.status);
    };
    let mut problems: Vec<String> = Vec::new();
    if !output.status.success() {
        problems = said.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
        if problems.is_empty() {
            problems.push(format!("the checker ended with {}", output.status));
        }
    }
    Ok(Verdict { summary, problems })
}

/// Shows the summary as a table.
pub fn show(verdict: &Verdict) {
    write_line("");
    write_line("What the checker counted in the stores, the generator's list and the ERP's log:");
    let Value::Object(summary) = &verdict.summary else { return };
    for (key, value) in summary {
        write_line(&format!("  {key:<14} {}", words(value)));
    }
    write_line("");
    if verdict.problems.is_empty() {
        match summary["recon"]["open"].as_u64() {
            Some(open) if open > 0 => write_line(&format!(
                "The checker found nothing wrong. {open} recon items wait for a person, as they should: nobody answers for the customer."
            )),
            _ => write_line("The checker found nothing wrong."),
        }
    } else {
        write_line("The checker found this wrong:");
        for problem in &verdict.problems {
            write_line(&format!("  {problem}"));
        }
    }
}

fn words(value: &Value) -> String {
    match value {
        Value::Object(map) => map.iter().map(|(k, v)| format!("{k} {}", words(v))).collect::<Vec<_>>().join(", "),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
