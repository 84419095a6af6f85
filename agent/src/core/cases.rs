//! Cases: opened once per matter, triggered again, cleared by themselves.
//!
//! A condition that holds keeps one case open however often it is seen; one that has not held for a
//! while clears its case. Severity, owner, actions and due times are written with the opening.

use gatehouse_common::{
    case::{Axes, CaseState, CaseType, Says, dedup_key, document_id, fold},
    document::Document,
    id::{DocumentId, DocumentKind, OrderId},
    order::LineQuantity,
    time::{Moment, UtcMs},
};

use super::{
    Case, Core,
    decision::{Change, Effect, Record},
    dispatches::{append, folded},
    ms,
};

/// Something wrong, as a detector or a gate sees it.
pub(super) struct Matter {
    pub case_type: CaseType,
    pub subject: String,
    pub leg: String,
    pub since: UtcMs,
    pub summary: String,
    pub order: Option<OrderId>,
    pub blocks: Option<DocumentId>,
}

impl Core {
    /// The condition holds: opens its case, or triggers it again if it had cleared or was put to rest although
    /// the condition goes on. Returns the case.
    pub(super) fn raise(&mut self, now: &Moment, matter: Matter) -> Option<DocumentId> {
        let key = dedup_key(matter.case_type, &matter.subject, &matter.leg);
        let slot = self.slots.get(&key).cloned().unwrap_or_default();
        if slot.on {
            if slot.gone_since.is_some() {
                self.slots.edit(&key, |s| s.gone_since = None);
            }
            if !self.goes_on_after_rest(now, document_id(&key, slot.occurrence), matter.since) {
                return Some(document_id(&key, slot.occurrence));
            }
        }
        let (document, occurrence) = self.place_for(&key, slot.occurrence);
        self.slots.edit(&key, |s| {
            s.occurrence = occurrence;
            s.on = true;
            s.gone_since = None;
        });
        let known = self.cases.get(&document).is_some_and(|c| c.view.is_some());
        let says = if known {
            vec![Says::Triggered { since: matter.since, evidence: matter.summary }]
        } else {
            let classified = self.classify(now, &matter);
            let opened = Says::Opened {
                case_type: matter.case_type,
                subject: matter.subject,
                leg: matter.leg,
                occurrence,
                site: self.profile.site.clone(),
                since: matter.since,
                summary: matter.summary,
                order: matter.order,
                blocks: matter.blocks,
            };
            vec![opened, classified]
        };
        self.say_case(now, document, "rule", says);
        Some(document)
    }

    /// Whether a condition was seen later than someone put its case to rest, and what they did about it had as long
    /// to take effect as a condition has to clear.
    fn goes_on_after_rest(&self, now: &Moment, case: DocumentId, seen: UtcMs) -> bool {
        let Some(view) = self.cases.get(&case).and_then(|c| c.view.as_ref()) else { return false };
        let patience = ms(self.profile.bundle.rules.detectors.clear_after_ms);
        let outlived = |rest: UtcMs| seen > rest && now.wall.since(rest) >= patience;
        view.state.is_over() && view.moved_at.is_some_and(outlived)
    }

    /// The condition does not hold: after a while its case is cleared.
    pub(super) fn clear(&mut self, now: &Moment, case_type: CaseType, subject: &str, leg: &str) {
        let key = dedup_key(case_type, subject, leg);
        let Some(slot) = self.slots.get(&key).filter(|s| s.on).cloned() else { return };
        // Counted by the boot clock: a clock that is set must not end the wait, nor begin it anew. After a restart of
        // the machine that cannot be known, and it does begin anew.
        let Some((since, gone_ms)) = slot.gone_since.and_then(|gone| Some((gone.wall, now.since(&gone)?))) else {
            self.slots.edit(&key, |s| s.gone_since = Some(now.clone()));
            return;
        };
        if gone_ms < self.profile.bundle.rules.detectors.clear_after_ms {
            return;
        }
        self.slots.edit(&key, |s| {
            s.on = false;
            s.gone_since = None;
        });
        let document = document_id(&key, slot.occurrence);
        let over = self.cases.get(&document).and_then(|c| c.view.as_ref()).is_none_or(|v| v.state.is_over());
        if !over {
            let moved = Says::Moved {
                to: CaseState::Resolved,
                since,
                reason: "the condition has cleared".to_owned(),
                auto_cleared: true,
            };
            self.say_case(now, document, "rule", vec![moved]);
        }
    }

    /// Whether the condition holds, or has not been gone for long enough.
    pub(super) fn is_on(&self, case_type: CaseType, subject: &str, leg: &str) -> bool {
        self.slots.get(&dedup_key(case_type, subject, leg)).is_some_and(|s| s.on)
    }

    /// The case under a key, where its condition holds.
    pub(super) fn case_on(&self, case_type: CaseType, subject: &str, leg: &str) -> Option<DocumentId> {
        let key = dedup_key(case_type, subject, leg);
        self.slots.get(&key).filter(|s| s.on).map(|s| document_id(&key, s.occurrence))
    }

    /// The document of the next case under `key`: the running one, or one more than its closed predecessors.
    fn place_for(&self, key: &str, last: u32) -> (DocumentId, u32) {
        let mut occurrence = last.max(1);
        loop {
            let document = document_id(key, occurrence);
            let state = self.cases.get(&document).and_then(|c| c.view.as_ref()).map(|v| v.state);
            if !matches!(state, Some(CaseState::Closed | CaseState::Cancelled)) {
                return (document, occurrence);
            }
            occurrence += 1;
        }
    }

    pub(super) fn say_case(&mut self, now: &Moment, id: DocumentId, by: &str, says: Vec<Says>) {
        let mut document = match self.cases.get(&id).map(|c| c.document.clone()).map_or_else(Document::new, Ok) {
            Ok(document) => document,
            Err(e) => {
                tracing::error!(document.id = %id, "case {id} cannot be written: {e}");
                return;
            }
        };
        let chunk = match append(&mut document, &self.actor, &mut self.hlc, now, by, says) {
            Ok(chunk) => chunk,
            Err(e) => {
                tracing::error!(document.id = %id, "nothing could be written into case {id}: {e}");
                return;
            }
        };
        let view = fold(&document);
        let after = folded(&document, view.as_ref());
        if let Some(dispatch) = view.as_ref().and_then(|v| v.blocks) {
            self.touched.insert(dispatch);
        }
        self.cases.insert(id, Case { document, view });
        self.out.records.push(Record::Chunk { document: id, kind: DocumentKind::Case, chunk, own: true, after });
        self.out.effects.push(Effect::PushNow);
        self.changed(Change::Case { document: id });
    }

    /// How bad it is, whose it is, what to do and by when.
    fn classify(&self, now: &Moment, matter: &Matter) -> Says {
        let order = matter.order.as_ref().and_then(|id| self.orders.get(id));
        let load: Option<&[LineQuantity]> = matter.blocks.and_then(|id| self.view(id)).map(|v| v.load.as_slice());
        let axes = Axes {
            time: order.map_or(0, |o| Axes::time_of(o.window_end.since(now.wall) / 60_000)),
            customer: order.map_or(0, |o| Axes::customer_of(o.customer.tier)),
            money: order.map_or(0, |o| {
                let value = load.map_or_else(|| o.value_minor(&o.quantities()), |l| o.value_minor(l));
                Axes::money_of(value, &self.profile.bundle.rules.money_axis_minor)
            }),
            safety: if matter.case_type == CaseType::SealBroken { 3 } else { 0 },
        };
        let severity = axes.severity(matter.case_type);
        Says::Classified {
            severity,
            axes,
            owner: matter.case_type.owner(),
            actions: matter.case_type.actions().iter().map(|a| (*a).to_owned()).collect(),
            acknowledge_by: now.wall.plus(severity.acknowledge_minutes() * 60_000),
            resolve_by: now.wall.plus(severity.resolve_minutes() * 60_000),
            bundle: self.profile.bundle.hash,
        }
    }

    /// Open cases that block a dispatch and that its own gates did not open.
    pub(super) fn blocking(&self, dispatch: DocumentId, own: &[DocumentId]) -> Vec<DocumentId> {
        self.cases
            .iter()
            .filter(|(id, _)| !own.contains(id))
            .filter_map(|(id, case)| Some((*id, case.view.as_ref()?)))
            .filter(|(_, view)| view.blocks == Some(dispatch) && !view.state.is_over())
            .map(|(id, _)| id)
            .collect()
    }
}
