//! Asks the checker what became of the run, and shows its answer.
//!
//! The checker is a program of its own in another language (`tests/checker/check.py`); nothing is judged here.

use std::{path::Path, process::Stdio};

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::process::Command;

use super::{
    aims::{Aim, ErpChange, Standing},
    narrate::write_line,
    plan::Plan,
};

/// What the checker said.
#[derive(Debug)]
pub struct Verdict {
    /// Its summary.
    pub summary: Value,
    /// What it found wrong, one sentence each; empty if all is well.
    pub problems: Vec<String>,
}

/// Makes sure before a run that the checker can judge it afterwards.
/// # Errors
/// If Python or the checker cannot be run.
pub async fn is_ready(checker: &Path) -> anyhow::Result<()> {
    let mut command = Command::new("python3");
    command.arg(checker).arg("--help").stdin(Stdio::null());
    let output = command.output().await.context("running python3, which the checker needs; install Python 3")?;
    if !output.status.success() {
        bail!("the checker cannot be run: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
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

/// Shows what was aimed for and the summary as tables.
pub fn show(verdict: &Verdict, plan: &Plan) {
    write_line("");
    write_line(
        "What the ERP changed behind the depots' backs, and whether it ended as written down before the day began:",
    );
    write_line(&format!(
        "  {:<9}{:<19}{:<18}{:>5}  {:<20}{}",
        "order", "ERP", "the goods were", "row", "must end as", ""
    ));
    for (order, aim) in plan.orders.iter().filter_map(|o| Some((&o.order, o.aim.as_ref()?))) {
        let missed = verdict.problems.iter().any(|problem| problem.starts_with(&format!("aimed: {order} ")));
        let end = if aim.choice.is_some() && !plan.people { "open" } else { aim.outcome };
        let (change, standing) = in_words(aim);
        let reached = if missed { "MISSED" } else { "reached" };
        write_line(&format!("  {order:<9}{change:<19}{standing:<18}{:>5}  {end:<20}{reached}", aim.row));
    }
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

fn in_words(aim: &Aim) -> (&'static str, &'static str) {
    let change = match aim.change {
        ErpChange::Cancel => "cancelled",
        ErpChange::CreditHold => "credit hold",
        ErpChange::Reduce => "quantity down",
        ErpChange::Increase => "quantity up",
    };
    let standing = match aim.standing {
        Standing::NotDeparted => "on the lane",
        Standing::OnBoard => "on board",
        Standing::Departed => "gone",
    };
    (change, standing)
}

fn words(value: &Value) -> String {
    match value {
        Value::Object(map) => map.iter().map(|(k, v)| format!("{k} {}", words(v))).collect::<Vec<_>>().join(", "),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
