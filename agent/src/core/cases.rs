//! Cases: opened once per matter, triggered again, cleared by themselves.
//!
//! A condition that holds keeps one case open however often it is seen; one that has not held for a
//! while clears its case. Severity, owner, actions and due times are written with the opening.

use gatehouse_common::{
    bundle::{Detectors, Routed, response::route},
    case::{Axes, CaseState, CaseType, CaseView, Says, Severity, dedup_key, document_id, fold, lifecycle::ENTRIES_MAX},
    gate::{Question, Strictness},
    id::{DocumentId, DocumentKind, OrderId},
    order::{LineQuantity, Order},
    rule::facts::{Around, Held},
    time::{Moment, UtcMs},
};

use super::{
    Case, Core,
    decision::{Change, Effect, Record},
    dispatches::append,
    ms,
    signals::watch::Gravity,
    state::CaseSlot,
};

/// What evidence begins with where nothing has changed.
const STILL_SO: &str = "still so: ";

/// Something wrong, as a detector or a gate sees it.
pub(super) struct Matter {
    pub case_type: CaseType,
    pub subject: String,
    pub leg: String,
    pub since: UtcMs,
    pub summary: String,
    pub order: Option<OrderId>,
    pub blocks: Option<DocumentId>,
    pub gravity: Gravity,
}

impl Core {
    /// The condition holds: opens its case, or triggers it again if it had cleared or was put to rest although
    /// the condition goes on. Returns the case.
    pub(super) fn raise(&mut self, now: &Moment, mut matter: Matter) -> Option<DocumentId> {
        let case_type = matter.case_type;
        let key = dedup_key(case_type, &matter.subject, &matter.leg);
        let slot = self.slots.get(&key).cloned().unwrap_or_default();
        if slot.on {
            if slot.gone_since.is_some() {
                self.slots.edit(&key, |s| s.gone_since = None);
            }
            let document = document_id(&key, slot.occurrence);
            let worse = matter.gravity.stage > slot.stage;
            if worse && !self.is_closed(document) {
                self.worsens(now, &key, document, matter);
                return Some(document);
            }
            if !worse && !self.goes_on_after_rest(now, case_type, document, matter.since) {
                return Some(document);
            }
        }
        let (document, occurrence) = self.place_for(now, &key, slot.occurrence);
        self.slots.edit(&key, |s| {
            s.occurrence = occurrence;
            s.on = true;
            s.gone_since = None;
            s.told = Some(now.clone());
            s.stage = matter.gravity.stage;
        });
        let drilled = self.drilled();
        if !drilled.is_empty() {
            matter.summary = format!("DRILL without {}: {}", drilled.join(", "), matter.summary);
        }
        let known = self.cases.get(&document).is_some_and(|c| c.view.is_some());
        let follows = self.predecessor(&key, occurrence);
        let classified = self.classify(now, &matter);
        let says = if known {
            vec![Says::Triggered { since: matter.since, evidence: matter.summary }, classified]
        } else {
            vec![self.opened(matter, occurrence, follows), classified]
        };
        self.say_case(now, document, "rule", says);
        Some(document)
    }

    /// The matter is worse than when its case was opened: says so at once, to whoever works on it or put it to rest.
    fn worsens(&mut self, now: &Moment, key: &str, case: DocumentId, matter: Matter) {
        self.slots.edit(key, |s| {
            s.stage = matter.gravity.stage;
            s.told = Some(now.clone());
        });
        let classified = self.classify(now, &matter);
        let triggered = Says::Triggered { since: now.wall, evidence: matter.summary };
        self.say_case(now, case, "rule", vec![triggered, classified]);
    }

    fn is_closed(&self, case: DocumentId) -> bool {
        // Nothing can be said any more in one that cannot be folded either: what comes opens the next.
        if self.past.holds(case) || self.unfoldable.contains_key(&case) {
            return true;
        }
        let state = self.cases.get(&case).and_then(|c| c.view.as_ref()).map(|v| v.state);
        matches!(state, Some(CaseState::Closed | CaseState::Cancelled))
    }

    /// Whether a condition was seen later than someone put its case to rest, and what they did about it had as long
    /// to take effect as a condition has to clear.
    fn goes_on_after_rest(&self, now: &Moment, case_type: CaseType, case: DocumentId, seen: UtcMs) -> bool {
        let Some(view) = self.cases.get(&case).and_then(|c| c.view.as_ref()) else { return false };
        let patience = ms(self.profile.bundle.rules.detectors.clear_after_ms(case_type));
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
        if gone_ms >= self.profile.bundle.rules.detectors.clear_after_ms(case_type) {
            self.end(now, &key, slot.occurrence, since);
        }
    }

    /// Puts the case under a key to rest.
    fn end(&mut self, now: &Moment, key: &str, occurrence: u32, since: UtcMs) {
        self.slots.edit(key, |s| {
            s.on = false;
            s.gone_since = None;
            s.told = None;
            s.stage = 0;
        });
        let document = document_id(key, occurrence);
        let over = self.cases.get(&document).and_then(|c| c.view.as_ref()).is_none_or(|v| v.state.is_over());
        if !over {
            let moved = Says::Moved {
                to: CaseState::Resolved,
                since,
                reason: "the condition has cleared".to_owned(),
                auto_cleared: true,
                how: None,
            };
            self.say_case(now, document, "rule", vec![moved]);
        }
    }

    /// Follows what time alone does to cases: ends those whose condition has been gone for long enough, and triggers
    /// again those that have stood for the period after which they are told once more.
    pub(super) fn look_at_slots(&mut self, now: &Moment) {
        // How long they have stood cannot be known after a restart of the machine: it begins anew.
        let unknown =
            |slot: &CaseSlot| slot.gone_since.as_ref().or(slot.told.as_ref()).is_some_and(|m| now.since(m).is_none());
        let begin: Vec<String> =
            self.slots.iter().filter(|(_, s)| s.on && unknown(s)).map(|(key, _)| key.clone()).collect();
        for key in begin {
            self.slots.edit(&key, |s| {
                s.gone_since = s.gone_since.as_ref().map(|_| now.clone());
                s.told = Some(now.clone());
            });
        }
        let rules = &self.profile.bundle.rules.detectors;
        let due = |(key, slot): (&String, &CaseSlot)| {
            let case_type = type_of(key).filter(|_| slot.on)?;
            let due = slot_due_ms(rules, case_type, now, slot)? == 0;
            due.then(|| (key.clone(), slot.clone()))
        };
        let due: Vec<(String, CaseSlot)> = self.slots.iter().filter_map(due).collect();
        for (key, slot) in due {
            match &slot.gone_since {
                Some(gone) => self.end(now, &key, slot.occurrence, gone.wall),
                None => self.tell_again(now, &key, slot.occurrence),
            }
        }
    }

    fn tell_again(&mut self, now: &Moment, key: &str, occurrence: u32) {
        self.slots.edit(key, |s| s.told = Some(now.clone()));
        let document = document_id(key, occurrence);
        let Some(view) = self.cases.get(&document).and_then(|c| c.view.clone()) else { return };
        if !view.state.is_over() && self.is_too_long(document) {
            self.goes_on_anew(now, key, view);
        } else if !view.state.is_over() {
            // What was said last, as the matter may have gone and come since the case was opened.
            let last = view.evidence.last().map_or(view.summary.as_str(), |e| e.evidence.trim_start_matches(STILL_SO));
            let evidence = format!("{STILL_SO}{last}");
            self.say_case(now, document, "rule", vec![Says::Triggered { since: now.wall, evidence }]);
        }
    }

    /// Opens the next case of a matter whose case grew too long.
    fn goes_on_anew(&mut self, now: &Moment, key: &str, view: CaseView) {
        let (document, occurrence) = self.place_for(now, key, view.occurrence);
        self.slots.edit(key, |s| s.occurrence = occurrence);
        let matter = Matter {
            case_type: view.case_type,
            subject: view.subject,
            leg: view.leg,
            since: view.opened_at,
            summary: view.summary,
            order: view.order,
            blocks: view.blocks,
            gravity: Gravity { at_least: Some(view.severity), ..Gravity::default() },
        };
        let classified = self.classify(now, &matter);
        let follows = self.predecessor(key, occurrence);
        let opened = self.opened(matter, occurrence, follows);
        self.say_case(now, document, "rule", vec![opened, classified]);
    }

    fn opened(&self, matter: Matter, occurrence: u32, follows: Option<DocumentId>) -> Says {
        Says::Opened {
            case_type: matter.case_type,
            subject: matter.subject,
            leg: matter.leg,
            occurrence,
            site: self.profile.site.clone(),
            since: matter.since,
            summary: matter.summary,
            order: matter.order,
            blocks: matter.blocks,
            follows,
        }
    }

    /// When time alone moves a case.
    pub(super) fn case_deadlines<'a>(&'a self, now: &'a Moment) -> impl Iterator<Item = UtcMs> + 'a {
        let rules = &self.profile.bundle.rules.detectors;
        self.slots.iter().filter_map(move |(key, slot)| {
            let case_type = type_of(key).filter(|_| slot.on)?;
            Some(now.wall.plus(ms(slot_due_ms(rules, case_type, now, slot)?)))
        })
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

    /// The document of the next case under `key`: the running one, or one more than its closed predecessors. One that
    /// grew too long goes on in the next.
    fn place_for(&mut self, now: &Moment, key: &str, last: u32) -> (DocumentId, u32) {
        let mut occurrence = last.max(1);
        loop {
            let document = document_id(key, occurrence);
            if !self.is_closed(document) && !self.is_too_long(document) {
                return (document, occurrence);
            }
            occurrence += 1;
            if !self.is_closed(document) {
                let case = document_id(key, occurrence);
                self.say_case(now, document, "rule", vec![Says::Continued { case }]);
            }
        }
    }

    /// The hub joined this case to another about the same matter: what comes is said there.
    pub(super) fn follow_join(&mut self, view: &CaseView) {
        let Some(target) = view.duplicate_of else { return };
        let key = dedup_key(view.case_type, &view.subject, &view.leg);
        let earlier = (1..view.occurrence).find(|occurrence| document_id(&key, *occurrence) == target);
        let is_here = self.slots.get(&key).is_some_and(|slot| slot.occurrence == view.occurrence);
        if let Some(occurrence) = earlier.filter(|_| is_here) {
            self.slots.edit(&key, |s| s.occurrence = occurrence);
        }
    }

    fn is_too_long(&self, case: DocumentId) -> bool {
        let length = self.cases.get(&case).and_then(|c| c.view.as_ref()).map_or(0, |v| v.length);
        usize::try_from(length).is_ok_and(|length| length >= ENTRIES_MAX)
    }

    /// The case under `key` before the `occurrence`-th, where it is known here.
    fn predecessor(&self, key: &str, occurrence: u32) -> Option<DocumentId> {
        let before = document_id(key, occurrence.checked_sub(1)?);
        let is_left_out = self.unfoldable.contains_key(&before);
        (self.cases.contains_key(&before) || self.past.holds(before) || is_left_out).then_some(before)
    }

    pub(super) fn say_case(&mut self, now: &Moment, id: DocumentId, by: &str, says: Vec<Says>) {
        if self.unfoldable.contains_key(&id) {
            return;
        }
        if self.cases.get(&id).and_then(|c| c.view.as_ref()).is_some_and(|view| view.waits_for_upgrade) {
            tracing::warn!(document.id = %id, "case {id} needs a newer program; nothing is written into it");
            return;
        }
        let held = self.cases.get(&id).map(|c| c.document.clone()).unwrap_or_default();
        let mut document = match held.open() {
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
        let (document, after) = held.grown(&document, view.as_ref(), &chunk.bytes);
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
        let rules = &self.profile.bundle.rules;
        let load = load
            .map_or_else(|| order.map(gatehouse_common::order::Order::quantities).unwrap_or_default(), <[_]>::to_vec);
        let mut axes = order
            .map_or_else(Axes::default, |o| Axes::of(o, &load, matter.case_type, &rules.money_axis_minor, now.wall));
        axes.safety = axes.safety.max(matter.gravity.safety);
        let severity = axes.severity(matter.case_type);
        let severity = matter.gravity.at_least.map_or(severity, |least| severity.max(least));
        let routed = self.route(now, matter, severity, order, &load);
        let (acknowledge_by, resolve_by) = rules.clocks.due(routed.severity, order, &rules.calendar, now.wall);
        Says::Classified {
            severity: routed.severity,
            axes,
            owner: routed.owner,
            actions: matter.case_type.actions().iter().map(|a| (*a).to_owned()).collect(),
            acknowledge_by,
            resolve_by,
            bundle: self.profile.bundle.hash,
        }
    }

    /// Whose it is and how bad at least, by the bundle's routing rules.
    fn route(
        &self,
        now: &Moment,
        matter: &Matter,
        severity: Severity,
        order: Option<&Order>,
        load: &[LineQuantity],
    ) -> Routed {
        let rules = &self.profile.bundle.rules;
        let class = order.map(|order| self.class(order)).unwrap_or_default();
        let question = order.map(|order| Question {
            order,
            load,
            facts: &self.facts,
            blocking_cases: &[],
            transit_ms: class.transit_ms,
            now,
        });
        let around = Around {
            cut_off: self.is_cut_off(now),
            case: Some((matter.case_type, matter.subject.clone(), severity)),
            ..Around::default()
        };
        let limit_ms = |gate| class.limits(gate).limit_ms(Strictness::UnderLease);
        let held = Held { question: question.as_ref(), limit_ms: &limit_ms, around: &around };
        route(&rules.routing, matter.case_type, severity, &held)
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

/// The type in a dedup key.
fn type_of(key: &str) -> Option<CaseType> {
    let code = key.split('|').next()?;
    CaseType::ALL.into_iter().find(|t| t.code() == code)
}

/// How long until time alone moves the case of a slot, in milliseconds; `None` where it does not.
///
/// Counted by the boot clock; what cannot be known after a restart of the machine is not due.
fn slot_due_ms(rules: &Detectors, case_type: CaseType, now: &Moment, slot: &CaseSlot) -> Option<u64> {
    let (since, period) = match (&slot.gone_since, &slot.told) {
        (Some(gone), _) => (gone, rules.clear_after_ms(case_type)),
        (None, Some(told)) => (told, rules.realert_after_ms(case_type)),
        (None, None) => return None,
    };
    Some(period.saturating_sub(now.since(since)?))
}
