//! Rules, thresholds and limits as data.
//!
//! A bundle is one TOML text. Its hash stands in every decision made under it, so the text is kept,
//! never only the values. Defaults are the starting thresholds of common practice: late departure
//! after 15 minutes, a door blocked 10 minutes past its planned end, two fixes to cross a geofence.

mod detectors;
mod trips;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    gate::{AgeLimits, GateKind},
    id::Hash32,
};

pub use detectors::{
    Band, ClockSkew, Detectors, Detention, DockConflict, FeedStale, InvMismatch, MissedPickup, Periods, SealBroken,
    TempExcursion,
};
pub use trips::{Pace, PaceRow, ProofPolicy, Tracks, Trips};

/// A bundle as its hash and its rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// SHA-256 of the text.
    pub hash: Hash32,
    /// What the text says.
    pub rules: Rules,
}

/// What a bundle says. Every key has a default, so an empty text is a whole bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
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
}

/// Rules of one class of order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClassRules {
    /// Age limits per gate. A gate that is not listed keeps the default of [`ClassRules::default`].
    pub age_limits: BTreeMap<GateKind, AgeLimits>,
    /// Gates whose staleness may be bridged while the hub is connected: the release is degraded.
    pub degrade: Vec<GateKind>,
    /// Whether a dispatch with all gates met is released by itself. Default true.
    pub auto_release: bool,
}

/// Who may override, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overrides {
    /// Roles that may override alone. Default `supervisor`.
    pub roles: Vec<String>,
    /// Gates that need two persons, and are therefore refused until two can be asked. Default credit.
    pub two_persons: Vec<GateKind>,
    /// Fewest characters of a reason. Default 8.
    pub reason_min_chars: usize,
}

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The text is not a bundle; the message names line and column.
    #[error("bundle: {0}")]
    Text(String),
    /// A value makes no sense; each is named.
    #[error("bundle: {}", .0.join("; "))]
    Values(Vec<String>),
}

const MINUTE_MS: u64 = 60_000;

impl Default for Rules {
    fn default() -> Self {
        Self {
            detectors: Detectors::default(),
            trips: Trips::default(),
            classes: BTreeMap::new(),
            overrides: Overrides::default(),
            hub_silence_max_ms: MINUTE_MS,
            unknown_deadline_ms: 30 * MINUTE_MS,
            money_axis_minor: [100_000, 500_000, 2_000_000],
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
            age_limits: BTreeMap::from([
                (GateKind::Inventory, limits(60, 12 * 60)),
                (GateKind::Capacity, limits(4 * 60, 24 * 60)),
                (GateKind::Carrier, limits(4 * 60, 24 * 60)),
                (GateKind::Credit, limits(60, 12 * 60)),
                (GateKind::Dock, limits(24 * 60, 24 * 60)),
                (GateKind::Documents, limits(24 * 60, 24 * 60)),
                (GateKind::Cargo, limits(24 * 60, 24 * 60)),
            ]),
            degrade: vec![GateKind::Inventory, GateKind::Capacity, GateKind::Carrier, GateKind::Credit],
            auto_release: true,
        }
    }
}

impl Default for Overrides {
    fn default() -> Self {
        Self { roles: vec!["supervisor".to_owned()], two_persons: vec![GateKind::Credit], reason_min_chars: 8 }
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
        if !self.money_axis_minor.is_sorted() {
            problems.push("money_axis_minor: the three amounts must rise".to_owned());
        }
        problems
    }
}

impl Bundle {
    /// Reads a bundle from its text; an empty text is the default bundle.
    /// # Errors
    /// [`BundleError`], with line and column or the key of each value that makes no sense.
    pub fn parse(text: &str, read: impl Fn(&str) -> Result<Rules, String>) -> Result<Self, BundleError> {
        let rules = read(text).map_err(BundleError::Text)?;
        let problems = rules.problems();
        if !problems.is_empty() {
            return Err(BundleError::Values(problems));
        }
        Ok(Self { hash: Hash32::of(text.as_bytes()), rules })
    }
}
