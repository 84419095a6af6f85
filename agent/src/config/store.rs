//! `[store]`: how much the store may take and what it keeps.

use super::read::{Problem, Section};
use crate::store::Limits;

/// The least budget that is of any use: the tables, one day of a quiet depot, and some air.
const BUDGET_LEAST_BYTES: u64 = 1 << 20;
const DAY_MS: i64 = 86_400_000;

/// Reads the limits; each has a default, so there always are some.
///
/// - `budget_bytes`: what the file may take, in bytes. Default 1 GiB. Its log takes up to 32 MiB more. When it is used
///   up, nothing more is acknowledged to the broker until room returns; nothing that was acknowledged is dropped.
/// - `keep_readings_days`: for how many days readings are kept at least. Default 30. Fewer make room sooner; what
///   went is counted by sender and time in the table `let_go`. Cases, decisions and the outbox are never let go of.
/// - `quarantine_budget_bytes`: what quarantine may take. Default 16 MiB; beyond it the oldest go.
/// - `inputs_budget_bytes`: what came in beside readings (word of the hub, taps), for `rules replay`. Default 64 MiB;
///   beyond it, and beyond `keep_readings_days`, the oldest go.
pub fn read_limits(section: &mut Section, problems: &mut Vec<Problem>) -> Limits {
    let usual = Limits::default();
    let budget_bytes =
        section.optional("budget_bytes", "give bytes, such as 1073741824", problems).unwrap_or(usual.budget_bytes);
    let days: Option<u32> = section.optional("keep_readings_days", "give whole days, such as 30", problems);
    let quarantine_bytes = section
        .optional("quarantine_budget_bytes", "give bytes, such as 16777216", problems)
        .unwrap_or(usual.quarantine_bytes);
    let inputs_bytes =
        section.optional("inputs_budget_bytes", "give bytes, such as 67108864", problems).unwrap_or(usual.inputs_bytes);
    if budget_bytes < BUDGET_LEAST_BYTES {
        let remedy = format!("give at least {BUDGET_LEAST_BYTES}");
        problems.push(section.problem("budget_bytes", format!("is {budget_bytes}"), remedy));
    }
    if days == Some(0) {
        problems.push(section.problem("keep_readings_days", "is 0", "keep them for a day at least"));
    }
    if quarantine_bytes > budget_bytes / 2 {
        problems.push(section.problem(
            "quarantine_budget_bytes",
            format!("is {quarantine_bytes}, of {budget_bytes} in all"),
            "give at most half of budget_bytes",
        ));
    }
    let keep_readings_ms = days.map_or(usual.keep_readings_ms, |days| i64::from(days) * DAY_MS);
    Limits { budget_bytes, keep_readings_ms, quarantine_bytes, inputs_bytes }
}
