//! The chain of decisions: its end, the hub's receipts for it, and a new epoch when the store was restored.
//!
//! A receipt that contradicts the chain is refused: one of two copies of this device has decided what the
//! other does not know of. A store that is older than what the hub knows begins a new epoch of chain, changes
//! and outbox before anything is told, so that nothing new stands where something else stood.

use std::collections::BTreeMap;

use gatehouse_common::{
    case::CaseType,
    decision::{Beginning, ChainHead, DecidedBy, DecisionKind, DecisionRecord, LeaseCharge, Mode},
    gate::GateResult,
    id::{DecisionId, DocumentId, Hash32, OrderId},
    order::LineQuantity,
    seal::Sealed,
    sync::{Cursor, Standing},
    time::Moment,
};

use super::{
    Core,
    cases::Matter,
    decision::{Change, Effect, Record},
    refused::life_of,
    signals::watch::Gravity,
    start::ChainTail,
};

/// The end of the chain and what of it is not receipted.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    head: ChainHead,
    anchored: Option<ChainHead>,
    /// Hashes of the records after the newest receipt, by place: what the next receipt is compared with.
    unanchored: BTreeMap<u64, Hash32>,
}

impl Chain {
    pub(super) fn resume(tail: ChainTail) -> Self {
        Self { head: tail.head, anchored: tail.anchored, unanchored: tail.unanchored.into_iter().collect() }
    }

    /// Whether `head` receipts a record of this chain. `None`: it says nothing that is not known.
    fn agrees(&self, head: &ChainHead) -> Option<bool> {
        if head.epoch < self.head.epoch {
            return None;
        }
        let same_epoch = head.epoch == self.head.epoch;
        match &self.anchored {
            Some(anchored) if same_epoch && head.position < anchored.position => None,
            Some(anchored) if same_epoch && head.position == anchored.position => {
                (head.hash != anchored.hash).then_some(false)
            }
            _ => Some(same_epoch && self.unanchored.get(&head.position) == Some(&head.hash)),
        }
    }

    fn is_anchored(&mut self, head: ChainHead) {
        self.unanchored = self.unanchored.split_off(&(head.position + 1));
        self.anchored = Some(head);
    }
}

/// What goes into the record of a decision; the chain adds who decides, where in the chain, and under which rules.
pub(super) struct Ruling<'a> {
    pub kind: DecisionKind,
    pub mode: Option<Mode>,
    pub dispatch: Option<DocumentId>,
    pub order: Option<(OrderId, u64)>,
    pub load: Vec<LineQuantity>,
    pub gates: Vec<GateResult>,
    pub lease: Option<LeaseCharge>,
    pub by: DecidedBy,
    pub reason: String,
    pub now: &'a Moment,
    pub begins: Option<Beginning>,
}

impl<'a> Ruling<'a> {
    /// A decision of a rule that is about no dispatch.
    pub(super) fn of_rule(kind: DecisionKind, rule: &str, reason: String, now: &'a Moment) -> Self {
        let by = DecidedBy::Rule { rule: rule.to_owned() };
        let (load, gates) = (Vec::new(), Vec::new());
        Self { kind, mode: None, dispatch: None, order: None, load, gates, lease: None, by, reason, now, begins: None }
    }
}

impl Core {
    /// Puts a decision at the end of the chain and signs it.
    pub(super) fn decide(&mut self, ruling: Ruling<'_>) -> Option<DecisionId> {
        let head = &self.chain.head;
        let (epoch, position) = (head.epoch, head.position + 1);
        let id = DecisionId::of(&self.profile.device, epoch, position);
        let record = DecisionRecord {
            v: 1,
            id: id.clone(),
            device: self.profile.device.clone(),
            site: self.profile.site.clone(),
            epoch,
            position,
            previous: head.hash,
            kind: ruling.kind,
            mode: ruling.mode,
            dispatch: ruling.dispatch,
            order: ruling.order,
            load: ruling.load,
            gates: ruling.gates,
            bundle: self.profile.bundle.hash,
            lease: ruling.lease,
            by: ruling.by,
            reason: ruling.reason,
            at: ruling.now.clone(),
            begins: ruling.begins,
            drills: self.drilled(),
        };
        let sealed = match Sealed::new(&record, &self.profile.key) {
            Ok(sealed) => sealed,
            Err(e) => {
                tracing::error!(decision.id = %id, "decision {id} cannot be written and is not made: {e}");
                return None;
            }
        };
        self.chain.head.position = position;
        self.chain.head.hash = sealed.hash();
        self.chain.unanchored.insert(position, self.chain.head.hash);
        self.out.records.push(Record::Decision { position, epoch, id: id.clone(), sealed });
        self.out.effects.push(Effect::PushNow);
        Some(id)
    }

    /// Keeps a receipt of the hub that agrees with the chain; refuses one that contradicts it.
    pub(super) fn take_anchor(&mut self, now: &Moment, sealed: Sealed) {
        let read: Result<ChainHead, _> = match &self.profile.hub_key {
            Some(key) => sealed.open(key),
            None => sealed.peek(),
        };
        let head = match read {
            Ok(head) => head,
            Err(e) => return self.refuse_item(now, "anchor", format!("anchor: {e}"), sealed.body.as_bytes()),
        };
        // Every gateway of a depot reads the receipts of all of them.
        if head.device != self.profile.device {
            return;
        }
        match self.chain.agrees(&head) {
            None => {}
            Some(true) => {
                self.out.records.push(Record::Anchor { head: head.clone(), sealed, received: now.clone() });
                self.chain.is_anchored(head);
            }
            Some(false) => {
                let why = format!(
                    "the hub has receipted record {} of epoch {} of {}, which is not the one that stands here",
                    head.position, head.epoch, head.device
                );
                self.refuse_item(now, "anchor", why.clone(), sealed.body.as_bytes());
                self.raise(
                    now,
                    Matter {
                        case_type: CaseType::PolicyViolation,
                        subject: head.device.to_string(),
                        leg: format!("chain {}", head.epoch),
                        since: now.wall,
                        summary: format!("{why}: another copy of this device is at work, or its store was restored"),
                        order: None,
                        blocks: None,
                        gravity: Gravity::default(),
                    },
                );
            }
        }
    }

    /// The hub knows more of this device than the store does: everything begins anew under a number of its own.
    pub(super) fn begin_epoch(&mut self, now: &Moment, known: &Standing) {
        let newest = known.newest_head(&self.profile.device, self.profile.hub_key.as_ref());
        let outbox = u32::try_from(known.newest_outbox_epoch()).unwrap_or(u32::MAX);
        let beyond = newest.as_ref().map_or(0, |(head, _)| head.epoch).max(outbox);
        let epoch = life_of(self.actor.epoch).max(self.chain.head.epoch).max(beyond).saturating_add(1);
        tracing::warn!(epoch, "the store is older than what the hub knows of this device: epoch {epoch} begins");
        let held = std::mem::replace(&mut self.chain.head, ChainHead::start(self.profile.device.clone(), epoch));
        self.chain.anchored = None;
        self.chain.unanchored.clear();
        self.actor.epoch = epoch;
        self.out.records.push(Record::Epoch { epoch });
        self.forget_lease(known);
        if self.profile.is_gateway() {
            let begins = Beginning { held, known: newest.map(|(_, sealed)| sealed) };
            self.write_beginning(now, begins);
        }
        // The hub sends again what it has, the forgotten changes of this device among them; and recalls come first.
        self.cursor = Cursor::start(self.cursor.epoch);
        self.out.records.push(Record::Cursor(self.cursor));
        self.line.recalls_known = false;
        self.hub_speaks(now);
        self.write_line();
        self.out.effects.push(Effect::PushNow);
        self.changed(Change::Status);
    }

    fn write_beginning(&mut self, now: &Moment, begins: Beginning) {
        let reason = format!(
            "the store ended with record {} of epoch {}; the hub knew more",
            begins.held.position, begins.held.epoch
        );
        let ruling = Ruling::of_rule(DecisionKind::EpochBegun, "epoch", reason, now);
        self.decide(Ruling { begins: Some(begins), ..ruling });
    }
}
