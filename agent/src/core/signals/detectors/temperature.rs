//! TEMP_EXCURSION: cargo, or a place in the depot, outside its temperature band.

use std::collections::BTreeMap;

use gatehouse_common::{
    bundle::Band,
    case::CaseType,
    dispatch::{DispatchState, DispatchView},
    id::{DocumentId, VehicleId},
    time::{Moment, UtcMs},
};

use crate::core::{
    Core,
    signals::{
        temperature::{Measured, Outside, ProbeState},
        watch::{Condition, Gravity, MatterKey, Sighting, Watched},
    },
};

impl Core {
    /// Takes the reading of a probe.
    pub(in crate::core) fn take_temperature(
        &mut self,
        now: &Moment,
        source: &str,
        at: UtcMs,
        celsius: f64,
        vehicle: Option<&VehicleId>,
    ) {
        let rules = self.profile.bundle.rules.detectors.temp_excursion.clone();
        let bands: Vec<String> = match vehicle {
            Some(vehicle) => self.cargo_of(vehicle).into_iter().map(|(_, _, class)| class).collect(),
            None => rules.probes.get(source).cloned().into_iter().collect(),
        };
        let wanted: BTreeMap<String, Band> =
            bands.into_iter().filter_map(|name| Some((name.clone(), *rules.bands.get(&name)?))).collect();
        if wanted.is_empty() && self.probes.get(source).is_none() {
            return;
        }
        let standing: Vec<String> =
            wanted.keys().filter(|band| self.excursion_stands(source, vehicle, band)).cloned().collect();
        let docked = vehicle.is_some_and(|v| self.docked(v));
        let newer = self.probes.edit(source, |probe| {
            probe.vehicle = vehicle.cloned();
            probe.reads(&rules, Measured { at, celsius, docked }, &wanted, &standing)
        });
        if newer {
            let watched = vehicle.map_or_else(|| Watched::Sender(source.to_owned()), |v| Watched::Vehicle(v.clone()));
            self.read_of(now, watched, at);
        }
    }

    /// The dispatches whose goods are in a vehicle, with the class of their order.
    fn cargo_of(&self, vehicle: &VehicleId) -> Vec<(DocumentId, &DispatchView, String)> {
        let views = self.dispatches.iter().filter_map(|(id, d)| Some((*id, d.view.as_ref()?)));
        views
            .filter(|(_, v)| v.vehicle == *vehicle && (v.state.is_on_board() || v.state == DispatchState::Departed))
            .filter_map(|(id, v)| Some((id, v, self.orders.get(&v.order)?.class.clone())))
            .collect()
    }

    fn docked(&self, vehicle: &VehicleId) -> bool {
        self.doors.iter().any(|(_, door)| door.holds(vehicle))
    }

    /// Whether there is a case for a probe and a band.
    fn excursion_stands(&self, source: &str, vehicle: Option<&VehicleId>, band: &str) -> bool {
        let on = |key: MatterKey| self.is_on(key.case_type, &key.subject, &key.leg);
        match vehicle {
            None => on(self.place_key(source)),
            Some(vehicle) => {
                self.cargo_of(vehicle).iter().any(|(_, view, class)| class == band && on(cargo_key(vehicle, view)))
            }
        }
    }

    fn place_key(&self, source: &str) -> MatterKey {
        MatterKey::new(CaseType::TempExcursion, format!("{}/{source}", self.profile.site), "-")
    }

    /// Looks at the cargo of a vehicle: one matter per dispatch, by the probe that is worst.
    pub(super) fn watch_cargo_temperature(&mut self, now: &Moment, watched: &Watched, vehicle: &VehicleId) {
        let probes: Vec<(&String, &ProbeState)> =
            self.probes.iter().filter(|(_, p)| p.vehicle.as_ref() == Some(vehicle)).collect();
        if probes.is_empty() {
            return;
        }
        let docked = self.docked(vehicle);
        let found: Vec<(MatterKey, Condition)> = self
            .cargo_of(vehicle)
            .into_iter()
            .filter_map(|(id, view, class)| {
                let states =
                    probes.iter().filter_map(|(source, probe)| Some((*source, *probe, probe.bands.get(&class)?)));
                let mut seen =
                    states.map(|(source, probe, outside)| self.excursion(source, probe, outside, docked)).peekable();
                seen.peek()?;
                let worst = seen.flatten().max_by_key(|s| (s.stage(), std::cmp::Reverse(s.counts_from())));
                let condition =
                    worst.map_or(Condition::Absent, |s| Condition::Holds(s.about(&view.order).blocking(id)));
                Some((cargo_key(vehicle, view), condition))
            })
            .collect();
        for (key, condition) in found {
            self.found(now, watched, key, condition);
        }
    }

    /// Looks at a place in the depot.
    pub(super) fn watch_place_temperature(&mut self, now: &Moment, watched: &Watched, source: &str) {
        let Some(probe) = self.probes.get(source).filter(|p| p.vehicle.is_none()) else { return };
        let seen = probe.bands.values().next().and_then(|outside| {
            // A place has no trips: what adds up over days is no budget.
            let continuous = Outside { total_ms: 0, ..outside.clone() };
            self.excursion(source, probe, &continuous, false)
        });
        let condition = seen.map_or(Condition::Absent, Condition::Holds);
        self.found(now, watched, self.place_key(source), condition);
    }

    fn excursion(&self, source: &str, probe: &ProbeState, outside: &Outside, docked: bool) -> Option<Sighting> {
        let rules = &self.profile.bundle.rules.detectors.temp_excursion;
        let (at, celsius) = probe.last?;
        let since = outside.since.unwrap_or(at);
        if outside.critical >= rules.readings {
            let gravity = Gravity { stage: 1, safety: 3, at_least: None };
            let summary = format!("{source} is at {celsius:.1} °C, beyond the critical limit");
            return Some(Sighting::since(since, summary).counting_from(at).as_grave_as(gravity));
        }
        if outside.total_ms >= rules.budget_ms {
            let minutes = outside.total_ms / 60_000;
            return Some(Sighting::since(since, format!("{source} was outside its band for {minutes} minutes in all")));
        }
        if outside.readings < rules.readings {
            return None;
        }
        let allowance_ms = if docked { rules.door_open_allowance_ms } else { 0 };
        let summary = format!("{source} is at {celsius:.1} °C, outside its band since {since}");
        Some(Sighting::since(since, summary).lasting(rules.after_ms.saturating_add(allowance_ms)))
    }
}

fn cargo_key(vehicle: &VehicleId, view: &DispatchView) -> MatterKey {
    // A vehicle may carry several orders, each with a band of its own.
    MatterKey::new(CaseType::TempExcursion, vehicle, format!("{}/{}", view.leg(), view.order))
}
