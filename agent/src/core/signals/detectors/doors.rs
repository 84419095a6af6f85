//! Dock doors: in use for too long.

use gatehouse_common::{
    case::CaseType,
    id::DoorId,
    time::{Moment, UtcMs},
};

use crate::core::{
    Core,
    signals::watch::{Condition, MatterKey, Sighting, Watched},
    state::DoorState,
};

impl Core {
    /// DOCK_BLOCKED: taken or open long after the planned end.
    pub(super) fn watch_door(&mut self, now: &Moment, watched: &Watched, door: &DoorId) {
        let Some(state) = self.doors.get(door.as_str()) else { return };
        let condition = match state.in_use_since() {
            None => Condition::Absent,
            Some(since) => {
                let what = if state.occupied == Some(true) { "is occupied" } else { "stands open" };
                let summary = format!("door {door} {what} since {since}");
                let planned_end = self.planned_end(door, state).map_or(since, |end| end.max(since));
                let allowed_ms = self.profile.bundle.rules.detectors.dock_blocked_after_ms;
                let blocked_at = planned_end.plus(crate::core::ms(allowed_ms));
                Condition::Holds(Sighting::since(since, summary).counting_from(blocked_at))
            }
        };
        let subject = format!("{}/{door}", self.profile.site);
        self.found(now, watched, MatterKey::new(CaseType::DockBlocked, subject, "-"), condition);
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
