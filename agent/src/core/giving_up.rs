//! Asking the hub to cancel a dispatch, with what proves that its vehicle never came.

use gatehouse_common::{
    dispatch::{DispatchView, Evidence, Says},
    id::DocumentId,
    time::Moment,
};

use super::{
    Core,
    decision::{TapDone, TapRefused},
    input::Tap,
};

impl Core {
    pub(super) fn tap_ask_to_cancel(
        &mut self,
        now: &Moment,
        tap: &Tap,
        id: DocumentId,
        reason: &str,
    ) -> Result<TapDone, TapRefused> {
        let view = self.known(id)?;
        self.needs_reason(reason)?;
        let refused = |why: String| Err(TapRefused::State(why));
        if view.waits_for_upgrade {
            return refused("it was written by a newer program; upgrade this one first".to_owned());
        }
        if view.state.is_over_at_depot() || view.cancelled.is_some() {
            return refused(format!("it is {}; there is nothing to cancel", view.state.as_str()));
        }
        let absence = self.absence(&view);
        // One that stands is asked again only with the proof that it had not.
        if view.cancel_asked.as_ref().is_some_and(|asked| asked.is_proven || absence.is_none()) {
            return refused("the hub is asked already and has not answered yet".to_owned());
        }
        let message = match &absence {
            Some(_) => {
                format!("the hub is asked to cancel order {}: its vehicle is away and its slot is over", view.order)
            }
            None => {
                format!("the hub is asked to cancel order {}; until somebody there answers, it goes on", view.order)
            }
        };
        let asks = Says::CancelAsked { why: reason.trim().to_owned(), absence };
        self.say(now, id, tap.who.as_str(), vec![asks]);
        Ok(TapDone { decision: None, message })
    }

    /// What shows that the vehicle is not there although its slot is over: its own position, taken after that and outside
    /// of the yard, unless its door says otherwise. A free door alone says nothing of the yard.
    fn absence(&self, view: &DispatchView) -> Option<Evidence> {
        if view.state.is_on_board() {
            return None;
        }
        let wanted = self.orders.get(&view.order).map_or(view.planned_departure, |order| order.planned_departure);
        let ends = wanted.max(view.planned_departure);
        let vehicle = self.vehicles.get(view.vehicle.as_str())?;
        let (at, _) = vehicle.fix.filter(|(at, _)| *at >= ends && vehicle.yard.inside == Some(false))?;
        let door = self.doors.get(view.door.as_str());
        if door.is_some_and(|door| door.holds(&view.vehicle)) {
            return None;
        }
        let mut readings = vec![format!("vehicle {} was outside of the yard at {at}", view.vehicle)];
        if let Some(door) = door.filter(|door| door.occupied == Some(false)) {
            readings.push(format!("door {} was free at {}", view.door, door.occupancy_at));
        }
        Some(Evidence { at, readings })
    }
}
