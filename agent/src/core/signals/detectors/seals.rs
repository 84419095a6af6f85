//! Seals and cargo doors on the way.

use gatehouse_common::{
    case::CaseType,
    dispatch::{DispatchState, DispatchView},
    geo::{Geofence, Point},
    id::{DocumentId, VehicleId},
    time::{Moment, UtcMs},
};

use super::vehicles::SAFETY;
use crate::core::{
    Core, ms,
    signals::watch::{Condition, MatterKey, Sighting, Watched},
    state::VehicleState,
};

impl Core {
    /// SEAL_BROKEN: seal or cargo door were opened on the way, or the seal is another one than at the departure. A new
    /// seal does not heal it and a closed door does not either: a person must look.
    pub(super) fn watch_seal(&mut self, now: &Moment, watched: &Watched, vehicle: &VehicleId) {
        self.judge_opening(now, vehicle);
        let Some(state) = self.vehicles.get(vehicle.as_str()) else { return };
        let found: Vec<(MatterKey, Condition)> = self
            .gone_with(vehicle)
            .filter_map(|(id, view)| {
                let seen = opened_on_the_way(id, view, state)?;
                Some((MatterKey::new(CaseType::SealBroken, vehicle, view.leg()), Condition::Holds(seen)))
            })
            .collect();
        for (key, condition) in found {
            self.found(now, watched, key, condition);
        }
    }

    /// The dispatches that are on the way with a vehicle.
    fn gone_with<'a>(&'a self, vehicle: &'a VehicleId) -> impl Iterator<Item = (DocumentId, &'a DispatchView)> {
        let views = self.dispatches.iter().filter_map(|(id, d)| Some((*id, d.view.as_ref()?)));
        views.filter(move |(_, v)| v.vehicle == *vehicle && v.state == DispatchState::Departed)
    }

    /// Says where the newest opening was, as soon as that is clear, and remembers it: later fixes are from elsewhere.
    fn judge_opening(&mut self, now: &Moment, vehicle: &VehicleId) {
        let Some(state) = self.vehicles.get(vehicle.as_str()) else { return };
        let Some(opening) = state.opened.filter(|o| o.at_stop.is_none()) else { return };
        let on_the_way = |v: &&DispatchView| v.departed.as_ref().is_some_and(|d| opening.at > d.at);
        let stops: Vec<Option<Point>> = self
            .gone_with(vehicle)
            .map(|(_, view)| view)
            .filter(on_the_way)
            .map(|view| self.orders.get(&view.order).and_then(|order| order.destination))
            .collect();
        if stops.is_empty() {
            // Opened before it left: no matter yet, and none then, unless it is read again on the way.
            return;
        }
        let stops: Vec<Point> = stops.into_iter().flatten().collect();
        let at_stop = self.was_at_stop(now, state, opening.at, &stops);
        match at_stop {
            Some(_) => {
                self.vehicles.edit(vehicle.as_str(), |v| v.opened.iter_mut().for_each(|o| o.at_stop = at_stop));
            }
            None => {
                let wait_ms = self.profile.bundle.rules.detectors.seal_broken.place_wait_ms;
                self.look_again(opening.at.plus(ms(wait_ms)));
            }
        }
    }

    /// Whether a vehicle was at one of the stops when it was opened; `None` while only a coming fix can tell.
    fn was_at_stop(&self, now: &Moment, state: &VehicleState, at: UtcMs, stops: &[Point]) -> Option<bool> {
        let detectors = &self.profile.bundle.rules.detectors;
        let rules = &detectors.seal_broken;
        // Without a position of about that time nobody can say that it was where it may be opened.
        let near_in_time = |(fix_at, _): &(UtcMs, Point)| at.since(*fix_at) <= ms(rules.place_wait_ms);
        let Some((fix_at, place)) = state.fix.filter(near_in_time) else { return Some(false) };
        let fence = |centre: &Point| Geofence { centre: *centre, radius_m: rules.stop_radius_m };
        let away_m =
            stops.iter().map(|stop| stop.distance_m(&place) - fence(stop).radius_m).fold(f64::INFINITY, f64::min);
        let apart_ms = at.since(fix_at);
        if away_m <= 0.0 && apart_ms.abs() <= ms(rules.place_wait_ms) {
            return Some(true);
        }
        #[expect(clippy::cast_precision_loss, reason = "milliseconds between two fixes fit")]
        let reach_m = apart_ms.max(0) as f64 * detectors.fix_speed_max_kmh / 3_600.0;
        let may_be_there = apart_ms > 0 && away_m <= reach_m;
        let waited = now.wall.since(at) >= ms(rules.place_wait_ms);
        (!may_be_there || waited).then_some(false)
    }
}

fn opened_on_the_way(id: DocumentId, view: &DispatchView, state: &VehicleState) -> Option<Sighting> {
    let departed = view.departed.as_ref()?.at;
    let (vehicle, order) = (&view.vehicle, &view.order);
    let opened = state.opened.filter(|o| o.at > departed && o.at_stop == Some(false)).map(|o| {
        let what = if o.cargo_door { "cargo door" } else { "seal" };
        let done = if o.cargo_door { "opened" } else { "broken" };
        (o.at, format!("the {what} of {vehicle} was {done} on the way with order {order}"))
    });
    let changed = state.seal_number.as_ref().filter(|n| n.since > departed).and_then(|n| {
        let before = n.before.as_ref()?;
        Some((n.since, format!("the seal of {vehicle} with order {order} is {}, it left with {before}", n.number)))
    });
    let (at, summary) = opened.into_iter().chain(changed).max_by_key(|(at, _)| *at)?;
    Some(Sighting::since(at, summary).about(order).blocking(id).as_grave_as(SAFETY))
}
