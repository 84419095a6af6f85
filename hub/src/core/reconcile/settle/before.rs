//! While nothing has left: what the depot must obey, and the release at the ERP.

use gatehouse_common::{
    case::CaseType,
    dispatch::{DispatchState, DispatchView, HoldReason, Says},
    order::{Order, OrderStatus},
};

use super::{NewMatter, Run};
use crate::core::reconcile::{Family, Outcome, PostingKind, Step, obey::same_load, row};

impl Run<'_> {
    /// Once the ERP has let go of the customer's credit, a later hold is a matter of its own.
    pub(super) fn note_credit(&mut self) {
        if self.s.on_hold == Some(false) && self.item.credit_held {
            self.item.credit_held = false;
            if self.was(row::RELEASED_CREDIT_HOLD) {
                self.item.case = None;
            }
        }
    }

    pub(super) fn before_departure(&mut self, view: &DispatchView, order: &Order, owner: bool) {
        let cancelled = view.cancelled.is_some() || order.status == OrderStatus::Cancelled;
        let touched = view.loading_at.is_some() || view.loaded_at.is_some();
        let credit = self.s.on_hold == Some(true) || view.holds.iter().any(|h| h.reason == HoldReason::Credit);
        let outdated = self.s.decision.order.as_ref().is_some_and(|(_, seen)| view.order_version > *seen)
            && !same_load(&view.load, &self.s.decision.load);
        if cancelled {
            let row = if touched { row::ON_BOARD_CANCELLED } else { row::RELEASED_CANCELLED };
            self.is_row(Family::Cancel, row);
            let words = if touched { "loaded" } else { "released" };
            let by = if order.status == OrderStatus::Cancelled { "at the ERP" } else { "as its depot asked" };
            let summary = format!("order {} was cancelled {by} after {} had {words} it", order.id, self.item.site);
            self.open_case(CaseType::ReconDiscrepancy, order, summary);
        } else if view.reassigned_to.is_some() || (order.site != view.site && !touched) {
            self.is_row(Family::Depot, row::REASSIGNED);
        } else if self.s.lease_expired && owner && !self.s.recalled {
            self.hold_for_the_lease(order);
        } else if credit && owner && !self.s.recalled {
            self.is_row(Family::Credit, row::RELEASED_CREDIT_HOLD);
            self.hold_for_credit(order);
        } else if outdated {
            self.is_row(Family::Quantity, row::RELEASED_QUANTITY);
        } else if self.is_weighed_anew(view, order, owner) {
            let family = self.promised_otherwise(order).unwrap_or(Family::Date);
            self.is_row(family, row::TERMS_CHANGED);
        } else if self.was(row::TERMS_CHANGED) && !self.s.recalled && !view.weigh_again {
            // The depot weighed its gates under the new promise, and its release stands.
            (self.item.family, self.item.row) = (Family::Agreement, None);
        }

        let obeyed = if cancelled && touched {
            view.state == DispatchState::Aborted
        } else {
            self.s.recalled || view.state == DispatchState::Aborted || (cancelled && view.recall_seen)
        };
        if obeyed {
            // A recalled release whose ERP document was never posted needs a counter-document only where
            // the ERP itself wanted otherwise: there it answers the ERP's change. Leases are no matter of the ERP.
            let erp_wants_otherwise = self.item.row.is_some_and(|row| row != row::LEASE_EXPIRED);
            if erp_wants_otherwise || self.knows(PostingKind::Release) {
                let key = self.post(PostingKind::VoidRelease, None, None, "the depot took its release back");
                self.close_when_applied(Outcome::Compensated { document: key }, "release void");
            } else {
                self.close(Outcome::Compensated { document: "taken back before it was posted".to_owned() });
            }
        } else if owner && self.is_fresh() && (self.item.row.is_none() || self.is_approved(view)) {
            self.post_release();
        }
    }

    /// Whether the depot has to weigh its gates under another promise, or did and took its release back.
    fn is_weighed_anew(&self, view: &DispatchView, order: &Order, owner: bool) -> bool {
        if self.s.recalled {
            return self.item.row.is_none() && self.promised_otherwise(order).is_some();
        }
        view.weigh_again && owner
    }

    /// Which promise changed since the depot decided: where the goods go, or else when.
    fn promised_otherwise(&self, order: &Order) -> Option<Family> {
        let seen = self.s.seen?;
        if seen.destination != order.destination {
            return Some(Family::Address);
        }
        (seen.window_end != order.window_end).then_some(Family::Date)
    }

    /// Whether a person let a release stand that was made under an expired lease: they lifted the hold.
    fn is_approved(&self, view: &DispatchView) -> bool {
        self.was(row::LEASE_EXPIRED) && self.item.case.is_some() && view.holds.is_empty()
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
        if self.item.case.is_none() {
            let matter = self.own_matter(CaseType::CreditHold, summary);
            self.open_matter(order, NewMatter { leg, occurrence: self.s.credit_case, ..matter });
        }
        self.item.credit_held = true;
        let cases = self.item.case.into_iter().collect();
        self.steps.push(Step::WriteDispatch(Says::Held { reason: HoldReason::Credit, why, cases, decision: None }));
    }
}
