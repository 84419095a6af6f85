//! Dispatches that wait: for a departure that should have been, a vehicle that has not come, or a door that two want.

use gatehouse_common::{
    case::CaseType,
    dispatch::{DispatchState, DispatchView},
    id::{DocumentId, DoorId},
    time::{Moment, UtcMs},
};

use crate::core::{
    Core, ms,
    signals::watch::{Condition, MatterKey, Sighting, Watched},
};

impl Core {
    pub(super) fn watch_departure(&mut self, now: &Moment, watched: &Watched, view: &DispatchView) {
        let (late, missed) = (self.late_to_leave(view), self.missed_pickup(now, view));
        let (order, leg) = (&view.order, view.leg());
        self.found(now, watched, MatterKey::new(CaseType::DepartureDelay, order, &leg), late);
        self.found(now, watched, MatterKey::new(CaseType::MissedPickup, order, &leg), missed);
        if !self.waits(view) {
            self.found(now, watched, slot_key(view), Condition::Absent);
        }
    }

    /// Looks at every dispatch that waits for a door: a plan that changes concerns the others at its door too.
    pub(super) fn watch_slots(&mut self, now: &Moment, watched: &Watched, door: &DoorId) {
        let views = self.dispatches.iter().filter_map(|(id, d)| Some((*id, d.view.as_ref()?)));
        let mut waiting: Vec<(DocumentId, &DispatchView)> =
            views.filter(|(_, v)| v.door == *door && v.site == self.profile.site && self.waits(v)).collect();
        waiting.sort_by_key(|(id, v)| (v.planned_departure, *id));
        let found: Vec<(MatterKey, Condition)> = (0..waiting.len())
            .map(|n| (slot_key(waiting[n].1), self.overlap(now, waiting[n].1, &waiting[..n])))
            .collect();
        for (key, condition) in found {
            self.found(now, watched, key, condition);
        }
    }

    fn waits(&self, view: &DispatchView) -> bool {
        !view.state.is_over_at_depot() && self.is_wanted(&view.order)
    }

    /// DEPARTURE_DELAY: it has not left a while after it should have.
    fn late_to_leave(&self, view: &DispatchView) -> Condition {
        if !self.waits(view) {
            return Condition::Absent;
        }
        let planned = view.planned_departure;
        let summary = format!("order {} should have left at {planned}", view.order);
        let seen =
            Sighting::since(planned, summary).lasting(self.profile.bundle.rules.detectors.departure_delay_after_ms);
        Condition::Holds(seen.by_silence().about(&view.order))
    }

    /// MISSED_PICKUP: its time and the grace are over and its vehicle has not come.
    ///
    /// Nothing seen is no proof where nothing looks: a sensor at the door must say that it is free, or the vehicle's
    /// own positions that it is elsewhere.
    fn missed_pickup(&self, now: &Moment, view: &DispatchView) -> Condition {
        let expected = matches!(view.state, DispatchState::Planned | DispatchState::Ready | DispatchState::Released);
        if !expected || !self.waits(view) {
            return Condition::Absent;
        }
        let rules = &self.profile.bundle.rules.detectors.missed_pickup;
        let vehicle = self.vehicles.get(view.vehicle.as_str());
        let docked = self.doors.iter().any(|(_, door)| door.holds(&view.vehicle));
        let entered = vehicle.filter(|v| v.yard.inside == Some(true)).and_then(|v| v.yard.changed_at);
        let planned = view.planned_departure;
        let stayed = |from: UtcMs, to: UtcMs| to.since(from) >= ms(rules.dwell_ms);
        let was_here = vehicle.and_then(|v| v.visit).is_some_and(|(from, to)| {
            // It came and left again: whatever that was, it is no vehicle that has not come.
            stayed(from, to) && to >= planned.plus(-ms(rules.early_ms))
        });
        if docked || was_here || entered.is_some_and(|at| stayed(at, now.wall)) {
            return Condition::Absent;
        }
        let door = self.doors.get(view.door.as_str());
        let taken_by_someone = door.is_some_and(|d| d.occupied == Some(true) && d.vehicle.is_none());
        let door_free = door.is_some_and(|d| d.occupied == Some(false));
        let elsewhere = vehicle.is_some_and(|v| v.yard.inside == Some(false));
        // A vehicle whose positions lie in the future has a wrong clock; where it is cannot be known.
        let unreadable = vehicle.is_some_and(|v| v.refused_at.is_some_and(|at| v.fix.is_none_or(|(fix, _)| at > fix)));
        // One fix in the yard is no visit, but it is not nothing either.
        let drove_past = |at| vehicle.and_then(|v| v.visit).is_some_and(|(from, to)| from <= at && at <= to);
        let about_then = |at: UtcMs| at >= planned.plus(-ms(rules.early_ms)) && !drove_past(at);
        let glimpsed = vehicle.and_then(|v| v.glimpsed).is_some_and(about_then);
        if taken_by_someone || unreadable || glimpsed || !(door_free || elsewhere) {
            return Condition::Unknown;
        }
        let summary =
            format!("vehicle {} has not come for order {}, planned to leave at {planned}", view.vehicle, view.order);
        Condition::Holds(Sighting::since(planned, summary).lasting(rules.grace_ms).by_silence().about(&view.order))
    }

    /// DOCK_CONFLICT: an earlier dispatch with another vehicle wants the same door at the same time.
    fn overlap(&self, now: &Moment, view: &DispatchView, earlier: &[(DocumentId, &DispatchView)]) -> Condition {
        let rules = &self.profile.bundle.rules.detectors.dock_conflict;
        let slot_ms = ms(rules.slot_ms);
        let overlaps = |v: &DispatchView| view.planned_departure.since(v.planned_departure) < slot_ms;
        let other = earlier.iter().map(|(_, v)| *v).find(|v| v.vehicle != view.vehicle && overlaps(v));
        let Some(other) = other else { return Condition::Absent };
        let starts = view.planned_departure.plus(-slot_ms);
        let summary = format!("orders {} and {} both want door {} from {starts}", other.order, view.order, view.door);
        // Planned for long, it is news only once it is near.
        let since = starts.plus(-ms(rules.horizon_ms)).max(now.wall);
        Condition::Holds(Sighting::since(since, summary).about(&view.order))
    }
}

fn slot_key(view: &DispatchView) -> MatterKey {
    // The dock gate has a case of its own under the leg alone.
    MatterKey::new(CaseType::DockConflict, &view.order, format!("{}/slot", view.leg()))
}
