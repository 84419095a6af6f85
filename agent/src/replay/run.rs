//! Two cores on the same inputs at the same moments.

use std::collections::{BTreeMap, HashMap};

use gatehouse_common::{
    bundle::Bundle,
    case::CaseView,
    decision::{DecisionKind, DecisionRecord, Mode},
    document::{Actor, ActorKind, Document, EntryKey},
    gate::GateResult,
    id::{DocumentId, DocumentKind, Hash32, OrderId},
    reading::Reading,
    sync::{Cursor, Downward, FeedItem, LedgerEpoch},
    time::{Moment, UtcMs},
};

use super::{
    ReplayError,
    foreign::{Mirror, Word, write},
    later,
    stream::{Event, What},
};
use crate::{
    core::{
        Core,
        decision::Record,
        ground::{Configured, GroundInput, Told},
        input::{Input, Line},
    },
    store::{KeptReading, Reader},
};

/// One decision of a run.
#[derive(Debug, Clone)]
pub(super) struct Decided {
    pub dispatch: DocumentId,
    pub order: Option<OrderId>,
    pub at: UtcMs,
    pub kind: DecisionKind,
    pub mode: Option<Mode>,
    pub reason: String,
    pub gates: Vec<GateResult>,
    /// The gates of the same dispatch in the other run at the same moment.
    pub other_gates: Vec<GateResult>,
}

impl Decided {
    pub(super) fn of(record: DecisionRecord) -> Option<Self> {
        Some(Self {
            dispatch: record.dispatch?,
            order: record.order.map(|(order, _)| order),
            at: record.at.wall,
            kind: record.kind,
            mode: record.mode,
            reason: record.reason,
            gates: record.gates,
            other_gates: Vec::new(),
        })
    }
}

/// A core, and what it has decided since it is looked at.
#[derive(Clone)]
pub(super) struct Run {
    core: Core,
    own: Actor,
    /// Entries of others that stand under another key here.
    keys: HashMap<(DocumentId, EntryKey), EntryKey>,
    pub decided: Vec<Decided>,
    /// Cases as they were last written.
    pub cases: BTreeMap<DocumentId, CaseView>,
    /// Taps that were done, and that were refused.
    pub taps: (u64, u64),
    /// Words of others about cases that are not there.
    pub unheard: u64,
}

impl Run {
    fn new(core: Core) -> Self {
        let own = own_of(&core);
        let (keys, cases) = (HashMap::new(), BTreeMap::new());
        Self { core, own, keys, decided: Vec::new(), cases, taps: (0, 0), unheard: 0 }
    }

    fn give(&mut self, now: &Moment, input: Input) {
        let decision = self.core.handle(now, input);
        match decision.answer {
            Some(Ok(_)) => self.taps.0 += 1,
            Some(Err(_)) => self.taps.1 += 1,
            None => {}
        }
        for record in decision.records {
            match record {
                Record::Decision { sealed, .. } => self.decided.extend(sealed.peek().ok().and_then(Decided::of)),
                Record::Chunk { document, kind: DocumentKind::Case, .. } => {
                    self.cases.extend(self.core.case(document).map(|view| (document, view.clone())));
                }
                _ => {}
            }
        }
    }

    /// Items of the feed that say here what was told then.
    fn told_here(&mut self, told: &[Said]) -> Result<Vec<FeedItem>, ReplayError> {
        let mut items = Vec::new();
        let mut written: HashMap<DocumentId, Document> = HashMap::new();
        for said in told {
            let word = match said {
                Said::Plain(says) => {
                    items.push(item(says.clone()));
                    continue;
                }
                Said::Word(word) => word,
            };
            let held = self.core.document(word.kind, word.document);
            if held.is_none()
                && word.kind == DocumentKind::Case
                && !word.opens()
                && !written.contains_key(&word.document)
            {
                self.unheard += 1;
                continue;
            }
            let document = match written.entry(word.document) {
                std::collections::hash_map::Entry::Occupied(held) => held.into_mut(),
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(held.map_or_else(super::new_document, Ok)?)
                }
            };
            let keys = &self.keys;
            let named = |key: &EntryKey| keys.get(&(word.document, key.clone())).unwrap_or(key).clone();
            let (key, chunk) = write(document, &self.own, word, named)?;
            if key != word.key {
                self.keys.insert((word.document, word.key.clone()), key);
            }
            items.push(item(Downward::Chunk { document: word.document, kind: word.kind, bytes: chunk.bytes }));
        }
        Ok(items)
    }

    /// Whether this run knows of a case.
    pub(super) fn knows_case(&self, id: DocumentId) -> bool {
        self.core.document(DocumentKind::Case, id).is_some()
    }
}

/// As whom the device writes, in whichever of its lives.
fn own_of(core: &Core) -> Actor {
    let profile = core.profile();
    let kind = if profile.is_gateway() { ActorKind::Site } else { ActorKind::Vehicle };
    Actor { kind, site: profile.site.clone(), device: profile.device.clone(), epoch: 1 }
}

fn item(says: Downward) -> FeedItem {
    FeedItem { lane: says.usual_lane(), position: 0, says }
}

/// What was told, ready to be said to any run.
enum Said {
    Plain(Downward),
    Word(Word),
}

/// The run under the rules of then, and the one under the new rules once it has begun.
pub(super) struct Pair {
    pub then: Run,
    pub new: Option<Run>,
    mirror: Mirror,
    /// The moment of the commit that is played, and whether a look at the clock was part of it.
    now: Option<Moment>,
    looks: bool,
    forked_at: Option<UtcMs>,
}

impl Pair {
    pub(super) fn new(core: Core, mirror: Mirror) -> Self {
        Self { then: Run::new(core), new: None, mirror, now: None, looks: false, forked_at: None }
    }

    pub(super) fn is_forked(&self) -> bool {
        self.new.is_some()
    }

    pub(super) fn now(&self) -> Option<&Moment> {
        self.now.as_ref()
    }

    /// From when to when both ran.
    pub(super) fn span(&self) -> Option<(UtcMs, UtcMs)> {
        Some((self.forked_at?, self.now.as_ref()?.wall))
    }

    /// The new rules are tried from now on.
    pub(super) fn fork(&mut self, bundle: &Bundle, at: UtcMs) {
        self.then.decided.clear();
        self.then.taps = (0, 0);
        let mut new = self.then.clone();
        new.core.obey_rules(bundle.clone());
        self.new = Some(new);
        self.forked_at = Some(at);
        if let Some(now) = self.now.clone() {
            self.both(&now, &Input::Tick);
        }
    }

    /// Lets time pass up to `event`, or up to `until` if that is sooner: ends the commit before it, and rings the timers
    /// of both runs. Before a start nothing rings: it is not known how long the program ran.
    pub(super) fn advance(&mut self, event: &Event, until: Option<UtcMs>) {
        let Some(now) = self.now.clone() else { return };
        if now == event.at {
            return;
        }
        self.end_commit(&now);
        let starts = matches!(event.what, What::Input(GroundInput::Started { .. }));
        if starts || now.boot != event.at.boot {
            return;
        }
        let end = until.map_or(u64::MAX, |until| until_ms(&now, until)).min(event.at.boottime_ms);
        self.ring_until(now, end);
    }

    /// After the last event: ends its commit, and lets time pass up to `to`.
    pub(super) fn rest(&mut self, to: Option<UtcMs>) {
        let Some(now) = self.now.clone() else { return };
        self.end_commit(&now);
        if let Some(to) = to {
            let end = until_ms(&now, to);
            self.ring_until(now, end);
        }
    }

    fn end_commit(&mut self, now: &Moment) {
        if std::mem::take(&mut self.looks) {
            self.both(now, &Input::Tick);
        }
        for run in self.runs() {
            run.core.stamp(now);
        }
    }

    fn ring_until(&mut self, mut now: Moment, end_boottime_ms: u64) {
        while let Some(due) = self.runs().filter_map(|run| run.core.next_due(&now)).min() {
            let next = later(&now, due);
            if next.boottime_ms >= end_boottime_ms {
                break;
            }
            self.both(&next, &Input::Tick);
            for run in self.runs() {
                run.core.stamp(&next);
            }
            now = next;
            self.now = Some(now.clone());
        }
    }

    fn runs(&mut self) -> impl Iterator<Item = &mut Run> {
        std::iter::once(&mut self.then).chain(&mut self.new)
    }

    /// Gives an input to both, and notes beside each decision how the other stands.
    fn both(&mut self, now: &Moment, input: &Input) {
        self.each(now, |_| input.clone());
    }

    fn each(&mut self, now: &Moment, input: impl Fn(&mut Run) -> Input) {
        let decided = |run: &Run| run.decided.len();
        let before = (decided(&self.then), self.new.as_ref().map_or(0, decided));
        for run in self.runs() {
            let input = input(run);
            run.give(now, input);
        }
        self.now = Some(now.clone());
        let Some(new) = &mut self.new else { return };
        note_gates(&mut self.then.decided[before.0..], &new.core);
        note_gates(&mut new.decided[before.1..], &self.then.core);
    }

    pub(super) fn reading(&mut self, at: &Moment, kept: KeptReading) {
        let reading = Reading {
            source: kept.source,
            id: kept.id,
            at: kept.at,
            // Whether it came before was asked when it came.
            payload_hash: Hash32::ZERO,
            value: kept.value,
        };
        self.both(at, &Input::Reading { reading, receipt: None });
    }

    pub(super) fn started(
        &mut self,
        at: &Moment,
        configured: &Configured,
        heard: Option<Moment>,
        bundle: Option<Bundle>,
    ) {
        for run in self.runs() {
            run.core.configure(configured);
            run.own = own_of(&run.core);
            run.core.heard_hub(heard.clone());
        }
        if let Some(bundle) = bundle {
            self.then.core.obey_rules(bundle);
        }
        self.looks = true;
        self.both(at, &Input::Line(Line::Starting));
    }

    pub(super) fn rules_change(&mut self, at: &Moment, bundle: Option<Bundle>) {
        if let Some(bundle) = bundle {
            self.then.core.obey_rules(bundle);
        }
        self.both(at, &Input::Tick);
    }

    pub(super) fn told(&mut self, at: &Moment, store: &Reader, told: Vec<Told>) -> Result<(), ReplayError> {
        let mut said = Vec::new();
        for told in told {
            match told {
                Told::Order(json) => said.push(Said::Plain(Downward::Order(json))),
                Told::Fact(json) => said.push(Said::Plain(Downward::Fact(json))),
                Told::Lease(sealed) => said.push(Said::Plain(Downward::Lease(sealed))),
                Told::Sources(json) => said.push(Said::Plain(Downward::Sources(json))),
                Told::Chunk { document, kind, hash } => {
                    let words = self.mirror.words(store, &self.then.own, document, kind, hash)?;
                    said.extend(words.into_iter().map(Said::Word));
                }
            }
        }
        let mut pages = Vec::new();
        for run in self.runs() {
            pages.push(run.told_here(&said)?);
        }
        let pages = std::cell::RefCell::new(pages.into_iter());
        self.looks = true;
        self.each(at, |_| {
            let items = pages.borrow_mut().next().unwrap_or_default();
            Input::Feed { items, cursor: Cursor::default(), more: false }
        });
        Ok(())
    }

    pub(super) fn other(&mut self, at: &Moment, input: GroundInput) {
        self.looks = true;
        match input {
            GroundInput::Line { line, heard } => {
                for run in self.runs() {
                    run.core.heard_hub(heard.clone());
                }
                self.both(at, &Input::Line(line));
            }
            GroundInput::StartAgain => self.both(at, &Input::StartAgain { cursor: Cursor::default() }),
            GroundInput::Outlived(standing) => self.both(at, &Input::Outlived(standing)),
            GroundInput::Tap(tap) => self.both(at, &Input::Tap(tap)),
            GroundInput::Refused(change) => {
                let (ledger, rejected, changes) = (LedgerEpoch::default(), Vec::new(), vec![change]);
                self.both(at, &Input::Pushed { ledger, through: 0, rejected, changes, kept_through: 0 });
            }
            GroundInput::Forgot(over) => self.both(at, &Input::Forget(over)),
            // Given elsewhere, or nothing but time.
            GroundInput::Looked | GroundInput::Started { .. } | GroundInput::Rules { .. } | GroundInput::Feed(_) => {
                self.both(at, &Input::Tick)
            }
        }
    }
}

fn note_gates(decided: &mut [Decided], other: &Core) {
    for decision in decided {
        decision.other_gates = other.gates(decision.dispatch).to_vec();
    }
}

/// The boot time at which the wall clock shows `at`.
fn until_ms(now: &Moment, at: UtcMs) -> u64 {
    let ahead = u64::try_from(at.since(now.wall)).unwrap_or(0);
    now.boottime_ms.saturating_add(ahead).saturating_add(1)
}
