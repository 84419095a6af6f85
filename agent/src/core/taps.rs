//! What people do at the page, checked against policy.

use std::collections::BTreeSet;

use gatehouse_common::{
    case::{
        CaseState, CaseType, How, Says as CaseSays, Severity,
        lifecycle::{lacks_authority as case_lacks, way_to},
    },
    decision::{DecidedBy, DecisionKind, Mode, SecondPerson},
    dispatch::{DispatchView, HoldReason, Says},
    id::DocumentId,
    order::Order,
    rule::{
        judge::{Judgement, Verdict},
        overriding::{Against, Needs, needs},
    },
    time::Moment,
};

use super::{
    Core,
    chain::Ruling,
    decision::{Change, TapDone, TapRefused},
    input::{Act, Tap},
    ms,
    readiness::is_behind,
    recalls::{outgrown_by, released},
    state::AskedOverride,
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
            Act::Confirm { dispatch } => self.tap_confirm(now, tap, *dispatch),
            Act::ActivateRules { text } => self.tap_activate(now, tap, text),
            Act::RollBackRules => self.tap_roll_back(now, tap),
            Act::StartDrill { source, lasts_ms, reason } => self.tap_start_drill(now, tap, source, *lasts_ms, reason),
            Act::StopDrill { source } => self.tap_stop_drill(now, tap, source),
            Act::Hold { dispatch, reason } => self.tap_hold(now, tap, *dispatch, reason),
            Act::AskToCancel { dispatch, reason } => self.tap_ask_to_cancel(now, tap, *dispatch, reason),
            Act::RecallSeen { dispatch } => self.tap_seen(now, tap, *dispatch),
            Act::MoveCase { case, to, reason, waits_for, code } => {
                let how = How::of_move(*to, reason.trim(), *waits_for, code.clone(), None);
                self.tap_case(
                    now,
                    tap,
                    *case,
                    *to,
                    reason.trim(),
                    how.map_err(|why| TapRefused::State(why.to_owned()))?,
                )
            }
        }
    }

    pub(super) fn known(&self, dispatch: DocumentId) -> Result<DispatchView, TapRefused> {
        self.view(dispatch).filter(|v| v.site == self.profile.site).cloned().ok_or(TapRefused::NotFound(dispatch))
    }

    pub(super) fn needs_reason(&self, reason: &str) -> Result<(), TapRefused> {
        let min_chars = self.profile.bundle.rules.overrides.reason_min_chars;
        if reason.trim().chars().count() < min_chars { Err(TapRefused::Reason { min_chars }) } else { Ok(()) }
    }

    fn tap_override(&mut self, now: &Moment, tap: &Tap, id: DocumentId, reason: &str) -> Result<TapDone, TapRefused> {
        let view = self.known(id)?;
        let policy = &self.profile.bundle.rules.overrides;
        if !policy.roles.contains(&tap.role) {
            return Err(TapRefused::Role { role: tap.role.clone(), allowed: policy.roles.join(" or ") });
        }
        self.needs_reason(reason)?;
        let order = self.may_leave(id, &view)?;
        let judged = self.judge(now, id, &view, &order);
        match self.override_needs(now, id, &view, &order, &judged) {
            Needs::One => {
                let by = DecidedBy::Person { name: tap.who.clone(), role: tap.role.clone(), second: None };
                self.let_leave(now, id, &view, &order, judged, by, reason)
            }
            Needs::Two(why) => Ok(self.ask_second(now, tap, id, &order, reason, why)),
            Needs::Never(why) => Err(TapRefused::State(why)),
        }
    }

    /// Keeps the first person's word until a second one confirms it.
    fn ask_second(
        &mut self,
        now: &Moment,
        tap: &Tap,
        id: DocumentId,
        order: &Order,
        reason: &str,
        why: String,
    ) -> TapDone {
        let minutes = self.profile.bundle.rules.overrides.second_within_minutes;
        let asked = AskedOverride {
            who: tap.who.clone(),
            role: tap.role.clone(),
            reason: reason.trim().to_owned(),
            why: why.clone(),
            at: now.clone(),
            until: now.wall.plus(ms(minutes.saturating_mul(60_000))),
            order_version: order.version,
        };
        self.rules.edit(&id.to_string(), |r| r.asked = Some(asked));
        self.changed(Change::Dispatch { document: id });
        let message = format!("{why}: a second person must confirm order {} within {minutes} minutes", order.id);
        TapDone { decision: None, message }
    }

    fn tap_confirm(&mut self, now: &Moment, tap: &Tap, id: DocumentId) -> Result<TapDone, TapRefused> {
        let view = self.known(id)?;
        let policy = &self.profile.bundle.rules.overrides;
        if !policy.may_confirm(&tap.role) {
            let roles = if policy.second_roles.is_empty() { &policy.roles } else { &policy.second_roles };
            return Err(TapRefused::Role { role: tap.role.clone(), allowed: roles.join(" or ") });
        }
        let within_ms = policy.second_within_minutes.saturating_mul(60_000);
        let refused = |why: &str| Err(TapRefused::State(why.to_owned()));
        let Some(asked) = self.rules.get(&id.to_string()).and_then(|r| r.asked.clone()) else {
            return refused("nobody has asked for an override here");
        };
        if asked.who == tap.who {
            return refused("you asked for it yourself; another person must confirm");
        }
        // By the boot clock; after a restart of the machine that cannot be known, and the first person asks again.
        if now.since(&asked.at).is_none_or(|waited_ms| waited_ms > within_ms) {
            self.rules.edit(&id.to_string(), |r| r.asked = None);
            return refused("the time to confirm is over; the first person must ask again");
        }
        let order = self.may_leave(id, &view)?;
        if order.version != asked.order_version {
            return refused("the order has changed since; the first person must ask again");
        }
        let judged = self.judge(now, id, &view, &order);
        if let Needs::Never(why) = self.override_needs(now, id, &view, &order, &judged) {
            return Err(TapRefused::State(why));
        }
        let second = Some(SecondPerson { name: tap.who.clone(), role: tap.role.clone() });
        let by = DecidedBy::Person { name: asked.who, role: asked.role, second };
        let done = self.let_leave(now, id, &view, &order, judged, by, &asked.reason)?;
        self.rules.edit(&id.to_string(), |r| r.asked = None);
        Ok(done)
    }

    /// The order of a dispatch that a person may let leave, as far as its own state goes.
    fn may_leave(&self, id: DocumentId, view: &DispatchView) -> Result<Order, TapRefused> {
        let order = self.orders.get(&view.order).cloned().ok_or(TapRefused::NotFound(id))?;
        let refused = |why: String| Err(TapRefused::State(why));
        if view.cancelled.is_some() || !self.is_wanted(&view.order) {
            let why = "the order was cancelled or leaves from another depot now; nothing may leave for it here";
            return refused(why.to_owned());
        }
        if is_behind(&order, view) {
            return refused(
                "the order was changed and its new version is on its way; try again in a moment".to_owned(),
            );
        }
        if view.state.is_over_at_depot() || released(view) {
            return refused(format!("it is {}; there is nothing to override", view.state.as_str()));
        }
        if let Some(why) = outgrown_by(&order, view) {
            return refused(format!("{why}; what is on board must be unloaded first"));
        }
        if view.waits_for_upgrade {
            return refused("it was written by a newer program; upgrade this one first".to_owned());
        }
        if !self.recalls_allow() {
            return refused("recalls are being fetched from the hub; try again in a moment".to_owned());
        }
        Ok(order)
    }

    #[expect(clippy::too_many_arguments, reason = "a release rests on all of these")]
    fn let_leave(
        &mut self,
        now: &Moment,
        id: DocumentId,
        view: &DispatchView,
        order: &Order,
        mut judged: Judgement,
        by: DecidedBy,
        reason: &str,
    ) -> Result<TapDone, TapRefused> {
        let admitted = self.lease_admits(now, id, order, &view.load).is_ok();
        let asked = judged.verdict == Verdict::Ask && view.holds.iter().all(|h| h.reason == HoldReason::Gate);
        let met = judged.verdict == Verdict::Release && view.holds.is_empty();
        if !(admitted && (met || asked)) {
            judged.mode = Mode::Override;
        }
        let overrides = view.holds.iter().map(|h| h.key.clone()).collect();
        let names = match &by {
            DecidedBy::Person { name, second: Some(second), .. } => format!("{name} and {}", second.name),
            DecidedBy::Person { name, .. } => name.to_string(),
            DecidedBy::Rule { .. } | DecidedBy::Hub { .. } => String::new(),
        };
        let decision = self.release(now, id, order, judged, overrides, by, reason.trim().to_owned());
        match decision {
            Some(decision) => Ok(TapDone {
                message: format!("order {} is released by {names}", view.order),
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
        let distinct: BTreeSet<u16> = signed.lines.iter().map(|line| line.line).collect();
        if distinct.len() != signed.lines.len() || distinct.contains(&0) {
            return Err(TapRefused::State("say of each line once, from 1, what became of it".to_owned()));
        }
        self.keep_proof(id, signed);
        Ok(TapDone { decision: None, message: format!("order {} is handed over", view.order) })
    }

    /// Who must answer for letting it leave as it stands.
    fn override_needs(
        &self,
        now: &Moment,
        id: DocumentId,
        view: &DispatchView,
        order: &Order,
        judged: &Judgement,
    ) -> Needs {
        let blocking = self.blocking(id, &[]);
        let severity = |case: &DocumentId| {
            let view = self.cases.get(case)?.view.as_ref()?;
            Some((view.case_type, view.severity))
        };
        let cases: Vec<(CaseType, Severity)> = blocking.iter().filter_map(severity).collect();
        let holds: Vec<(HoldReason, String)> = view.holds.iter().map(|h| (h.reason, h.why.clone())).collect();
        let against = Against {
            judged,
            question: &self.question(now, view, order, &blocking, 0),
            cases: &cases,
            holds: &holds,
            beyond_credit: self.passes_credit_slice(id, order, &view.load),
            cut_off: self.is_cut_off(now),
        };
        needs(&self.profile.bundle.rules, &against)
    }

    fn tap_hold(&mut self, now: &Moment, tap: &Tap, id: DocumentId, reason: &str) -> Result<TapDone, TapRefused> {
        let view = self.known(id)?;
        self.needs_reason(reason)?;
        if view.state.is_over_at_depot() {
            return Err(TapRefused::State(format!("it is {}; it cannot be held any more", view.state.as_str())));
        }
        let decision = self.decide(Ruling {
            kind: DecisionKind::Hold,
            mode: None,
            dispatch: Some(id),
            order: self.orders.get(&view.order).map(|o| (o.id.clone(), o.version)),
            load: view.load.clone(),
            gates: Vec::new(),
            lease: None,
            by: DecidedBy::Person { name: tap.who.clone(), role: tap.role.clone(), second: None },
            reason: reason.trim().to_owned(),
            now,
            begins: None,
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
        how: Option<How>,
    ) -> Result<TapDone, TapRefused> {
        let view = self.cases.get(&id).and_then(|c| c.view.clone()).ok_or(TapRefused::NotFound(id))?;
        let step =
            |to, how| CaseSays::Moved { to, since: now.wall, reason: reason.to_owned(), auto_cleared: false, how };
        let moved = step(to, how);
        if view.waits_for_upgrade {
            return Err(TapRefused::State("it was written by a newer program; upgrade this one first".to_owned()));
        }
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
        let Some(way) = way_to(view.state, to) else {
            let why = format!("it is {} and cannot become {} from there", view.state.as_str(), to.as_str());
            return Err(TapRefused::State(why));
        };
        let between = way.iter().take(way.len().saturating_sub(1)).map(|to| step(*to, None));
        let says = between.chain([moved.clone()]).collect();
        self.say_case(now, id, tap.who.as_str(), says);
        Ok(TapDone { decision: None, message: format!("{} is {}", view.summary, to.as_str()) })
    }
}
