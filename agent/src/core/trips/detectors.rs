//! The detectors of a vehicle on the way. Each says what its matter is to the frame, by fix time.

use gatehouse_common::{
    bundle::ProofPolicy,
    case::{CaseType, Severity},
    dispatch::{DispatchState, DispatchView},
    id::{DocumentId, VehicleId},
    time::Moment,
};

use super::proof::Variance;
use crate::core::{
    Core, ms,
    signals::watch::{Condition, Gravity, MatterKey, Sighting, Watched},
};

/// How far back into the corridor a vehicle must come to be on its route again, in metres.
const CORRIDOR_RING_M: u32 = 50;
/// By how much the 80th percentile must lie before the window's end to be no risk any more, in milliseconds.
const ETA_RING_MS: i64 = 120_000;

impl Core {
    /// Runs the detectors of the own vehicle: what it does, whatever it carries.
    pub(in crate::core) fn watch_motion(&mut self, now: &Moment, watched: &Watched, vehicle: &VehicleId) {
        let on_the_way: Vec<(DocumentId, DispatchView)> = self
            .dispatches
            .iter()
            .filter_map(|(id, d)| Some((*id, d.view.clone()?)))
            .filter(|(_, view)| view.vehicle == *vehicle && view.departed.is_some())
            .collect();
        for (id, view) in on_the_way {
            let going = view.state == DispatchState::Departed && view.arrived_at.is_none();
            let stop = if going { self.unplanned_stop(id, &view, vehicle) } else { Condition::Absent };
            self.found(now, watched, MatterKey::new(CaseType::UnplannedStop, vehicle, view.leg()), stop);
            let silence = if going { self.silence(&view, vehicle) } else { Condition::Absent };
            self.found(now, watched, MatterKey::new(CaseType::TelemetrySilence, vehicle, view.leg()), silence);
        }
    }

    fn unplanned_stop(&self, id: DocumentId, view: &DispatchView, vehicle: &VehicleId) -> Condition {
        let rules = &self.profile.bundle.rules.trips;
        let Some(motion) = self.motions.get(vehicle.as_str()) else { return Condition::Unknown };
        let (Some(stop), Some((last_at, _))) = (&motion.standing, motion.last) else { return Condition::Absent };
        let may_stand = self.profile.yard.is_some_and(|yard| yard.holds(&stop.place))
            || rules.rest_areas.iter().any(|area| area.holds(&stop.place))
            || self.way_of(id).is_some_and(|way| way.is_planned_stop(&stop.place, rules.arrived_within_m));
        // By fix time alone: a vehicle that was seen to stand and then no more may have gone on since.
        if may_stand || last_at.since(stop.since) < ms(rules.unplanned_stop_after_ms) {
            return Condition::Absent;
        }
        let summary = format!("{vehicle} stands since {} where no stop is planned", stop.since);
        Condition::Holds(Sighting::since(stop.since, summary).about(&view.order).as_grave_as(self.cargo_gravity(view)))
    }

    fn silence(&self, view: &DispatchView, vehicle: &VehicleId) -> Condition {
        let rules = &self.profile.bundle.rules.trips;
        let Some(motion) = self.motions.get(vehicle.as_str()) else { return Condition::Unknown };
        let Some((last_at, _)) = motion.last else { return Condition::Unknown };
        let least_ms = if motion.standing.is_some() { rules.silence_parked_ms } else { rules.silence_moving_ms };
        let usual_ms = u64::try_from(motion.usual_ms).unwrap_or(0);
        let lasting_ms = least_ms.max(usual_ms.saturating_mul(u64::from(rules.silence_intervals)));
        let at_risk = self.is_on(CaseType::EtaRisk, view.order.as_str(), &view.leg());
        let mut gravity = self.cargo_gravity(view);
        if at_risk {
            gravity.at_least = Some(Severity::S2);
        }
        let summary = format!("{vehicle} has sent no position since {last_at}");
        let seen = Sighting::since(last_at, summary).lasting(lasting_ms).by_silence();
        Condition::Holds(seen.about(&view.order).as_grave_as(gravity))
    }

    /// Goods of much value make some matters worse than their type.
    fn cargo_gravity(&self, view: &DispatchView) -> Gravity {
        let load = view.departed.as_ref().map_or(view.load.as_slice(), |departed| departed.load.as_slice());
        let value = self.orders.get(&view.order).map_or(0, |order| order.value_minor(load));
        let [.., much] = self.profile.bundle.rules.money_axis_minor;
        Gravity { at_least: (value >= much).then_some(Severity::S2), ..Gravity::default() }
    }

    /// Runs the detectors of one dispatch that the own vehicle carries.
    pub(in crate::core) fn watch_trip(&mut self, now: &Moment, watched: &Watched, id: DocumentId, view: &DispatchView) {
        if view.departed.is_none() {
            return;
        }
        let leg = view.leg();
        let going = view.state == DispatchState::Departed && view.arrived_at.is_none();
        let deviation = if going { self.deviation(id, view) } else { Condition::Absent };
        self.found(now, watched, MatterKey::new(CaseType::RouteDeviation, &view.vehicle, &leg), deviation);
        let risk = if going { self.eta_risk(id, view) } else { Condition::Absent };
        self.found(now, watched, MatterKey::new(CaseType::EtaRisk, &view.order, &leg), risk);
        let late = if going { self.late(view) } else { Condition::Absent };
        self.found(now, watched, MatterKey::new(CaseType::LateDelivery, &view.order, &leg), late);
        for (case_type, condition) in self.handed_over(view) {
            self.found(now, watched, MatterKey::new(case_type, &view.order, &leg), condition);
        }
    }

    fn deviation(&self, id: DocumentId, view: &DispatchView) -> Condition {
        let rules = &self.profile.bundle.rules.trips;
        let Some(trip) = self.trips.get(&id.to_string()) else { return Condition::Unknown };
        let last_at = self.motions.get(view.vehicle.as_str()).and_then(|motion| motion.last).map(|(at, _)| at);
        if let (Some((since, fixes)), Some(last_at)) = (trip.off_since, last_at) {
            let long = last_at.since(since) >= ms(rules.deviation_after_ms);
            if fixes >= rules.deviation_fixes || long {
                let summary = format!("{} left the route of order {} at {since}", view.vehicle, view.order);
                return Condition::Holds(Sighting::since(since, summary).about(&view.order));
            }
        }
        let ring = rules.deviation_m.saturating_sub(CORRIDOR_RING_M);
        match trip.off_m {
            Some(off_m) if off_m <= ring => Condition::Absent,
            // Not off for long enough to begin, not near enough to end.
            _ => Condition::Unknown,
        }
    }

    fn eta_risk(&self, id: DocumentId, view: &DispatchView) -> Condition {
        let rules = &self.profile.bundle.rules.trips;
        let (Some(trip), Some(order)) = (self.trips.get(&id.to_string()), self.orders.get(&view.order)) else {
            return Condition::Unknown;
        };
        let Some(eta) = trip.eta else { return Condition::Unknown };
        let slack_ms = order.window_end.since(eta.p80);
        let shrinks = slack_ms < ms(rules.eta_slack_ms) && trip.falling >= rules.eta_falling;
        if slack_ms < 0 || shrinks {
            let summary = format!(
                "order {} will come at {}, or by {} in four of five cases; promised until {}",
                view.order, eta.p50, eta.p80, order.window_end
            );
            return Condition::Holds(Sighting::since(eta.at, summary).about(&view.order));
        }
        if slack_ms < ETA_RING_MS { Condition::Unknown } else { Condition::Absent }
    }

    fn late(&self, view: &DispatchView) -> Condition {
        let Some(order) = self.orders.get(&view.order) else { return Condition::Unknown };
        let end = order.window_end;
        let last = self.motions.get(view.vehicle.as_str()).and_then(|motion| motion.last);
        let within_m = f64::from(self.profile.bundle.rules.trips.arrived_within_m);
        if let (Some(place), Some((_, point))) = (super::way::destination(order), last)
            && place.near_m(&point) <= within_m
        {
            // It is there by one fix; the next says whether it has arrived.
            return Condition::Unknown;
        }
        let summary = format!("order {} was promised until {end} and has not arrived", view.order);
        let seen = Sighting::since(end, summary).about(&view.order);
        // Without a position since, nobody knows whether it has arrived: then silence is told, and the risk before it.
        let since = last.is_some_and(|(at, _)| at > end);
        if since { Condition::Holds(seen) } else { Condition::Unknown }
    }

    /// What was signed for, or was not.
    fn handed_over(&self, view: &DispatchView) -> Vec<(CaseType, Condition)> {
        let rules = &self.profile.bundle.rules.trips;
        let order = &view.order;
        let holds_if = |wrong: bool, sighting: &dyn Fn() -> Sighting| {
            if wrong { Condition::Holds(sighting().about(order)) } else { Condition::Absent }
        };
        let failed = rules.proof == ProofPolicy::Needed && view.delivered.is_none();
        let left_at = view.went_on_at.filter(|_| failed);
        let failed = holds_if(left_at.is_some(), &|| {
            let at = left_at.unwrap_or_default();
            Sighting::since(at, format!("{} left the destination of order {order} without proof", view.vehicle))
        });
        let signed = view.proof.as_ref().is_some_and(|proof| proof.signed_by.is_some());
        let delivered_at = view.delivered.as_ref().map(|delivered| delivered.at);
        let missing = rules.proof != ProofPolicy::None && !signed && delivered_at.is_some();
        let missing = holds_if(missing, &|| {
            let at = delivered_at.unwrap_or_default();
            let summary = format!("order {order} was delivered at {at} and nobody has signed for it");
            Sighting::since(at, summary).lasting(rules.proof_missing_after_ms)
        });
        let mut found = vec![(CaseType::DeliveryFailed, failed), (CaseType::PodMissing, missing)];
        if let (Some(variance), Some(proof)) = (Variance::of(view), &view.proof) {
            let counts = [
                (CaseType::PodShort, variance.short, "short"),
                (CaseType::PodOver, variance.over, "too many"),
                (CaseType::PodDamage, variance.damaged, "damaged"),
                (CaseType::PodRefused, variance.refused, "refused"),
            ];
            for (case_type, units, word) in counts {
                let condition = holds_if(units > 0, &|| {
                    Sighting::since(proof.at, format!("order {order}: {units} units {word} by proof of delivery"))
                });
                found.push((case_type, condition));
            }
        }
        found
    }
}
