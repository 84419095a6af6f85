//! What became of goods after their item had been settled: signed for otherwise than they left, or too warm on the way.
//! The item is opened again for it, and its earlier end is kept.

use std::collections::BTreeMap;

use gatehouse_common::{
    case::{CaseType, Team},
    dispatch::{DispatchView, TransitAction},
    order::{LineQuantity, Order},
};

use super::{NewMatter, Run};
use crate::core::reconcile::{
    Choice, Family, Outcome, PostingKind, PostingState, Settlement, difference::by_line, obey::in_words, row,
};

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
        let answered = |row| self.was(row) || self.item.before.iter().any(|settled| settled.row == Some(row));
        let billed = self.billed();
        let (family, row) = if !answered(row::DELIVERED_OTHERWISE) && !shortfall(view, &billed).units.is_empty() {
            (Family::Pod, row::DELIVERED_OTHERWISE)
        } else if !answered(row::DELIVERED_MORE) && !self.signed_beyond(view, order).is_empty() {
            (Family::Pod, row::DELIVERED_MORE)
        } else if !answered(row::TOO_WARM) && self.s.was_too_warm && view.delivered.is_some() && !billed.is_empty() {
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
        if self.item.row == Some(row::DELIVERED_MORE) {
            return self.settle_surplus(view, order);
        }
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

    /// More was signed for than left. What the customer keeps left after all: it is ordered, issued and billed. What comes
    /// back was never issued, so that nothing is written for it.
    fn settle_surplus(&mut self, view: &DispatchView, order: &Order) -> bool {
        if self.item.chosen.is_none() {
            self.item.surplus = self.signed_beyond(view, order);
        }
        let surplus = self.item.surplus.clone();
        self.item.value_minor = order.value_minor(&surplus);
        let much = in_words(&surplus);
        let summary = format!("more of order {} was signed for than left {}: {much}", order.id, view.site);
        let new = NewMatter::beside(CaseType::ReconDiscrepancy, view, "surplus", summary);
        self.open_matter(order, NewMatter { owner: Some(Team::Finance), ..new });
        self.forget_other_proposals();
        match self.choice(&[Choice::Accept, Choice::Return, Choice::Escalate]) {
            None => {}
            Some((Choice::Accept, by)) => {
                let mut kept = self.item.edge.load.clone();
                for q in &surplus {
                    match kept.iter_mut().find(|k| k.line == q.line) {
                        Some(line) => line.quantity = line.quantity.saturating_add(q.quantity),
                        None => kept.push(q.clone()),
                    }
                }
                let (extra, earlier) = (by_line(&surplus), by_line(self.s.earlier));
                let at = view.delivered.as_ref().map_or(self.s.now, |delivered| delivered.at);
                let text = "the customer keeps what was signed for";
                for q in kept.iter().filter(|q| extra.contains_key(&q.line)) {
                    let total = q.quantity.saturating_add(earlier.get(&q.line).copied().unwrap_or(0));
                    let (line, total, change) = (Some(q.line), Some(total), PostingKind::OrderChange);
                    self.push(change, line, total, None, "/signed", self.s.now, text, &[]);
                }
                self.bring_up_to(PostingKind::GoodsIssue, &kept, at, "more was signed for than was counted out");
                self.note_issue();
                let kept: Vec<LineQuantity> = kept.into_iter().filter(|q| extra.contains_key(&q.line)).collect();
                self.bring_up_to(PostingKind::Invoice, &kept, self.s.now, "bill what was signed for");
                self.close_when_applied(Outcome::AcceptedVariance { approver: by }, text);
            }
            Some((Choice::Return, _)) => {
                let reason = "the surplus comes back";
                self.tell_the_vehicle(view, TransitAction::Return, reason);
                self.close_when_applied(Outcome::Compensated { document: reason.to_owned() }, reason);
            }
            Some(_) => self.escalate(),
        }
        true
    }

    /// Units that were signed for whole beyond those that left, of lines that the order has.
    fn signed_beyond(&self, view: &DispatchView, order: &Order) -> Vec<LineQuantity> {
        let Some(proof) = &view.proof else { return Vec::new() };
        let left = by_line(&self.item.edge.load);
        let mut signed: BTreeMap<u16, u32> = BTreeMap::new();
        for line in &proof.lines {
            let sum = signed.entry(line.line).or_default();
            *sum = sum.saturating_add(line.delivered);
        }
        let beyond = |line: u16| {
            let signed = signed.get(&line).copied().unwrap_or(0);
            signed.saturating_sub(left.get(&line).copied().unwrap_or(0))
        };
        let ordered = order.quantities().into_iter().filter(|q| beyond(q.line) > 0);
        ordered.map(|q| LineQuantity { quantity: beyond(q.line), ..q }).collect()
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
