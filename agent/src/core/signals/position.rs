//! Where a vehicle is: which fixes count, and when a place that seemed impossible is believed.

use gatehouse_common::{bundle::Detectors, geo::Point, time::UtcMs};

use super::geofence::{Dropped, plausible};
use crate::core::state::VehicleState;

/// Fixes in a row that agree with each other against the one held. Then it is that one that was wrong, or
/// positions were lost in between; else one wild fix would blind the vehicle for hours.
const BELIEVED_AFTER: usize = 3;

impl VehicleState {
    /// Takes the next fix. Gives the fixes that count now, in order: none, this one, or those doubted before it too.
    pub fn takes_fix(
        &mut self,
        rules: &Detectors,
        at: UtcMs,
        point: Point,
        accuracy_m: Option<f64>,
    ) -> Vec<(UtcMs, Point)> {
        match plausible(self.fix, rules, at, &point, accuracy_m) {
            Ok(()) => {
                self.doubted.clear();
                self.fix = Some((at, point));
                return vec![(at, point)];
            }
            // It stays in the readings and changes nothing else.
            Err(Dropped::Late | Dropped::Inaccurate) => return Vec::new(),
            Err(Dropped::Impossible) => {}
        }
        match plausible(self.doubted.last().copied(), rules, at, &point, accuracy_m) {
            Ok(()) => {}
            Err(Dropped::Late | Dropped::Inaccurate) => return Vec::new(),
            Err(Dropped::Impossible) => self.doubted.clear(),
        }
        self.doubted.push((at, point));
        if self.doubted.len() < BELIEVED_AFTER {
            return Vec::new();
        }
        self.fix = Some((at, point));
        std::mem::take(&mut self.doubted)
    }
}
