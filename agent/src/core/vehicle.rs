//! The vehicle's own view: it says that it left and that it arrived, and decides nothing.

use gatehouse_common::{
    dispatch::{DispatchState, Evidence, Says},
    geo::{Geofence, Point},
    id::DocumentId,
    order::LineQuantity,
    time::{Moment, UtcMs},
};

use super::Core;

/// How near the destination counts as there, in metres.
const ARRIVED_WITHIN_M: f64 = 300.0;

impl Core {
    /// Compares a fix of the own vehicle with the places where its dispatches go.
    pub(super) fn follow_position(&mut self, at: UtcMs, point: Point) {
        let rules = self.profile.bundle.rules.detectors.clone();
        let going: Vec<(DocumentId, Point)> = self
            .dispatches
            .iter()
            .filter_map(|(id, d)| Some((*id, d.view.as_ref()?)))
            .filter(|(_, v)| v.state == DispatchState::Departed && v.departed.as_ref().is_some_and(|d| at > d.at))
            .filter_map(|(id, v)| Some((id, self.orders.get(&v.order)?.destination?)))
            .collect();
        for (id, centre) in going {
            let fence = Geofence { centre, radius_m: ARRIVED_WITHIN_M };
            if self.rules.edit(&id.to_string(), |r| r.destination.observe(&fence, &rules, at, &point)) {
                self.touched.insert(id);
            }
        }
    }

    /// Writes down that the own vehicle left with a dispatch or arrived with it.
    pub(super) fn follow(&mut self, now: &Moment, id: DocumentId) {
        let Some(view) = self.view(id).cloned() else { return };
        if view.waits_for_upgrade || self.profile.vehicle.as_ref() != Some(&view.vehicle) {
            return;
        }
        let state = self.vehicles.get(view.vehicle.as_str()).cloned().unwrap_or_default();
        if view.state == DispatchState::Loaded
            && let Some((load, loaded_at)) = self.loaded_entry(id)
            && state.yard.inside == Some(false)
            && let Some(at) = state.yard.changed_at.filter(|at| *at > loaded_at)
        {
            let readings = vec![format!("own position left the yard at {at}")];
            self.say(now, id, "rule geofence", vec![Says::Departed { load, evidence: Evidence { at, readings } }]);
        }
        let rule = self.rules.get(&id.to_string()).cloned().unwrap_or_default();
        if let (DispatchState::Departed, Some(departed)) = (view.state, &view.departed)
            && rule.destination.inside == Some(true)
            && let Some(at) = rule.destination.changed_at.filter(|at| *at > departed.at)
        {
            let load = departed.load.clone();
            let readings = vec![format!("own position reached the destination at {at}")];
            self.say(now, id, "rule geofence", vec![Says::Delivered { load, evidence: Evidence { at, readings } }]);
        }
        self.touched.remove(&id);
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
}
