//! What became of goods after their item had been settled: signed for otherwise than they left, or too warm on the way.
//! The item is opened again for it, and its earlier end is kept.

use std::collections::BTreeMap;

use gatehouse_common::{
    case::{CaseType, Team},
    dispatch::DispatchView,
    order::{LineQuantity, Order},
};

use super::{NewMatter, Run};
use crate::core::reconcile::{Choice, Family, Outcome, PostingKind, PostingState, Settlement, obey::in_words, row};

/// Units of a dispatch that did not arrive whole, as far as they were billed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Shortfall {
    /// Missing, refused or damaged.
    pub(super) units: Vec<LineQuantity>,
    /// Those of them that were refused, so that they come back.
    pub(super) refused: Vec<LineQuantity>,
}

impl Run<'_> {
    /// Opens a settled item again if its goods arrived otherwise than they were billed. Says whether it is about that now.
    pub(super) fn after_delivery(&mut self, view: &DispatchView, order: &Order) -> bool {
        let is_about_it = matches!(self.item.family, Family::Pod | Family::Quality);
        if self.item.outcome.is_none() {
            return is_about_it && self.settle_delivery(view, order);
        }
        let answered =
            |family| self.item.family == family || self.item.before.iter().any(|settled| settled.family == family);
        let billed = self.billed();
        let (family, row) = if !answered(Family::Pod) && !shortfall(view, &billed).units.is_empty() {
            (Family::Pod, row::DELIVERED_OTHERWISE)
        } else if !answered(Family::Quality) && self.s.was_too_warm && view.delivered.is_some() && !billed.is_empty() {
            (Family::Quality, row::TOO_WARM)
        } else {
            return false;
        };
        let Some(outcome) = self.item.outcome.take() else { return false };
        self.item.before.push(Settlement {
            family: self.item.family,
            row: self.item.row,
            chosen: self.item.chosen.take(),
            outcome,
            case: self.item.case.take(),
            closed: self.item.closed.take(),
        });
        self.item.reopened = Some(self.s.now);
        (self.item.family, self.item.row) = (family, Some(row));
        self.item.also.clear();
        self.settle_delivery(view, order)
    }

    fn settle_delivery(&mut self, view: &DispatchView, order: &Order) -> bool {
        let billed = self.billed();
        let (id, site) = (&order.id, &view.site);
        let found = if self.item.family == Family::Pod {
            shortfall(view, &billed)
        } else {
            Shortfall { units: billed, refused: Vec::new() }
        };
        let (matter, owner, summary) = if self.item.family == Family::Pod {
            let lost = in_words(&found.units);
            ("proof", Team::Finance, format!("order {id} from {site} did not arrive whole: {lost}"))
        } else {
            let summary = format!(
                "order {id} was delivered and billed, and its goods were too warm on the way: propose a credit note"
            );
            ("temperature", Team::Finance, summary)
        };
        if self.item.chosen.is_none() {
            self.item.surplus.clone_from(&found.units);
        }
        self.item.value_minor = order.value_minor(&self.item.surplus);
        let new = NewMatter::beside(CaseType::ReconDiscrepancy, view, matter, summary);
        self.open_matter(order, NewMatter { owner: Some(owner), ..new });
        self.forget_other_proposals();
        let units = self.item.surplus.clone();
        match self.choice(&[Choice::Credit, Choice::Accept, Choice::Escalate]) {
            None => {}
            Some((Choice::Credit, _)) => {
                self.bring_up_to(PostingKind::Return, &found.refused, self.s.now, "refused goods come back");
                let document = self.credit(order, &units, "goods did not arrive as they were billed");
                self.close_when_applied(Outcome::Compensated { document }, "a credit note is proposed");
            }
            Some((Choice::Escalate, _)) => self.escalate(),
            Some((_, by)) => {
                self.close_when_applied(Outcome::AcceptedVariance { approver: by }, "what was billed stands");
            }
        }
        true
    }

    /// Units that are billed because of the item, by line.
    fn billed(&self) -> Vec<LineQuantity> {
        let sum = |kind: PostingKind| {
            let mut units: BTreeMap<u16, u32> = BTreeMap::new();
            let counts = |state| state != PostingState::Withdrawn;
            for posting in self.s.postings.iter().filter(|p| counts(p.state)).map(|p| &p.posting) {
                if let (true, Some(line), Some(quantity)) = (posting.kind == kind, posting.line, posting.quantity) {
                    let sum = units.entry(line).or_default();
                    *sum = sum.saturating_add(quantity);
                }
            }
            units
        };
        let billed = sum(PostingKind::Invoice);
        let units = |q: &LineQuantity| billed.get(&q.line).copied().unwrap_or(0).min(q.quantity);
        let load = self.item.edge.load.iter();
        load.filter(|q| units(q) > 0).map(|q| LineQuantity { quantity: units(q), ..q.clone() }).collect()
    }
}

/// What of the billed units a proof of delivery says did not arrive whole.
pub(super) fn shortfall(view: &DispatchView, billed: &[LineQuantity]) -> Shortfall {
    let Some(proof) = &view.proof else { return Shortfall::default() };
    let mut found = Shortfall::default();
    for q in billed {
        let signed = proof.lines.iter().filter(|line| line.line == q.line);
        let (whole, refused) = signed.fold((0_u32, 0_u32), |(whole, refused), line| {
            (whole.saturating_add(line.delivered), refused.saturating_add(line.refused))
        });
        let lost = q.quantity.saturating_sub(whole);
        if lost > 0 {
            found.units.push(LineQuantity { quantity: lost, ..q.clone() });
        }
        if refused.min(lost) > 0 {
            found.refused.push(LineQuantity { quantity: refused.min(lost), ..q.clone() });
        }
    }
    found
}
