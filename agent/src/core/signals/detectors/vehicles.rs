//! Vehicles: how long they stand in the yard, and their alarms.

use gatehouse_common::{case::CaseType, id::VehicleId, reading::AlarmKind, time::Moment};

use crate::core::{
    Core, ms,
    signals::watch::{Condition, Gravity, MatterKey, Sighting, Watched},
};

/// Alarms, seals and cargo doors are matters of safety.
pub(super) const SAFETY: Gravity = Gravity { stage: 0, safety: 3, at_least: None };

impl Core {
    /// DETENTION: it has stood in the yard for longer than is free, while it has something to fetch here.
    pub(super) fn watch_detention(&mut self, now: &Moment, watched: &Watched, vehicle: &VehicleId) {
        let Some(state) = self.vehicles.get(vehicle.as_str()) else { return };
        let rules = self.profile.bundle.rules.detectors.detention.clone();
        let fetches = self.dispatches.values().filter_map(|d| d.view.as_ref()).any(|v| {
            v.vehicle == *vehicle
                && v.site == self.profile.site
                && !v.state.is_over_at_depot()
                && self.is_wanted(&v.order)
        });
        let condition = match (state.yard.inside, state.yard.changed_at, state.fix) {
            (Some(true), Some(entered), Some((fix, _))) if fetches => {
                // What has said nothing for long may have left unseen.
                if now.wall.since(fix) > ms(rules.position_max_age_ms) {
                    Condition::Unknown
                } else {
                    let stage = u8::from(now.wall.since(entered) >= ms(rules.free_ms));
                    if stage == 0 {
                        self.look_again(entered.plus(ms(rules.free_ms)));
                    }
                    let what = if stage == 0 { "and its free time ends soon" } else { "and its free time is over" };
                    let summary = format!("vehicle {vehicle} has stood in the yard since {entered} {what}");
                    let gravity = Gravity { stage, ..Gravity::default() };
                    Condition::Holds(Sighting::since(entered, summary).lasting(rules.warn_ms).as_grave_as(gravity))
                }
            }
            (Some(_), ..) => Condition::Absent,
            (None, ..) => Condition::Unknown,
        };
        self.found(now, watched, MatterKey::new(CaseType::Detention, vehicle, &self.profile.site), condition);
    }

    /// SECURITY_ALARM: one of its alarms stands.
    pub(super) fn watch_alarms(&mut self, now: &Moment, watched: &Watched, vehicle: &VehicleId) {
        let Some(state) = self.vehicles.get(vehicle.as_str()) else { return };
        for (kind, (on, at)) in state.alarms.clone() {
            let condition = if on {
                let summary = format!("vehicle {vehicle} reports {}", word(kind));
                Condition::Holds(Sighting::since(at, summary).as_grave_as(SAFETY))
            } else {
                Condition::Absent
            };
            // A vehicle goes from depot to depot, and the alarm at each is a case of that depot.
            let leg = format!("{}/{}", self.profile.site, code(kind));
            self.found(now, watched, MatterKey::new(CaseType::SecurityAlarm, vehicle, leg), condition);
            // The key of an older program did not name the depot; what is still open under it comes to rest.
            self.clear(now, CaseType::SecurityAlarm, vehicle.as_str(), code(kind));
        }
    }
}

fn word(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::Jamming => "jamming",
        AlarmKind::Tampering => "tampering",
        AlarmKind::PowerCut => "a power cut",
        AlarmKind::Tow => "a tow",
        AlarmKind::Panic => "a call for help",
        AlarmKind::Accident => "an accident",
    }
}

/// In the leg of an alarm: each kind is a matter of its own.
fn code(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::Jamming => "jamming",
        AlarmKind::Tampering => "tampering",
        AlarmKind::PowerCut => "power_cut",
        AlarmKind::Tow => "tow",
        AlarmKind::Panic => "panic",
        AlarmKind::Accident => "accident",
    }
}
