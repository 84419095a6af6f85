//! `[store]`: how much the store may take and what it keeps.

use gatehouse_common::case::lifecycle::REOPEN_WITHIN_DAYS;

use super::read::{Problem, Section};
use crate::store::Limits;

/// The least budget that is of any use: the tables, one day of a quiet depot, and some air.
const BUDGET_LEAST_BYTES: u64 = 1 << 20;
const DAY_MS: i64 = 86_400_000;

/// Reads the limits; each has a default, so there always are some.
///
/// - `budget_bytes`: what the file may take, in bytes. Default 1 GiB. Its log takes up to 32 MiB more. When little is
///   left, old positions and temperatures go first; when it is used up, nothing more is acknowledged to the broker until
///   room returns. What happened is never dropped for it.
/// - `keep_readings_days`: for how many days readings are kept at least. Default 30. Fewer make room sooner; what
///   went is counted by sender and time in the table `let_go`. What goes sooner when room is short, and what never does,
///   stands in `docs/bounds.md`.
/// - `quarantine_budget_bytes`: what quarantine may take. Default 16 MiB; beyond it the oldest go.
/// - `inputs_budget_bytes`: what came in beside readings (word of the hub, taps), for `rules replay`. Default 64 MiB;
///   beyond it, and beyond `keep_readings_days`, the oldest go.
/// - `forget_after_days`: orders done, dispatches that left and cases at rest are forgotten when nothing was said of
///   them for so many days and the hub has all of it. Default 30, at least 15: until then a closed case may come back.
///   Fewer make core and store smaller; the page does not show them any more. Decisions are never forgotten.
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
    let forget: Option<u32> = section.optional("forget_after_days", "give whole days, such as 30", problems);
    if forget.is_some_and(|days| i64::from(days) <= REOPEN_WITHIN_DAYS) {
        problems.push(section.problem(
            "forget_after_days",
            format!("is {}", forget.unwrap_or_default()),
            format!("give more than {REOPEN_WITHIN_DAYS}: for so long a closed case may be taken up again"),
        ));
    }
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
    let forget_after_ms = forget.map_or(usual.forget_after_ms, |days| i64::from(days) * DAY_MS);
    Limits { budget_bytes, keep_readings_ms, quarantine_bytes, inputs_bytes, forget_after_ms }
}
