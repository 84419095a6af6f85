//! Thresholds of the detectors: when a condition is one.
//!
//! Keys that concern every detector stand at the top; each detector has a group of its own below.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::MINUTE_MS;
use crate::case::CaseType;

mod groups;

pub use groups::{
    Band, ClockSkew, Detention, DockConflict, FeedStale, InvMismatch, MissedPickup, SealBroken, TempExcursion,
};

/// When detectors speak.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Detectors {
    /// A door occupied, or standing open, this long past its planned end is blocked, in ms. Default 600,000.
    pub dock_blocked_after_ms: u64,
    /// A fault that a door or its leveller reports this long blocks it, in ms. Default 60,000.
    pub dock_fault_after_ms: u64,
    /// A dispatch not gone this long after planned departure is late, in ms. Default 900,000.
    pub departure_delay_after_ms: u64,
    /// A condition that has cleared this long clears its case, in ms. Default 120,000.
    pub clear_after_ms: u64,
    /// A condition that goes on this long triggers its case again, in ms. Default 7,200,000. Shorter nags.
    pub realert_after_ms: u64,
    /// Other periods for single types of case, by their code.
    pub types: BTreeMap<CaseType, Periods>,
    /// A reading that comes later than this after its own time is late, in ms. Default 120,000.
    pub live_within_ms: u64,
    /// What late readings said counts this long after the last of them has come in, in ms. Default 120,000. Until
    /// then they open no case: a buffer that empties tells the past in one go.
    pub settle_ms: u64,
    /// Fixes in a row that a geofence crossing needs. Default 2.
    pub geofence_fixes: u32,
    /// Width of the ring in which a geofence keeps its last answer, in metres. Default 50.
    pub geofence_ring_m: f64,
    /// Fixes with a larger radius of confidence are dropped, in metres. Default 100.
    pub fix_accuracy_max_m: f64,
    /// Fixes that imply a higher speed are dropped, in km/h. Default 200.
    pub fix_speed_max_kmh: f64,
    /// DOCK_CONFLICT.
    pub dock_conflict: DockConflict,
    /// MISSED_PICKUP.
    pub missed_pickup: MissedPickup,
    /// DETENTION.
    pub detention: Detention,
    /// INV_MISMATCH by what is in the vehicle.
    pub inv_mismatch: InvMismatch,
    /// SEAL_BROKEN.
    pub seal_broken: SealBroken,
    /// TEMP_EXCURSION.
    pub temp_excursion: TempExcursion,
    /// FEED_STALE.
    pub feed_stale: FeedStale,
    /// CLOCK_SKEW.
    pub clock_skew: ClockSkew,
}

/// Periods of one type of case; what is not given is as for all types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Periods {
    /// See [`Detectors::clear_after_ms`].
    pub clear_after_ms: Option<u64>,
    /// See [`Detectors::realert_after_ms`].
    pub realert_after_ms: Option<u64>,
}

impl Default for Detectors {
    fn default() -> Self {
        Self {
            dock_blocked_after_ms: 10 * MINUTE_MS,
            dock_fault_after_ms: MINUTE_MS,
            departure_delay_after_ms: 15 * MINUTE_MS,
            clear_after_ms: 2 * MINUTE_MS,
            realert_after_ms: 120 * MINUTE_MS,
            types: BTreeMap::new(),
            live_within_ms: 2 * MINUTE_MS,
            settle_ms: 2 * MINUTE_MS,
            geofence_fixes: 2,
            geofence_ring_m: 50.0,
            fix_accuracy_max_m: 100.0,
            fix_speed_max_kmh: 200.0,
            dock_conflict: DockConflict::default(),
            missed_pickup: MissedPickup::default(),
            detention: Detention::default(),
            inv_mismatch: InvMismatch::default(),
            seal_broken: SealBroken::default(),
            temp_excursion: TempExcursion::default(),
            feed_stale: FeedStale::default(),
            clock_skew: ClockSkew::default(),
        }
    }
}

impl Detectors {
    /// How long a condition of this type must have cleared until its case does, in ms.
    #[must_use]
    pub fn clear_after_ms(&self, case_type: CaseType) -> u64 {
        self.types.get(&case_type).and_then(|periods| periods.clear_after_ms).unwrap_or(self.clear_after_ms)
    }

    /// After how long a case of this type whose condition goes on is triggered again, in ms.
    #[must_use]
    pub fn realert_after_ms(&self, case_type: CaseType) -> u64 {
        self.types.get(&case_type).and_then(|periods| periods.realert_after_ms).unwrap_or(self.realert_after_ms)
    }

    /// What makes no sense, by key.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.geofence_fixes == 0 {
            problems.push("detectors.geofence_fixes: 0 would let one stray fix cross; give 1 or more".to_owned());
        }
        let sane = |metres: f64| metres.is_finite() && metres >= 0.0;
        if !sane(self.geofence_ring_m) || !sane(self.fix_accuracy_max_m) {
            problems.push("detectors: metres must be numbers of at least 0".to_owned());
        }
        problems.extend(self.temp_excursion.problems());
        if self.realert_after_ms == 0 || self.types.values().any(|p| p.realert_after_ms == Some(0)) {
            problems.push("detectors: realert_after_ms of 0 would trigger without end; give 60000 or more".to_owned());
        }
        problems
    }
}
