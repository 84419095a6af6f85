//! One run over one item: what is still to be done until both sides agree.

mod postings;

use std::collections::BTreeMap;

use gatehouse_common::{
    case::{self, CaseType, Severity},
    decision::DecisionKind,
    dispatch::{DispatchState, DispatchView, HoldReason, Says},
    order::{LineQuantity, Order, OrderStatus},
    time::UtcMs,
};

use super::{
    Choice, Chosen, EdgeSide, ErpSide, Family, NewCase, Outcome, PostingKind, PostingState, QueuedPosting, ReconItem,
    Situation, Step,
    obey::{in_words, remainder, same_load},
};

/// The rows of the table of concurrent pairs that this version settles.
mod row {
    pub const RELEASED_CANCELLED: u8 = 1;
    pub const ON_BOARD_CANCELLED: u8 = 2;
    pub const DEPARTED_CANCELLED: u8 = 3;
    pub const DELIVERED_CANCELLED: u8 = 4;
    pub const RELEASED_CREDIT_HOLD: u8 = 5;
    pub const DEPARTED_CREDIT_HOLD: u8 = 6;
    pub const RELEASED_QUANTITY: u8 = 7;
    pub const DEPARTED_TOO_MUCH: u8 = 8;
    pub const DEPARTED_BEFORE_RAISE: u8 = 9;
    pub const DEPARTED_SHORT: u8 = 10;
    pub const RELEASED_ELSEWHERE: u8 = 12;
    pub const POLICY_LAGGED: u8 = 33;
    pub const LEASE_EXPIRED: u8 = 34;
}

/// The approver of a variance that a lease had allowed beforehand.
const BY_LEASE: &str = "rule: within lease";
/// The approver of a decision by rules that its lease names and that were replaced meanwhile.
const BY_BUNDLE: &str = "rule: the bundle of its lease";

/// What is to be done for an item now. Taken in one transaction; run again after it, it gives nothing.
#[must_use]
pub fn settle(situation: &Situation<'_>) -> Vec<Step> {
    let mut run = Run { s: situation, item: situation.item.clone(), steps: Vec::new(), needed: Vec::new() };
    match situation.decision.kind {
        DecisionKind::Release | DecisionKind::Override => run.release(),
        // A hold, a recall, a closed lease or a new epoch asks nothing of the ERP.
        DecisionKind::Hold | DecisionKind::Recall | DecisionKind::LeaseClosed | DecisionKind::EpochBegun => {
            if run.item.outcome.is_none() {
                run.close(Outcome::Matched);
            }
        }
    }
    run.finish()
}

struct Run<'a> {
    s: &'a Situation<'a>,
    item: ReconItem,
    steps: Vec<Step>,
    /// Keys of the postings that must be applied before the item may close.
    needed: Vec<String>,
}

impl Run<'_> {
    fn release(&mut self) {
        // While the document or the order is still on the way nothing can be compared.
        let (Some(view), Some(order)) = (self.s.dispatch, self.s.order) else { return };
        if view.waits_for_upgrade {
            return;
        }
        // Only the release in force owns the departure; an earlier one was superseded by it.
        let owner = view.release.as_ref().is_some_and(|r| r.decision == self.item.decision);
        let departed = if owner { view.departed.as_ref() } else { None };
        if self.item.outcome.is_some() {
            match departed {
                // The depot obeyed too late or its departure was learned late: what left is posted all the same.
                Some(_) if !self.knows(PostingKind::GoodsIssue) => {
                    self.item.outcome = None;
                    self.item.closed = None;
                }
                _ => return self.write_settled(view, owner),
            }
        }
        self.look(view, order, departed.map(|d| d.load.as_slice()));
        self.note_credit();
        self.withdraw_release(view, order);
        match departed {
            Some(physical) => self.after_departure(view, order, &physical.load, physical.at),
            None => self.before_departure(view, order, owner),
        }
        self.park_dead_letters(order);
    }

    /// Brings both sides of the item up to date.
    fn look(&mut self, view: &DispatchView, order: &Order, departed: Option<&[LineQuantity]>) {
        let load = departed.unwrap_or(&self.s.decision.load);
        if self.item.edge.state != view.state || self.item.edge.load != load {
            self.item.edge =
                EdgeSide { state: view.state, mode: self.s.decision.mode, load: load.to_vec(), known_at: self.s.now };
        }
        self.item.erp_now = Some(ErpSide {
            version: order.version,
            status: Some(order.status),
            quantities: order.quantities(),
            on_hold: self.s.on_hold == Some(true),
        });
    }

    /// Once the ERP has let go of the customer's credit, a later hold is a matter of its own.
    fn note_credit(&mut self) {
        if self.s.on_hold == Some(false) && self.item.credit_held {
            self.item.credit_held = false;
            if self.was(row::RELEASED_CREDIT_HOLD) {
                self.item.case = None;
            }
        }
    }

    /// Whether the ERP was read after the edge's side was learned. Posting on an older read could post
    /// against a cancellation that already stands at the ERP.
    fn is_fresh(&self) -> bool {
        self.s.erp_read_at.is_some_and(|read| read >= self.item.edge.known_at)
    }

    fn before_departure(&mut self, view: &DispatchView, order: &Order, owner: bool) {
        let cancelled = view.cancelled.is_some() || order.status == OrderStatus::Cancelled;
        let touched = view.loading_at.is_some() || view.loaded_at.is_some();
        let credit = self.s.on_hold == Some(true) || view.holds.iter().any(|h| h.reason == HoldReason::Credit);
        let outdated = self.s.decision.order.as_ref().is_some_and(|(_, seen)| view.order_version > *seen)
            && !same_load(&view.load, &self.s.decision.load);
        if cancelled {
            let row = if touched { row::ON_BOARD_CANCELLED } else { row::RELEASED_CANCELLED };
            self.is_row(Family::Cancel, row);
            let words = if touched { "loaded" } else { "released" };
            let summary =
                format!("order {} was cancelled at the ERP after {} had {words} it", order.id, self.item.site);
            self.open_case(CaseType::ReconDiscrepancy, order, summary);
        } else if view.reassigned_to.is_some() || (order.site != view.site && !touched) {
            self.is_row(Family::Depot, row::RELEASED_ELSEWHERE);
        } else if self.s.lease_expired && owner && !self.s.recalled {
            self.hold_for_the_lease(order);
        } else if credit && owner && !self.s.recalled {
            self.is_row(Family::Credit, row::RELEASED_CREDIT_HOLD);
            self.hold_for_credit(order);
        } else if outdated {
            self.is_row(Family::Quantity, row::RELEASED_QUANTITY);
        }

        let obeyed = if cancelled && touched {
            view.state == DispatchState::Aborted
        } else {
            self.s.recalled || view.state == DispatchState::Aborted || (cancelled && view.recall_seen)
        };
        if obeyed {
            // A recalled release whose ERP document was never posted needs a counter-document only where
            // the ERP itself wanted otherwise: there it answers the ERP's change.
            if self.item.row.is_some() || self.knows(PostingKind::Release) {
                let key = self.post(PostingKind::VoidRelease, None, None, "the depot took its release back");
                self.close_when_applied(Outcome::Compensated { document: key }, "release void");
            } else {
                self.close(Outcome::Compensated { document: "taken back before it was posted".to_owned() });
            }
        } else if owner && self.is_fresh() && (self.item.row.is_none() || self.is_approved(view)) {
            self.post_release();
        }
    }

    /// Whether a person let a release stand that was made under an expired lease: they lifted the hold.
    fn is_approved(&self, view: &DispatchView) -> bool {
        self.was(row::LEASE_EXPIRED) && self.item.case.is_some() && view.holds.is_empty()
    }

    fn after_departure(&mut self, view: &DispatchView, order: &Order, load: &[LineQuantity], at: UtcMs) {
        if !self.is_fresh() && !self.knows(PostingKind::GoodsIssue) {
            return;
        }
        let difference = self.difference(view, order, load);
        let (family, row) = match &difference {
            // Once it stands as departed, a choice may have been made for that row.
            Difference::Cancelled if view.delivered.is_some() && !self.was(row::DEPARTED_CANCELLED) => {
                (Family::Cancel, Some(row::DELIVERED_CANCELLED))
            }
            Difference::Cancelled => (Family::Cancel, Some(row::DEPARTED_CANCELLED)),
            Difference::TooMuch(_) => (Family::Quantity, Some(row::DEPARTED_TOO_MUCH)),
            Difference::Raised => (Family::Quantity, Some(row::DEPARTED_BEFORE_RAISE)),
            Difference::CreditHold => (Family::Credit, Some(row::DEPARTED_CREDIT_HOLD)),
            Difference::Short => (Family::Quantity, Some(row::DEPARTED_SHORT)),
            Difference::LeaseExpired => (Family::Policy, Some(row::LEASE_EXPIRED)),
            Difference::PolicyLagged => (Family::Policy, Some(row::POLICY_LAGGED)),
            Difference::None => (Family::Agreement, None),
        };
        self.item.family = family;
        self.item.row = row;

        // A cancelled order's delivery cannot be released any more, but what left is issued.
        if difference != Difference::Cancelled {
            self.post_release();
        }
        self.bring_up_to(PostingKind::GoodsIssue, load, at, "goods left the depot");
        self.note_issue();
        match difference {
            Difference::Cancelled => self.departed_though_cancelled(view, order, load),
            Difference::TooMuch(surplus) => self.departed_with_too_much(order, load, &surplus),
            Difference::Raised => self.invoice_and_close(load, Outcome::Compensated { document: "split".to_owned() }),
            Difference::Short => {
                self.invoice_and_close(load, Outcome::Compensated { document: "back-order".to_owned() })
            }
            Difference::CreditHold => self.departed_on_credit_hold(order, load),
            Difference::LeaseExpired => self.departed_on_an_expired_lease(order, load),
            Difference::PolicyLagged => {
                self.invoice_and_close(load, Outcome::AcceptedVariance { approver: BY_BUNDLE.to_owned() })
            }
            Difference::None => self.invoice_and_close(load, Outcome::Matched),
        }
    }

    /// How what left differs from what the ERP wants. Once a person chose, the difference they chose on stands:
    /// the change that follows from the choice must not undo it.
    fn difference(&self, view: &DispatchView, order: &Order, load: &[LineQuantity]) -> Difference {
        let was_cancelled = self.was(row::DEPARTED_CANCELLED) || self.was(row::DELIVERED_CANCELLED);
        if view.cancelled.is_some() || order.status == OrderStatus::Cancelled || was_cancelled {
            return Difference::Cancelled;
        }
        if self.item.chosen.as_ref().is_some_and(|c| c.row == Some(row::DEPARTED_TOO_MUCH))
            && self.was(row::DEPARTED_TOO_MUCH)
        {
            return Difference::TooMuch(self.item.surplus.clone());
        }
        let wanted = by_line(&remainder(order, self.s.earlier));
        let on_hold = self.s.on_hold == Some(true) || view.holds.iter().any(|h| h.reason == HoldReason::Credit);
        let surplus: Vec<LineQuantity> = load
            .iter()
            .filter_map(|q| {
                let surplus = q.quantity.saturating_sub(wanted.get(&q.line).copied().unwrap_or(0));
                (surplus > 0).then(|| LineQuantity { quantity: surplus, ..q.clone() })
            })
            .collect();
        if !surplus.is_empty() {
            return Difference::TooMuch(surplus);
        }
        let left = by_line(load);
        let is_short = wanted.iter().any(|(line, units)| left.get(line).copied().unwrap_or(0) < *units);
        let seen = self.s.decision.order.as_ref().map_or(0, |(_, version)| *version);
        if is_short && order.version > seen && !same_load(&remainder(order, self.s.earlier), &self.s.decision.load) {
            return Difference::Raised;
        }
        if on_hold || self.was(row::DEPARTED_CREDIT_HOLD) {
            return Difference::CreditHold;
        }
        if self.s.lease_expired {
            return Difference::LeaseExpired;
        }
        if is_short {
            return Difference::Short;
        }
        if self.s.policy_lagged { Difference::PolicyLagged } else { Difference::None }
    }

    fn departed_though_cancelled(&mut self, view: &DispatchView, order: &Order, load: &[LineQuantity]) {
        let summary = format!("order {} left {} although the ERP had cancelled it", order.id, self.item.site);
        // Whoever let it leave knew, or the goods are with the customer already.
        let grave = view.stop_was_known || view.delivered.is_some();
        self.open_grave_case(CaseType::ReconDiscrepancy, order, grave.then_some(Severity::S1), summary);
        match self.choice() {
            None => {}
            Some((Choice::Accept, by)) => {
                self.post_change(None, None, Some(OrderStatus::Released), "the customer keeps the goods");
                self.invoice(load);
                self.close_when_applied(Outcome::AcceptedVariance { approver: by }, "the customer keeps the goods");
            }
            Some((Choice::Return, _)) => self.bring_back(load),
        }
    }

    fn departed_with_too_much(&mut self, order: &Order, load: &[LineQuantity], surplus: &[LineQuantity]) {
        let extra = by_line(surplus);
        let agreed: Vec<LineQuantity> = load
            .iter()
            .map(|q| LineQuantity {
                quantity: q.quantity.saturating_sub(extra.get(&q.line).copied().unwrap_or(0)),
                ..q.clone()
            })
            .collect();
        self.item.surplus = surplus.to_vec();
        self.invoice(&agreed);
        let summary = format!("order {}: more left than is ordered now, too much: {}", order.id, in_words(surplus));
        self.open_case(CaseType::ReconDiscrepancy, order, summary);
        match self.choice() {
            None => {}
            Some((Choice::Accept, by)) => {
                let earlier = by_line(self.s.earlier);
                for q in surplus {
                    let total = load.iter().find(|l| l.line == q.line).map_or(0, |l| l.quantity);
                    let total = total.saturating_add(earlier.get(&q.line).copied().unwrap_or(0));
                    self.post_change(Some(q.line), Some(total), None, "the customer keeps the surplus");
                }
                self.invoice(load);
                self.close_when_applied(Outcome::AcceptedVariance { approver: by }, "the customer keeps the surplus");
            }
            Some((Choice::Return, _)) => self.bring_back(surplus),
        }
    }

    fn bring_back(&mut self, load: &[LineQuantity]) {
        let document = self.bring_up_to(PostingKind::Return, load, self.s.now, "goods come back");
        self.close_when_applied(Outcome::Compensated { document }, "the goods come back");
    }

    fn departed_on_credit_hold(&mut self, order: &Order, load: &[LineQuantity]) {
        self.invoice(load);
        if self.s.within_lease {
            let outcome = Outcome::AcceptedVariance { approver: BY_LEASE.to_owned() };
            return self.close_when_applied(outcome, "it left inside the credit that its lease had set aside");
        }
        let summary = format!("order {} left {} on credit hold and outside any lease", order.id, self.item.site);
        self.open_case(CaseType::PolicyViolation, order, summary);
        if let Some(case) = self.item.case
            && self.all_applied()
        {
            // The case stays with governance; only the item is done.
            self.close(Outcome::Escalated { case });
        }
    }

    fn departed_on_an_expired_lease(&mut self, order: &Order, load: &[LineQuantity]) {
        self.invoice(load);
        let summary = format!("order {} left {} under a lease that had expired", order.id, self.item.site);
        self.open_case(CaseType::PolicyViolation, order, summary);
        if let Some(case) = self.item.case
            && self.all_applied()
        {
            self.close(Outcome::Escalated { case });
        }
    }

    /// A release under an expired lease stands only if a person says so; until then it is held.
    fn hold_for_the_lease(&mut self, order: &Order) {
        self.is_row(Family::Policy, row::LEASE_EXPIRED);
        if self.item.case.is_some() {
            return;
        }
        let why = format!("{} released it under a lease that had expired", self.item.site);
        self.open_case(CaseType::PolicyViolation, order, format!("order {}: {why}", order.id));
        let cases = self.item.case.into_iter().collect();
        self.steps.push(Step::WriteDispatch(Says::Held { reason: HoldReason::Person, why, cases, decision: None }));
    }

    fn hold_for_credit(&mut self, order: &Order) {
        if self.item.credit_held || self.s.on_hold != Some(true) {
            return;
        }
        let why = format!("{} is on credit hold at the ERP", order.customer.name);
        // Its depot, when it weighs the credit gate, opens a case under the same key: both are one.
        let leg = self.s.dispatch.map_or_else(|| self.item.decision.to_string(), DispatchView::leg);
        let summary = format!("order {} is released and {why}", order.id);
        self.open_case_on(CaseType::CreditHold, order, leg, self.s.credit_case, None, summary);
        self.item.credit_held = true;
        let cases = self.item.case.into_iter().collect();
        self.steps.push(Step::WriteDispatch(Says::Held { reason: HoldReason::Credit, why, cases, decision: None }));
    }

    /// The choice that was made for this row; offers both while none was.
    fn choice(&mut self) -> Option<(Choice, String)> {
        let for_this = |c: &&Chosen| c.row == self.item.row;
        let chosen = self.item.chosen.as_ref().filter(for_this).map(|c| (c.choice, c.by.to_string()));
        self.item.choices = if chosen.is_some() { Vec::new() } else { vec![Choice::Accept, Choice::Return] };
        chosen
    }

    fn invoice_and_close(&mut self, load: &[LineQuantity], outcome: Outcome) {
        self.item.choices.clear();
        self.invoice(load);
        self.close_when_applied(outcome, "both sides agree");
    }

    fn invoice(&mut self, load: &[LineQuantity]) {
        self.bring_up_to(PostingKind::Invoice, load, self.s.now, "bill what left");
    }

    fn was(&self, row: u8) -> bool {
        self.s.item.row == Some(row)
    }

    fn is_row(&mut self, family: Family, row: u8) {
        self.item.family = family;
        self.item.row = Some(row);
    }

    fn close_when_applied(&mut self, outcome: Outcome, reason: &str) {
        if !self.all_applied() {
            return;
        }
        // A credit hold outlives the release that it stopped: its case is resolved when the hold is lifted.
        if let Some(case) = self.item.case
            && self.item.row != Some(row::RELEASED_CREDIT_HOLD)
        {
            self.steps.push(Step::ResolveCase { case, reason: reason.to_owned() });
        }
        self.close(outcome);
    }

    fn close(&mut self, outcome: Outcome) {
        self.item.choices.clear();
        self.item.outcome = Some(outcome);
        self.item.closed = Some(self.s.now);
    }

    fn park_dead_letters(&mut self, order: &Order) {
        let Some(dead) = self.s.postings.iter().find(|p| p.state == PostingState::Dead) else { return };
        let why = dead.last_error.clone().unwrap_or_default();
        let summary = format!("{} of order {} cannot be posted: {why}", dead.posting.kind.as_str(), order.id);
        self.open_case(CaseType::ReconDiscrepancy, order, summary);
    }

    /// Opens the item's case; each item has one.
    fn open_case(&mut self, case_type: CaseType, order: &Order, summary: String) {
        self.open_grave_case(case_type, order, None, summary);
    }

    fn open_grave_case(&mut self, case_type: CaseType, order: &Order, at_least: Option<Severity>, summary: String) {
        self.open_case_on(case_type, order, self.item.decision.to_string(), 1, at_least, summary);
    }

    fn open_case_on(
        &mut self,
        case_type: CaseType,
        order: &Order,
        leg: String,
        occurrence: u32,
        at_least: Option<Severity>,
        summary: String,
    ) {
        let subject = order.id.to_string();
        let id = case::document_id(&case::dedup_key(case_type, &subject, &leg), occurrence);
        let replaces = self.item.case.is_some_and(|open| open != id);
        // A release recalled for credit that left all the same becomes a matter of policy: the graver case is the item's.
        if self.item.case.is_some() && !(replaces && case_type == CaseType::PolicyViolation) {
            return;
        }
        self.item.case = Some(id);
        let money_minor = order.value_minor(&self.item.edge.load);
        let new = NewCase { case_type, id, subject, leg, occurrence, summary, money_minor, at_least };
        self.steps.push(Step::OpenCase(new));
    }

    /// Everything is settled and handed over: the dispatch is done.
    fn write_settled(&mut self, view: &DispatchView, owner: bool) {
        let handed_over = matches!(view.state, DispatchState::Delivered | DispatchState::ExceptionDelivered);
        if !owner || !handed_over || matches!(self.item.outcome, Some(Outcome::Escalated { .. })) {
            return;
        }
        let name = |p: &QueuedPosting| p.document.clone().unwrap_or_else(|| p.posting.key.clone());
        let documents = self.s.postings.iter().filter(|p| p.state == PostingState::Applied).map(name).collect();
        self.steps.push(Step::WriteDispatch(Says::Settled { documents }));
    }

    fn finish(mut self) -> Vec<Step> {
        if self.item != *self.s.item {
            self.steps.push(Step::Keep(Box::new(self.item)));
        }
        self.steps
    }
}

/// How what left differs from what the ERP wants.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Difference {
    None,
    Cancelled,
    TooMuch(Vec<LineQuantity>),
    Raised,
    Short,
    CreditHold,
    LeaseExpired,
    PolicyLagged,
}

fn by_line(load: &[LineQuantity]) -> BTreeMap<u16, u32> {
    let mut units = BTreeMap::new();
    for q in load {
        let sum: &mut u32 = units.entry(q.line).or_default();
        *sum = sum.saturating_add(q.quantity);
    }
    units
}
