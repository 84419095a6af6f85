//! Places on the ground.

use serde::{Deserialize, Serialize};

/// A point in WGS 84, in degrees: latitude −90 to 90, longitude −180 to 180.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
}

/// Mean radius of the earth in metres (IUGG).
const EARTH_RADIUS_M: f64 = 6_371_008.8;

impl Point {
    /// Whether both numbers are finite and in range.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.lat.is_finite() && self.lon.is_finite() && self.lat.abs() <= 90.0 && self.lon.abs() <= 180.0
    }

    /// Great-circle distance in metres (haversine).
    #[must_use]
    pub fn distance_m(&self, other: &Self) -> f64 {
        let (a, b) = (self.lat.to_radians(), other.lat.to_radians());
        let half_lat = ((b - a) / 2.0).sin();
        let half_lon = ((other.lon - self.lon).to_radians() / 2.0).sin();
        let h = half_lat * half_lat + a.cos() * b.cos() * half_lon * half_lon;
        2.0 * EARTH_RADIUS_M * h.sqrt().min(1.0).asin()
    }
}

/// A circle around a place. Crossing it counts only past the hysteresis ring.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Geofence {
    /// Its centre.
    pub centre: Point,
    /// Its radius in metres.
    pub radius_m: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_degree_of_latitude_is_about_111_km() {
        let metres = Point { lat: 30.0, lon: -97.0 }.distance_m(&Point { lat: 31.0, lon: -97.0 });
        assert!((metres - 111_195.0).abs() < 1.0, "{metres}");
    }
}
