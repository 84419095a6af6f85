//! Dock doors: in use for too long, faulty, or taken by a vehicle that belongs elsewhere.

use gatehouse_common::{
    case::CaseType,
    dispatch::DispatchView,
    id::DoorId,
    time::{Moment, UtcMs},
};

use crate::core::{
    Core, ms,
    signals::watch::{Condition, MatterKey, Sighting, Watched},
    state::DoorState,
};

impl Core {
    pub(super) fn watch_door(&mut self, now: &Moment, watched: &Watched, door: &DoorId) {
        let Some(state) = self.doors.get(door.as_str()) else { return };
        let (blocked, misplaced) = (self.blocked(door, state), self.misplaced(now, door, state));
        let subject = format!("{}/{door}", self.profile.site);
        self.found(now, watched, MatterKey::new(CaseType::DockBlocked, &subject, "-"), blocked);
        self.found(now, watched, MatterKey::new(CaseType::DockConflict, &subject, "-"), misplaced);
    }

    /// DOCK_BLOCKED: faulty, or taken or open long after the planned end.
    fn blocked(&self, door: &DoorId, state: &DoorState) -> Condition {
        let rules = &self.profile.bundle.rules.detectors;
        let fault = state.fault.as_ref().map(|(fault, since)| {
            Sighting::since(*since, format!("door {door} reports a fault since {since}: {fault}"))
                .lasting(rules.dock_fault_after_ms)
        });
        let in_use = state.in_use_since().map(|since| {
            let what = if state.occupied == Some(true) { "is occupied" } else { "stands open" };
            let planned_end = self.planned_end(door, state).map_or(since, |end| end.max(since));
            Sighting::since(since, format!("door {door} {what} since {since}"))
                .counting_from(planned_end.plus(ms(rules.dock_blocked_after_ms) + 1))
        });
        fault.into_iter().chain(in_use).min_by_key(Sighting::counts_from).map_or(Condition::Absent, Condition::Holds)
    }

    /// DOCK_CONFLICT: a vehicle stands here that is planned at another door.
    fn misplaced(&self, now: &Moment, door: &DoorId, state: &DoorState) -> Condition {
        let rules = &self.profile.bundle.rules.detectors.dock_conflict;
        let (Some(vehicle), Some(since)) = (state.vehicle.as_ref(), state.occupied_since) else {
            return Condition::Absent;
        };
        let soon = now.wall.plus(ms(rules.horizon_ms));
        let planned: Vec<&DispatchView> = self
            .dispatches
            .values()
            .filter_map(|d| d.view.as_ref())
            .filter(|v| v.site == self.profile.site && v.vehicle == *vehicle && !v.state.is_over_at_depot())
            .filter(|v| v.planned_departure <= soon)
            .collect();
        // One that has nothing to do here is nobody's conflict, and one that comes for several may stand at either door.
        match planned.first() {
            Some(view) if planned.iter().all(|v| v.door != *door) => {
                let summary = format!(
                    "vehicle {vehicle} stands at door {door} and is planned at door {} for order {}",
                    view.door, view.order
                );
                Condition::Holds(Sighting::since(since, summary).lasting(rules.other_door_after_ms).about(&view.order))
            }
            _ => Condition::Absent,
        }
    }

    /// Until when the vehicle at a door is planned to stand there.
    fn planned_end(&self, door: &DoorId, state: &DoorState) -> Option<UtcMs> {
        self.dispatches
            .values()
            .filter_map(|d| d.view.as_ref())
            .filter(|v| v.door == *door && !v.state.is_over_at_depot())
            .filter(|v| state.holds(&v.vehicle) || v.state.is_on_board())
            .map(|v| v.planned_departure)
            .max()
    }
}
