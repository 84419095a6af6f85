//! What physically happens to a dispatch: loading, loaded, departed, unloaded again. Facts win: what happened is written whatever was intended.

use gatehouse_common::{
    case::CaseType,
    dispatch::{DispatchState, DispatchView, Evidence, Says},
    id::DocumentId,
    time::Moment,
};

use super::{
    Core,
    cases::Matter,
    signals::watch::Gravity,
    state::{Counts, DoorState},
};

impl Core {
    /// Looks at one dispatch of this depot until nothing more follows.
    pub(super) fn look_at(&mut self, now: &Moment, id: DocumentId) {
        // Each round moves a dispatch on by one state, or takes back its release and plans it anew; there are fewer
        // of these than rounds.
        for _ in 0..12 {
            let Some(view) = self.view(id).cloned() else { return };
            if view.waits_for_upgrade || view.site != self.profile.site {
                return;
            }
            let moved = self.progress(now, id, &view)
                || self.outgrown(now, id, &view)
                || self.weigh_anew(now, id, &view)
                || self.replan(now, id, &view)
                || self.weigh_and_release(now, id, &view);
            if !moved {
                break;
            }
        }
        self.touched.remove(&id);
    }

    /// Writes down what has physically happened since; says whether something had.
    fn progress(&mut self, now: &Moment, id: DocumentId, view: &DispatchView) -> bool {
        if view.state.has_left() {
            return self.count_out(now, id, view);
        }
        if view.state == DispatchState::Aborted {
            return false;
        }
        let counts = self.counts_of(id, view);
        let door = self.doors.get(view.door.as_str()).cloned().unwrap_or_default();
        let says = self
            .departure(view, &counts, &door)
            .or_else(|| self.unloading(view, &counts))
            .or_else(|| Self::loading(view, &counts, &door))
            .or_else(|| self.loaded(view, &counts, &door));
        let Some(says) = says else { return false };
        let left = matches!(says, Says::Departed { .. });
        if matches!(says, Says::Aborted { .. }) {
            self.counts.edit(view.order.as_str(), Counts::emptied);
        }
        self.say(now, id, "rule dock", vec![says]);
        if left && (view.stop_departure || view.release.is_none() || view.state == DispatchState::Cancelled) {
            self.raise(
                now,
                Matter {
                    case_type: CaseType::PolicyViolation,
                    subject: view.order.to_string(),
                    leg: view.leg(),
                    since: now.wall,
                    summary: format!("order {} left {} although it might not", view.order, view.site),
                    order: Some(view.order.clone()),
                    blocks: None,
                    gravity: Gravity::default(),
                },
            );
        }
        true
    }

    fn departure(&self, view: &DispatchView, counts: &Counts, door: &DoorState) -> Option<Says> {
        if counts.on_board() == 0 {
            return None;
        }
        let since = counts.loading_since.or(view.loading_at)?;
        let vehicle = self.vehicles.get(view.vehicle.as_str())?;
        let gone_at = vehicle.yard.changed_at.filter(|at| vehicle.yard.inside == Some(false) && *at > since)?;
        let mut readings = vec![format!("vehicle {} left the yard at {gone_at}", view.vehicle)];
        // The position alone is one witness; dock, door or seal must say so too.
        let freed = door.occupied == Some(false) && door.freed_at.is_some_and(|at| at >= since);
        // A sensor that cannot tell vehicles apart may still see this one.
        let other = door.occupied == Some(true) && door.vehicle.as_ref().is_some_and(|v| *v != view.vehicle);
        if freed || (other && door.occupied_since.is_some_and(|at| at >= since)) {
            readings.push(format!("door {} is free of it", view.door));
        }
        if door.open == Some(false) && door.door_at >= since {
            readings.push(format!("door {} is closed", view.door));
        }
        if vehicle.seal.is_some_and(|(intact, at)| intact && at >= since) {
            readings.push("its seal is whole".to_owned());
        }
        let load = counts.load_of(&self.lines_of(view));
        (readings.len() > 1 && !load.is_empty())
            .then_some(Says::Departed { load, evidence: Evidence { at: gone_at, readings } })
    }

    /// Every line that the order or the plan knows, for turning counts into quantities.
    fn lines_of(&self, view: &DispatchView) -> Vec<gatehouse_common::order::LineQuantity> {
        self.orders.get(&view.order).map_or_else(|| view.load.clone(), gatehouse_common::order::Order::quantities)
    }

    fn unloading(&self, view: &DispatchView, counts: &Counts) -> Option<Says> {
        let elsewhere = self.orders.get(&view.order).is_some_and(|order| order.site != view.site);
        let given_up = view.cancelled.is_some() || elsewhere;
        let emptied = view.state.is_on_board() && given_up && counts.on_board() == 0;
        let at = counts.moved_at.or(view.loading_at);
        emptied.then(|| Says::Aborted {
            evidence: Evidence {
                at: at.unwrap_or_default(),
                readings: vec!["nothing is on board by count".to_owned()],
            },
        })
    }

    fn loading(view: &DispatchView, counts: &Counts, door: &DoorState) -> Option<Says> {
        if view.state != DispatchState::Released {
            return None;
        }
        let (at, seen) = if let Some(at) = counts.loading_since {
            (at, "goods were scanned into the vehicle".to_owned())
        } else if door.holds(&view.vehicle) {
            (door.occupied_since?, format!("vehicle {} stands at door {}", view.vehicle, view.door))
        } else {
            return None;
        };
        Some(Says::Loading { evidence: Evidence { at, readings: vec![seen] } })
    }

    fn loaded(&self, view: &DispatchView, counts: &Counts, door: &DoorState) -> Option<Says> {
        if view.state != DispatchState::Loading || view.stop_departure {
            return None;
        }
        let complete = view.load.iter().all(|l| counts.loaded.get(&l.line).copied().unwrap_or(0) == l.quantity);
        let last_scan = counts.moved_at?;
        let closed = door.open == Some(false) && door.door_at >= last_scan;
        let seal = self.vehicles.get(view.vehicle.as_str()).and_then(|v| v.seal);
        let sealed_at = seal.filter(|(intact, at)| *intact && *at >= last_scan).map(|(_, at)| at);
        let at = sealed_at.or(closed.then_some(door.door_at)).filter(|_| complete)?;
        let what = if sealed_at.is_some() { "the seal is set" } else { "the door is closed" };
        let load = counts.load_of(&view.load);
        let readings = vec!["all units were counted in".to_owned(), what.to_owned()];
        Some(Says::Loaded { load, evidence: Evidence { at, readings } })
    }

    /// Takes what left out of the counts, once, and plans what stayed behind.
    fn count_out(&mut self, now: &Moment, id: DocumentId, view: &DispatchView) -> bool {
        if self.rules.get(&id.to_string()).is_some_and(|r| r.counted_out) {
            return false;
        }
        let load = view.departed.as_ref().map(|d| d.load.clone()).unwrap_or_default();
        self.rules.edit(&id.to_string(), |r| r.counted_out = true);
        // Where another dispatch loads by now, the counts are that one's.
        if self.loading_for(&view.order).is_none() {
            self.counts.edit(view.order.as_str(), |c| c.left(&load));
        }
        self.recount(now, &view.order);
        self.plan(now, &view.order);
        false
    }
}
