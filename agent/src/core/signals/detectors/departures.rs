//! Departures that should have been.

use gatehouse_common::{case::CaseType, dispatch::DispatchView, time::Moment};

use crate::core::{
    Core, ms,
    signals::watch::{Condition, MatterKey, Sighting, Watched},
};

impl Core {
    /// DEPARTURE_DELAY: it has not left a while after it should have.
    pub(super) fn watch_departure(&mut self, now: &Moment, watched: &Watched, view: &DispatchView) {
        let waits = !view.state.is_over_at_depot() && self.is_wanted(&view.order);
        let condition = if waits {
            let planned = view.planned_departure;
            let late_at = planned.plus(ms(self.profile.bundle.rules.detectors.departure_delay_after_ms));
            let summary = format!("order {} should have left at {planned}", view.order);
            Condition::Holds(Sighting::since(planned, summary).counting_from(late_at).about(&view.order))
        } else {
            Condition::Absent
        };
        self.found(now, watched, MatterKey::new(CaseType::DepartureDelay, &view.order, view.leg()), condition);
    }
}
