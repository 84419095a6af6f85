//! What follows: a depot's own gates, fallback, routing, and how soon cases are due.

use serde::Deserialize;

use crate::{
    case::{CaseType, Severity, Team},
    order::Order,
    rule::{Binding, Outcome},
    time::UtcMs,
};

use super::{Calendar, Condition, Located};

/// A gate that is a condition.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtraGate {
    /// It lets a dispatch through when this is true, and fails when it is false. Facts older than their own gate allows
    /// are unknown.
    pub pass_when: Condition,
    /// Why it fails, for people.
    pub reason: String,
    /// The case it opens; one of those that gates open, such as `DOC_HOLD`.
    pub case: Located<CaseType>,
    /// Whether a failing gate holds only from the deadline on, as with doors, papers and goods. Default false: at once.
    #[serde(default)]
    pub from_deadline: bool,
}

/// What follows from a gate that is not met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// It is held, with a case.
    Hold,
    /// It leaves all the same, mode degraded; the decision names the rule.
    ReleaseDegraded,
    /// It is held, with a case, and one person with a role that may override decides; mode degraded, no override.
    Ask,
}

/// One fallback rule.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// Its name; it stands in each decision that rests on it.
    pub id: String,
    /// The gate it is for, by name; none for every gate.
    #[serde(default)]
    pub gate: Option<Located<String>>,
    /// Further condition; a rule whose condition is not known to hold does not fit.
    #[serde(default)]
    pub when: Option<Condition>,
    /// What follows.
    pub then: Located<Then>,
}

/// One routing rule.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Routing {
    /// Its name.
    pub id: String,
    /// Types of case it is for; empty for every type.
    #[serde(default)]
    pub cases: Vec<CaseType>,
    /// Further condition; a rule whose condition is not known to hold does not fit.
    #[serde(default)]
    pub when: Option<Condition>,
    /// Who gets it; none for the owner of the taxonomy.
    #[serde(default)]
    pub owner: Option<Team>,
    /// How bad it is at least.
    #[serde(default)]
    pub severity: Option<Severity>,
}

/// Where a case goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routed {
    /// The rule that says so; none for the taxonomy.
    pub rule: Option<String>,
    /// Who gets it.
    pub owner: Team,
    /// How bad it is.
    pub severity: Severity,
}

/// Sends a case to its team: the first rule that fits.
#[must_use]
pub fn route(rules: &[Routing], case_type: CaseType, severity: Severity, binding: &dyn Binding) -> Routed {
    let fits = |rule: &&Routing| {
        (rule.cases.is_empty() || rule.cases.contains(&case_type))
            && rule.when.as_ref().is_none_or(|when| when.evaluate(binding) == Outcome::True)
    };
    match rules.iter().find(fits) {
        None => Routed { rule: None, owner: case_type.owner(), severity },
        Some(rule) => Routed {
            rule: Some(rule.id.clone()),
            owner: rule.owner.unwrap_or(case_type.owner()),
            severity: rule.severity.map_or(severity, |least| severity.max(least)),
        },
    }
}

/// How soon cases are due, per severity.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clocks {
    /// Acknowledge within 5, resolve within 60.
    #[serde(rename = "S1")]
    pub s1: Clock,
    /// Acknowledge within 15, resolve within 240.
    #[serde(rename = "S2")]
    pub s2: Clock,
    /// Acknowledge within 60, resolve by the next cut-off; within 480 where none is known.
    #[serde(rename = "S3")]
    pub s3: Clock,
    /// Acknowledge within 240, resolve within 2880.
    #[serde(rename = "S4")]
    pub s4: Clock,
}

/// The clock of one severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// Within how many minutes someone acknowledges it.
    pub acknowledge_minutes: i64,
    /// Within how many minutes it is resolved.
    pub resolve_minutes: i64,
    /// Whether it is due at the next cut-off instead, of the order or else of the calendar. Default false.
    #[serde(default)]
    pub resolve_by_cut_off: bool,
    /// Whether minutes run on the wall and not only while the depot works. Default false.
    #[serde(default)]
    pub wall: bool,
}

impl Default for Clocks {
    fn default() -> Self {
        let of = |severity: Severity| Clock {
            acknowledge_minutes: severity.acknowledge_minutes(),
            resolve_minutes: severity.resolve_minutes(),
            resolve_by_cut_off: severity == Severity::S3,
            wall: false,
        };
        Self { s1: of(Severity::S1), s2: of(Severity::S2), s3: of(Severity::S3), s4: of(Severity::S4) }
    }
}

impl Clocks {
    /// The clock of a severity.
    #[must_use]
    pub fn of(&self, severity: Severity) -> Clock {
        match severity {
            Severity::S1 => self.s1,
            Severity::S2 => self.s2,
            Severity::S3 => self.s3,
            Severity::S4 => self.s4,
        }
    }

    /// Each with its name.
    pub(super) fn each(&self) -> [(&'static str, Clock); 4] {
        [("S1", self.s1), ("S2", self.s2), ("S3", self.s3), ("S4", self.s4)]
    }

    /// When a case is due: to be acknowledged, to be resolved.
    #[must_use]
    pub fn due(&self, severity: Severity, order: Option<&Order>, calendar: &Calendar, now: UtcMs) -> (UtcMs, UtcMs) {
        let clock = self.of(severity);
        let after = |minutes| if clock.wall { now.plus(minutes * 60_000) } else { calendar.after(now, minutes) };
        let acknowledge = after(clock.acknowledge_minutes);
        let of_order = || order.and_then(|o| o.cut_off).filter(|cut_off| *cut_off > now);
        let cut_off = || of_order().or_else(|| calendar.next_cut_off(now));
        let by_cut_off = if clock.resolve_by_cut_off { cut_off() } else { None };
        (acknowledge, by_cut_off.unwrap_or_else(|| after(clock.resolve_minutes)))
    }
}
