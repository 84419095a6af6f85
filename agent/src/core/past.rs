//! What is over is forgotten after a while: an order done with its dispatches and cases, a case that is about no
//! order, a slot of dock work that has passed.
//!
//! In: a time before which nothing may have changed, and of which documents the hub has everything, which only the
//! store knows. Out: records that take it out of the store. What remains is what a matter that comes up again must not
//! be decided without: which documents there were, so that the next has a number of its own, and how much of an order
//! has left. A change of a document that is forgotten is not taken any more, and counted. Never forgets decisions.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_common::{
    case::dedup_key,
    dispatch::DispatchState,
    document::Document,
    fact::FactKey,
    id::{DocumentId, OrderId},
    order::{LineQuantity, Order, OrderStatus},
    time::{Moment, UtcMs},
};
use serde::{Deserialize, Serialize};

use super::{Core, decision::Record, ground::GroundInput, signals::watch::Watched, state::Table};

/// Prefix of the rows of documents that are forgotten.
const DOCUMENT: &str = "past";

/// What can be over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// An order, with everything about it.
    Order(OrderId),
    /// A case about no order that is known.
    Case(DocumentId),
    /// A fact about a time that has passed.
    Fact(FactKey),
}

/// What is remembered of what is forgotten.
#[derive(Debug, Clone)]
pub struct Past {
    documents: BTreeSet<DocumentId>,
    added: Vec<DocumentId>,
    orders: Table<PastOrder>,
}

/// What is remembered of an order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PastOrder {
    /// Its newest version that was known.
    version: u64,
    /// How many dispatches of it there were.
    dispatches: u32,
    /// Units that have left, by line.
    left: BTreeMap<u16, u32>,
}

impl Default for Past {
    fn default() -> Self {
        Self { documents: BTreeSet::new(), added: Vec::new(), orders: Table::new("past_order") }
    }
}

impl Past {
    /// Takes a stored row if it is one of these; says whether it was.
    pub fn take(&mut self, key: &str, body: &str) -> bool {
        match key.strip_prefix(DOCUMENT).and_then(|rest| rest.strip_prefix('/')) {
            Some(document) => {
                self.documents.extend(document.parse::<DocumentId>());
                true
            }
            None => self.orders.take(key, body),
        }
    }

    /// Hands over what changed, to be written.
    pub fn flush(&mut self, records: &mut Vec<Record>) {
        let added = std::mem::take(&mut self.added).into_iter();
        records.extend(added.filter_map(|document| super::rule(&format!("{DOCUMENT}/{document}"), &1)));
        self.orders.flush(records);
    }

    /// Whether a document was forgotten.
    pub fn holds(&self, document: DocumentId) -> bool {
        self.documents.contains(&document)
    }

    /// Whether an order was forgotten at this version or a newer one.
    pub fn holds_version(&self, order: &OrderId, version: u64) -> bool {
        self.orders.get(order.as_str()).is_some_and(|past| past.version >= version)
    }

    /// Whether an order was ever forgotten.
    pub fn holds_order(&self, order: &OrderId) -> bool {
        self.orders.get(order.as_str()).is_some()
    }

    /// How many dispatches of an order are forgotten.
    pub fn dispatches_of(&self, order: &OrderId) -> u32 {
        self.orders.get(order.as_str()).map_or(0, |past| past.dispatches)
    }

    /// Units of an order that have left with dispatches that are forgotten, by line.
    pub fn left(&self, order: &OrderId) -> BTreeMap<u16, u32> {
        self.orders.get(order.as_str()).map(|past| past.left.clone()).unwrap_or_default()
    }

    fn forget_document(&mut self, document: DocumentId) {
        if self.documents.insert(document) {
            self.added.push(document);
        }
    }
}

/// What is known of each order: its dispatches and its cases.
#[derive(Debug, Default)]
struct Known {
    dispatches: Vec<DocumentId>,
    cases: Vec<DocumentId>,
}

impl Core {
    /// What is over and has not changed since `before`, behind `behind`, in order; `most` at most.
    #[must_use]
    pub fn over(&self, before: UtcMs, behind: Option<&Over>, most: usize) -> Vec<Over> {
        let (orders, alone) = self.all_known();
        let is_old = |over: &Over| match over {
            Over::Order(id) => orders.get(id).is_some_and(|known| {
                self.is_over(id, known) && self.planned_before(id, known, before) && self.unchanged(known, before)
            }),
            Over::Case(id) => self.case_is_over(*id) && self.case_unchanged(*id, before),
            Over::Fact(key) => matches!(key, FactKey::Labour { slot_start, .. } if *slot_start < before),
        };
        let facts = self.facts.iter().map(|fact| &fact.report.key);
        let slots = facts.filter(|key| matches!(key, FactKey::Labour { .. })).cloned().map(Over::Fact);
        let all = orders.keys().cloned().map(Over::Order).chain(alone.into_iter().map(Over::Case)).chain(slots);
        let all: BTreeSet<Over> = all.filter(|over| behind.is_none_or(|behind| over > behind)).collect();
        all.into_iter().filter(is_old).take(most).collect()
    }

    /// The documents that go with what is over.
    #[must_use]
    pub fn documents_of(&self, over: &Over) -> Vec<DocumentId> {
        match over {
            Over::Order(id) => {
                let known = self.all_known().0.remove(id).unwrap_or_default();
                known.dispatches.into_iter().chain(known.cases).collect()
            }
            Over::Case(id) => vec![*id],
            Over::Fact(_) => Vec::new(),
        }
    }

    /// Forgets what is over; what is not, or not any more, stays.
    pub(super) fn forget(&mut self, now: &Moment, over: Vec<Over>) {
        self.keep(now, GroundInput::Forgot(over.clone()));
        for over in over {
            match over {
                Over::Order(id) => {
                    let known = self.all_known().0.remove(&id).unwrap_or_default();
                    if self.is_over(&id, &known) {
                        self.forget_order(now, &id, &known);
                    }
                }
                Over::Case(id) if self.case_is_over(id) => {
                    self.forget_case(id);
                    self.out.records.push(Record::Forgotten { documents: vec![id], order: None, at: now.wall });
                }
                Over::Case(_) => {}
                Over::Fact(key) => self.forget_fact(&key),
            }
        }
    }

    /// Counts a change of a document that is forgotten; says whether it is one.
    pub(super) fn is_past(&mut self, document: DocumentId) -> bool {
        let is_past = self.past.holds(document);
        if is_past {
            self.out.records.push(Record::Counted { name: "changes_of_forgotten", by: 1 });
        }
        is_past
    }

    /// Every order with what is known of it, and the cases that are about none.
    fn all_known(&self) -> (BTreeMap<OrderId, Known>, Vec<DocumentId>) {
        let mut orders: BTreeMap<OrderId, Known> = BTreeMap::new();
        orders.extend(self.orders.keys().map(|id| (id.clone(), Known::default())));
        for (id, view) in self.dispatches.iter().filter_map(|(id, d)| Some((*id, d.view.as_ref()?))) {
            orders.entry(view.order.clone()).or_default().dispatches.push(id);
        }
        let mut alone = Vec::new();
        for (id, view) in self.cases.iter().filter_map(|(id, c)| Some((*id, c.view.as_ref()?))) {
            let of_blocked = view.blocks.and_then(|dispatch| self.view(dispatch)).map(|v| &v.order);
            let about = view.order.as_ref().into_iter().chain(of_blocked).find(|order| orders.contains_key(*order));
            match about.and_then(|order| orders.get_mut(order)) {
                Some(known) => known.cases.push(id),
                None => alone.push(id),
            }
        }
        (orders, alone)
    }

    /// Whether nothing more is to be done for an order here, and nothing about it waits for anybody.
    fn is_over(&self, id: &OrderId, known: &Known) -> bool {
        let done = |order: &Order| {
            let elsewhere = match &self.profile.vehicle {
                Some(own) => order.vehicle != *own,
                None => order.site != self.profile.site,
            };
            elsewhere || order.status == OrderStatus::Cancelled || self.remainder(order).is_empty()
        };
        self.orders.get(id).is_none_or(done)
            && !self.lacks_a_dispatch(id)
            && known.dispatches.iter().all(|id| self.dispatch_is_over(*id))
            && known.cases.iter().all(|id| self.case_is_over(*id))
    }

    fn dispatch_is_over(&self, id: DocumentId) -> bool {
        let Some(view) = self.view(id) else { return false };
        let under_way = view.state == DispatchState::Departed && !self.profile.is_gateway();
        let waits = self.rules.get(&id.to_string()).is_some_and(|rule| rule.alarm.is_some() || rule.asked.is_some());
        view.state.is_over_at_depot() && !under_way && !waits && !view.waits_for_upgrade
    }

    fn case_is_over(&self, id: DocumentId) -> bool {
        let Some(view) = self.cases.get(&id).and_then(|case| case.view.as_ref()) else { return false };
        let key = dedup_key(view.case_type, &view.subject, &view.leg);
        let goes_on = self.slots.get(&key).is_some_and(|slot| slot.on && slot.occurrence == view.occurrence);
        view.state.is_over() && !goes_on && !view.waits_for_upgrade
    }

    fn planned_before(&self, id: &OrderId, known: &Known, before: UtcMs) -> bool {
        let views = known.dispatches.iter().filter_map(|id| self.view(*id)).map(|view| view.planned_departure);
        self.orders.get(id).map(|order| order.planned_departure).into_iter().chain(views).all(|at| at < before)
    }

    fn unchanged(&self, known: &Known, before: UtcMs) -> bool {
        let dispatches = known.dispatches.iter().filter_map(|id| self.dispatches.get(id));
        dispatches.map(|dispatch| last_change(&dispatch.document)).all(|at| at < before)
            && known.cases.iter().all(|id| self.case_unchanged(*id, before))
    }

    fn case_unchanged(&self, id: DocumentId, before: UtcMs) -> bool {
        self.cases
            .get(&id)
            .is_some_and(|case| case.document.open().is_ok_and(|document| last_change(&document) < before))
    }

    fn forget_order(&mut self, now: &Moment, id: &OrderId, known: &Known) {
        let seen = known.dispatches.iter().filter_map(|id| self.view(*id));
        let (mut version, mut dispatches) = (self.orders.get(id).map_or(0, |order| order.version), 0);
        for view in seen {
            version = version.max(view.order_version);
            if view.site == self.profile.site {
                dispatches = dispatches.max(view.occurrence);
            }
        }
        let departed: Vec<LineQuantity> = self
            .dispatches_of(id)
            .into_iter()
            .filter_map(|(_, v)| v.departed.as_ref())
            .flat_map(|d| d.load.clone())
            .collect();
        self.past.orders.edit(id.as_str(), |past| {
            past.version = past.version.max(version);
            past.dispatches = past.dispatches.max(dispatches);
            for line in departed {
                let left = past.left.entry(line.line).or_default();
                *left = left.saturating_add(line.quantity);
            }
        });
        for dispatch in &known.dispatches {
            let row = dispatch.to_string();
            self.dispatches.remove(dispatch);
            self.rules.forget(&row);
            self.trips.forget(&row);
            self.waits.forget(&row);
            self.watches.forget(&Watched::Dispatch(*dispatch).row());
            self.past.forget_document(*dispatch);
        }
        known.cases.iter().for_each(|case| self.forget_case(*case));
        self.counts.forget(id.as_str());
        self.orders.remove(id);
        for key in self.facts_about(id) {
            self.forget_fact(&key);
        }
        let documents = known.dispatches.iter().chain(&known.cases).copied().collect();
        self.out.records.push(Record::Forgotten { documents, order: Some(id.clone()), at: now.wall });
    }

    fn facts_about(&self, id: &OrderId) -> Vec<FactKey> {
        let about = |key: &&FactKey| match key {
            FactKey::Inventory { order, .. }
            | FactKey::Capacity { order }
            | FactKey::Carrier { order }
            | FactKey::Documents { order }
            | FactKey::Cargo { order, .. } => order == id,
            FactKey::Credit { .. } | FactKey::Dock { .. } | FactKey::Labour { .. } => false,
        };
        self.facts.iter().map(|fact| &fact.report.key).filter(about).cloned().collect()
    }

    fn forget_fact(&mut self, key: &FactKey) {
        self.facts.forget(key);
        self.out.records.push(Record::FactGone(key.clone()));
    }

    fn forget_case(&mut self, id: DocumentId) {
        let Some(case) = self.cases.remove(&id) else { return };
        self.waits.forget(&id.to_string());
        self.past.forget_document(id);
        let Some(view) = case.view else { return };
        let key = dedup_key(view.case_type, &view.subject, &view.leg);
        if self.slots.get(&key).is_some_and(|slot| !slot.on && slot.occurrence == view.occurrence) {
            self.slots.forget(&key);
        }
    }
}

/// When something was last said in a document, by its writers' clocks; never, where that cannot be read.
fn last_change(document: &Document) -> UtcMs {
    let (entries, unread) = document.entries::<serde_json::Map<String, serde_json::Value>>();
    let last = entries.values().map(|entry| entry.at).max();
    last.filter(|_| unread.is_empty()).unwrap_or(UtcMs(i64::MAX))
}
