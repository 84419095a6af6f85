//! What people do at the page, checked against policy.

use gatehouse_common::{
    case::{CaseState, Says as CaseSays, lifecycle::lacks_authority as case_lacks},
    decision::{DecidedBy, DecisionKind, Mode},
    dispatch::{DispatchView, HoldReason, Says},
    gate::{GateKind, GateResult},
    id::DocumentId,
    time::Moment,
};

use super::{
    Core,
    decision::{TapDone, TapRefused},
    dispatches::Ruling,
    input::{Act, Tap},
    readiness::is_behind,
    recalls::{outgrown_by, released},
    trips::Signed,
};

impl Core {
    pub(super) fn take_tap(&mut self, now: &Moment, tap: &Tap) -> Result<TapDone, TapRefused> {
        let gateway = self.profile.is_gateway();
        match &tap.act {
            Act::Prove { dispatch, lines, signed_by, photo } => {
                let (lines, signed_by, photo) = (lines.clone(), signed_by.clone(), *photo);
                let reading = format!("told at the page by {}", tap.who);
                self.tap_prove(*dispatch, Signed { at: now.wall, lines, signed_by, photo, reading })
            }
            _ if !gateway => Err(TapRefused::State("a vehicle unit decides nothing; use the depot's page".to_owned())),
            Act::Override { dispatch, reason } => self.tap_override(now, tap, *dispatch, reason),
            Act::Hold { dispatch, reason } => self.tap_hold(now, tap, *dispatch, reason),
            Act::RecallSeen { dispatch } => self.tap_seen(now, tap, *dispatch),
            Act::MoveCase { case, to, reason } => self.tap_case(now, tap, *case, *to, reason),
        }
    }

    fn known(&self, dispatch: DocumentId) -> Result<DispatchView, TapRefused> {
        self.view(dispatch).filter(|v| v.site == self.profile.site).cloned().ok_or(TapRefused::NotFound(dispatch))
    }

    fn needs_reason(&self, reason: &str) -> Result<(), TapRefused> {
        let min_chars = self.profile.bundle.rules.overrides.reason_min_chars;
        if reason.trim().chars().count() < min_chars { Err(TapRefused::Reason { min_chars }) } else { Ok(()) }
    }

    fn tap_override(&mut self, now: &Moment, tap: &Tap, id: DocumentId, reason: &str) -> Result<TapDone, TapRefused> {
        let view = self.known(id)?;
        let policy = self.profile.bundle.rules.overrides.clone();
        if !policy.roles.contains(&tap.role) {
            return Err(TapRefused::Role { role: tap.role.clone(), allowed: policy.roles.join(" or ") });
        }
        self.needs_reason(reason)?;
        let order = self.orders.get(&view.order).cloned().ok_or(TapRefused::NotFound(id))?;
        if view.cancelled.is_some() || !self.is_wanted(&view.order) {
            let why = "the order was cancelled or leaves from another depot now; nothing may leave for it here";
            return Err(TapRefused::State(why.to_owned()));
        }
        if is_behind(&order, &view) {
            return Err(TapRefused::State(
                "the order was changed and its new version is on its way; try again in a moment".to_owned(),
            ));
        }
        if view.state.is_over_at_depot() || released(&view) {
            return Err(TapRefused::State(format!("it is {}; there is nothing to override", view.state.as_str())));
        }
        if let Some(why) = outgrown_by(&order, &view) {
            return Err(TapRefused::State(format!("{why}; what is on board must be unloaded first")));
        }
        if view.waits_for_upgrade {
            return Err(TapRefused::State("it was written by a newer program; upgrade this one first".to_owned()));
        }
        if !self.recalls_allow() {
            return Err(TapRefused::State("recalls are being fetched from the hub; try again in a moment".to_owned()));
        }
        for hold in &view.holds {
            match hold.reason {
                HoldReason::Gate | HoldReason::Person => {}
                HoldReason::Credit => return Err(TapRefused::TwoPersons("a hold for credit".to_owned())),
                HoldReason::Customer | HoldReason::Quality => {
                    return Err(TapRefused::State(format!("the hub must lift this hold: {}", hold.why)));
                }
            }
        }
        let mut weighed = self.weigh_all(now, id, &view, &order);
        let not_met = |g: &&GateResult| !g.passes();
        let two: Vec<GateKind> = weighed.gates.iter().filter(not_met).map(|g| g.gate).collect();
        if let Some(gate) = two.iter().find(|g| policy.two_persons.contains(g)) {
            return Err(TapRefused::TwoPersons(format!("releasing against {}", gate.as_str())));
        }
        // What the lease sets aside of a customer's credit stands for the credit gate: going beyond it is no less.
        if policy.two_persons.contains(&GateKind::Credit) && self.passes_credit_slice(id, &order, &view.load) {
            return Err(TapRefused::TwoPersons("releasing beyond the credit that the lease sets aside".to_owned()));
        }
        let admitted = self.lease_admits(now, id, &order, &view.load).is_ok();
        let by_hand = two.is_empty() && view.holds.is_empty() && admitted;
        if !by_hand {
            weighed.mode = Mode::Override;
        }
        let overrides = view.holds.iter().map(|h| h.key.clone()).collect();
        let by = DecidedBy::Person { name: tap.who.clone(), role: tap.role.clone() };
        let decision = self.release(now, id, &order, weighed, overrides, by, reason.trim().to_owned());
        match decision {
            Some(decision) => Ok(TapDone {
                message: format!("order {} is released by {}", view.order, tap.who),
                decision: Some(decision),
            }),
            None => Err(TapRefused::NotCommitted),
        }
    }

    fn tap_prove(&mut self, id: DocumentId, signed: Signed) -> Result<TapDone, TapRefused> {
        if self.profile.is_gateway() {
            return Err(TapRefused::State(
                "goods are handed over at their destination; use the vehicle's page".to_owned(),
            ));
        }
        let view = self.view(id).filter(|view| self.profile.vehicle.as_ref() == Some(&view.vehicle));
        let view = view.cloned().ok_or(TapRefused::NotFound(id))?;
        if view.departed.is_none() {
            return Err(TapRefused::State(format!("it is {}; it has not left the depot", view.state.as_str())));
        }
        if signed.lines.is_empty() {
            return Err(TapRefused::State("say what became of at least one line".to_owned()));
        }
        self.keep_proof(id, signed);
        Ok(TapDone { decision: None, message: format!("order {} is handed over", view.order) })
    }

    fn tap_hold(&mut self, now: &Moment, tap: &Tap, id: DocumentId, reason: &str) -> Result<TapDone, TapRefused> {
        let view = self.known(id)?;
        self.needs_reason(reason)?;
        if view.state.is_over_at_depot() {
            return Err(TapRefused::State(format!("it is {}; it cannot be held any more", view.state.as_str())));
        }
        let decision = self.rule_on(Ruling {
            kind: DecisionKind::Hold,
            mode: None,
            dispatch: id,
            order: self.orders.get(&view.order).map(|o| (o.id.clone(), o.version)),
            load: view.load.clone(),
            gates: Vec::new(),
            lease: None,
            by: DecidedBy::Person { name: tap.who.clone(), role: tap.role.clone() },
            reason: reason.trim().to_owned(),
            now,
        });
        let why = reason.trim().to_owned();
        let held = Says::Held { reason: HoldReason::Person, why, cases: Vec::new(), decision: decision.clone() };
        self.say(now, id, tap.who.as_str(), vec![held]);
        Ok(TapDone { decision, message: format!("order {} is held by {}", view.order, tap.who) })
    }

    fn tap_seen(&mut self, now: &Moment, tap: &Tap, id: DocumentId) -> Result<TapDone, TapRefused> {
        let view = self.known(id)?;
        let alarmed = self.rules.get(&id.to_string()).is_some_and(|r| r.alarm.is_some());
        if !alarmed && (view.cancelled.is_none() || view.recall_seen) {
            return Err(TapRefused::State("nothing was recalled here".to_owned()));
        }
        self.rules.edit(&id.to_string(), |r| r.alarm = None);
        self.say(now, id, tap.who.as_str(), vec![Says::RecallSeen]);
        Ok(TapDone { decision: None, message: format!("recall of order {} seen by {}", view.order, tap.who) })
    }

    fn tap_case(
        &mut self,
        now: &Moment,
        tap: &Tap,
        id: DocumentId,
        to: CaseState,
        reason: &str,
    ) -> Result<TapDone, TapRefused> {
        let view = self.cases.get(&id).and_then(|c| c.view.clone()).ok_or(TapRefused::NotFound(id))?;
        let moved = CaseSays::Moved { to, since: now.wall, reason: reason.trim().to_owned(), auto_cleared: false };
        if let Some(why) = case_lacks(&self.actor, &moved, view.case_type, &view.site) {
            return Err(TapRefused::State(why.to_owned()));
        }
        if view.state == CaseState::Closed {
            return Err(TapRefused::State("it is closed; only the hub takes a closed case up again".to_owned()));
        }
        if view.state == to {
            return Err(TapRefused::State(format!("it is {} already", to.as_str())));
        }
        if matches!(to, CaseState::Resolved | CaseState::Cancelled | CaseState::Reopened) {
            self.needs_reason(reason)?;
        }
        self.say_case(now, id, tap.who.as_str(), vec![moved]);
        Ok(TapDone { decision: None, message: format!("{} is {}", view.summary, to.as_str()) })
    }
}
