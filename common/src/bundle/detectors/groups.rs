//! One group of keys per detector.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bundle::MINUTE_MS;

/// DOCK_CONFLICT: two dispatches want one door, or a vehicle stands at another door than planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DockConflict {
    /// A vehicle at another door than planned counts after this, in ms. Default 180,000: it may only be passing.
    pub other_door_after_ms: u64,
    /// How long before its planned departure a dispatch has its door, in ms. Default 1,800,000. Longer finds more
    /// overlaps; 0 finds none.
    pub slot_ms: u64,
    /// How long ahead an overlap is told, and what a vehicle at a door may have come for, in ms. Default 14,400,000.
    pub horizon_ms: u64,
}

/// MISSED_PICKUP: the vehicle has not come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MissedPickup {
    /// How long after the planned departure it may still come, in ms. Default 900,000.
    pub grace_ms: u64,
    /// How long it must be in the yard to have come, in ms. Default 120,000: less is a drive past.
    pub dwell_ms: u64,
    /// A vehicle that left the yard no longer than this before the planned departure has come for it, in ms. Default
    /// 1,800,000. One that left sooner was there for something else.
    pub early_ms: u64,
}

/// DETENTION: a vehicle stands in the yard beyond its free time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Detention {
    /// From when on the case warns, in ms. Default 5,400,000.
    pub warn_ms: u64,
    /// How long standing is free, in ms. Default 7,200,000. Then the case is triggered again.
    pub free_ms: u64,
    /// A vehicle that has told no position for longer may have left unseen, in ms. Default 1,800,000.
    pub position_max_age_ms: u64,
}

/// INV_MISMATCH: what is in the vehicle is not what was planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InvMismatch {
    /// How long a wrong count must stand, in ms. Default 120,000: a scan too many is mostly taken back at once.
    pub after_ms: u64,
    /// Difference in weight that is allowed, in thousandths of the plan. Default 20. The larger of the two counts.
    pub weight_permille: u32,
    /// Difference in weight that is always allowed, in grams. Default 20,000.
    pub weight_min_grams: u64,
}

/// SEAL_BROKEN: seal or cargo door were opened on the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SealBroken {
    /// How near its destination an opening belongs there, in metres. Default 300.
    pub stop_radius_m: f64,
    /// How long an opening that may have been at the destination waits for a position to say so, in ms. Default
    /// 600,000. Then it counts as on the way.
    pub place_wait_ms: u64,
}

/// TEMP_EXCURSION: cargo outside its temperature band.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TempExcursion {
    /// How long outside the band counts, in ms. Default 600,000.
    pub after_ms: u64,
    /// How many readings in a row outside it takes at least, and beyond a critical limit. Default 2.
    pub readings: u32,
    /// How much longer it may be outside while the vehicle stands at a door, in ms. Default 1,200,000.
    pub door_open_allowance_ms: u64,
    /// How long it may be outside in all on one trip, away from doors, in ms. Default 3,600,000.
    pub budget_ms: u64,
    /// How far inside the band it must be again to clear, in degrees. Default 0.5.
    pub hysteresis_c: f64,
    /// Longest time between two readings that counts as outside when both are, in ms. Default 900,000.
    pub gap_max_ms: u64,
    /// Bands by class of order. An order of another class has none. Default `chilled` and `frozen`.
    pub bands: BTreeMap<String, Band>,
    /// Probes of places in the depot, by the source of their readings, and the band that holds there. Default none.
    pub probes: BTreeMap<String, String>,
}

/// Where a temperature should be, in degrees Celsius.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// Not below.
    pub min_c: f64,
    /// Not above.
    pub max_c: f64,
    /// Below it the goods are lost: severity S1. None if not given.
    #[serde(default)]
    pub critical_min_c: Option<f64>,
    /// Above it the goods are lost: severity S1. None if not given.
    #[serde(default)]
    pub critical_max_c: Option<f64>,
}

/// FEED_STALE: a system that facts come from has been silent too long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeedStale {
    /// How long a system may be silent, in ms. Default 3,600,000.
    pub budget_ms: u64,
    /// Other budgets for single systems: `erp`, `wms`, `tms`, and `hub` for the line to the hub, in ms. Default none.
    pub budgets_ms: BTreeMap<String, u64>,
}

/// CLOCK_SKEW: a device's clock is off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClockSkew {
    /// How far off is too far, in ms. Default 5,000. Half of it clears.
    pub max_ms: u64,
    /// How often it must show, at least three seconds apart. Default 5, most 20.
    pub readings: u32,
}

impl Default for DockConflict {
    fn default() -> Self {
        Self { other_door_after_ms: 3 * MINUTE_MS, slot_ms: 30 * MINUTE_MS, horizon_ms: 240 * MINUTE_MS }
    }
}

impl Default for MissedPickup {
    fn default() -> Self {
        Self { grace_ms: 15 * MINUTE_MS, dwell_ms: 2 * MINUTE_MS, early_ms: 30 * MINUTE_MS }
    }
}

impl Default for Detention {
    fn default() -> Self {
        Self { warn_ms: 90 * MINUTE_MS, free_ms: 120 * MINUTE_MS, position_max_age_ms: 30 * MINUTE_MS }
    }
}

impl Default for InvMismatch {
    fn default() -> Self {
        Self { after_ms: 2 * MINUTE_MS, weight_permille: 20, weight_min_grams: 20_000 }
    }
}

impl Default for SealBroken {
    fn default() -> Self {
        Self { stop_radius_m: 300.0, place_wait_ms: 10 * MINUTE_MS }
    }
}

impl Default for TempExcursion {
    fn default() -> Self {
        let band = |min_c, max_c, critical_min_c, critical_max_c| Band { min_c, max_c, critical_min_c, critical_max_c };
        Self {
            after_ms: 10 * MINUTE_MS,
            readings: 2,
            door_open_allowance_ms: 20 * MINUTE_MS,
            budget_ms: 60 * MINUTE_MS,
            hysteresis_c: 0.5,
            gap_max_ms: 15 * MINUTE_MS,
            bands: BTreeMap::from([
                ("chilled".to_owned(), band(2.0, 8.0, Some(0.0), Some(12.0))),
                ("frozen".to_owned(), band(-30.0, -18.0, None, Some(-12.0))),
            ]),
            probes: BTreeMap::new(),
        }
    }
}

impl Default for FeedStale {
    fn default() -> Self {
        Self { budget_ms: 60 * MINUTE_MS, budgets_ms: BTreeMap::new() }
    }
}

impl Default for ClockSkew {
    fn default() -> Self {
        Self { max_ms: 5_000, readings: 5 }
    }
}

impl FeedStale {
    /// How long `source` may be silent, in ms.
    #[must_use]
    pub fn budget_of_ms(&self, source: &str) -> u64 {
        self.budgets_ms.get(source).copied().unwrap_or(self.budget_ms)
    }
}

impl Band {
    /// How many degrees a temperature lies outside, 0 inside.
    #[must_use]
    pub fn outside_c(&self, celsius: f64) -> f64 {
        (self.min_c - celsius).max(celsius - self.max_c).max(0.0)
    }

    /// Whether a temperature lies inside by at least so many degrees. A band too narrow for that asks for its middle.
    #[must_use]
    pub fn well_inside(&self, celsius: f64, degrees: f64) -> bool {
        let degrees = degrees.min((self.max_c - self.min_c) / 2.0);
        celsius >= self.min_c + degrees && celsius <= self.max_c - degrees
    }

    /// Whether a temperature lies beyond a critical limit.
    #[must_use]
    pub fn is_critical(&self, celsius: f64) -> bool {
        self.critical_min_c.is_some_and(|limit| celsius < limit)
            || self.critical_max_c.is_some_and(|limit| celsius > limit)
    }

    fn makes_sense(&self) -> bool {
        let order = [
            self.critical_min_c.unwrap_or(self.min_c),
            self.min_c,
            self.max_c,
            self.critical_max_c.unwrap_or(self.max_c),
        ];
        order.iter().all(|limit| limit.is_finite()) && order.is_sorted()
    }
}

impl TempExcursion {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, _) in self.bands.iter().filter(|(_, band)| !band.makes_sense()) {
            problems.push(format!(
                "detectors.temp_excursion.bands.{name}: critical_min_c, min_c, max_c and critical_max_c must rise"
            ));
        }
        for (probe, band) in self.probes.iter().filter(|(_, band)| !self.bands.contains_key(*band)) {
            problems.push(format!("detectors.temp_excursion.probes.{probe}: there is no band {band}; add it to bands"));
        }
        if !(self.hysteresis_c.is_finite() && self.hysteresis_c >= 0.0) {
            problems.push("detectors.temp_excursion.hysteresis_c: must be a number of at least 0".to_owned());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temperature_lies_outside_by_so_much_and_clears_only_well_inside() {
        let band = TempExcursion::default().bands["chilled"];
        assert_eq!([1.0, 2.0, 8.0, 9.5].map(|c| band.outside_c(c)), [1.0, 0.0, 0.0, 1.5]);
        assert_eq!([7.6, 7.5, 2.4].map(|c| band.well_inside(c, 0.5)), [false, true, false]);
        assert_eq!([-0.1, 0.0, 12.0, 12.1].map(|c| band.is_critical(c)), [true, false, false, true]);
    }

    #[test]
    fn a_band_upside_down_and_a_probe_without_one_are_told() {
        let mut rules = TempExcursion::default();
        rules.bands.insert("odd".into(), Band { min_c: 8.0, max_c: 2.0, critical_min_c: None, critical_max_c: None });
        rules.probes.insert("cold-store".into(), "deep".into());
        let problems = rules.problems();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("bands.odd") && problems[1].contains("no band deep"));
    }
}
