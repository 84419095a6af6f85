//! Rules, thresholds and limits as data.
//!
//! A bundle is one TOML text: thresholds, gates per class of order, conditions in CEL, fallback and routing rules,
//! clocks, who may override, and scenarios that test all of it. Its hash stands in every decision made under it, so the text is kept,
//! never only the values. Defaults are the starting thresholds of common practice: late departure
//! after 15 minutes, a door blocked 10 minutes past its planned end, two fixes to cross a geofence.

mod calendar;
mod detectors;
mod located;
mod overrides;
mod prepare;
pub mod response;
pub mod scenario;
mod tables;
mod trips;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    gate::{AgeLimits, GateKind},
    id::Hash32,
};

pub use calendar::Calendar;
pub use detectors::{
    Band, ClockSkew, Detectors, Detention, DockConflict, FeedStale, InvMismatch, MissedPickup, Periods, SealBroken,
    TempExcursion,
};
pub use located::{Condition, Located};
pub use overrides::{NEVER, Never, Overrides};
pub use response::{Clock, Clocks, ExtraGate, Fallback, Routed, Routing, Then};
pub use scenario::Scenario;
pub use tables::Table;
pub use trips::{Pace, PaceRow, ProofPolicy, Tracks, Trips};

/// Most bytes of a bundle.
pub const BUNDLE_MAX_BYTES: usize = 256 * 1024;

/// A bundle as its hash and its rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// SHA-256 of the text.
    pub hash: Hash32,
    /// What the text says.
    pub rules: Rules,
}

/// What a bundle says. Every key has a default, so an empty text is a whole bundle.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Number that its writer gives it; activation refuses one that is lower than that of the active bundle. Default 0.
    pub version: u64,
    /// When detectors speak.
    pub detectors: Detectors,
    /// How vehicles on the way are followed.
    pub trips: Trips,
    /// Rules per class of order; `standard` holds for a class that is not listed.
    pub classes: BTreeMap<String, ClassRules>,
    /// Who may override, and what.
    pub overrides: Overrides,
    /// How long the hub may be silent before this depot counts as cut off, in ms. Default 60,000.
    pub hub_silence_max_ms: u64,
    /// How long before planned departure a gate that is still unknown opens a case, in ms. Default 1,800,000.
    pub unknown_deadline_ms: u64,
    /// Money at risk above which the money axis is 1, 2 and 3, in minor units. Default 1,000.00, 5,000.00 and 20,000.00.
    pub money_axis_minor: [i64; 3],
    /// Roles that may put other rules in force. Default `supervisor`.
    pub activation_roles: Vec<String>,
    /// Gates of this depot's own, as conditions; a class switches them on by name.
    pub gates: BTreeMap<String, ExtraGate>,
    /// What follows when a gate fails, or is unknown past its deadline; the first rule that fits counts. Where none
    /// fits: hold, with a case.
    pub fallback: Vec<Fallback>,
    /// Who gets a case and how bad it is at least; the first rule that fits counts.
    pub routing: Vec<Routing>,
    /// Decision tables; each row becomes a rule behind those that are written out.
    pub tables: Vec<Table>,
    /// How soon cases are due, per severity.
    pub clocks: Clocks,
    /// When this depot works. Default always.
    pub calendar: Calendar,
    /// Examples with what must come of them, for `gatehouse-agent rules test`.
    pub scenarios: Vec<Scenario>,
}

/// Rules of one class of order.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClassRules {
    /// Gates that a dispatch of this class waits for, by name; `no_blocking_case` always is one. Default the eight of
    /// [`GateKind::USUAL`]; `sla`, `labour` and the bundle's own gates are off until they are named here.
    pub gates: Vec<Located<String>>,
    /// [`ClassRules::gates`], resolved.
    #[serde(skip)]
    pub waits_for: Vec<GateName>,
    /// How long the way to the customer is reckoned for the gate `sla` where an order names no cut-off, in ms. Default 0.
    pub transit_ms: u64,
    /// Age limits per gate. A gate that is not listed keeps the default of [`ClassRules::default`].
    pub age_limits: BTreeMap<GateKind, AgeLimits>,
    /// Gates whose staleness may be bridged while the hub is connected: the release is degraded.
    pub degrade: Vec<GateKind>,
    /// Whether a dispatch with all gates met is released by itself. Default true.
    pub auto_release: bool,
}

/// A gate by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateName {
    /// One that the program knows.
    BuiltIn(GateKind),
    /// One of [`Rules::gates`].
    Own(String),
}

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// These places are wrong. Correct all of them.
    #[error("bundle: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Problems(Vec<BundleProblem>),
}

impl BundleError {
    /// Each thing that is wrong.
    #[must_use]
    pub fn problems(&self) -> &[BundleProblem] {
        let Self::Problems(problems) = self;
        problems
    }
}

/// One thing that is wrong with a bundle.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BundleProblem {
    /// Line in the bundle's text, from 1; none where a value is named instead.
    pub line: Option<usize>,
    /// Column in that line, from 1.
    pub column: Option<usize>,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl std::fmt::Display for BundleProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.message)
    }
}

const MINUTE_MS: u64 = 60_000;

impl Default for Rules {
    fn default() -> Self {
        Self {
            version: 0,
            detectors: Detectors::default(),
            trips: Trips::default(),
            classes: BTreeMap::new(),
            overrides: Overrides::default(),
            hub_silence_max_ms: MINUTE_MS,
            unknown_deadline_ms: 30 * MINUTE_MS,
            money_axis_minor: [100_000, 500_000, 2_000_000],
            activation_roles: vec!["supervisor".to_owned()],
            gates: BTreeMap::new(),
            fallback: Vec::new(),
            routing: Vec::new(),
            tables: Vec::new(),
            clocks: Clocks::default(),
            calendar: Calendar::default(),
            scenarios: Vec::new(),
        }
    }
}

impl Default for ClassRules {
    fn default() -> Self {
        let limits = |normal: u64, under_lease: u64| AgeLimits {
            normal_ms: normal * MINUTE_MS,
            under_lease_ms: under_lease * MINUTE_MS,
        };
        Self {
            gates: Vec::new(),
            waits_for: GateKind::USUAL.iter().copied().map(GateName::BuiltIn).collect(),
            transit_ms: 0,
            age_limits: BTreeMap::from([
                (GateKind::Inventory, limits(60, 12 * 60)),
                (GateKind::Capacity, limits(4 * 60, 24 * 60)),
                (GateKind::Carrier, limits(4 * 60, 24 * 60)),
                (GateKind::Credit, limits(60, 12 * 60)),
                (GateKind::Dock, limits(24 * 60, 24 * 60)),
                (GateKind::Documents, limits(24 * 60, 24 * 60)),
                (GateKind::Cargo, limits(24 * 60, 24 * 60)),
                (GateKind::Labour, limits(4 * 60, 24 * 60)),
            ]),
            degrade: vec![GateKind::Inventory, GateKind::Capacity, GateKind::Carrier, GateKind::Credit],
            auto_release: true,
        }
    }
}

impl ClassRules {
    /// The age limits of `gate`; a gate without facts of its own has none and gets the widest.
    #[must_use]
    pub fn limits(&self, gate: GateKind) -> AgeLimits {
        let default = || Self::default().age_limits.get(&gate).copied();
        self.age_limits
            .get(&gate)
            .copied()
            .or_else(default)
            .unwrap_or(AgeLimits { normal_ms: u64::MAX, under_lease_ms: u64::MAX })
    }
}

impl Rules {
    /// The rules of an order's class.
    #[must_use]
    pub fn class(&self, class: &str) -> ClassRules {
        self.classes.get(class).or_else(|| self.classes.get("standard")).cloned().unwrap_or_default()
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (class, rules) in &self.classes {
            for (gate, limits) in &rules.age_limits {
                if limits.under_lease_ms < limits.normal_ms {
                    problems.push(format!(
                        "classes.{class}.age_limits.{}: under_lease_ms is shorter than normal_ms; a lease widens limits",
                        gate.as_str()
                    ));
                }
            }
        }
        problems.extend(self.detectors.problems());
        problems.extend(self.trips.problems());
        for (severity, clock) in self.clocks.each() {
            if !(0..=525_600).contains(&clock.acknowledge_minutes) || !(0..=525_600).contains(&clock.resolve_minutes) {
                problems.push(format!("clocks.{severity}: minutes must be from 0 to 525600, a year"));
            }
        }
        if !(-1_440..=1_440).contains(&self.calendar.utc_offset_minutes) {
            problems.push("calendar.utc_offset_minutes: must be from -1440 to 1440".to_owned());
        }
        if !(1..=1_440).contains(&self.overrides.second_within_minutes) {
            problems.push("overrides.second_within_minutes: must be from 1 to 1440".to_owned());
        }
        if self.activation_roles.is_empty() {
            problems.push("activation_roles: nobody could ever change the rules again; name a role".to_owned());
        }
        if !self.money_axis_minor.is_sorted() {
            problems.push("money_axis_minor: the three amounts must rise".to_owned());
        }
        problems
    }
}

impl Bundle {
    /// Reads a bundle from its text and checks everything in it; an empty text is the default bundle.
    /// # Errors
    /// [`BundleError`] tells everything that is wrong, with line and column where a condition or a name is.
    pub fn parse(text: &str) -> Result<Self, BundleError> {
        if text.len() > BUNDLE_MAX_BYTES {
            let message = format!("it has {} bytes, a bundle may have {BUNDLE_MAX_BYTES}", text.len());
            return Err(BundleError::Problems(vec![BundleProblem { line: None, column: None, message }]));
        }
        let mut rules: Rules = toml::from_str(text).map_err(|error| {
            let at = error.span().map(|span| located::line_and_column(text, span.start));
            let (line, column) = (at.map(|a| a.0), at.map(|a| a.1));
            BundleError::Problems(vec![BundleProblem { line, column, message: error.message().to_owned() }])
        })?;
        let mut problems = rules.prepare(text);
        let values = rules.problems().into_iter();
        problems.extend(values.map(|message| BundleProblem { line: None, column: None, message }));
        if problems.is_empty() {
            Ok(Self { hash: Hash32::of(text.as_bytes()), rules })
        } else {
            Err(BundleError::Problems(problems))
        }
    }

    /// The rules that hold where no bundle is given: an empty text.
    #[must_use]
    pub fn usual() -> Self {
        Self { hash: Hash32::of(b""), rules: Rules::default() }
    }
}
