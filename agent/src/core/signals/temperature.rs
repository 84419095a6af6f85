//! Temperatures: how long a probe has been outside each band that holds for it.

use std::collections::BTreeMap;

use gatehouse_common::{
    bundle::{Band, TempExcursion},
    id::VehicleId,
    time::UtcMs,
};
use serde::{Deserialize, Serialize};

use crate::core::ms;

/// What one probe has told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbeState {
    /// In which vehicle it is; `None` for a place in the depot.
    pub vehicle: Option<VehicleId>,
    /// The newest reading: when, and degrees Celsius.
    pub last: Option<(UtcMs, f64)>,
    /// By the name of each band that holds for it now.
    pub bands: BTreeMap<String, Outside>,
}

/// How a probe stands to one band.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outside {
    /// Since when it has been outside without a break.
    pub since: Option<UtcMs>,
    /// Readings in a row outside.
    pub readings: u32,
    /// Readings in a row beyond a critical limit.
    pub critical: u32,
    /// How long it was outside in all on this trip, away from doors.
    pub total_ms: u64,
}

/// A reading as its bands take it.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// When.
    pub at: UtcMs,
    /// Degrees Celsius.
    pub celsius: f64,
    /// Whether its vehicle stands at a door.
    pub docked: bool,
}

impl ProbeState {
    /// Takes a reading; false if a newer one is held. `wanted` are the bands that hold now, `standing` those with a
    /// case: they ask for more to be inside again. What a band remembers goes when it holds no longer.
    pub fn reads(
        &mut self,
        rules: &TempExcursion,
        measured: Measured,
        wanted: &BTreeMap<String, Band>,
        standing: &[String],
    ) -> bool {
        let Measured { at, celsius, docked } = measured;
        if self.last.is_some_and(|(last, _)| at <= last) {
            return false;
        }
        let gap_ms = self.last.map_or(0, |(last, _)| at.since(last)).min(ms(rules.gap_max_ms));
        self.bands.retain(|name, _| wanted.contains_key(name));
        for (name, band) in wanted {
            let outside = self.bands.entry(name.clone()).or_default();
            outside.reads(rules, band, at, celsius, standing.contains(name));
            if outside.readings > 1 && !docked {
                outside.total_ms = outside.total_ms.saturating_add(u64::try_from(gap_ms).unwrap_or(0));
            }
        }
        self.last = Some((at, celsius));
        true
    }
}

impl Outside {
    fn reads(&mut self, rules: &TempExcursion, band: &Band, at: UtcMs, celsius: f64, standing: bool) {
        self.critical = if band.is_critical(celsius) { self.critical.saturating_add(1) } else { 0 };
        let inside =
            if standing { band.well_inside(celsius, rules.hysteresis_c) } else { band.outside_c(celsius) == 0.0 };
        if inside {
            (self.since, self.readings) = (None, 0);
        } else {
            self.since.get_or_insert(at);
            self.readings = self.readings.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(celsius: &[f64], docked: bool) -> Outside {
        let rules = TempExcursion::default();
        let wanted = BTreeMap::from([("chilled".to_owned(), rules.bands["chilled"])]);
        let mut probe = ProbeState::default();
        for (minute, celsius) in celsius.iter().enumerate() {
            let at = UtcMs(i64::try_from(minute).unwrap() * 60_000);
            probe.reads(&rules, Measured { at, celsius: *celsius, docked }, &wanted, &[]);
        }
        probe.bands["chilled"].clone()
    }

    #[test]
    fn one_spike_is_forgotten_and_time_outside_adds_up_between_readings_that_both_are() {
        assert_eq!(told(&[5.0, 9.0, 5.0], false), Outside::default());
        let twice = told(&[9.0, 9.0, 9.0, 5.0, 9.0, 9.0], false);
        assert_eq!((twice.since, twice.readings, twice.total_ms), (Some(UtcMs(240_000)), 2, 180_000));
        assert_eq!(told(&[9.0, 9.0, 9.0], true).total_ms, 0, "at a door it costs nothing of the budget");
    }

    #[test]
    fn a_late_reading_changes_nothing_and_a_long_gap_counts_only_in_part() {
        let rules = TempExcursion::default();
        let wanted = BTreeMap::from([("chilled".to_owned(), rules.bands["chilled"])]);
        let mut probe = ProbeState::default();
        let mut read = |minutes: i64, celsius| {
            let measured = Measured { at: UtcMs(minutes * 60_000), celsius, docked: false };
            probe.reads(&rules, measured, &wanted, &[])
        };
        assert!(read(10, 9.0) && !read(5, 3.0) && read(300, 9.0));
        assert_eq!(probe.bands["chilled"].total_ms, 900_000);
    }
}
