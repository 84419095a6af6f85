//! Dispatches that wait: for a departure that should have been, a vehicle that has not come, or a door that two want.

use gatehouse_common::{
    case::CaseType,
    dispatch::{DispatchState, DispatchView, HoldReason},
    geo::Point,
    id::{DocumentId, DoorId},
    time::{Moment, UtcMs},
};

use crate::core::{
    Core, ms,
    signals::watch::{Condition, MatterKey, Sighting, Watched},
};

impl Core {
    pub(super) fn watch_departure(&mut self, now: &Moment, watched: &Watched, id: DocumentId, view: &DispatchView) {
        let (late, missed) = (self.late_to_leave(view), self.missed_pickup(now, id, view));
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
    fn missed_pickup(&mut self, now: &Moment, id: DocumentId, view: &DispatchView) -> Condition {
        // Whom a person or the hub holds, nobody need fetch; goods that are not ready yet excuse no vehicle.
        let held_by_gates =
            view.state == DispatchState::Held && view.holds.iter().all(|h| h.reason == HoldReason::Gate);
        let unreleased = matches!(view.state, DispatchState::Planned | DispatchState::Ready);
        let expected = unreleased || held_by_gates || view.state == DispatchState::Released;
        let (planned, row) = (view.planned_departure, id.to_string());
        let came = self.rules.get(&row).is_some_and(|rule| rule.came_for == Some(planned));
        if came || !expected || !self.waits(view) {
            return Condition::Absent;
        }
        let rules = self.profile.bundle.rules.detectors.missed_pickup.clone();
        let (early, judged_at) = (planned.plus(-ms(rules.early_ms)), planned.plus(ms(rules.grace_ms)));
        let on = self.is_on(CaseType::MissedPickup, view.order.as_str(), &view.leg());
        let pickup = self.pickup(now, view);
        // Where the vehicle goes afterwards is about other dispatches: that it came is remembered.
        let remembered = match pickup {
            Pickup::Came => now.wall >= early,
            Pickup::MayHaveCome => now.wall >= judged_at && !on,
            Pickup::NotCome | Pickup::Unknown => false,
        };
        if remembered {
            self.rules.edit(&row, |rule| rule.came_for = Some(planned));
        }
        match pickup {
            Pickup::Came => Condition::Absent,
            Pickup::MayHaveCome => {
                if now.wall < judged_at {
                    self.look_again(judged_at);
                }
                Condition::Unknown
            }
            Pickup::Unknown => Condition::Unknown,
            Pickup::NotCome => {
                let (vehicle, order) = (&view.vehicle, &view.order);
                let summary =
                    format!("vehicle {vehicle} has not come for order {order}, planned to leave at {planned}");
                Condition::Holds(Sighting::since(planned, summary).counting_from(judged_at).by_silence().about(order))
            }
        }
    }

    /// What is known of a vehicle that should fetch a dispatch.
    fn pickup(&self, now: &Moment, view: &DispatchView) -> Pickup {
        let rules = &self.profile.bundle.rules.detectors.missed_pickup;
        let vehicle = self.vehicles.get(view.vehicle.as_str());
        let docked = self.doors.iter().any(|(_, door)| door.holds(&view.vehicle));
        let entered = vehicle.filter(|v| v.yard.inside == Some(true)).and_then(|v| v.yard.changed_at);
        let early = view.planned_departure.plus(-ms(rules.early_ms));
        let stayed = |from: UtcMs, to: UtcMs| to.since(from) >= ms(rules.dwell_ms);
        let visit = vehicle.and_then(|v| v.visit);
        // It came and left again: whatever that was, it is no vehicle that has not come.
        let was_here = visit.is_some_and(|(from, to)| stayed(from, to) && to >= early);
        if docked || was_here || entered.is_some_and(|at| stayed(at, now.wall)) {
            return Pickup::Came;
        }
        // Fixes are far apart: a visit was too short only if even from the last fix before to the first after it was.
        let before = vehicle.and_then(|v| v.outside_at);
        let drove_past = |at| {
            let short = |(from, to): (UtcMs, UtcMs)| before.is_some_and(|b| b <= from && !stayed(b, to));
            visit.is_some_and(|(from, to)| from <= at && at <= to && short((from, to)))
        };
        // One fix in the yard is no visit, but it is not nothing either.
        if vehicle.and_then(|v| v.glimpsed).is_some_and(|at| at >= early && !drove_past(at)) {
            return Pickup::MayHaveCome;
        }
        // Neither is a stretch in which its receiver was wrong and there was time to come and go.
        if vehicle.and_then(|v| v.hidden).is_some_and(|at| at >= early) {
            return Pickup::MayHaveCome;
        }
        // Places that the next fixes are to confirm or refute are not known yet.
        let in_yard =
            |(at, point): &(UtcMs, Point)| *at >= early && self.profile.yard.is_some_and(|yard| yard.holds(point));
        if vehicle.is_some_and(|v| v.doubted.iter().any(in_yard)) {
            return Pickup::Unknown;
        }
        let door = self.doors.get(view.door.as_str());
        let taken_by_someone = door.is_some_and(|d| d.occupied == Some(true) && d.vehicle.is_none());
        let door_free = door.is_some_and(|d| d.occupied == Some(false));
        let elsewhere = vehicle.is_some_and(|v| v.yard.inside == Some(false));
        // A vehicle whose positions lie in the future has a wrong clock; where it is cannot be known.
        let unreadable = vehicle.is_some_and(|v| v.refused_at.is_some_and(|at| v.fix.is_none_or(|(fix, _)| at > fix)));
        if taken_by_someone || unreadable || !(door_free || elsewhere) { Pickup::Unknown } else { Pickup::NotCome }
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

/// What is known of a vehicle that should fetch a dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pickup {
    Came,
    MayHaveCome,
    NotCome,
    /// Nothing looks there, or what looks cannot tell.
    Unknown,
}

fn slot_key(view: &DispatchView) -> MatterKey {
    // The dock gate has a case of its own under the leg alone.
    MatterKey::new(CaseType::DockConflict, &view.order, format!("{}/slot", view.leg()))
}
