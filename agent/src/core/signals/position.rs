//! Where a vehicle is: which fixes count, when a place that seemed impossible is believed, and what a receiver that was
//! wrong may have hidden.

use gatehouse_common::{
    bundle::Detectors,
    geo::{Geofence, Point},
    time::UtcMs,
};

use super::geofence::{Dropped, plausible};
use crate::core::{ms, state::VehicleState};

/// Fixes in a row that agree with each other against the one held. Then it is that one that was wrong, or
/// positions were lost in between; else one wild fix would blind the vehicle for hours.
const BELIEVED_AFTER: usize = 3;
/// The same where the one held stands alone: nothing has agreed with it yet.
const BELIEVED_AGAINST_ONE: usize = 2;
/// Fixes further apart do not agree: over so long nearly every place can be reached. Also how far back something is
/// looked for before the first fix, in milliseconds.
const APART_MS: i64 = 600_000;
/// How fast a vehicle comes to a yard and leaves it, in metres per second.
const NEAR_YARD_M_PER_S: f64 = 60.0 / 3.6;

/// A fix and its time.
type Fix = (UtcMs, Point);

/// What became of a fix.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Taken {
    /// The fixes that count now, in order: none, this one, or those doubted before it too.
    pub fixes: Vec<Fix>,
    /// A stretch that ends with the first of them, in which what came was wrong.
    pub blind: Option<Blind>,
}

/// A stretch of time in which a receiver told places where the vehicle cannot have been.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blind {
    /// The last place before it, where one is known.
    from: Option<Fix>,
    /// The first place after it.
    to: Fix,
}

impl Blind {
    /// Whether the vehicle may have stood inside `fence` for `dwell_ms` meanwhile.
    pub fn hides_visit(&self, fence: &Geofence, dwell_ms: u64) -> bool {
        let way_m = |(_, point): Fix| (fence.centre.distance_m(&point) - fence.radius_m).max(0.0);
        let lasted_ms = self.from.map_or(APART_MS, |(from, _)| self.to.0.since(from));
        let way_m = self.from.map_or(0.0, way_m) + way_m(self.to);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds between two fixes fit")]
        let left_s = (lasted_ms - ms(dwell_ms)) as f64 / 1_000.0;
        way_m <= left_s * NEAR_YARD_M_PER_S
    }
}

impl VehicleState {
    /// Takes the next fix.
    pub fn takes_fix(&mut self, rules: &Detectors, at: UtcMs, point: Point, accuracy_m: Option<f64>) -> Taken {
        match plausible(self.fix, rules, at, &point, accuracy_m) {
            Ok(()) => {
                let wrong = !std::mem::take(&mut self.doubted).is_empty();
                let blind = Blind { from: self.fix, to: (at, point) };
                self.holds((at, point));
                return Taken { fixes: vec![(at, point)], blind: wrong.then_some(blind) };
            }
            // It stays in the readings and changes nothing else.
            Err(Dropped::Late | Dropped::Inaccurate) => return Taken::default(),
            Err(Dropped::Impossible) => {}
        }
        match plausible(self.doubted.last().copied(), rules, at, &point, accuracy_m) {
            Ok(()) => {}
            Err(Dropped::Late | Dropped::Inaccurate) => return Taken::default(),
            Err(Dropped::Impossible) => self.doubted.clear(),
        }
        self.doubted.push((at, point));
        if self.doubted.len() < if self.agreed == 1 { BELIEVED_AGAINST_ONE } else { BELIEVED_AFTER } {
            return Taken::default();
        }
        if self.outside_at == self.fix.map(|(held, _)| held) {
            self.outside_at = None;
        }
        let fixes = std::mem::take(&mut self.doubted);
        let blind = fixes.first().map(|first| Blind { from: self.before, to: *first });
        self.fix = Some((at, point));
        self.agreed = 2;
        Taken { fixes, blind }
    }

    /// Holds a fix that may follow the one held before.
    fn holds(&mut self, fix: Fix) {
        let near = self.fix.is_some_and(|(held, _)| fix.0.since(held) <= APART_MS);
        if near {
            self.agreed = 2;
        } else {
            self.before = self.fix;
            self.agreed = 1;
        }
        self.fix = Some(fix);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YARD: Geofence = Geofence { centre: Point { lat: 30.0, lon: -97.0 }, radius_m: 300.0 };

    fn north(metres: f64) -> Point {
        Point { lat: YARD.centre.lat + metres / 111_195.0, ..YARD.centre }
    }

    /// Fixes by minute and metres north: the minutes of those that count, and whether a stretch hid a visit.
    fn take(fixes: &[(i64, f64)]) -> (Vec<i64>, bool) {
        let (mut vehicle, mut counted, mut hidden) = (VehicleState::default(), Vec::new(), false);
        for (minute, metres) in fixes {
            let taken = vehicle.takes_fix(&Detectors::default(), UtcMs(minute * 60_000), north(*metres), None);
            counted.extend(taken.fixes.iter().map(|(at, _)| at.0 / 60_000));
            hidden |= taken.blind.is_some_and(|blind| blind.hides_visit(&YARD, 120_000));
        }
        (counted, hidden)
    }

    #[test]
    fn a_first_fix_that_is_wild_is_overruled_by_two_and_one_that_was_agreed_with_by_three() {
        assert_eq!(take(&[(0, 40_000.0), (2, 700.0), (4, 1_300.0)]).0, [0, 2, 4]);
        assert_eq!(take(&[(0, 40_000.0), (1, 40_100.0), (3, 700.0), (5, 1_300.0)]).0, [0, 1]);
        assert_eq!(take(&[(0, 40_000.0), (1, 40_100.0), (3, 700.0), (5, 1_300.0), (7, 900.0)]).0, [0, 1, 3, 5, 7]);
        // After an hour every place can be reached, and the first that is told is no more than that.
        assert_eq!(take(&[(0, 0.0), (1, 0.0), (60, 40_000.0), (62, 0.0), (64, 0.0)]).0, [0, 1, 60, 62, 64]);
    }

    #[test]
    fn wild_fixes_hide_a_visit_only_where_there_was_time_for_one() {
        assert!(take(&[(-2, 1_300.0), (0, 1_300.0), (2, 40_000.0), (3, 40_000.0), (4, 450.0)]).1);
        assert!(!take(&[(-2, 8_000.0), (0, 8_000.0), (2, 48_000.0), (3, 48_000.0), (4, 8_000.0)]).1, "too far away");
        assert!(!take(&[(-1, 400.0), (0, 400.0), (1, 40_000.0), (2, 400.0)]).1, "too short");
        assert!(!take(&[(0, 1_300.0), (4, 450.0)]).1, "nothing was wrong");
        assert!(take(&[(0, 40_000.0), (2, 700.0), (4, 1_300.0)]).1, "nothing is known of before");
    }
}
