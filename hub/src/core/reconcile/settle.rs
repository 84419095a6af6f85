//! One run over one item: what is still to be done until both sides agree.

mod after;
mod before;
mod cases;
mod delivered;
mod postings;

use gatehouse_common::{
    decision::DecisionKind,
    dispatch::{DispatchState, DispatchView, Says},
    order::{LineQuantity, Order},
    time::UtcMs,
};

use super::{
    Choice, EdgeSide, ErpSide, Family, Outcome, PostingKind, PostingState, QueuedPosting, ReconItem, Situation, Step,
};
use crate::core::APART_MS;
use cases::NewMatter;

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
        if departed.is_some() && self.knows(PostingKind::GoodsIssue) && self.after_delivery(view, order) {
            self.look(view, order, departed.map(|d| d.load.as_slice()));
            return self.park_dead_letters(order);
        }
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
        if self.item.edge.known_at > self.latest() {
            // Noted by a clock that was ahead: it would wait for a read for as long as that was wrong.
            self.item.edge.known_at = self.s.now;
        }
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
        if !matches!(self.item.family, Family::Pod | Family::Quality) {
            self.item.value_minor = order.value_minor(load);
        }
        self.item.currency.clone_from(&order.currency);
    }

    /// Whether the ERP was read after the edge's side was learned. Posting on an older read could post
    /// against a cancellation that already stands at the ERP. Of a read that a clock which was ahead has dated nobody
    /// knows when it was.
    fn is_fresh(&self) -> bool {
        let fresh = self.item.edge.known_at..=self.latest();
        self.s.erp_read_at.is_some_and(|read| fresh.contains(&read))
    }

    /// The latest that anything can be dated which a right clock dated.
    fn latest(&self) -> UtcMs {
        self.s.now.plus(APART_MS)
    }

    /// The choice that was made for this row and who made it; offers these while none was.
    fn choice(&mut self, offered: &[Choice]) -> Option<(Choice, String)> {
        let chosen = self.item.chosen.as_ref().filter(|chosen| chosen.is_for(&self.item));
        let chosen = chosen.map(|chosen| (chosen.choice, chosen.by_whom()));
        self.item.choices = if chosen.is_some() { Vec::new() } else { offered.to_vec() };
        chosen
    }

    /// What a first person proposed for another difference is void.
    fn forget_other_proposals(&mut self) {
        if self.item.proposed.as_ref().is_some_and(|proposed| !proposed.is_for(&self.item)) {
            self.item.proposed = None;
        }
    }

    fn was(&self, row: u8) -> bool {
        self.s.item.row == Some(row)
    }

    fn is_row(&mut self, family: Family, row: u8) {
        self.item.family = family;
        self.item.row = Some(row);
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
