//! Releases that are taken back: on the hub's word, or because the order has outgrown them.

use gatehouse_common::{
    decision::{DecidedBy, DecisionKind},
    dispatch::{DispatchState, DispatchView, HoldReason, Says},
    document::EntryKey,
    gate::GateResult,
    id::DocumentId,
    order::Order,
    rule::judge::Verdict,
    time::Moment,
};

use super::{Core, chain::Ruling, readiness::is_behind, state::RecallAlarm};

impl Core {
    /// Brings the lane in line with new terms, and takes a release back at once when the hub's word ended it.
    pub(super) fn obey(&mut self, now: &Moment, id: DocumentId, before: &DispatchView, after: &DispatchView) {
        if before.load != after.load && self.loading_for(&after.order) == Some(id) {
            self.counts.edit(after.order.as_str(), |c| c.shrink_to(&after.load));
            self.recount(now, &after.order);
        }
        if !self.profile.is_gateway()
            || !released(before)
            || released(after)
            || after.state.is_over_at_depot() && after.cancelled.is_none() && after.reassigned_to.is_none()
        {
            return;
        }
        if after.state.has_left() {
            return;
        }
        let Some((entry, why)) = self.recall_of(id, after) else { return };
        self.take_back(now, id, after, DecidedBy::Hub { entry: entry.to_string() }, Vec::new(), why);
    }

    /// Takes a release back that the order has outgrown; says whether it did. The hub says nothing of this in the
    /// document: the order itself is its word.
    pub(super) fn outgrown(&mut self, now: &Moment, id: DocumentId, view: &DispatchView) -> bool {
        let gate_holds = view.holds.iter().any(|h| h.reason == HoldReason::Gate);
        let taken_back = view.cancelled.is_some() || view.reassigned_to.is_some();
        let rests_on_release = view.release.is_some() && !taken_back && !gate_holds;
        if !rests_on_release || view.state.is_over_at_depot() {
            return false;
        }
        let Some(order) = self.orders.get(&view.order).filter(|order| !is_behind(order, view)) else { return false };
        let Some(why) = outgrown_by(order, view) else { return false };
        self.take_back(now, id, view, DecidedBy::Rule { rule: "order changed".to_owned() }, Vec::new(), why);
        true
    }

    /// Weighs the gates of a release anew under an address or a date that was promised since; says whether it wrote. What
    /// they no longer let leave is taken back, also what a person let go against them: they knew of another promise.
    pub(super) fn weigh_anew(&mut self, now: &Moment, id: DocumentId, view: &DispatchView) -> bool {
        if !view.weigh_again || !self.profile.is_gateway() || !released(view) {
            return false;
        }
        // The word of the change travels ahead of the order, which has the new promise itself.
        let order = self.orders.get(&view.order).filter(|order| !is_behind(order, view)).cloned();
        let Some(order) = order else { return false };
        let judged = self.judge(now, id, view, &order);
        self.show_gates(id, &judged.gates);
        if judged.verdict == Verdict::Release {
            self.say(now, id, "rule gates", vec![Says::Ready]);
            return true;
        }
        if judged.wrong.is_empty() {
            return false;
        }
        let wrong = judged.wrong.iter().map(|w| w.why.as_str()).collect::<Vec<_>>().join("; ");
        let why = format!("another address or date was promised: {wrong}");
        let by = DecidedBy::Rule { rule: format!("gates of class {}", order.class) };
        self.take_back(now, id, view, by, judged.gates, why);
        true
    }

    fn take_back(
        &mut self,
        now: &Moment,
        id: DocumentId,
        view: &DispatchView,
        by: DecidedBy,
        gates: Vec<GateResult>,
        why: String,
    ) {
        let order = self.orders.get(&view.order).map(|o| (o.id.clone(), o.version));
        let decision = self.decide(Ruling {
            kind: DecisionKind::Recall,
            mode: None,
            dispatch: Some(id),
            order,
            load: view.release.as_ref().map(|r| r.load.clone()).unwrap_or_default(),
            gates,
            lease: None,
            by,
            reason: why.clone(),
            now,
            begins: None,
        });
        let alarm = RecallAlarm { at: now.wall, why: why.clone() };
        self.rules.edit(&id.to_string(), |r| r.alarm = Some(alarm));
        if view.cancelled.is_none() && view.reassigned_to.is_none() {
            // Until the gates are met again: else the old release would stand once the hub lifts its hold.
            let held = Says::Held { reason: HoldReason::Gate, why, cases: Vec::new(), decision };
            self.say(now, id, "rule recall", vec![held]);
        }
    }

    /// The hub's entry that ended a release, with its reason.
    fn recall_of(&self, id: DocumentId, view: &DispatchView) -> Option<(EntryKey, String)> {
        let (entries, _) = self.dispatches.get(&id)?.document.entries::<Says>();
        let newest_terms = entries
            .iter()
            .filter_map(|(key, e)| match &e.says {
                Says::Terms { order_version, why, .. } => Some((*order_version, key.clone(), why.clone())),
                _ => None,
            })
            .max_by_key(|(version, ..)| *version)
            .map(|(_, key, why)| (key, why));
        if let Some(key) = &view.cancelled {
            let why = entries.get(key).map(|e| match &e.says {
                Says::Cancelled { why, .. } => why.clone(),
                _ => String::new(),
            });
            return Some((key.clone(), why.unwrap_or_default()));
        }
        if view.reassigned_to.is_some() {
            let last = entries.iter().filter_map(|(key, e)| match &e.says {
                Says::Reassigned { order_version, why, .. } => Some((*order_version, key.clone(), why.clone())),
                _ => None,
            });
            return last.max_by_key(|(version, ..)| *version).map(|(_, key, why)| (key, why));
        }
        let hold = view.holds.iter().find(|h| h.key.actor != self.actor).map(|h| (h.key.clone(), h.why.clone()));
        hold.or(newest_terms)
    }
}

/// Whether a release stands and the goods are still here.
pub(super) fn released(view: &DispatchView) -> bool {
    let here = matches!(view.state, DispatchState::Released | DispatchState::Loading | DispatchState::Loaded);
    here && view.release.is_some() && !view.stop_departure
}

/// What of the newest order a release does not fit, for people. A new time is no reason: it is followed as it is.
pub(super) fn outgrown_by(order: &Order, view: &DispatchView) -> Option<String> {
    // What was put in before the depot knew leaves from here all the same.
    if order.site != view.site && (!view.state.is_on_board() || view.reassigned_to.is_some()) {
        return Some(format!("the order leaves from {} now", order.site));
    }
    let mut new = Vec::new();
    if order.vehicle != view.vehicle {
        new.push(format!("vehicle {}, not {}", order.vehicle, view.vehicle));
    }
    if order.carrier != view.carrier {
        new.push(format!("carrier {}, not {}", order.carrier, view.carrier));
    }
    if order.door != view.door {
        new.push(format!("door {}, not {}", order.door, view.door));
    }
    (!new.is_empty()).then(|| format!("the order names {} now", new.join(" and ")))
}
