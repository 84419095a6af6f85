//! Crossing a geofence: by fix time, with fixes in a row, a hysteresis ring and a check for fixes that cannot be.

use gatehouse_common::{
    bundle::Detectors,
    geo::{Geofence, Point},
    time::UtcMs,
};
use serde::{Deserialize, Serialize};

/// On which side of a fence something is, and what speaks for the other side so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Crossing {
    /// Whether it is inside; `None` before enough fixes agreed.
    pub inside: Option<bool>,
    /// Fix time of the first fix on this side.
    pub changed_at: Option<UtcMs>,
    /// A side that was seen but not often enough, since when, and how often.
    candidate: Option<(bool, UtcMs, u32)>,
}

impl Crossing {
    /// Takes the next fix; says whether it confirmed that the fence was crossed.
    pub fn observe(&mut self, fence: &Geofence, rules: &Detectors, at: UtcMs, point: &Point) -> bool {
        let distance = fence.centre.distance_m(point);
        let side = if distance <= fence.radius_m {
            true
        } else if distance > fence.radius_m + rules.geofence_ring_m {
            false
        } else {
            // In the ring the last answer stays, and drift across it confirms nothing.
            self.candidate = None;
            return false;
        };
        if self.inside == Some(side) {
            self.candidate = None;
            return false;
        }
        let (_, since, seen) = self.candidate.filter(|(s, ..)| *s == side).unwrap_or((side, at, 0));
        let seen = seen + 1;
        if seen < rules.geofence_fixes {
            self.candidate = Some((side, since, seen));
            return false;
        }
        *self = Self { inside: Some(side), changed_at: Some(since), candidate: None };
        true
    }
}

/// Why a fix is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// Not later than the last one taken: history only.
    Late,
    /// Its radius of confidence is too large.
    Inaccurate,
    /// To get there, the vehicle would have had to fly.
    Impossible,
}

/// Whether a fix may follow `last`.
pub fn plausible(
    last: Option<(UtcMs, Point)>,
    rules: &Detectors,
    at: UtcMs,
    point: &Point,
    accuracy_m: Option<f64>,
) -> Result<(), Dropped> {
    if accuracy_m.is_some_and(|a| a > rules.fix_accuracy_max_m) {
        return Err(Dropped::Inaccurate);
    }
    let Some((last_at, last_point)) = last else { return Ok(()) };
    let elapsed_ms = at.since(last_at);
    if elapsed_ms <= 0 {
        return Err(Dropped::Late);
    }
    #[expect(clippy::cast_precision_loss, reason = "milliseconds between two fixes fit")]
    let hours = elapsed_ms as f64 / 3_600_000.0;
    let kmh = last_point.distance_m(point) / 1000.0 / hours;
    if kmh > rules.fix_speed_max_kmh { Err(Dropped::Impossible) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CENTRE: Point = Point { lat: 30.0, lon: -97.0 };

    /// A point so many metres north of the centre.
    fn north(metres: f64) -> Point {
        Point { lat: CENTRE.lat + metres / 111_195.0, lon: CENTRE.lon }
    }

    fn fence() -> Geofence {
        Geofence { centre: CENTRE, radius_m: 200.0 }
    }

    #[test]
    fn one_stray_fix_crosses_nothing_and_the_second_in_a_row_does_by_the_time_of_the_first() {
        let (rules, mut crossing) = (Detectors::default(), Crossing::default());
        for (at, metres) in [(1, 0.0), (2, 10.0)] {
            crossing.observe(&fence(), &rules, UtcMs(at), &north(metres));
        }
        assert_eq!(crossing.inside, Some(true));
        assert!(!crossing.observe(&fence(), &rules, UtcMs(3), &north(400.0)));
        assert!(!crossing.observe(&fence(), &rules, UtcMs(4), &north(20.0)));
        assert!(!crossing.observe(&fence(), &rules, UtcMs(5), &north(400.0)));
        assert!(crossing.observe(&fence(), &rules, UtcMs(6), &north(500.0)));
        assert_eq!((crossing.inside, crossing.changed_at), (Some(false), Some(UtcMs(5))));
    }

    #[test]
    fn drift_inside_the_ring_keeps_the_last_answer() {
        let (rules, mut crossing) = (Detectors::default(), Crossing::default());
        for at in 0..20 {
            crossing.observe(&fence(), &rules, UtcMs(at), &north(if at % 2 == 0 { 190.0 } else { 240.0 }));
        }
        assert_eq!(crossing.inside, None);
        for at in 20..22 {
            crossing.observe(&fence(), &rules, UtcMs(at), &north(0.0));
        }
        for at in 22..40 {
            assert!(!crossing.observe(&fence(), &rules, UtcMs(at), &north(if at % 2 == 0 { 240.0 } else { 249.0 })));
        }
        assert_eq!(crossing.inside, Some(true));
    }

    #[test]
    fn late_wide_and_flying_fixes_are_not_taken() {
        let rules = Detectors::default();
        let last = Some((UtcMs(60_000), CENTRE));
        assert_eq!(plausible(last, &rules, UtcMs(59_000), &CENTRE, None), Err(Dropped::Late));
        assert_eq!(plausible(last, &rules, UtcMs(61_000), &CENTRE, Some(101.0)), Err(Dropped::Inaccurate));
        assert_eq!(plausible(last, &rules, UtcMs(61_000), &north(1_000.0), None), Err(Dropped::Impossible));
        assert_eq!(plausible(last, &rules, UtcMs(90_000), &north(1_000.0), Some(100.0)), Ok(()));
    }
}
