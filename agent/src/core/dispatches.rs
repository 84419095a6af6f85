//! Dispatch documents: planned from orders, written to, read back.

use gatehouse_common::{
    dispatch::{DispatchState, DispatchView, Says, document_id, fold},
    document::{Chunk, Document, DocumentError, Entry, EntryKey, Folds, History, with_fold},
    id::{DocumentId, DocumentKind, OrderId},
    order::{LineQuantity, Order, OrderStatus},
    time::{Hlc, Moment, UtcMs},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Core, Dispatch,
    decision::{Change, Effect, Folded, Record},
    readiness::is_behind,
    state::Counts,
};
use gatehouse_common::document::Actor;

/// Appends `says` to `document`, each after the one before, as one change.
pub(super) fn append<T: Folds + Serialize + DeserializeOwned>(
    document: &mut Document,
    actor: &Actor,
    hlc: &mut Hlc,
    now: &Moment,
    by: &str,
    says: Vec<T>,
) -> Result<Chunk, DocumentError> {
    let (entries, _) = document.entries::<T>();
    let says = with_fold(&entries, says);
    let written = entries.keys().filter(|key| key.actor == *actor).map(|key| key.n).max().unwrap_or(0);
    let mut after = History::new(entries).heads();
    let mut made = Vec::with_capacity(says.len());
    for (n, says) in (written + 1..).zip(says) {
        *hlc = hlc.tick(now.wall);
        made.push(Entry { after, at: now.wall, hlc: *hlc, by: by.to_owned(), says });
        after = vec![EntryKey { actor: actor.clone(), n }];
    }
    document.append(actor, &made).map(|(_, chunk)| chunk)
}

/// What is stored of a document after a change, beside the change.
pub(super) fn folded<V: Serialize>(document: &Document, view: Option<&V>) -> Folded {
    let view = view.map(serde_json::to_string).and_then(Result::ok).unwrap_or_else(|| "null".to_owned());
    Folded { heads: document.heads(), view, snapshot: None }
}

/// The same, with the whole document.
pub(super) fn folded_whole<V: Serialize>(document: &Document, view: Option<&V>) -> Folded {
    Folded { snapshot: Some(document.save()), ..folded(document, view) }
}

impl Core {
    /// Says something of a dispatch, as one change.
    pub(super) fn say(&mut self, now: &Moment, id: DocumentId, by: &str, says: Vec<Says>) {
        let Some(held) = self.dispatches.get_mut(&id) else { return };
        if held.view.as_ref().is_some_and(|view| view.waits_for_upgrade) {
            tracing::warn!(document.id = %id, "dispatch {id} needs a newer program; nothing is written into it");
            return;
        }
        let chunk = match append(&mut held.document, &self.actor, &mut self.hlc, now, by, says) {
            Ok(chunk) => chunk,
            Err(e) => {
                tracing::error!(document.id = %id, "nothing could be written into dispatch {id}: {e}");
                return;
            }
        };
        held.view = fold(&held.document);
        let after = folded_whole(&held.document, held.view.as_ref());
        let kind = DocumentKind::Dispatch;
        self.out.records.push(Record::Chunk { document: id, kind, chunk, own: true, after });
        self.out.effects.push(Effect::PushNow);
        self.changed(Change::Dispatch { document: id });
        self.touched.insert(id);
        self.watch_dispatch(id);
    }

    /// The dispatches of an order from this depot, first occurrence first.
    pub(super) fn dispatches_of(&self, order: &OrderId) -> Vec<(DocumentId, &DispatchView)> {
        let mut found: Vec<(DocumentId, &DispatchView)> = self
            .dispatches
            .iter()
            .filter_map(|(id, d)| Some((*id, d.view.as_ref()?)))
            .filter(|(_, v)| v.order == *order && v.site == self.profile.site)
            .collect();
        found.sort_by_key(|(_, v)| v.occurrence);
        found
    }

    /// To which dispatch of an order the goods in the vehicle belong: the one that goes on; where none does, the last
    /// one if it was cancelled, since goods may be put in all the same. None: whichever comes next.
    pub(super) fn loading_for(&self, order: &OrderId) -> Option<DocumentId> {
        let known = self.dispatches_of(order);
        let goes_on = known.iter().find(|(_, v)| !v.state.is_over_at_depot());
        let cancelled = known.last().filter(|(_, v)| v.state == DispatchState::Cancelled);
        goes_on.or(cancelled).map(|(id, _)| *id)
    }

    /// What was scanned for a dispatch; nothing once another dispatch of the order has taken its place.
    pub(super) fn counts_of(&self, id: DocumentId, view: &DispatchView) -> Counts {
        let own = self.loading_for(&view.order) == Some(id);
        self.counts.get(view.order.as_str()).filter(|_| own).cloned().unwrap_or_default()
    }

    /// When the newest departure of an order was.
    pub(super) fn left_at(&self, order: &OrderId) -> Option<UtcMs> {
        self.dispatches_of(order).iter().filter_map(|(_, v)| v.departed.as_ref()).map(|d| d.at).max()
    }

    /// What of an order has not left, lines with nothing left out.
    pub(super) fn remainder(&self, order: &Order) -> Vec<LineQuantity> {
        let mut left = self.past.left(&order.id);
        for (_, view) in self.dispatches_of(&order.id) {
            for line in view.departed.iter().flat_map(|d| &d.load) {
                let sum = left.entry(line.line).or_default();
                *sum = sum.saturating_add(line.quantity);
            }
        }
        let mut rest = order.quantities();
        for line in &mut rest {
            line.quantity = line.quantity.saturating_sub(left.get(&line.line).copied().unwrap_or(0));
        }
        rest.retain(|line| line.quantity > 0);
        rest
    }

    /// Plans what an order asks for: its first dispatch, a changed plan while nothing was released, or a next
    /// dispatch for what earlier ones left behind.
    pub(super) fn plan(&mut self, now: &Moment, order_id: &OrderId) {
        let Some(order) = self.orders.get(order_id).cloned() else { return };
        if !self.profile.is_gateway() || order.site != self.profile.site || order.status == OrderStatus::Cancelled {
            return;
        }
        if self.lacks_a_dispatch(order_id) {
            return;
        }
        let load = self.remainder(&order);
        if load.is_empty() {
            return;
        }
        let known = self.dispatches_of(order_id);
        let active = known.iter().find(|(_, v)| !v.state.is_over_at_depot());
        let (id, occurrence) = match active {
            Some((id, view)) => {
                let open = matches!(view.state, DispatchState::Planned | DispatchState::Ready | DispatchState::Held);
                let newer = order.version > view.order_version;
                if !open || view.release.is_some() || !newer || (load == view.load && !plan_differs(&order, view)) {
                    return;
                }
                (*id, view.occurrence)
            }
            // The word of a cancellation travels ahead of the order; until that is here, what is held is outdated.
            None if known.iter().any(|(_, v)| is_taken_away(v) && order.version <= v.order_version) => return,
            None => {
                let before = known.last().map_or(0, |(_, v)| v.occurrence).max(self.past.dispatches_of(&order.id));
                let occurrence = before + 1;
                (document_id(&order.id, &order.site, occurrence), occurrence)
            }
        };
        if let std::collections::btree_map::Entry::Vacant(place) = self.dispatches.entry(id) {
            match Document::new() {
                Ok(document) => {
                    place.insert(Dispatch { document, view: None, gates: Vec::new() });
                }
                Err(e) => {
                    tracing::error!(order.id = %order.id, "no dispatch can be planned for order {}: {e}", order.id);
                    return;
                }
            }
        }
        self.counts.edit(order.id.as_str(), |c| c.shrink_to(&load));
        self.recount(now, &order.id);
        self.say(now, id, "rule plan", vec![planned(&order, occurrence, load)]);
    }

    /// Follows the order with vehicle, carrier, door and time once something was released; says whether it wrote. What
    /// to carry then is the hub's to say, in its terms.
    pub(super) fn replan(&mut self, now: &Moment, id: DocumentId, view: &DispatchView) -> bool {
        let over = view.state.is_over_at_depot() || view.cancelled.is_some() || !self.is_wanted(&view.order);
        let Some(order) = self.orders.get(&view.order).filter(|order| !is_behind(order, view)) else { return false };
        if over || !plan_differs(order, view) {
            return false;
        }
        // A plan under the order's version says that its quantities are known here: the terms must come first.
        if order.version > view.order_version && self.remainder(order) != view.load {
            return false;
        }
        // What leaves is told by the vehicle that the goods are in: they must come out first.
        if order.vehicle != view.vehicle && self.counts_of(id, view).on_board() > 0 {
            return false;
        }
        let planned = planned(order, view.occurrence, view.load.clone());
        self.say(now, id, "rule plan", vec![planned]);
        true
    }

    /// Writes the counts of an order anew as facts, where some were scanned.
    pub(super) fn recount(&mut self, now: &Moment, order: &OrderId) {
        let Some(counts) = self.counts.get(order.as_str()) else { return };
        let scanned: Vec<u16> = counts.staged.keys().copied().collect();
        for line in scanned {
            self.cargo_changed(now, order, line, now.wall, "recounted when the load changed".to_owned());
        }
    }
}

/// Whether the hub said that it shall not leave from here.
fn is_taken_away(view: &DispatchView) -> bool {
    view.cancelled.is_some() || view.reassigned_to.is_some()
}

fn planned(order: &Order, occurrence: u32, load: Vec<LineQuantity>) -> Says {
    Says::Planned {
        order: order.id.clone(),
        order_version: order.version,
        site: order.site.clone(),
        occurrence,
        vehicle: order.vehicle.clone(),
        carrier: order.carrier.clone(),
        door: order.door.clone(),
        load,
        planned_departure: order.planned_departure,
    }
}

fn plan_differs(order: &Order, view: &DispatchView) -> bool {
    order.vehicle != view.vehicle
        || order.carrier != view.carrier
        || order.door != view.door
        || order.planned_departure != view.planned_departure
}
