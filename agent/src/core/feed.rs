//! What the hub tells: orders, facts, leases, changes of documents. Recalls are obeyed as they are read.

use std::collections::BTreeSet;

use gatehouse_common::{
    dispatch::Says,
    document::{Applied, Chunk, Document, DocumentError, Entry, gate::inspect},
    fact::{Fact, FactKey, Report},
    id::{DocumentId, DocumentKind, Hash32, OrderId},
    order::{Order, OrderStatus},
    seal::Sealed,
    sync::{Attested, Cursor, Downward, FeedItem, session::marks},
    time::{Hlc, Moment, UtcMs},
};

use super::{
    Case, Core, Dispatch,
    at_rest::AtRest,
    decision::{Change, Record},
    dispatches::folded_whole,
    drills,
    ground::Told,
};

impl Core {
    /// Takes what is new; gives what of it was taken, to be kept.
    pub(super) fn take_feed(&mut self, now: &Moment, items: Vec<FeedItem>, cursor: Cursor) -> Vec<Told> {
        let mut orders = BTreeSet::new();
        let mut told = Vec::new();
        let marks = marks(&items);
        for item in items {
            let before = self.out.records.len();
            let keeps = match item.says {
                Downward::Order(json) => {
                    orders.extend(self.take_order(now, &json));
                    Told::Order(json)
                }
                Downward::Fact(json) => {
                    self.take_report(now, &json);
                    Told::Fact(json)
                }
                Downward::Lease(sealed) => {
                    self.take_lease(now, now, &sealed);
                    Told::Lease(sealed)
                }
                Downward::Chunk { document, kind, bytes } => {
                    match kind {
                        DocumentKind::Dispatch => orders.extend(self.take_dispatch_chunk(now, document, &bytes)),
                        DocumentKind::Case => self.take_case_chunk(now, document, &bytes),
                    }
                    let taken = self.out.records[before..].iter().find_map(|record| match record {
                        Record::Chunk { own: false, chunk, .. } | Record::Unfolded { chunk: Some(chunk), .. } => {
                            Some(chunk.hash)
                        }
                        _ => None,
                    });
                    let Some(hash) = taken else { continue };
                    Told::Chunk { document, kind, hash }
                }
                Downward::Anchor(sealed) => {
                    self.take_anchor(now, sealed);
                    continue;
                }
                Downward::Sources(json) => {
                    self.take_sources(now, &json);
                    Told::Sources(json)
                }
                Downward::Snapshot { document, kind, bytes } => {
                    told.extend(self.take_whole(now, document, kind, &bytes));
                    orders.extend(self.view(document).map(|view| view.order.clone()));
                    continue;
                }
                Downward::Page(sealed) => {
                    self.take_page(now, sealed, &marks);
                    continue;
                }
            };
            let withheld = !self.drilled().is_empty();
            if withheld || self.out.records[before..].iter().any(|record| !matches!(record, Record::Quarantine { .. }))
            {
                told.push(keeps);
            }
        }
        self.cursor = cursor;
        self.out.records.push(Record::Cursor(cursor));
        // Plans come after every item: a page may hold an order and the documents of its earlier dispatches.
        for order in orders {
            self.plan(now, &order);
            self.touch_order(&order);
        }
        told
    }

    fn take_order(&mut self, now: &Moment, json: &str) -> Option<OrderId> {
        let order: Order = match serde_json::from_str(json) {
            Ok(order) => order,
            Err(e) => {
                self.refuse_item(now, "order", format!("order cannot be read: {e}"), json.as_bytes());
                return None;
            }
        };
        let id = order.id.clone();
        if self.past.holds_version(&id, order.version) {
            return None;
        }
        if self.orders.get(&id).is_some_and(|held| held.version >= order.version) {
            return Some(id);
        }
        self.out.records.push(Record::Order(order.clone()));
        self.orders.insert(id.clone(), order);
        Some(id)
    }

    fn take_report(&mut self, now: &Moment, json: &str) {
        let report: Report = match serde_json::from_str(json) {
            Ok(report) => report,
            Err(e) => return self.refuse_item(now, "fact", format!("fact cannot be read: {e}"), json.as_bytes()),
        };
        match &report.key {
            FactKey::Inventory { order, .. } | FactKey::Capacity { order } | FactKey::Carrier { order } => {
                if !self.orders.contains_key(order) && self.past.holds_order(order) {
                    return;
                }
                self.touch_order(&order.clone());
            }
            FactKey::Credit { customer } => {
                let theirs = self.orders.values().filter(|o| o.customer.id == *customer).map(|o| o.id.clone());
                for order in theirs.collect::<Vec<_>>() {
                    self.touch_order(&order);
                }
            }
            FactKey::Labour { site, .. } => {
                if *site != self.profile.site {
                    return;
                }
                self.look_at_all = true;
            }
            // The depot's own sensors know its doors, papers and goods better than anyone.
            FactKey::Dock { .. } | FactKey::Documents { .. } | FactKey::Cargo { .. } => return,
        }
        let Some(report) = self.withhold_report(now, report) else { return };
        let fact = Fact { report, received: now.clone() };
        if self.facts.take(fact.clone()) {
            self.out.records.push(Record::Fact(fact));
        }
    }

    fn take_sources(&mut self, now: &Moment, json: &str) {
        match serde_json::from_str::<std::collections::BTreeMap<String, UtcMs>>(json) {
            Ok(mut sources) => {
                if self.is_drilled(drills::HUB) {
                    return;
                }
                for drilled in self.drilled() {
                    // It has not been heard since the drill began.
                    match self.sources.get(&drilled) {
                        Some(heard) => sources.insert(drilled, *heard),
                        None => sources.remove(&drilled),
                    };
                }
                self.sources = sources;
                self.write_rule("sources", &self.sources.clone());
                self.feeds_changed(now, now.wall);
                self.changed(Change::Status);
            }
            Err(e) => self.refuse_item(now, "sources", format!("ages of sources cannot be read: {e}"), json.as_bytes()),
        }
    }

    fn take_dispatch_chunk(&mut self, now: &Moment, id: DocumentId, bytes: &[u8]) -> Option<OrderId> {
        if self.is_past(id) || self.take_unfolded(now, id, bytes) {
            return None;
        }
        let held = self.dispatches.get(&id).map(|d| d.document.clone());
        let mut document = self.opened_for(now, held.map_or_else(Document::new, Ok), bytes)?;
        let chunk = self.admit(now, &mut document, bytes)?;
        let before = self.view(id).cloned();
        let (document, (view, after)) = self.tried(now, (id, "chunk"), document, bytes, |document| {
            let view = gatehouse_common::dispatch::fold(document);
            let after = folded_whole(document, view.as_ref());
            (view, after)
        })?;
        self.note_waits(now, id, &document);
        self.hear_clock(now, document.entries::<Says>().0.values());
        let gates = self.dispatches.get(&id).map(|d| d.gates.clone()).unwrap_or_default();
        self.dispatches.insert(id, Dispatch { document, view: view.clone(), gates });
        let kind = DocumentKind::Dispatch;
        self.out.records.push(Record::Chunk { document: id, kind, chunk, own: false, after });
        self.changed(Change::Dispatch { document: id });
        self.touched.insert(id);
        let view = view?;
        if let Some(before) = before {
            self.obey(now, id, &before, &view);
        }
        Some(view.order)
    }

    fn take_case_chunk(&mut self, now: &Moment, id: DocumentId, bytes: &[u8]) {
        if self.is_past(id) || self.take_unfolded(now, id, bytes) {
            return;
        }
        let held = self.cases.get(&id).map(|c| c.document.clone()).unwrap_or_default();
        let Some(mut document) = self.opened_for(now, held.open(), bytes) else { return };
        let Some(chunk) = self.admit(now, &mut document, bytes) else { return };
        let tried = self.tried(now, (id, "chunk"), document, bytes, |document| {
            let view = gatehouse_common::case::fold(document);
            let (at_rest, after) = held.grown(document, view.as_ref(), &chunk.bytes);
            (view, at_rest, after)
        });
        let Some((document, (view, at_rest, after))) = tried else { return };
        self.note_waits(now, id, &document);
        self.hear_clock(now, document.entries::<gatehouse_common::case::Says>().0.values());
        if let Some(dispatch) = view.as_ref().and_then(|v| v.blocks) {
            self.touched.insert(dispatch);
        }
        if let Some(view) = &view {
            self.follow_join(view);
        }
        self.cases.insert(id, Case { document: at_rest, view });
        self.out.records.push(Record::Chunk { document: id, kind: DocumentKind::Case, chunk, own: false, after });
        self.changed(Change::Case { document: id });
    }

    /// Takes a whole document. One that is known here takes what it lacks of it, change by change.
    fn take_whole(&mut self, now: &Moment, id: DocumentId, kind: DocumentKind, bytes: &[u8]) -> Vec<Told> {
        if self.is_past(id) {
            // What has left with it is counted already.
            return Vec::new();
        }
        let document = match Document::admit_whole(bytes) {
            Ok(document) => document,
            Err(e) => {
                self.refuse_item(now, "snapshot", e.to_string(), bytes);
                return Vec::new();
            }
        };
        let chunks = document.chunks();
        let told = chunks.iter().map(|chunk| Told::Chunk { document: id, kind, hash: chunk.hash }).collect();
        let is_unfoldable = self.unfoldable.contains_key(&id);
        let is_known = self.dispatches.contains_key(&id) || self.cases.contains_key(&id);
        if is_known || is_unfoldable {
            for chunk in chunks {
                match kind {
                    DocumentKind::Dispatch => _ = self.take_dispatch_chunk(now, id, &chunk.bytes),
                    DocumentKind::Case => self.take_case_chunk(now, id, &chunk.bytes),
                }
            }
            return told;
        }
        let after = match kind {
            DocumentKind::Dispatch => {
                let tried = self.tried(now, (id, "snapshot"), document, bytes, |document| {
                    let view = gatehouse_common::dispatch::fold(document);
                    let after = folded_whole(document, view.as_ref());
                    (view, after)
                });
                let Some((document, (view, after))) = tried else { return Vec::new() };
                self.note_waits(now, id, &document);
                self.hear_clock(now, document.entries::<Says>().0.values());
                self.dispatches.insert(id, Dispatch { document, view, gates: Vec::new() });
                self.touched.insert(id);
                self.changed(Change::Dispatch { document: id });
                after
            }
            DocumentKind::Case => {
                let tried = self.tried(now, (id, "snapshot"), document, bytes, |document| {
                    let view = gatehouse_common::case::fold(document);
                    let (at_rest, after) = AtRest::whole(document, view.as_ref());
                    (view, at_rest, after)
                });
                let Some((document, (view, at_rest, after))) = tried else { return Vec::new() };
                self.note_waits(now, id, &document);
                self.hear_clock(now, document.entries::<gatehouse_common::case::Says>().0.values());
                if let Some(view) = &view {
                    self.touched.extend(view.blocks);
                    self.follow_join(view);
                }
                self.cases.insert(id, Case { document: at_rest, view });
                self.changed(Change::Case { document: id });
                after
            }
        };
        self.out.records.push(Record::Whole { document: id, kind, chunks, after });
        told
    }

    /// Keeps what the hub signed of a page, where it is of this page.
    fn take_page(&mut self, now: &Moment, sealed: Sealed, marks: &[Hash32]) {
        let page = Attested { digest: sealed, marks: marks.to_vec() };
        let read = match &self.profile.hub_key {
            Some(hub) => page.open(hub, &self.profile.device).map_err(|e| e.to_string()),
            // Without the hub's key nothing could be proved to it either.
            None => return,
        };
        match read {
            Ok(digest) => self.out.records.push(Record::Page { digest, sealed: page.digest, marks: page.marks }),
            Err(why) => self.refuse_item(now, "page", why, page.digest.body.as_bytes()),
        }
    }

    pub(super) fn opened_for(
        &mut self,
        now: &Moment,
        held: Result<Document, DocumentError>,
        bytes: &[u8],
    ) -> Option<Document> {
        match held {
            Ok(document) => Some(document),
            Err(e) => {
                self.refuse_item(now, "chunk", e.to_string(), bytes);
                None
            }
        }
    }

    /// Lets a chunk in through the gate; what is not let in goes to quarantine and stops nothing.
    pub(super) fn admit(&mut self, now: &Moment, document: &mut Document, bytes: &[u8]) -> Option<Chunk> {
        let admitted = inspect(bytes)
            .map_err(|e| e.to_string())
            .and_then(|seen| document.admit(&seen).map(|applied| (seen, applied)).map_err(|e| e.to_string()));
        match admitted {
            Ok((_, Applied::Known)) => None,
            Ok((seen, Applied::New | Applied::Waiting)) => Some(Chunk { hash: seen.hash, bytes: bytes.to_vec() }),
            Err(why) => {
                self.refuse_item(now, "chunk", why, bytes);
                None
            }
        }
    }

    /// Takes the clocks of others into account, as far as they are believable.
    fn hear_clock<'a, T: 'a>(&mut self, now: &Moment, entries: impl Iterator<Item = &'a Entry<T>>) {
        let latest: Option<Hlc> = entries.map(|e| e.hlc).max();
        if let Some(latest) = latest {
            (self.hlc, _) = self.hlc.observe(latest, now.wall);
        }
    }

    /// Whether the ERP still wants an order to leave from this depot, as far as is known here.
    pub(super) fn is_wanted(&self, order: &OrderId) -> bool {
        self.orders.get(order).is_some_and(|o| o.status == OrderStatus::Released && o.site == self.profile.site)
    }
}
