//! Arrival and leaving, by two fixes; a position that comes late may make one earlier, and nothing else.

use gatehouse_common::{
    bundle::ProofPolicy,
    dispatch::{DispatchState, Evidence, Says},
    geo::Geofence,
    id::DocumentId,
    order::LineQuantity,
    time::{Moment, UtcMs},
};

use super::{Seen, way};
use crate::core::Core;

impl Core {
    pub(super) fn has_arrived(&mut self, id: DocumentId, at: UtcMs) {
        let asked = self.trips.edit(&id.to_string(), |trip| {
            let first = trip.arrived.is_none();
            trip.arrived.get_or_insert(at);
            trip.off_since = None;
            if first { std::mem::take(&mut trip.asked) } else { Vec::new() }
        });
        if let Some(vehicle) = self.profile.vehicle.clone().filter(|_| !asked.is_empty()) {
            self.learnt.edit(vehicle.as_str(), |learnt| learnt.takes(&asked, at));
        }
        self.track_event(at, "arrived");
        self.touched.insert(id);
    }

    pub(super) fn has_left(&mut self, id: DocumentId, at: UtcMs) {
        let left = self.trips.edit(&id.to_string(), |trip| {
            // A fence that is left without having been entered was never arrived at.
            let left = trip.arrived.is_some() && trip.left.is_none();
            if left {
                trip.left = Some(at);
            }
            left
        });
        if left {
            self.track_event(at, "left");
            self.touched.insert(id);
        }
    }

    /// Writes down that the own vehicle left with a dispatch, arrived with it, handed it over and went on.
    pub(in crate::core) fn follow(&mut self, now: &Moment, id: DocumentId) {
        let Some(view) = self.view(id).cloned() else { return };
        if view.waits_for_upgrade || self.profile.vehicle.as_ref() != Some(&view.vehicle) {
            self.touched.remove(&id);
            return;
        }
        if view.state == DispatchState::Loaded {
            self.follow_departure(now, id);
        }
        self.follow_arrival(now, id);
        self.follow_proof(now, id);
        self.touched.remove(&id);
    }

    fn follow_departure(&mut self, now: &Moment, id: DocumentId) {
        let Some(vehicle) = self.profile.vehicle.clone() else { return };
        let state = self.vehicles.get(vehicle.as_str()).cloned().unwrap_or_default();
        let Some((load, loaded_at)) = self.loaded_entry(id) else { return };
        let Some(at) = state.yard.changed_at.filter(|at| state.yard.inside == Some(false) && *at > loaded_at) else {
            return;
        };
        let readings = vec![format!("own position left the yard at {at}")];
        self.say(now, id, "rule geofence", vec![Says::Departed { load, evidence: Evidence { at, readings } }]);
        self.track_event(at, "departed");
    }

    fn follow_arrival(&mut self, now: &Moment, id: DocumentId) {
        let Some(trip) = self.trips.get(&id.to_string()).cloned() else { return };
        let Some(view) = self.view(id).cloned() else { return };
        let Some(departed) = view.departed.as_ref() else { return };
        if let Some(at) = trip.arrived.filter(|at| view.arrived_at.is_none_or(|held| *at < held)) {
            let evidence = Evidence { at, readings: vec![format!("own position reached the destination at {at}")] };
            let mut says = vec![Says::Arrived { evidence: evidence.clone() }];
            if self.profile.bundle.rules.trips.proof != ProofPolicy::Needed {
                says.push(Says::Delivered { load: departed.load.clone(), evidence });
            }
            self.say(now, id, "rule geofence", says);
        }
        if let Some(at) = trip.left.filter(|_| view.went_on_at.is_none()) {
            let evidence = Evidence { at, readings: vec![format!("own position left the destination at {at}")] };
            self.say(now, id, "rule geofence", vec![Says::Left { evidence }]);
        }
    }

    /// Takes a position that came after newer ones: it may show that a milestone was reached earlier.
    pub(in crate::core) fn correct(&mut self, now: &Moment, seen: &Seen) {
        let Some(vehicle) = self.profile.vehicle.clone() else { return };
        let within_m = f64::from(self.profile.bundle.rules.trips.arrived_within_m);
        for (id, end) in self.going() {
            let Some(trip) = self.trips.get(&id.to_string()) else { continue };
            let between = |from: Option<UtcMs>, to: Option<UtcMs>| {
                from.is_some_and(|from| seen.at > from) && to.is_some_and(|to| seen.at < to)
            };
            let there = end.is_some_and(|centre| Geofence { centre, radius_m: within_m }.holds(&seen.point));
            if there && between(trip.outside_at, trip.arrived) {
                self.trips.edit(&id.to_string(), |trip| trip.arrived = Some(seen.at));
                self.touched.insert(id);
            }
            self.correct_departure(now, id, vehicle.as_str(), seen);
        }
    }

    fn correct_departure(&mut self, now: &Moment, id: DocumentId, vehicle: &str, seen: &Seen) {
        let ring_m = self.profile.bundle.rules.detectors.geofence_ring_m;
        let outside = self.profile.yard.is_some_and(|yard| yard.centre.near_m(&seen.point) > yard.radius_m + ring_m);
        let in_yard_at = self.motions.get(vehicle).and_then(|motion| motion.in_yard_at);
        let Some(departed) = self.view(id).and_then(|view| view.departed.clone()) else { return };
        let earlier = in_yard_at.is_some_and(|at| seen.at > at) && seen.at < departed.at;
        if outside && earlier {
            let readings = vec![format!("own position, come late, was outside the yard at {}", seen.at)];
            let evidence = Evidence { at: seen.at, readings };
            self.say(now, id, "rule geofence", vec![Says::Departed { load: departed.load, evidence }]);
        }
    }

    /// What was counted in, and when, by the newest word on it.
    fn loaded_entry(&self, id: DocumentId) -> Option<(Vec<LineQuantity>, UtcMs)> {
        let (entries, _) = self.dispatches.get(&id)?.document.entries::<Says>();
        entries
            .into_values()
            .filter_map(|e| match e.says {
                Says::Loaded { load, evidence } => Some((load, evidence.at)),
                _ => None,
            })
            .max_by_key(|(_, at)| *at)
    }

    /// Where a dispatch goes and by which way.
    pub(super) fn way_of(&self, id: DocumentId) -> Option<way::Way<'_>> {
        let view = self.view(id)?;
        way::Way::of(self.orders.get(&view.order)?, view.departed.as_ref()?.at)
    }
}
