//! The item's case: opened for what it is settled by, resolved with it, or left to those who work on it.

use gatehouse_common::{
    case::{self, CaseType, Severity, Team},
    dispatch::{DispatchView, Says, TransitAction},
    id::DocumentId,
    order::Order,
};

use super::{Run, after::CASE_OUTLIVES};
use crate::core::reconcile::{NewCase, Outcome, PostingState, Step};

/// What a case of an item is about.
pub(super) struct NewMatter {
    pub(super) case_type: CaseType,
    pub(super) leg: String,
    pub(super) occurrence: u32,
    pub(super) at_least: Option<Severity>,
    pub(super) owner: Option<Team>,
    pub(super) summary: String,
}

impl NewMatter {
    /// A matter of the dispatch under a name of its own; the same case is opened where no item is there yet.
    pub(super) fn beside(case_type: CaseType, view: &DispatchView, matter: &str, summary: String) -> Self {
        let leg = format!("{}/{matter}", view.leg());
        Self { case_type, leg, occurrence: 1, at_least: None, owner: None, summary }
    }
}

impl Run<'_> {
    /// The matter of the item itself.
    pub(super) fn own_matter(&self, case_type: CaseType, summary: String) -> NewMatter {
        let leg = self.item.decision.to_string();
        NewMatter { case_type, leg, occurrence: 1, at_least: None, owner: None, summary }
    }

    /// Opens the item's case, unless it has one.
    pub(super) fn open_case(&mut self, case_type: CaseType, order: &Order, summary: String) {
        if self.item.case.is_none() {
            let matter = self.own_matter(case_type, summary);
            self.open_matter(order, matter);
        }
    }

    /// Opens the case of what the item is settled by. One of something less grave stays beside it.
    pub(super) fn open_matter(&mut self, order: &Order, matter: NewMatter) {
        let id = id_of(order, &matter);
        if self.item.case == Some(id) {
            return;
        }
        self.item.case = Some(self.open_case_of(order, matter));
    }

    /// The case of a matter, which is opened unless it is there.
    pub(super) fn open_case_of(&mut self, order: &Order, matter: NewMatter) -> DocumentId {
        let id = id_of(order, &matter);
        let NewMatter { case_type, leg, occurrence, at_least, owner, summary } = matter;
        let subject = order.id.to_string();
        let money_minor = order.value_minor(&self.item.edge.load);
        let new = NewCase { case_type, id, subject, leg, occurrence, summary, money_minor, at_least, owner };
        self.steps.push(Step::OpenCase(new));
        id
    }

    pub(super) fn park_dead_letters(&mut self, order: &Order) {
        let Some(dead) = self.s.postings.iter().find(|p| p.state == PostingState::Dead) else { return };
        let why = dead.last_error.clone().unwrap_or_default();
        let summary = format!("{} of order {} cannot be posted: {why}", dead.posting.kind.as_str(), order.id);
        self.open_case(CaseType::ReconDiscrepancy, order, summary);
    }

    /// What shall become of goods on their way is said in their dispatch, once.
    pub(super) fn tell_the_vehicle(&mut self, view: &DispatchView, action: TransitAction, why: &str) {
        if view.in_transit.iter().any(|(_, said)| *said == action) {
            return;
        }
        self.steps.push(Step::WriteDispatch(Says::InTransit { action, why: why.to_owned() }));
    }

    pub(super) fn close_when_applied(&mut self, outcome: Outcome, reason: &str) {
        if !self.all_applied() {
            return;
        }
        if let Some(case) = self.item.case
            && self.item.row != Some(CASE_OUTLIVES)
        {
            self.steps.push(Step::ResolveCase { case, reason: reason.to_owned() });
        }
        self.close(outcome);
    }

    /// The case stays with those who work on it; only the item is done.
    pub(super) fn escalate(&mut self) {
        if let Some(case) = self.item.case
            && self.all_applied()
        {
            self.close(Outcome::Escalated { case });
        }
    }

    pub(super) fn close(&mut self, outcome: Outcome) {
        self.item.choices.clear();
        self.item.proposed = None;
        self.item.outcome = Some(outcome);
        self.item.closed = Some(self.s.now);
    }
}

fn id_of(order: &Order, matter: &NewMatter) -> DocumentId {
    case::document_id(&case::dedup_key(matter.case_type, order.id.as_str(), &matter.leg), matter.occurrence)
}
