//! Takes what a device pushes.
//!
//! In: a batch of its outbox. Out: how far it is taken and what was not let in, once committed. A push
//! that comes again changes nothing and gets the same answer. A change whose document cannot be read here is neither taken
//! nor refused: the outbox is taken up to there, and comes again from there on.

use std::collections::BTreeMap;

use gatehouse_common::{
    decision::{ChainHead, DecisionRecord},
    fact::{FactKey, Report, Source},
    id::{DeviceId, DocumentId, DocumentKind, Hash32, SiteId},
    seal::{PrivateKey, Sealed},
    sync::{Downward, Lane, Push, PushReply, Rejection, Upward, message::DeviceStatus},
    time::{Moment, UtcMs},
};
use tracing::warn;

use super::{gate, standing};
use crate::store::{
    AuditEntry, Device, DeviceKind, Scope, StoreError, Tx, documents::NotLetIn, outboxes::LIVES_MAX,
    quarantine::Refused,
};

/// What became of a push, or of a part of one.
#[derive(Debug)]
pub(super) struct Taken {
    /// What the device is answered.
    pub(super) reply: PushReply,
    /// How many records were refused now; those that were refused before are in the answer alone.
    pub(super) refused: usize,
    /// Whether what comes behind it may be taken: else it was sent back, and the rest with it.
    pub(super) goes_on: bool,
}

/// Takes `push` of `device` in the transaction `tx`. The answer may be sent once that is committed.
/// `key` is the hub's, for the receipts of chains.
/// # Errors
/// [`StoreError::Refused`] if the device is not on the list; else the store's own errors.
pub fn handle_push(
    tx: &mut Tx<'_>,
    key: &PrivateKey,
    device: &DeviceId,
    push: &Push,
    now: &Moment,
) -> Result<PushReply, StoreError> {
    let begins_at = push.records.first().map_or(0, |(number, _)| *number);
    take(tx, key, device, push, begins_at, now).map(|taken| taken.reply)
}

/// [`handle_push`] of one part, and what the next part of the same push has to know. `begins_at` is the first number of the
/// whole push.
pub(super) fn take(
    tx: &mut Tx<'_>,
    key: &PrivateKey,
    device: &DeviceId,
    push: &Push,
    begins_at: u64,
    now: &Moment,
) -> Result<Taken, StoreError> {
    let known = tx.device(device)?;
    let device = known.ok_or_else(|| StoreError::Refused(format!("device {device} is not on the list")))?;
    let mut taking = Taking { device: &device, key, now, heads: BTreeMap::new(), status: None };
    let mut taken = tx.taken_through(&device.device, push.outbox_epoch)?;
    let is_new = taken == 0 && begins_a_life(tx, &device.device, push.outbox_epoch)?;
    let first = push.records.first().map_or(0, |(number, _)| *number);
    let passes_over = first > taken + 1;
    if !tx.has_begun(&device.device)? || (passes_over && tx.waits_for_gap(&device.device, taken)?) {
        let through = first.saturating_sub(1).min(taken);
        let reply = PushReply { taken_through: through, rejected: Vec::new(), kept_through: 0 };
        return Ok(Taken { reply, refused: 0, goes_on: false });
    }
    let mut fresh = Vec::new();
    for (number, record) in &push.records {
        // Taken before, or out of order: an outbox only rises.
        if *number <= taken {
            taking.mend(tx, record)?;
            continue;
        }
        fresh.push((*number, record));
        taken = *number;
    }
    let (refusals, sent_back) = taking.take(tx, &fresh)?;
    if let Some(number) = sent_back {
        // What is behind it comes again with it, and is recognised.
        taken = number.saturating_sub(1);
    }
    let refused = refusals.len();
    for Rejection { number, reason } in refusals {
        warn!(device.id = %device.device, number, reason, "record {number} of {} was not let in: {reason}", device.device);
        tx.keep_rejection(&device.device, push.outbox_epoch, &Rejection { number, reason })?;
    }
    let Taking { heads, status, .. } = taking;
    tx.set_taken_through(&device.device, push.outbox_epoch, taken)?;
    if is_new {
        tx.forget_old_lives(&device.device)?;
    }
    tx.device_seen(&device.device, status.as_deref(), now.wall)?;
    for (site, head) in heads.into_values() {
        tx.set_chain(&head)?;
        anchor(tx, key, &site, &head, now.wall)?;
    }
    let numbers = || push.records.iter().map(|(number, _)| *number);
    let rejected = match (numbers().min(), numbers().max()) {
        (Some(first), Some(last)) => tx.rejections(&device.device, push.outbox_epoch, first, last)?,
        _ => Vec::new(),
    };
    tx.mark_day(now.wall)?;
    let kept = tx.kept(&device.device, push.outbox_epoch, now.wall)?;
    if refused > 0 {
        // What comes before this push the device offers no more, so it has heard of it. Whether the answer to this one, or
        // to an earlier part of it, gets there nobody knows yet.
        let heard = begins_at.saturating_sub(1);
        tx.forget_rejections(&device.device, push.outbox_epoch, kept.outbox.min(heard))?;
    }
    // Never beyond what was sent now: an older push that comes late must not seem to take newer records.
    let taken_through = numbers().max().map_or(taken, |last| last.min(taken));
    let reply = PushReply { taken_through, rejected, kept_through: kept.outbox.min(taken_through) };
    Ok(Taken { reply, refused, goes_on: sent_back.is_none() })
}

/// Whether nothing is known yet of a life of an outbox.
fn begins_a_life(tx: &Tx<'_>, device: &DeviceId, life: u64) -> Result<bool, StoreError> {
    let lives = tx.outbox_epochs(device)?;
    if lives.contains(&life) {
        return Ok(false);
    }
    if lives.len() >= LIVES_MAX && lives.iter().all(|known| *known > life) {
        return Err(StoreError::Refused(format!("life {life} of the outbox of {device} ended long ago")));
    }
    Ok(true)
}

/// Receipts a chain: a tail that is cut off later shows against it.
fn anchor(tx: &mut Tx<'_>, key: &PrivateKey, site: &SiteId, head: &ChainHead, now: UtcMs) -> Result<(), StoreError> {
    let sealed = Sealed::new(head, key).map_err(|e| StoreError::Refused(e.to_string()))?;
    let subject = format!("anchor/{}/{}", head.device, head.epoch);
    tx.publish_newest(&Scope::Site(site.clone()), Lane::Rest, &Downward::Anchor(sealed), &subject, now)?;
    Ok(())
}

struct Taking<'a> {
    device: &'a Device,
    key: &'a PrivateKey,
    now: &'a Moment,
    /// Chains that went on in this push, by epoch.
    heads: BTreeMap<u32, (SiteId, ChainHead)>,
    status: Option<String>,
}

impl Taking<'_> {
    /// Takes records in their order, but the changes of one document together, in the place of the last of them. Gives
    /// those that were not let in, and the first that is to come again: of what is behind that, no refusal is told yet.
    fn take(
        &mut self,
        tx: &mut Tx<'_>,
        records: &[(u64, &Upward)],
    ) -> Result<(Vec<Rejection>, Option<u64>), StoreError> {
        let mut of_documents: BTreeMap<(DocumentId, DocumentKind), Vec<(u64, &[u8])>> = BTreeMap::new();
        for (number, record) in records {
            if let Upward::Chunk { document, kind, bytes } = record {
                of_documents.entry((*document, *kind)).or_default().push((*number, bytes));
            }
        }
        let (mut rejected, mut sent_back) = (Vec::new(), None);
        let mut note = |number: u64, outcome: Result<(), NotLetIn>| match outcome {
            Ok(()) => {}
            Err(NotLetIn::Refused(reason)) => rejected.push(Rejection { number, reason }),
            Err(NotLetIn::NotNow) => sent_back = Some(sent_back.map_or(number, |first: u64| first.min(number))),
        };
        for (number, record) in records {
            match record {
                Upward::Chunk { document, kind, .. } => {
                    let of_document = &of_documents[&(*document, *kind)];
                    if of_document.last().is_some_and(|(last, _)| last == number) {
                        let chunks: Vec<&[u8]> = of_document.iter().map(|(_, bytes)| *bytes).collect();
                        let outcomes = self.chunks(tx, document, *kind, &chunks)?;
                        of_document.iter().zip(outcomes).for_each(|((number, _), outcome)| note(*number, outcome));
                    }
                }
                Upward::Decision(sealed) => {
                    let outcome = self.decision(tx, sealed)?;
                    note(*number, self.keep_refused(tx, "decision", outcome, sealed.body.as_bytes())?);
                }
                Upward::Fact(json) => {
                    let outcome = self.fact(tx, json)?;
                    note(*number, self.keep_refused(tx, "fact", outcome, json.as_bytes())?);
                }
                Upward::Status(json) => {
                    let outcome = match serde_json::from_str::<DeviceStatus>(json) {
                        Ok(status) => self.status(tx, json, status)?,
                        Err(e) => Err(format!("status cannot be read: {e}")),
                    };
                    note(*number, self.keep_refused(tx, "status", outcome, json.as_bytes())?);
                }
            }
        }
        // It comes again as well, and is refused then.
        rejected.retain(|refused: &Rejection| sent_back.is_none_or(|first| refused.number < first));
        Ok((rejected, sent_back))
    }

    fn chunks(
        &self,
        tx: &mut Tx<'_>,
        document: &DocumentId,
        kind: DocumentKind,
        chunks: &[&[u8]],
    ) -> Result<Vec<Result<(), NotLetIn>>, StoreError> {
        let (device, standing, now) = (self.device, gate::Standing::Own, self.now.wall);
        gate::chunks(tx, &gate::Sent { device, document, kind, standing, now }, chunks)
    }

    /// Keeps how the device is, and where its vehicle was apart from it.
    fn status(
        &mut self,
        tx: &mut Tx<'_>,
        json: &str,
        mut status: DeviceStatus,
    ) -> Result<Result<(), String>, StoreError> {
        let tracks = std::mem::take(&mut status.tracks);
        if tracks.is_empty() {
            self.status = Some(json.to_owned());
            return Ok(Ok(()));
        }
        if self.device.kind != DeviceKind::Vehicle {
            return Ok(Err("only a vehicle unit tells where it was".to_owned()));
        }
        for track in &tracks {
            tx.put_track(&self.device.device, track, self.now.wall)?;
        }
        self.status = serde_json::to_string(&status).ok();
        Ok(Ok(()))
    }

    /// Keeps what was refused; gives the outcome back.
    fn keep_refused(
        &self,
        tx: &mut Tx<'_>,
        what: &str,
        outcome: Result<(), String>,
        bytes: &[u8],
    ) -> Result<Result<(), NotLetIn>, StoreError> {
        if let Err(reason) = &outcome {
            let origin = &self.device.device;
            let refused = Refused { origin, what, document: None, hash: Hash32::of(bytes), reason, bytes };
            tx.quarantine_put(&refused, self.now.wall)?;
        }
        Ok(outcome.map_err(NotLetIn::Refused))
    }

    /// What was taken before may be what is damaged here.
    fn mend(&self, tx: &mut Tx<'_>, record: &Upward) -> Result<(), StoreError> {
        match record {
            Upward::Chunk { document, bytes, .. } => tx.mend_chunk(document, bytes, self.now.wall).map(|_| ()),
            Upward::Decision(sealed) => tx.mend_decision(&self.device.device, sealed, self.now.wall),
            Upward::Fact(_) | Upward::Status(_) => Ok(()),
        }
    }

    fn decision(&mut self, tx: &mut Tx<'_>, sealed: &Sealed) -> Result<Result<(), String>, StoreError> {
        if self.device.kind == DeviceKind::Vehicle {
            return Ok(Err("a vehicle unit makes no decisions".to_owned()));
        }
        let key = &self.device.public_key;
        let said: DecisionRecord = match sealed.open(key) {
            Ok(record) => record,
            Err(e) => return Ok(Err(e.to_string())),
        };
        if said.device != self.device.device || !self.device.sites.contains(&said.site) {
            return Ok(Err("decision of another device or depot".to_owned()));
        }
        let mut head = match self.heads.get(&said.epoch) {
            Some((_, head)) => head.clone(),
            None => tx.chain(&said.device, said.epoch)?,
        };
        if said.position >= 1 && said.position <= head.position {
            if tx.decision_hash_at(&said.device, said.epoch, said.position)? == Some(sealed.hash()) {
                tx.mend_decision(&said.device, sealed, self.now.wall)?;
                return Ok(Ok(()));
            }
            let reason = format!("a second record for position {} of chain {}", said.position, said.epoch);
            if tx.put_fork(&said, sealed, self.now.wall)? {
                let summary = format!(
                    "{} sent {reason}: two copies of it are or were at work; the second record is kept and not obeyed",
                    said.device
                );
                standing::raise(tx, &said, summary, self.now.wall)?;
                tx.audit(&AuditEntry {
                    at: self.now.wall,
                    actor: said.device.to_string(),
                    action: "decision chain forked".to_owned(),
                    subject: said.id.to_string(),
                    detail: format!("{reason}: {}", sealed.hash()),
                })?;
            }
            return Ok(Err(reason));
        }
        let record = match head.follow(sealed, key) {
            Ok(record) => record,
            Err(e) => return Ok(Err(e.to_string())),
        };
        if let Some(why) = standing::unfounded(tx, self.key, &record)? {
            standing::raise(tx, &record, format!("{}: {why}", record.device), self.now.wall)?;
        }
        tx.put_decision(&record, sealed, self.now.wall)?;
        self.heads.insert(record.epoch, (record.site, head));
        Ok(Ok(()))
    }

    fn fact(&self, tx: &mut Tx<'_>, json: &str) -> Result<Result<(), String>, StoreError> {
        let report: Report = match serde_json::from_str(json) {
            Ok(report) => report,
            Err(e) => return Ok(Err(format!("fact cannot be read: {e}"))),
        };
        if !matches!(report.source, Source::Depot | Source::Vehicle) {
            return Ok(Err(format!("a device cannot speak for the {}", report.source.as_str())));
        }
        let order = match &report.key {
            FactKey::Dock { .. } => None,
            FactKey::Documents { order } | FactKey::Cargo { order, .. } => Some(order),
            _ => return Ok(Err("a device cannot say this".to_owned())),
        };
        if let Some(order) = order
            && tx.order(order)?.is_some_and(|o| !self.device.sites.contains(&o.site))
        {
            return Ok(Err("fact about an order of another depot".to_owned()));
        }
        match tx.put_device_fact(&report, &self.device.device, self.now) {
            Ok(_) => Ok(Ok(())),
            // One record that is refused must not keep back what else is told.
            Err(StoreError::Refused(why)) => Ok(Err(why)),
            Err(e) => Err(e),
        }
    }
}
