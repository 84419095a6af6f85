//! How vehicles on the way are followed: corridor, stops, arrival time, proof of delivery, and what is told of where
//! they were.

use serde::{Deserialize, Serialize};

use super::MINUTE_MS;
use crate::geo::Geofence;

/// How vehicles on the way are followed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trips {
    /// A vehicle further from its planned route has deviated, in metres. Default 500.
    pub deviation_m: u32,
    /// Fixes in a row off the route that make it a deviation. Default 3.
    pub deviation_fixes: u32,
    /// Or so long off the route, in ms. Default 300,000.
    pub deviation_after_ms: u64,
    /// Fixes with a larger radius of confidence say nothing about the route, in metres. Default 50.
    pub deviation_accuracy_max_m: u32,
    /// Where an order gives stops and no road, the straight line between two stops counts as the route only if they
    /// are no further apart than this, in metres. Default 2,000. Larger gives false deviations where roads bend.
    pub corridor_gap_max_m: u32,
    /// A slower vehicle stands, in km/h. Default 3.
    pub stop_speed_kmh: u32,
    /// A standing vehicle's fixes may drift so far, in metres. Default 100.
    pub stop_drift_m: u32,
    /// A stop where none is planned is told after this long, in ms. Default 1,800,000.
    pub unplanned_stop_after_ms: u64,
    /// How near a planned stop or destination counts as there, in metres. Default 300.
    pub arrived_within_m: u32,
    /// Places where drivers may rest: a stop there is none that is told. Default none.
    pub rest_areas: Vec<Geofence>,
    /// Less slack than this, and falling, is a risk, in ms. Default 900,000.
    pub eta_slack_ms: u64,
    /// How many estimates in a row must fall. Default 3.
    pub eta_falling: u32,
    /// A vehicle is silent after so many of its usual intervals without a fix. Default 3.
    pub silence_intervals: u32,
    /// And after at least this long while it moves, in ms. Default 600,000.
    pub silence_moving_ms: u64,
    /// And after at least this long while it stands, in ms. Default 1,800,000.
    pub silence_parked_ms: u64,
    /// Whether proof of delivery is asked for. Default `wanted`.
    pub proof: ProofPolicy,
    /// A delivery without a signed proof is told after this long, in ms. Default 86,400,000.
    pub proof_missing_after_ms: u64,
    /// How long ways take.
    pub pace: Pace,
    /// What is told of where a vehicle was.
    pub tracks: Tracks,
}

/// Whether proof of delivery is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProofPolicy {
    /// Nobody signs: who has arrived has delivered, and nothing is missed.
    None,
    /// Who has arrived has delivered; a proof that does not come is told after a day.
    Wanted,
    /// Nothing is delivered without proof, and to leave the destination without is a failed delivery.
    Needed,
}

/// How long ways take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pace {
    /// Seconds per kilometre, by how far the destination still is; the first row begins at 0. Default: the last 5 km
    /// at 150, up to 30 km at 100, up to 100 km at 65, further at 55.
    pub table: Vec<PaceRow>,
    /// A road is longer than the straight line by this, in thousandths. Default 1,300.
    pub detour_permille: u32,
    /// How much time under way must speak before the own pace counts as much as the table, in seconds. Default 1,200.
    pub prior_s: u32,
    /// How much of its lead an early vehicle keeps where a timetable says when it should be, in thousandths. Default 500.
    pub lead_kept_permille: u32,
    /// The 80th percentile lies so far above the estimate, in seconds, however near. Default 75.
    pub spread_s: u32,
    /// And this much further per time left by timetable, in thousandths. Default 50.
    pub spread_timetable_permille: u32,
    /// And this much further per time left by distance, in thousandths. Default 200.
    pub spread_distance_permille: u32,
}

/// One row of the pace table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaceRow {
    /// From so far before the destination, in kilometres.
    pub from_km: u32,
    /// Seconds per kilometre.
    pub s_per_km: u32,
}

/// The policy for what is told of where a vehicle was. Events are told always.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tracks {
    /// A fix that lies nearer than this to the line between its neighbours is left out, in metres. Default 15.
    pub error_m: u32,
    /// Never leave a longer gap between two fixes, in ms. Default 600,000.
    pub gap_max_ms: u64,
    /// Every fix within this time of an event is kept, in ms. Default 60,000.
    pub event_keeps_ms: u64,
    /// Most bytes kept for the hub; beyond it the oldest are thinned harder. Default 2,000,000.
    pub kept_bytes: u32,
    /// Most bytes told per hour. Default 200,000.
    pub told_bytes_per_hour: u32,
}

impl Default for Trips {
    fn default() -> Self {
        Self {
            deviation_m: 500,
            deviation_fixes: 3,
            deviation_after_ms: 5 * MINUTE_MS,
            deviation_accuracy_max_m: 50,
            corridor_gap_max_m: 2_000,
            stop_speed_kmh: 3,
            stop_drift_m: 100,
            unplanned_stop_after_ms: 30 * MINUTE_MS,
            arrived_within_m: 300,
            rest_areas: Vec::new(),
            eta_slack_ms: 15 * MINUTE_MS,
            eta_falling: 3,
            silence_intervals: 3,
            silence_moving_ms: 10 * MINUTE_MS,
            silence_parked_ms: 30 * MINUTE_MS,
            proof: ProofPolicy::Wanted,
            proof_missing_after_ms: 24 * 60 * MINUTE_MS,
            pace: Pace::default(),
            tracks: Tracks::default(),
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        let row = |from_km, s_per_km| PaceRow { from_km, s_per_km };
        Self {
            table: vec![row(0, 150), row(5, 100), row(30, 65), row(100, 55)],
            detour_permille: 1_300,
            prior_s: 1_200,
            lead_kept_permille: 500,
            spread_s: 75,
            spread_timetable_permille: 50,
            spread_distance_permille: 200,
        }
    }
}

impl Default for Tracks {
    fn default() -> Self {
        Self {
            error_m: 15,
            gap_max_ms: 10 * MINUTE_MS,
            event_keeps_ms: MINUTE_MS,
            kept_bytes: 2_000_000,
            told_bytes_per_hour: 200_000,
        }
    }
}

impl Trips {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut problem = |wrong: bool, what: &str| {
            if wrong {
                problems.push(what.to_owned());
            }
        };
        problem(self.deviation_fixes == 0, "trips.deviation_fixes: 0 would let one stray fix deviate; give 1 or more");
        problem(self.eta_falling == 0, "trips.eta_falling: give 1 or more");
        problem(self.arrived_within_m == 0, "trips.arrived_within_m: nobody would ever arrive; give 1 or more");
        problem(
            !self.rest_areas.iter().all(|area| area.centre.is_valid() && area.radius_m > 0.0),
            "trips.rest_areas: give degrees in range and radii above 0",
        );
        let table = &self.pace.table;
        let rises = table.windows(2).all(|rows| rows[0].from_km < rows[1].from_km);
        problem(
            !rises || table.first().is_none_or(|row| row.from_km != 0) || table.iter().any(|row| row.s_per_km == 0),
            "trips.pace.table: the first row begins at from_km = 0, the others rise, and each has s_per_km above 0",
        );
        problem(
            self.tracks.kept_bytes < 10_000 || self.tracks.told_bytes_per_hour < 1_000,
            "trips.tracks: give kept_bytes of at least 10,000 and told_bytes_per_hour of at least 1,000",
        );
        problem(self.tracks.gap_max_ms == 0, "trips.tracks.gap_max_ms: give 1 or more");
        problems
    }
}
