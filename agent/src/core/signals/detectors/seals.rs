//! Seals and cargo doors on the way.

use gatehouse_common::{case::CaseType, dispatch::DispatchState, id::VehicleId, time::Moment};

use crate::core::{
    Core,
    signals::watch::{Condition, Gravity, MatterKey, Sighting, Watched},
};

impl Core {
    /// SEAL_BROKEN: the seal was found broken after the departure. A new seal does not heal it: a person must look.
    pub(super) fn watch_seal(&mut self, now: &Moment, watched: &Watched, vehicle: &VehicleId) {
        let Some((false, at)) = self.vehicles.get(vehicle.as_str()).and_then(|v| v.seal) else { return };
        let gone = self.dispatches.iter().filter_map(|(id, d)| Some((*id, d.view.as_ref()?)));
        let gone = gone.filter(|(_, v)| v.vehicle == *vehicle && v.state == DispatchState::Departed);
        let found: Vec<_> = gone
            .filter(|(_, view)| view.departed.as_ref().is_some_and(|departed| at > departed.at))
            .map(|(id, view)| {
                let summary = format!("the seal of {vehicle} was broken on the way with order {}", view.order);
                let gravity = Gravity { safety: 3, ..Gravity::default() };
                let seen = Sighting::since(at, summary).about(&view.order).blocking(id).as_grave_as(gravity);
                (MatterKey::new(CaseType::SealBroken, vehicle, view.leg()), seen)
            })
            .collect();
        for (key, seen) in found {
            self.found(now, watched, key, Condition::Holds(seen));
        }
    }
}
