//! The way that a vehicle is planned to take with an order.
//!
//! Optional in an order: without one a vehicle is followed to its destination and no more.

use serde::{Deserialize, Serialize};

use crate::{geo::Point, time::UtcMs};

/// Most points and most stops of a route that is used.
pub const ROUTE_MAX: usize = 5_000;

/// A planned route.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Route {
    /// The road as points, in order of travel. Empty where only the stops are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<Point>,
    /// Where it stops, in order of travel, the destination last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stops: Vec<PlannedStop>,
}

/// A planned stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedStop {
    /// Name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where.
    pub point: Point,
    /// When it should come.
    pub arrive: UtcMs,
    /// When it should go on; not before it comes.
    pub leave: UtcMs,
}

impl Route {
    /// Whether it can be used: places on earth, times that rise, and not endless.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let places = self.path.iter().chain(self.stops.iter().map(|stop| &stop.point));
        let sized = self.path.len() <= ROUTE_MAX && self.stops.len() <= ROUTE_MAX;
        let times: Vec<UtcMs> = self.stops.iter().flat_map(|stop| [stop.arrive, stop.leave]).collect();
        sized && times.is_sorted() && places.into_iter().all(Point::is_valid)
    }
}
