//! The way of one order: along which line, past which stops, and how far it still is.

use gatehouse_common::{
    bundle::Trips,
    geo::{Line, Point},
    order::Order,
    route::PlannedStop,
    time::UtcMs,
};

use super::eta::{Left, table_ms};

/// How fast a vehicle may come forward along its route, in metres per second, for telling places of one road apart.
const FORWARD_M_PER_S: i64 = 40;
/// How far a place may lie back or ahead of where it was expected, in metres.
const LEEWAY_M: f64 = 1_000.0;
/// How near to a stop, along the road, a vehicle counts as at it, in metres.
const AT_STOP_M: f64 = 60.0;

/// Where an order goes: its destination, else its last stop.
pub fn destination(order: &Order) -> Option<Point> {
    order.destination.or_else(|| order.route.as_ref()?.stops.last().map(|stop| stop.point))
}

/// The way of one order.
#[derive(Debug)]
pub struct Way<'a> {
    end: Point,
    line: Option<Line>,
    is_road: bool,
    /// The stops with where they lie along the line.
    stops: Vec<(f64, &'a PlannedStop)>,
    departed_at: UtcMs,
}

/// Where a fix lies on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Metres along the line; 0 where there is none.
    pub along_m: u32,
    /// Metres to the end.
    pub left_m: u32,
    /// Metres off the corridor, where one is known.
    pub off_m: Option<u32>,
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "metres on earth fit")]
fn metres(m: f64) -> u32 {
    m.max(0.0).round() as u32
}

impl<'a> Way<'a> {
    /// The way of an order that left then; `None` where nobody knows where it goes.
    pub fn of(order: &'a Order, departed_at: UtcMs) -> Option<Self> {
        let end = destination(order)?;
        let route = order.route.as_ref().filter(|route| route.is_valid());
        let road = route.and_then(|route| Line::through(route.path.clone()));
        let is_road = road.is_some();
        let between = || Line::through(route?.stops.iter().map(|stop| stop.point).collect());
        let line = road.or_else(between);
        let mut stops = Vec::new();
        if let (Some(line), Some(route)) = (&line, route) {
            let mut from_m = 0.0;
            for stop in &route.stops {
                // The first place along the road that is near: roads come by the same place again.
                let near = first_near(line, &stop.point, from_m);
                from_m = near;
                stops.push((near, stop));
            }
        }
        Some(Self { end, line, is_road, stops, departed_at })
    }

    /// Where a fix lies, given how far it was and how long ago.
    pub fn place(&self, point: &Point, along_m: u32, elapsed_ms: i64, rules: &Trips) -> Place {
        let Some(line) = &self.line else {
            let detour = f64::from(rules.pace.detour_permille) / 1_000.0;
            return Place { along_m: 0, left_m: metres(self.end.near_m(point) * detour), off_m: None };
        };
        let was_m = f64::from(along_m);
        #[expect(clippy::cast_precision_loss, reason = "metres on earth fit")]
        let ahead_m = (elapsed_ms.max(0) / 1_000 * FORWARD_M_PER_S).min(40_000_000) as f64;
        let near = line.nearest(point, was_m - LEEWAY_M, was_m + ahead_m + LEEWAY_M);
        let limit_m = f64::from(rules.deviation_m);
        // Further along than was thought possible: positions were lost in between.
        let far = || line.nearest(point, was_m, line.length_m()).filter(|along| along.off_m <= limit_m);
        let found = match near {
            Some(along) if along.off_m <= limit_m => Some(along),
            other => far().or(other),
        };
        let Some(along) = found else { return Place { along_m, left_m: metres(line.length_m() - was_m), off_m: None } };
        let known = self.is_road || along.piece_m <= f64::from(rules.corridor_gap_max_m);
        Place {
            along_m: metres(along.along_m),
            left_m: metres(line.length_m() - along.along_m),
            off_m: known.then(|| metres(along.off_m)),
        }
    }

    /// How long the whole way is, in metres, for one that began at `began`.
    pub fn whole_m(&self, began: &Point, rules: &Trips) -> u32 {
        match &self.line {
            Some(line) => metres(line.length_m()),
            None => self.place(began, 0, 0, rules).left_m,
        }
    }

    /// What is left of the way, as the estimate takes it.
    pub fn left(&self, began_at: UtcMs, whole_m: u32, at: UtcMs, place: &Place) -> Left {
        if let Some((planned_at, end)) = self.planned(at, place) {
            return Left::Timetable { late_ms: at.since(planned_at), left_ms: end.since(planned_at).max(0) };
        }
        let began_at = began_at.min(self.departed_at);
        Left::Distance { left_m: place.left_m, whole_m: whole_m.max(place.left_m), elapsed_ms: at.since(began_at) }
    }

    /// When the timetable has it at this place, and at the end.
    fn planned(&self, at: UtcMs, place: &Place) -> Option<(UtcMs, UtcMs)> {
        let (last, end) = self.stops.last()?;
        let along = f64::from(place.along_m);
        if self.stops.len() < 2 {
            return None;
        }
        if let Some((_, stop)) = self.stops.iter().find(|(stop_m, _)| (along - stop_m).abs() <= AT_STOP_M) {
            return Some((at.clamp(stop.arrive, stop.leave), end.arrive));
        }
        let next = self.stops.partition_point(|(stop_m, _)| *stop_m <= along);
        let Some((next_m, next)) = self.stops.get(next).filter(|_| along < *last) else {
            return Some((end.arrive, end.arrive));
        };
        let Some((before_m, before)) = self.stops.iter().rev().find(|(stop_m, _)| *stop_m <= along) else {
            return Some((next.arrive, end.arrive));
        };
        let part = (along - before_m) / (next_m - before_m).max(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a timetable fits")]
        let passed_ms = (next.arrive.since(before.leave) as f64 * part) as i64;
        Some((before.leave.plus(passed_ms), end.arrive))
    }

    /// Whether a place is at a planned stop.
    pub fn is_planned_stop(&self, place: &Point, within_m: u32) -> bool {
        let near = |stop: &Point| stop.near_m(place) <= f64::from(within_m);
        near(&self.end) || self.stops.iter().any(|(_, stop)| near(&stop.point))
    }
}

/// The first place along the line, from `from_m` on, that is within 150 m of `point`; else the nearest of all that
/// follow.
fn first_near(line: &Line, point: &Point, from_m: f64) -> f64 {
    let mut to_m = from_m + LEEWAY_M;
    while to_m < line.length_m() {
        if let Some(along) = line.nearest(point, from_m, to_m).filter(|along| along.off_m <= 150.0) {
            return along.along_m;
        }
        to_m += LEEWAY_M;
    }
    line.nearest(point, from_m, line.length_m()).map_or(from_m, |along| along.along_m)
}

/// What the pace table says of the whole way and of what is left, in milliseconds.
pub(super) fn by_table(pace: &gatehouse_common::bundle::Pace, whole_m: u32, left_m: u32) -> (i64, i64) {
    (table_ms(pace, whole_m), table_ms(pace, left_m))
}
