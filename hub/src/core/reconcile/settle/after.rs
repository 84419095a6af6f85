//! Goods have left: they are issued whatever the ERP wants, and each difference is settled by a rule or by a person.

use gatehouse_common::{
    case::{CaseType, Severity, Team},
    dispatch::{DispatchView, TransitAction},
    order::{LineQuantity, Order, OrderStatus},
    time::UtcMs,
};

use super::{NewMatter, Run};
use crate::core::reconcile::{
    Choice, Family, Matter, Outcome, PostingKind,
    difference::{Difference, by_line, differences},
    obey::in_words,
    row,
};

/// The approver of a variance that a lease had allowed beforehand.
const BY_LEASE: &str = "rule: within lease";
/// The approver of a decision by rules that its lease names and that were replaced meanwhile.
const BY_BUNDLE: &str = "rule: the bundle of its lease";
/// The approver of units that a lease had set aside for the depot, whatever the warehouse said meanwhile.
const BY_ESCROW: &str = "rule: stock set aside by its lease";
/// The approver of a later window: both promises are kept in the dispatch.
const BY_PROMISES: &str = "rule: both promises are kept";
/// The approver of a price that did not rise by much: the price is the ERP's to say.
const BY_PRICE: &str = "rule: the price is the ERP's";

impl Run<'_> {
    pub(super) fn after_departure(&mut self, view: &DispatchView, order: &Order, load: &[LineQuantity], at: UtcMs) {
        if !self.is_fresh() && !self.knows(PostingKind::GoodsIssue) {
            return;
        }
        let mut found = differences(self.s, view, order, load);
        let main = if found.is_empty() { None } else { Some(found.remove(0)) };
        let place = |d: &Difference| d.place(view, self.s.item.row);
        let (family, row) = main.as_ref().map_or((Family::Agreement, None), |d| (place(d).0, Some(place(d).1)));
        (self.item.family, self.item.row) = (family, row);
        self.note_beside(view, order, &found);
        self.forget_other_proposals();
        self.item.surplus = main.as_ref().map(|d| d.units().to_vec()).unwrap_or_default();
        let at_stake = if self.item.surplus.is_empty() { load } else { &self.item.surplus };
        self.item.value_minor = order.value_minor(at_stake);

        // A cancelled order's delivery cannot be released any more, but what left is issued.
        if main != Some(Difference::Cancelled) {
            self.post_release();
        }
        self.bring_up_to(PostingKind::GoodsIssue, load, at, "goods left the depot");
        self.note_issue();
        self.settle_by(main, view, order, load);
    }

    fn settle_by(&mut self, main: Option<Difference>, view: &DispatchView, order: &Order, load: &[LineQuantity]) {
        let compensated = |document: &str| Outcome::Compensated { document: document.to_owned() };
        let accepted = |approver: &str| Outcome::AcceptedVariance { approver: approver.to_owned() };
        let Some(main) = main else { return self.invoice_and_close(load, Outcome::Matched) };
        match main {
            Difference::Cancelled => self.departed_though_cancelled(view, order, load),
            Difference::Duplicate(surplus) => {
                let left = format!("order {} left {} and another depot before", order.id, view.site);
                let summary = format!("{left}, twice: {}", in_words(&surplus));
                self.open_matter(
                    order,
                    NewMatter {
                        at_least: Some(Severity::S1),
                        ..NewMatter::beside(CaseType::DupDispatch, view, "twice", summary)
                    },
                );
                self.departed_with_too_much(view, load, &surplus);
            }
            Difference::TooMuch(surplus) => {
                let much = in_words(&surplus);
                let summary = format!("order {}: more left than is ordered now, too much: {much}", order.id);
                self.open_matter(order, self.own_matter(CaseType::ReconDiscrepancy, summary));
                self.departed_with_too_much(view, load, &surplus);
            }
            Difference::CreditHold { within_lease: true } => {
                self.invoice(load);
                let reason = "it left inside the credit that its lease had set aside";
                self.close_when_applied(accepted(BY_LEASE), reason);
            }
            Difference::CreditHold { within_lease: false } => {
                let summary = format!("order {} left {} on credit hold and outside any lease", order.id, view.site);
                self.open_matter(order, self.own_matter(CaseType::PolicyViolation, summary));
                self.invoice_and_escalate(load);
            }
            Difference::LeaseExpired => {
                let summary = format!("order {} left {} under a lease that had expired", order.id, view.site);
                self.open_matter(order, self.own_matter(CaseType::PolicyViolation, summary));
                self.invoice_and_escalate(load);
            }
            Difference::HoldStands { .. } => {
                self.open_beside(&main, view, order);
                self.invoice_and_escalate(load);
            }
            Difference::Address => {
                self.open_beside(&main, view, order);
                self.departed_to_another_address(view, order, load);
            }
            Difference::Carrier(_) | Difference::Date { is_earlier: true } => {
                self.open_beside(&main, view, order);
                self.accepted_or_escalated(load);
            }
            Difference::Stock { within_lease: false, .. } => {
                self.open_beside(&main, view, order);
                self.accepted_or_escalated(load);
            }
            Difference::Price { is_much: true, .. } => {
                self.open_beside(&main, view, order);
                self.departed_before_a_rise(order, load);
            }
            Difference::Stock { .. } => self.invoice_and_close(load, accepted(BY_ESCROW)),
            Difference::Date { .. } => self.invoice_and_close(load, accepted(BY_PROMISES)),
            Difference::Price { .. } => self.invoice_and_close(load, accepted(BY_PRICE)),
            Difference::Elsewhere => {
                self.invoice(load);
                // The other depot is told to let go; what it does not is settled with what leaves there.
                if !self.s.is_planned_elsewhere {
                    self.close_when_applied(compensated("the other depot lets go"), "the other depot lets go");
                }
            }
            Difference::Raised => self.invoice_and_close(load, compensated("split")),
            Difference::Short => self.invoice_and_close(load, compensated("back-order")),
            Difference::PolicyLagged => self.invoice_and_close(load, accepted(BY_BUNDLE)),
            // It asks nothing of anyone; that it was not needed is counted.
            Difference::OverrideUnneeded => self.invoice_and_close(load, Outcome::Matched),
        }
    }

    /// Notes what else differs, and opens cases for what a person must see. What no longer differs goes.
    fn note_beside(&mut self, view: &DispatchView, order: &Order, others: &[Difference]) {
        let known = std::mem::take(&mut self.item.also);
        for difference in others {
            let (family, row) = difference.place(view, self.s.item.row);
            let row = Some(row);
            let is_same = |matter: &&Matter| (matter.family, matter.row) == (family, row);
            if let Some(matter) = known.iter().find(is_same) {
                self.item.also.push(matter.clone());
                continue;
            }
            let case = difference.needs_a_person().then(|| self.matter_of(difference, view, order));
            let case = case.map(|matter| self.open_case_of(order, matter));
            self.item.also.push(Matter { family, row, case });
        }
    }

    fn open_beside(&mut self, main: &Difference, view: &DispatchView, order: &Order) {
        let matter = self.matter_of(main, view, order);
        self.open_matter(order, matter);
    }

    /// The case of a difference, the same one whether the item is settled by it or by a graver one.
    fn matter_of(&self, difference: &Difference, view: &DispatchView, order: &Order) -> NewMatter {
        let (id, site) = (&order.id, &view.site);
        let recon = CaseType::ReconDiscrepancy;
        let beside = |matter: &str, owner, summary| NewMatter {
            owner: Some(owner),
            ..NewMatter::beside(recon, view, matter, summary)
        };
        match difference {
            Difference::Address => {
                let summary = format!("order {id} left {site} for an address that changed: divert it");
                beside("address", Team::Dispatch, summary)
            }
            Difference::Carrier(other) => {
                let summary = format!(
                    "order {id} left with {}: cancel the tender of {other}, check its fee, book the freight to {}",
                    view.carrier, view.carrier
                );
                beside("carrier", Team::CarrierManagement, summary)
            }
            Difference::Stock { surplus, .. } => {
                let summary = format!(
                    "order {id} left {site} with more than the warehouse said it had, by {}: count again",
                    in_words(surplus)
                );
                beside("stock", Team::Warehouse, summary)
            }
            Difference::Date { .. } => {
                let summary =
                    format!("order {id} had left {site} when an earlier window was promised: tell the customer");
                beside("date", Team::CustomerService, summary)
            }
            Difference::Price { more_minor, .. } => {
                let summary = format!(
                    "order {id} had left {site} when its price rose by {more_minor} minor units of {}",
                    order.currency
                );
                beside("price", Team::Finance, summary)
            }
            Difference::HoldStands { .. } => {
                let stands = view.holds.first().map_or("", |hold| hold.why.as_str());
                let summary = format!("order {id} left {site} although a hold stands: {stands}");
                NewMatter {
                    at_least: Some(Severity::S1),
                    ..NewMatter::beside(CaseType::PolicyViolation, view, "hold", summary)
                }
            }
            Difference::LeaseExpired | Difference::CreditHold { .. } => {
                let summary = format!("order {id} left {site} outside its lease");
                self.own_matter(CaseType::PolicyViolation, summary)
            }
            _ => self.own_matter(recon, format!("order {id} left {site} otherwise than is wanted now")),
        }
    }

    fn departed_though_cancelled(&mut self, view: &DispatchView, order: &Order, load: &[LineQuantity]) {
        let summary = format!("order {} left {} although the ERP had cancelled it", order.id, view.site);
        // Whoever let it leave knew, or the goods are with the customer already.
        let grave = view.stop_was_known || view.delivered.is_some();
        let matter = self.own_matter(CaseType::ReconDiscrepancy, summary);
        self.open_matter(order, NewMatter { at_least: grave.then_some(Severity::S1), ..matter });
        match self.choice(&on_the_way(view)) {
            None => {}
            Some((Choice::Accept, by)) => {
                self.post_change(None, None, Some(OrderStatus::Released), "the customer keeps the goods");
                self.invoice(load);
                self.close_when_applied(Outcome::AcceptedVariance { approver: by }, "the customer keeps the goods");
            }
            Some((choice, _)) => self.take_away(view, choice, load),
        }
    }

    fn departed_with_too_much(&mut self, view: &DispatchView, load: &[LineQuantity], surplus: &[LineQuantity]) {
        let extra = by_line(surplus);
        let agreed: Vec<LineQuantity> = load
            .iter()
            .map(|q| LineQuantity {
                quantity: q.quantity.saturating_sub(extra.get(&q.line).copied().unwrap_or(0)),
                ..q.clone()
            })
            .collect();
        self.invoice(&agreed);
        let is_twice = self.item.family == Family::Duplicate;
        let offered = if is_twice { on_the_way(view) } else { vec![Choice::Accept, Choice::Return] };
        match self.choice(&offered) {
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
            Some((choice, _)) => self.take_away(view, choice, surplus),
        }
    }

    /// The goods do not stay with the customer of the order: they come back, or go to someone else.
    fn take_away(&mut self, view: &DispatchView, choice: Choice, load: &[LineQuantity]) {
        let (action, text, reason) = match choice {
            Choice::Divert => (
                TransitAction::Divert,
                "goods go to another customer: book them against that order",
                "the goods go to another customer",
            ),
            _ => (TransitAction::Return, "goods come back", "the goods come back"),
        };
        self.tell_the_vehicle(view, action, reason);
        let document = self.bring_up_to(PostingKind::Return, load, self.s.now, text);
        self.close_when_applied(Outcome::Compensated { document }, reason);
    }

    fn departed_to_another_address(&mut self, view: &DispatchView, order: &Order, load: &[LineQuantity]) {
        self.invoice(load);
        let offered =
            if view.delivered.is_some() { [Choice::Accept, Choice::Return] } else { [Choice::Divert, Choice::Accept] };
        match self.choice(&offered) {
            None => {}
            Some((Choice::Divert, _)) => {
                self.tell_the_vehicle(view, TransitAction::Divert, "to the new address of its order");
                let document = "diverted to the new address".to_owned();
                self.close_when_applied(Outcome::Compensated { document }, "diverted to the new address");
            }
            Some((Choice::Return, _)) => {
                self.tell_the_vehicle(view, TransitAction::Return, "it was delivered to an address that had changed");
                self.bring_up_to(PostingKind::Return, load, self.s.now, "goods come back");
                let document = self.credit(order, load, "delivered to an address that had changed");
                self.close_when_applied(Outcome::Compensated { document }, "the goods come back");
            }
            Some((_, by)) => {
                let reason = "the customer takes it at the first address";
                self.close_when_applied(Outcome::AcceptedVariance { approver: by }, reason);
            }
        }
    }

    fn departed_before_a_rise(&mut self, order: &Order, load: &[LineQuantity]) {
        self.invoice(load);
        match self.choice(&[Choice::Accept, Choice::Credit]) {
            None => {}
            Some((Choice::Credit, _)) => {
                let document = self.credit_the_rise(order, load);
                self.close_when_applied(Outcome::Compensated { document }, "the rise of the price is credited");
            }
            Some((_, by)) => {
                self.close_when_applied(Outcome::AcceptedVariance { approver: by }, "the new price stands");
            }
        }
    }

    /// What left stands and is billed; a person says that this is so, or leaves it to those who work on the case.
    fn accepted_or_escalated(&mut self, load: &[LineQuantity]) {
        self.invoice(load);
        match self.choice(&[Choice::Accept, Choice::Escalate]) {
            None => {}
            Some((Choice::Escalate, _)) => self.escalate(),
            Some((_, by)) => {
                self.close_when_applied(Outcome::AcceptedVariance { approver: by }, "what happened stands");
            }
        }
    }

    fn invoice_and_escalate(&mut self, load: &[LineQuantity]) {
        self.item.choices.clear();
        self.invoice(load);
        self.escalate();
    }

    fn invoice_and_close(&mut self, load: &[LineQuantity], outcome: Outcome) {
        self.item.choices.clear();
        self.invoice(load);
        self.close_when_applied(outcome, "both sides agree");
    }

    fn invoice(&mut self, load: &[LineQuantity]) {
        self.bring_up_to(PostingKind::Invoice, load, self.s.now, "bill what left");
    }
}

/// What can be chosen for goods that nobody ordered: while they are on their way they can still go elsewhere.
fn on_the_way(view: &DispatchView) -> Vec<Choice> {
    let mut offered = vec![Choice::Accept, Choice::Return];
    if view.delivered.is_none() {
        offered.push(Choice::Divert);
    }
    offered
}

/// Rows whose case is not the item's to resolve: a credit hold outlives the release that it stopped.
pub(super) const CASE_OUTLIVES: u8 = row::RELEASED_CREDIT_HOLD;
