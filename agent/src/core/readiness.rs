//! Whether a dispatch may leave: gates weighed, mode chosen, lease charged, or held with a case.

use gatehouse_common::{
    bundle::ClassRules,
    case::CaseType,
    decision::{DecidedBy, DecisionKind, Mode},
    dispatch::{DispatchState, DispatchView, HoldReason, Says},
    document::EntryKey,
    gate::{GateResult, Question},
    id::{DecisionId, DocumentId},
    lease::LeaseRefusal,
    order::Order,
    rule::judge::{GATE_CASES, Judgement, Situation, Verdict, Wrong, judge},
    time::Moment,
};

use super::{
    Core,
    cases::Matter,
    chain::Ruling,
    decision::{Change, Record},
    leases::case_of,
    ms,
    recalls::outgrown_by,
    signals::watch::Gravity,
};

/// Whether the hub has told of a newer version of the order than the one that is here.
pub(super) fn is_behind(order: &Order, view: &DispatchView) -> bool {
    order.version < view.order_version
}

/// The leg under which a gate's case stands. A promise that cannot be kept is a matter of its own beside what detectors
/// say of the same trip.
fn leg_of(case_type: CaseType, leg: &str) -> String {
    if case_type == CaseType::EtaRisk { format!("{leg}/promise") } else { leg.to_owned() }
}

impl Core {
    /// Weighs the gates of a dispatch that has not been released, and acts on them; says whether it wrote something.
    pub(super) fn weigh_and_release(&mut self, now: &Moment, id: DocumentId, view: &DispatchView) -> bool {
        let Some(order) = self.orders.get(&view.order).cloned() else { return false };
        let waits = matches!(view.state, DispatchState::Planned | DispatchState::Ready | DispatchState::Held);
        let stopped = view.state.is_on_board() && view.stop_departure;
        if !(waits || stopped) || view.cancelled.is_some() || !self.is_wanted(&view.order) {
            self.clear_gate_cases(now, view);
            return false;
        }
        let judged = self.judge(now, id, view, &order);
        self.show_gates(id, &judged.gates);
        if judged.verdict != Verdict::Release {
            self.sort_cases(now, id, view, &judged.wrong);
            return !judged.wrong.is_empty() && self.hold(now, id, view, &order, judged);
        }
        // A hold that people or the hub placed is not the gates' to lift.
        if view.holds.iter().any(|h| h.reason != HoldReason::Gate) || !self.fits(id, view, &order) {
            self.sort_cases(now, id, view, &[]);
            return false;
        }
        if !self.recalls_allow() {
            return false;
        }
        if let Err(refusal) = self.lease_admits(now, id, &order, &view.load) {
            let wrong = self.refused(now, view, &refusal);
            self.sort_cases(now, id, view, &wrong);
            return !wrong.is_empty() && self.hold(now, id, view, &order, Judgement { wrong, ..judged });
        }
        self.sort_cases(now, id, view, &[]);
        let (subject, leg) = (view.order.to_string(), view.leg());
        if GATE_CASES.iter().any(|t| self.is_on(*t, &subject, &leg_of(*t, &leg))) {
            // Met again, but not for long enough: gates that flap release nothing.
            return false;
        }
        if !self.class(&order).auto_release {
            // Of a release that was taken back it would make one that stands again: that is for a person to say.
            let was_taken_back = view.release.is_some() && view.holds.iter().any(|h| h.reason == HoldReason::Gate);
            let ready = (view.state == DispatchState::Ready && !view.weigh_again) || was_taken_back;
            if !ready {
                self.say(now, id, "rule gates", vec![Says::Ready]);
            }
            return !ready;
        }
        let by = DecidedBy::Rule { rule: format!("gates of class {}", order.class) };
        let bridged: Vec<&str> = judged.gates.iter().filter_map(|g| g.fallback.as_deref()).collect();
        let reason = match judged.mode {
            _ if !bridged.is_empty() => &format!("released by fallback rule {}", bridged.join(", ")),
            Mode::Normal => "all gates are met",
            Mode::Degraded => "all gates are met, some on older facts that the lease allows",
            Mode::Offline | Mode::Override => "all gates are met under the lease while cut off from the hub",
        };
        let reason = reason.to_owned();
        self.release(now, id, &order, judged, Vec::new(), by, reason).is_some()
    }

    /// Whether the load of the dispatch is what the order asks for now, and no more is on board.
    fn fits(&self, id: DocumentId, view: &DispatchView, order: &Order) -> bool {
        let counts = self.counts_of(id, view);
        let over = |line: u16, wanted: u32| counts.loaded.get(&line).copied().unwrap_or(0) > wanted;
        // Word of new terms travels ahead of the order. A release on the old version would lose against them.
        // Goods in a vehicle that the order no longer names must come out first.
        let unfit = is_behind(order, view) || outgrown_by(order, view).is_some();
        if unfit || view.load.iter().any(|l| over(l.line, l.quantity)) {
            return false;
        }
        let is_all_that_is_left = || !self.lacks_a_dispatch(&order.id) && self.remainder(order) == view.load;
        order.version == view.order_version || is_all_that_is_left()
    }

    pub(super) fn class(&self, order: &Order) -> ClassRules {
        self.profile.bundle.rules.class(&order.class)
    }

    /// Weighs every gate in the mode that the connection allows, and asks the rules what follows.
    pub(super) fn judge(&self, now: &Moment, id: DocumentId, view: &DispatchView, order: &Order) -> Judgement {
        let class = self.class(order);
        let blocking = self.blocking(id, &self.own_cases(view));
        let question = self.question(now, view, order, &blocking, class.transit_ms);
        let lease_limit_ms = |gate, bundle_ms| self.lease_limit_ms(gate, bundle_ms);
        let situation = Situation {
            cut_off: self.is_cut_off(now),
            planned_departure: view.planned_departure,
            lease_limit_ms: &lease_limit_ms,
        };
        judge(&self.profile.bundle.rules, &class, &question, &situation)
    }

    pub(super) fn question<'a>(
        &'a self,
        now: &'a Moment,
        view: &'a DispatchView,
        order: &'a Order,
        blocking_cases: &'a [DocumentId],
        transit_ms: u64,
    ) -> Question<'a> {
        Question { order, load: &view.load, facts: &self.facts, blocking_cases, transit_ms, now }
    }

    /// The cases that the gates of a dispatch have open.
    pub(super) fn own_cases(&self, view: &DispatchView) -> Vec<DocumentId> {
        let (subject, leg) = (view.order.to_string(), view.leg());
        GATE_CASES.iter().filter_map(|t| self.case_on(*t, &subject, &leg_of(*t, &leg))).collect()
    }

    fn past_deadline(&self, now: &Moment, view: &DispatchView) -> bool {
        now.wall >= view.planned_departure.plus(-ms(self.profile.bundle.rules.unknown_deadline_ms))
    }

    /// What a refused lease comes to: cut off it holds at once; connected a new lease may come until the deadline.
    fn refused(&self, now: &Moment, view: &DispatchView, refusal: &LeaseRefusal) -> Vec<Wrong> {
        if self.is_cut_off(now) || self.past_deadline(now, view) {
            vec![Wrong { case_type: case_of(refusal), why: refusal.to_string() }]
        } else {
            Vec::new()
        }
    }

    /// Raises the cases of what is wrong and lets the others clear.
    fn sort_cases(&mut self, now: &Moment, id: DocumentId, view: &DispatchView, wrong: &[Wrong]) {
        let (subject, leg) = (view.order.to_string(), view.leg());
        for case_type in GATE_CASES {
            let why: Vec<&str> = wrong.iter().filter(|w| w.case_type == case_type).map(|w| w.why.as_str()).collect();
            if why.is_empty() {
                self.clear(now, case_type, &subject, &leg_of(case_type, &leg));
                continue;
            }
            self.raise(
                now,
                Matter {
                    case_type,
                    subject: subject.clone(),
                    leg: leg_of(case_type, &leg),
                    since: now.wall,
                    summary: format!("order {}: {}", view.order, why.join("; ")),
                    order: Some(view.order.clone()),
                    blocks: Some(id),
                    gravity: Gravity::default(),
                },
            );
        }
    }

    /// A dispatch that is released, gone or given up has nothing to wait for any more.
    fn clear_gate_cases(&mut self, now: &Moment, view: &DispatchView) {
        let (subject, leg) = (view.order.to_string(), view.leg());
        for case_type in GATE_CASES {
            self.clear(now, case_type, &subject, &leg_of(case_type, &leg));
        }
    }

    /// Writes the hold, unless one of the gates stands already.
    fn hold(&mut self, now: &Moment, id: DocumentId, view: &DispatchView, order: &Order, judged: Judgement) -> bool {
        if view.holds.iter().any(|h| h.reason == HoldReason::Gate && !h.cases.is_empty()) {
            return false;
        }
        let cases = self.own_cases(view);
        let why = judged.wrong.iter().map(|w| w.why.as_str()).collect::<Vec<_>>().join("; ");
        let why = if judged.verdict == Verdict::Ask { format!("a person is asked: {why}") } else { why };
        let decision = self.decide(Ruling {
            kind: DecisionKind::Hold,
            mode: None,
            dispatch: Some(id),
            order: Some((order.id.clone(), order.version)),
            load: view.load.clone(),
            gates: judged.gates,
            lease: None,
            by: DecidedBy::Rule { rule: format!("gates of class {}", order.class) },
            reason: why.clone(),
            now,
            begins: None,
        });
        self.say(now, id, "rule gates", vec![Says::Held { reason: HoldReason::Gate, why, cases, decision }]);
        true
    }

    /// Releases a dispatch: decision, lease and document in one transaction.
    #[expect(clippy::too_many_arguments, reason = "a release rests on all of these")]
    pub(super) fn release(
        &mut self,
        now: &Moment,
        id: DocumentId,
        order: &Order,
        judged: Judgement,
        overrides: Vec<EntryKey>,
        by: DecidedBy,
        reason: String,
    ) -> Option<DecisionId> {
        let load = self.view(id)?.load.clone();
        let by_name = match &by {
            DecidedBy::Person { name, .. } => name.to_string(),
            _ => "rule gates".to_owned(),
        };
        let (mode, overridden) = (judged.mode, judged.mode == Mode::Override);
        let lease = self.charge(now, id, order, &load);
        let decision = self.decide(Ruling {
            kind: if overridden { DecisionKind::Override } else { DecisionKind::Release },
            mode: Some(mode),
            dispatch: Some(id),
            order: Some((order.id.clone(), order.version)),
            load: load.clone(),
            gates: judged.gates,
            lease,
            by,
            reason,
            now,
            begins: None,
        })?;
        let released =
            Says::Released { mode, decision: decision.clone(), order_version: order.version, load, overrides };
        let says = if overridden { vec![released] } else { vec![Says::Ready, released] };
        self.say(now, id, &by_name, says);
        Some(decision)
    }

    /// Shows the gates on the page when one of them came out differently.
    pub(super) fn show_gates(&mut self, id: DocumentId, gates: &[GateResult]) {
        let Some(held) = self.dispatches.get_mut(&id) else { return };
        let same = held.gates.len() == gates.len()
            && held.gates.iter().zip(gates).all(|(a, b)| {
                let facts = |g: &GateResult| g.inputs.iter().map(|i| (i.at, i.value.clone())).collect::<Vec<_>>();
                a.gate == b.gate && a.state == b.state && a.limit_ms == b.limit_ms && facts(a) == facts(b)
            });
        if same {
            return;
        }
        held.gates = gates.to_vec();
        self.out.records.push(Record::Gates { dispatch: id, gates: gates.to_vec() });
        self.changed(Change::Dispatch { document: id });
    }
}
