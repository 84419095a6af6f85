//! Vehicles on the way: where each is on its route, when it will come, what it stopped for and what was signed for.
//!
//! In: the fixes of the own vehicle that count, and proofs of delivery. Out: facts of the trip, by fix time; arrival,
//! leaving and proof as entries of the dispatch; conditions for the frame of detectors; the thinned track for the hub.
//! Never decides whether something may leave, and never reads a clock: what comes late corrects milestones and no more.

mod detectors;
pub mod eta;
mod milestones;
mod proof;
mod track;
pub mod way;

use gatehouse_common::{
    dispatch::DispatchState,
    geo::{Geofence, Point},
    id::{DocumentId, Hash32},
    reading::ProofLine,
    time::{Moment, UtcMs},
};
use serde::{Deserialize, Serialize};

use super::{Core, signals::watch::Watched};
use eta::{Eta, Learnt};
use way::Way;

pub(super) use track::TrackBook;

/// Shortest stop that is an event of the track, in milliseconds.
const STOP_EVENT_MS: i64 = 120_000;

/// How one vehicle moves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Motion {
    /// The newest fix that counts.
    pub last: Option<(UtcMs, Point)>,
    /// Where it stands, while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
    /// When it was last seen inside the yard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_yard_at: Option<UtcMs>,
    /// How long it usually is from one fix to the next, in milliseconds.
    #[serde(default)]
    pub usual_ms: i64,
}

/// A stop that lasts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Since when, by fix time.
    pub since: UtcMs,
    /// Where.
    pub place: Point,
}

/// One dispatch on its way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trip {
    /// The first fix of it.
    pub began: Option<(UtcMs, Point)>,
    /// How far it has come along its route, in metres.
    pub along_m: u32,
    /// How far it still is, in metres along the route, or by the straight line and what roads add to it.
    pub left_m: u32,
    /// How far it is from its route, in metres; `None` where no route is known.
    pub off_m: Option<u32>,
    /// Since when it has been off the corridor, by fix time, and for how many fixes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off_since: Option<(UtcMs, u32)>,
    /// When it will come.
    pub eta: Option<Eta>,
    /// How many estimates in a row the slack has fallen.
    #[serde(default)]
    pub falling: u32,
    /// Estimates at a quarter, a half and three quarters of the way, to learn from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Eta>,
    /// The last fix outside the destination before it arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside_at: Option<UtcMs>,
    /// When it arrived, by fix time.
    pub arrived: Option<UtcMs>,
    /// When it left the destination again, by fix time.
    pub left: Option<UtcMs>,
    /// What was signed for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Signed>,
}

/// A proof of delivery as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// When.
    pub at: UtcMs,
    /// Line by line.
    pub lines: Vec<ProofLine>,
    /// Who signed.
    pub signed_by: Option<String>,
    /// Hash of the photo or signature picture.
    pub photo: Option<Hash32>,
    /// The reading it came as.
    pub reading: String,
}

/// A fix as trips take it.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// When.
    pub at: UtcMs,
    /// Where.
    pub point: Point,
    /// Speed in km/h, where given.
    pub speed_kmh: Option<f64>,
    /// Radius of confidence in metres, where given.
    pub accuracy_m: Option<f64>,
}

impl Motion {
    /// Takes the next fix; returns a stop that has ended with it.
    fn takes(&mut self, rules: &gatehouse_common::bundle::Trips, seen: &Seen) -> Option<Standing> {
        let Some((last_at, last_point)) = self.last.replace((seen.at, seen.point)) else { return None };
        let elapsed_ms = seen.at.since(last_at).max(1);
        // Interruptions must not become the usual: at most the double counts.
        self.usual_ms =
            if self.usual_ms == 0 { elapsed_ms } else { (self.usual_ms * 7 + elapsed_ms.min(self.usual_ms * 2)) / 8 };
        let limit_kmh = f64::from(rules.stop_speed_kmh);
        let slow = seen.speed_kmh.is_none_or(|kmh| kmh < limit_kmh);
        let drift_m = f64::from(rules.stop_drift_m);
        match self.standing.take() {
            Some(standing) if slow && standing.place.near_m(&seen.point) <= drift_m => {
                self.standing = Some(standing);
                None
            }
            ended => {
                // What it says of its speed and what its places say must agree: units get mixed up.
                #[expect(clippy::cast_precision_loss, reason = "milliseconds between two fixes fit")]
                let implied_kmh = last_point.near_m(&seen.point) / elapsed_ms as f64 * 3_600.0;
                let stayed = last_point.near_m(&seen.point) <= drift_m;
                if slow && implied_kmh < limit_kmh {
                    let (since, place) = if stayed { (last_at, last_point) } else { (seen.at, seen.point) };
                    self.standing = Some(Standing { since, place });
                }
                ended
            }
        }
    }
}

impl Trip {
    /// Takes the next fix on the way.
    pub fn takes(
        &mut self,
        rules: &gatehouse_common::bundle::Trips,
        learnt: &Learnt,
        way: &Way<'_>,
        window_end: UtcMs,
        seen: &Seen,
    ) {
        let began = *self.began.get_or_insert((seen.at, seen.point));
        let elapsed_ms = self.eta.as_ref().map_or(seen.at.since(began.0), |eta| seen.at.since(eta.at));
        let place = way.place(&seen.point, self.along_m, elapsed_ms, rules);
        self.left_m = place.left_m;
        self.along_m = place.along_m;
        let precise = seen.accuracy_m.is_none_or(|m| m < f64::from(rules.deviation_accuracy_max_m));
        if precise {
            self.off_m = place.off_m;
            let moves = seen.speed_kmh.is_none_or(|kmh| kmh > 0.0);
            match place.off_m {
                Some(off_m) if off_m > rules.deviation_m => {
                    let (since, fixes) = self.off_since.unwrap_or((seen.at, 0));
                    if moves || fixes > 0 {
                        self.off_since = Some((since, if moves { fixes + 1 } else { fixes }));
                    }
                }
                _ => self.off_since = None,
            }
        }
        let whole_m = way.whole_m(&began.1, rules);
        let eta = eta::estimate(&rules.pace, learnt, seen.at, &way.left(began.0, whole_m, seen.at, &place));
        let before = self.eta.replace(eta);
        let slack = |eta: &Eta| window_end.since(eta.p80);
        let falls = before.is_some_and(|before| slack(&eta) < slack(&before));
        self.falling = if falls { self.falling.saturating_add(1) } else { 0 };
        let quarter = u64::from(whole_m / 4) * (self.asked.len() as u64 + 1);
        if self.asked.len() < 3 && u64::from(whole_m.saturating_sub(self.left_m)) >= quarter.max(1) {
            self.asked.push(eta);
        }
    }
}

impl Core {
    /// Follows a fix of the own vehicle that counts.
    pub(super) fn follow_fix(&mut self, now: &Moment, seen: &Seen) {
        let Some(vehicle) = self.profile.vehicle.clone() else { return };
        let rules = self.profile.bundle.rules.trips.clone();
        let in_yard = self.profile.yard.is_some_and(|yard| yard.holds(&seen.point));
        let ended = self.motions.edit(vehicle.as_str(), |motion| {
            if in_yard {
                motion.in_yard_at = Some(seen.at);
            }
            motion.takes(&rules, seen)
        });
        self.read_of(now, Watched::Vehicle(vehicle), seen.at);
        self.track_fix(seen);
        if let Some(stop) = ended.filter(|stop| seen.at.since(stop.since) >= STOP_EVENT_MS) {
            self.track_event(stop.since, "stopped");
            self.track_event(seen.at, "went_on");
        }
        for (id, end) in self.going() {
            self.follow_trip(now, id, end, seen);
        }
    }

    /// The dispatches that the own vehicle is on the way with or has just come with, and where each goes.
    fn going(&self) -> Vec<(DocumentId, Option<Point>)> {
        let own = self.profile.vehicle.as_ref();
        let on_the_way = |state| {
            matches!(state, DispatchState::Departed | DispatchState::Delivered | DispatchState::ExceptionDelivered)
        };
        self.dispatches
            .iter()
            .filter_map(|(id, d)| Some((*id, d.view.as_ref()?)))
            .filter(|(_, view)| own == Some(&view.vehicle) && on_the_way(view.state))
            .filter(|(id, _)| self.trips.get(&id.to_string()).is_none_or(|trip| trip.left.is_none()))
            .map(|(id, view)| (id, self.orders.get(&view.order).and_then(way::destination)))
            .collect()
    }

    fn follow_trip(&mut self, now: &Moment, id: DocumentId, end: Option<Point>, seen: &Seen) {
        let Some(view) = self.view(id) else { return };
        let Some(departed_at) = view.departed.as_ref().map(|d| d.at).filter(|at| seen.at > *at) else { return };
        let order_vehicle = view.vehicle.clone();
        let Some(order) = self.orders.get(&view.order).cloned() else { return };
        let (detectors, rules) = (self.profile.bundle.rules.detectors.clone(), self.profile.bundle.rules.trips.clone());
        let key = id.to_string();
        self.read_of(now, Watched::Dispatch(id), seen.at);
        if self.trips.get(&key).is_none_or(|trip| trip.arrived.is_none())
            && let Some(way) = Way::of(&order, departed_at)
        {
            let learnt = self.learnt.get(order_vehicle.as_str()).cloned().unwrap_or_default();
            self.trips.edit(&key, |trip| trip.takes(&rules, &learnt, &way, order.window_end, seen));
        }
        let Some(centre) = end else { return };
        let fence = Geofence { centre, radius_m: f64::from(rules.arrived_within_m) };
        let crossed = self.rules.edit(&key, |rule| {
            let crossed = rule.destination.observe(&fence, &detectors, seen.at, &seen.point);
            crossed.then_some((rule.destination.inside, rule.destination.changed_at))
        });
        match crossed {
            Some((Some(true), Some(at))) if at > departed_at => self.has_arrived(id, at),
            Some((Some(false), Some(at))) => self.has_left(id, at),
            _ if !fence.holds(&seen.point) => {
                self.trips.edit(&key, |trip| {
                    if trip.arrived.is_none() {
                        trip.outside_at = Some(seen.at);
                    }
                });
            }
            _ => {}
        }
    }
}
