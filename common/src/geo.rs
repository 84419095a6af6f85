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

/// Metres of one degree of latitude.
const DEGREE_M: f64 = EARTH_RADIUS_M * std::f64::consts::PI / 180.0;

/// Cosine of an angle in degrees, -90 to 90, by sums and products alone: the same bits on every machine.
fn cos_degrees(degrees: f64) -> f64 {
    let x = degrees * std::f64::consts::PI / 180.0;
    let x2 = x * x;
    let terms = [-1.0 / 3_628_800.0, 1.0 / 40_320.0, -1.0 / 720.0, 1.0 / 24.0, -0.5, 1.0];
    terms.iter().fold(0.0, |sum, term| sum * x2 + term)
}

impl Point {
    /// Metres east and north of `self` to `other`, on a plane: good to some permille within 100 km, and the same bits
    /// on every machine, since it takes no function of the platform but the square root.
    fn plane_m(&self, other: &Self) -> (f64, f64) {
        let mut degrees_east = other.lon - self.lon;
        if degrees_east > 180.0 {
            degrees_east -= 360.0;
        } else if degrees_east < -180.0 {
            degrees_east += 360.0;
        }
        let cos = cos_degrees((self.lat + other.lat) / 2.0);
        (degrees_east * DEGREE_M * cos, (other.lat - self.lat) * DEGREE_M)
    }

    /// Distance in metres on a plane; see [`Line`] for why it exists beside [`Self::distance_m`].
    #[must_use]
    pub fn near_m(&self, other: &Self) -> f64 {
        let (east, north) = self.plane_m(other);
        (east * east + north * north).sqrt()
    }
}

/// A way along points, straight from each to the next.
///
/// Its lengths are reckoned on a plane with basic arithmetic, so that what is decided by them is the same on every
/// machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    points: Vec<Point>,
    at_m: Vec<f64>,
}

/// Where a place lies along a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Along {
    /// Metres from the beginning of the line to the nearest point of it.
    pub along_m: f64,
    /// Metres from that point to the place.
    pub off_m: f64,
    /// How long the straight piece is that it is nearest to, in metres.
    pub piece_m: f64,
}

impl Line {
    /// A line through `points`; `None` with fewer than two, or where they all are one place.
    #[must_use]
    pub fn through(points: Vec<Point>) -> Option<Self> {
        let mut at_m = Vec::with_capacity(points.len());
        let mut sum = 0.0;
        for (n, point) in points.iter().enumerate() {
            sum += n.checked_sub(1).map_or(0.0, |before| points[before].near_m(point));
            at_m.push(sum);
        }
        (sum > 0.0).then_some(Self { points, at_m })
    }

    /// Its whole length in metres.
    #[must_use]
    pub fn length_m(&self) -> f64 {
        self.at_m.last().copied().unwrap_or(0.0)
    }

    /// Where `place` is nearest to the part of the line between `from_m` and `to_m`; of two as near, the earlier.
    ///
    /// The part matters where a way crosses itself or goes back by the same road.
    #[must_use]
    pub fn nearest(&self, place: &Point, from_m: f64, to_m: f64) -> Option<Along> {
        let mut best: Option<Along> = None;
        for (n, ends) in self.points.windows(2).enumerate() {
            let (begin_m, end_m) = (self.at_m[n], self.at_m[n + 1]);
            if end_m < from_m || begin_m > to_m {
                continue;
            }
            let (east, north) = ends[0].plane_m(&ends[1]);
            let (place_east, place_north) = ends[0].plane_m(place);
            let square = east * east + north * north;
            let part = if square > 0.0 { (place_east * east + place_north * north) / square } else { 0.0 };
            let length = end_m - begin_m;
            let (least, most) = if length > 0.0 {
                (((from_m - begin_m) / length).max(0.0), ((to_m - begin_m) / length).min(1.0))
            } else {
                (0.0, 0.0)
            };
            let part = part.max(least).min(most);
            let (off_east, off_north) = (place_east - part * east, place_north - part * north);
            let off_m = (off_east * off_east + off_north * off_north).sqrt();
            if best.is_none_or(|b| off_m < b.off_m) {
                best = Some(Along { along_m: begin_m + part * length, off_m, piece_m: length });
            }
        }
        best
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

impl Geofence {
    /// Whether a place is in it.
    #[must_use]
    pub fn holds(&self, place: &Point) -> bool {
        self.centre.near_m(place) <= self.radius_m
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_plane_distances_are_those_on_the_globe_to_some_permille() {
        for (a, b) in [((30.0, -97.0), (30.3, -97.4)), ((60.0, 10.0), (60.2, 10.7)), ((-45.0, 179.9), (-45.1, -179.9))]
        {
            let (a, b) = (Point { lat: a.0, lon: a.1 }, Point { lat: b.0, lon: b.1 });
            let (near, far) = (a.near_m(&b), a.distance_m(&b));
            assert!((near - far).abs() < far * 0.002, "{near} {far}");
        }
    }

    #[test]
    fn a_place_beside_a_line_is_so_far_along_it_and_so_far_off() {
        let north = |metres: f64, east: f64| Point { lat: metres / DEGREE_M, lon: east / DEGREE_M };
        let line = Line::through(vec![north(0.0, 0.0), north(1_000.0, 0.0), north(1_000.0, 500.0)]).unwrap();
        assert!((line.length_m() - 1_500.0).abs() < 1.0);
        let along = line.nearest(&north(400.0, 30.0), 0.0, 1_500.0).unwrap();
        assert!((along.along_m - 400.0).abs() < 1.0 && (along.off_m - 30.0).abs() < 1.0, "{along:?}");
        let along = line.nearest(&north(1_600.0, 900.0), 0.0, 1_500.0).unwrap();
        assert!((along.along_m - 1_500.0).abs() < 1.0 && (along.off_m - 721.0).abs() < 2.0, "{along:?}");
    }

    #[test]
    fn where_a_way_goes_back_by_the_same_road_the_part_says_which_way() {
        let north = |metres: f64| Point { lat: metres / DEGREE_M, lon: 0.0 };
        let there_and_back = Line::through(vec![north(0.0), north(1_000.0), north(0.0)]).unwrap();
        let at = |from, to| there_and_back.nearest(&north(300.0), from, to).unwrap().along_m.round();
        assert_eq!((at(0.0, 900.0), at(900.0, 2_000.0)), (300.0, 1_700.0));
        assert!(Line::through(vec![north(5.0)]).is_none() && Line::through(vec![north(5.0); 3]).is_none());
    }

    #[test]
    fn a_degree_of_latitude_is_about_111_km() {
        let metres = Point { lat: 30.0, lon: -97.0 }.distance_m(&Point { lat: 31.0, lon: -97.0 });
        assert!((metres - 111_195.0).abs() < 1.0, "{metres}");
    }
}
