//! `gatehouse-agent rules replay`: what other rules would have decided, told as text or JSON.

use std::{
    fmt::Write as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use gatehouse_common::{decision::DecisionKind, time::UtcMs};

use super::{rules, say};
use crate::{
    replay::{self, Asked, Difference, Progress, Report, Step},
    store::Reader,
};

/// Real time between two words on how far it is.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// What is replayed.
#[derive(Debug, Args)]
pub struct Replay {
    /// The new bundle, a TOML file.
    file: PathBuf,
    /// The store of an agent, such as /var/lib/gatehouse/agent.db. It is only read, also while the agent runs.
    #[arg(long, value_name = "PATH")]
    store: PathBuf,
    /// From when on the new rules are tried, such as 2026-03-10T06:00:00Z. From the first that is kept if not given.
    #[arg(long, value_name = "RFC3339")]
    from: Option<UtcMs>,
    /// Until when. To the end if not given.
    #[arg(long, value_name = "RFC3339")]
    to: Option<UtcMs>,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Does it; how far it is goes to standard error.
pub fn main(asked: &Replay) -> anyhow::Result<()> {
    let (bundle, _) = rules::read(&asked.file)?;
    let store = Reader::open(&asked.store)?;
    let mut told = Instant::now();
    let span = Asked { from: asked.from, to: asked.to };
    let report = replay::replay(&store, &bundle, &span, |Progress { at, given, of }| {
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            eprintln!("replayed up to {at}: {given} of {of} inputs");
        }
    })?;
    if asked.json { say(&serde_json::to_string_pretty(&report)?) } else { say(&in_words(&report)) }
}

fn in_words(report: &Report) -> String {
    let mut text = format!(
        "Rules of version {} ({}) from {} to {}: {} of {} dispatches come out otherwise.\n",
        report.version,
        crate::core::rules::short(&report.bundle),
        report.from,
        report.to,
        report.differences.len(),
        report.dispatches,
    );
    for difference in &report.differences {
        difference_in_words(&mut text, difference);
    }
    if !report.cases.is_empty() {
        // Writing to a string cannot go wrong, here and below.
        let _ = writeln!(text, "\nCases opened              then     now");
    }
    for of in &report.cases {
        let more = if of.reclassified == 0 {
            String::new()
        } else {
            format!("  {} with another severity or owner", of.reclassified)
        };
        let _ = writeln!(text, "  {:22}{:6}  {:6}{more}", of.case_type.code(), of.then, of.now);
        for (when, only) in [("then: ", &of.only_then), ("now:  ", &of.only_now)] {
            text.extend(only.iter().map(|summary| format!("    only {when}{summary}\n")));
        }
    }
    faith_in_words(&mut text, report);
    text.trim_end().to_owned()
}

fn difference_in_words(text: &mut String, difference: &Difference) {
    let order = difference.order.as_ref().map_or_else(|| difference.dispatch.to_string(), ToString::to_string);
    let _ = writeln!(text, "\norder {order}: {}", difference.change);
    let _ = writeln!(text, "  then {}", steps(&difference.then));
    let _ = writeln!(text, "  now  {}", steps(&difference.now));
    text.extend(difference.why.iter().map(|why| format!("  why  {why}\n")));
}

fn steps(steps: &[Step]) -> String {
    let word = |step: &Step| {
        let kind = match step.kind {
            DecisionKind::Release => "released",
            DecisionKind::Hold => "held",
            DecisionKind::Override => "overridden",
            DecisionKind::Recall => "recalled",
            DecisionKind::LeaseClosed | DecisionKind::EpochBegun => "decided",
        };
        let mode = step.mode.map_or_else(String::new, |mode| format!(" ({})", mode.as_str()));
        format!("{kind} {}{mode}: {}", step.at, step.reason)
    };
    if steps.is_empty() { "nothing".to_owned() } else { steps.iter().map(word).collect::<Vec<_>>().join("; ") }
}

fn faith_in_words(text: &mut String, report: &Report) {
    let faith = &report.faith;
    let _ = writeln!(
        text,
        "\nHow true it is: under the rules of then the replay makes {} of {} recorded decisions again, {} more that are \
         not recorded, and opens {} of {} recorded cases.",
        faith.decisions_same, faith.decisions_recorded, faith.decisions_more, faith.cases_same, faith.cases_recorded,
    );
    if !faith.orders.is_empty() {
        let _ = writeln!(text, "It differs from the record for {}.", faith.orders.join(", "));
    }
    if faith.missing != (0, 0) {
        let (inputs, readings) = faith.missing;
        let _ =
            writeln!(text, "{readings} readings and {inputs} other inputs are not kept any more and were left out.");
    }
    if faith.rules_missing > 0 {
        let _ = writeln!(text, "{} times rules came into force that are not kept any more.", faith.rules_missing);
    }
    if faith.taps_refused_now > 0 {
        let _ = writeln!(text, "{} taps of people would have been refused.", faith.taps_refused_now);
    }
    if faith.unheard_now > 0 {
        let _ = writeln!(text, "{} words of the hub were about cases that do not arise now.", faith.unheard_now);
    }
    text.push_str(
        "What sensors saw and people did is taken as it was; with other rules they might have done otherwise.\n",
    );
}
