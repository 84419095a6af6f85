//! The gate for chunks that devices send: who wrote it, which number it has, whose document it is.
//!
//! The order of the checks matters. Size, header, type, length and checksum are looked at before
//! Automerge sees a byte; the writer and the number before the document is loaded; what the chunk
//! does to the document last. What is refused goes into quarantine, with its sender, and the document
//! is read again from what was let in. What is wrong here and not with the chunk is no refusal: it is to come again.

use gatehouse_common::{
    document::{
        ActorKind,
        gate::{ChunkRefusal, Inspected, inspect},
    },
    id::{DocumentId, DocumentKind, Hash32},
    time::UtcMs,
};

use crate::{
    core::projections::Whose,
    store::{
        Device, DeviceKind, Reader, StoreError, Tx,
        documents::{ForeignChunks, NotLetIn},
        quarantine::Refused,
    },
};

/// Why a device may send a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It wrote it itself.
    Own,
    /// The hub sent it to the device once, and has forgotten it.
    Proved,
}

/// What is known of chunks before they are looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent<'a> {
    /// Who sent them.
    pub(super) device: &'a Device,
    /// For which document.
    pub(super) document: &'a DocumentId,
    /// What that is said to be.
    pub(super) kind: DocumentKind,
    /// Why they may come from this device.
    pub(super) standing: Standing,
    /// When they came in.
    pub(super) now: UtcMs,
}

/// Lets chunks of one document in, in their order. Says of each whether it is in, or why not. One that is known is let in
/// and changes nothing. Behind one that is to come again nothing is looked at: it could not be the next of its writer.
pub(super) fn chunks(
    tx: &mut Tx<'_>,
    sent: &Sent<'_>,
    chunks: &[&[u8]],
) -> Result<Vec<Result<(), NotLetIn>>, StoreError> {
    let inspected: Vec<_> = chunks.iter().copied().map(|bytes| (bytes, inspect(bytes))).collect();
    let sound: Vec<&Inspected> = inspected.iter().filter_map(|(_, seen)| seen.as_ref().ok()).collect();
    if sound.len() > 1 && sound.len() == chunks.len() && together(tx, sent, &sound)? {
        return Ok(vec![Ok(()); chunks.len()]);
    }
    let mut outcomes: Vec<Result<(), NotLetIn>> = Vec::with_capacity(chunks.len());
    for (bytes, seen) in &inspected {
        let outcome = match outcomes.last() {
            Some(Err(NotLetIn::NotNow)) => Err(NotLetIn::NotNow),
            _ => alone(tx, sent, bytes, seen)?,
        };
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// Tries chunks together: to read, prove and fold a document once costs little more than to do so for one of them. What
/// the document is, and whether the device may write into it, is asked before the first and after the last. Only where
/// nothing is odd: one writer, each number the next, none known. Else nothing is changed, and each has to be looked at
/// alone.
fn together(tx: &mut Tx<'_>, sent: &Sent<'_>, chunks: &[&Inspected]) -> Result<bool, StoreError> {
    let [first, rest @ ..] = chunks else { return Ok(true) };
    let due = tx.writer_seq(sent.document, &writer(first))? + 1;
    // Each of a run is new, since its number is.
    let is_run = (due..).zip(chunks).all(|(due, next)| next.seq == due && next.actor == first.actor);
    if !is_run || before_loading(tx, sent, first, due)?.is_some() {
        return Ok(false);
    }
    if quarantined(tx, sent, rest.iter().flat_map(|next| &next.deps))?.is_some() {
        return Ok(false);
    }
    Ok(admit(tx, sent, chunks)?.is_ok())
}

fn alone(
    tx: &mut Tx<'_>,
    sent: &Sent<'_>,
    bytes: &[u8],
    inspected: &Result<Inspected, ChunkRefusal>,
) -> Result<Result<(), NotLetIn>, StoreError> {
    let (reason, hash) = match inspected {
        Err(refusal) => (refusal.to_string(), Hash32::of(bytes)),
        Ok(inspected) => {
            let due = tx.writer_seq(sent.document, &writer(inspected))? + 1;
            // What has the number that is due cannot be here yet.
            if inspected.seq != due && tx.has_chunk(sent.document, &inspected.hash)? {
                tx.mend_chunk(sent.document, bytes, sent.now)?;
                return Ok(Ok(()));
            }
            let refused = match before_loading(tx, sent, inspected, due)? {
                Some(reason) => Err(NotLetIn::Refused(reason)),
                None => admit(tx, sent, &[inspected])?,
            };
            match refused {
                Err(NotLetIn::Refused(reason)) => (reason, inspected.hash),
                outcome => return Ok(outcome),
            }
        }
    };
    let (origin, document) = (&sent.device.device, Some(sent.document));
    tx.quarantine_put(&Refused { origin, what: "chunk", document, hash, reason: &reason, bytes }, sent.now)?;
    Ok(Err(NotLetIn::Refused(reason)))
}

fn admit(tx: &mut Tx<'_>, sent: &Sent<'_>, chunks: &[&Inspected]) -> Result<Result<(), NotLetIn>, StoreError> {
    let Sent { device, document, kind, standing, now } = *sent;
    let foreign =
        ForeignChunks { origin: &device.device, document, kind, chunks, is_proved: standing == Standing::Proved };
    tx.admit_chunks(&foreign, |reader, whose| may_write(reader, device, kind, whose), now)
}

fn writer(inspected: &Inspected) -> String {
    String::from_utf8_lossy(&inspected.actor).into_owned()
}

/// Why a change may not come from this device now, or could never be applied. `due` is the next number of its writer.
fn before_loading(tx: &Tx<'_>, sent: &Sent<'_>, inspected: &Inspected, due: u64) -> Result<Option<String>, StoreError> {
    let Sent { device, document, standing, .. } = *sent;
    let kind = match device.kind {
        DeviceKind::Gateway => ActorKind::Site,
        DeviceKind::Vehicle => ActorKind::Vehicle,
    };
    let actor = inspected.actor();
    let own =
        actor.as_ref().is_some_and(|a| a.kind == kind && a.device == device.device && device.sites.contains(&a.site));
    let found = writer(inspected);
    if !own && standing == Standing::Own {
        let refusal = ChunkRefusal::ForeignActor { expected: device.device.to_string(), found };
        return Ok(Some(refusal.to_string()));
    }
    // Others may have given back what came later; the one between is due then. A number is taken once.
    let is_free = match inspected.seq {
        seq if seq == due => true,
        seq if seq < due || standing == Standing::Proved => !tx.has_seq(document, &found, seq)?,
        _ => false,
    };
    if !is_free {
        return Ok(Some(ChunkRefusal::Sequence { expected: due, found: inspected.seq }.to_string()));
    }
    // It could never be applied: what it builds on is not let in.
    let refused = quarantined(tx, sent, &inspected.deps)?;
    Ok(refused.map(|past| format!("builds on change {past}, which was refused")))
}

/// The first of some changes that was refused when this device sent it.
fn quarantined<'a>(
    tx: &Tx<'_>,
    sent: &Sent<'_>,
    changes: impl IntoIterator<Item = &'a Hash32>,
) -> Result<Option<Hash32>, StoreError> {
    for change in changes {
        if tx.is_quarantined(&sent.device.device, sent.document, change)? {
            return Ok(Some(*change));
        }
    }
    Ok(None)
}

/// Whether a document that is somebody's is one of the device's depots or vehicles.
fn may_write(
    reader: &Reader<'_>,
    device: &Device,
    kind: DocumentKind,
    whose: &Whose,
) -> Result<Result<(), String>, StoreError> {
    let allowed = match (kind, device.kind) {
        (DocumentKind::Case, _) => device.sites.contains(&whose.site) && !is_of_a_foreign_order(reader, device, whose)?,
        (DocumentKind::Dispatch, DeviceKind::Gateway) => device.sites.contains(&whose.site),
        (DocumentKind::Dispatch, DeviceKind::Vehicle) => {
            whose.vehicle.as_ref().is_some_and(|vehicle| device.vehicles.contains(vehicle))
        }
    };
    // The answer for a foreign document names nothing of it.
    Ok(if allowed { Ok(()) } else { Err("this document is not one of the device's own".to_owned()) })
}

/// Whether a case is about an order that was never one of the device's depots. The case's id follows from the
/// order's number alone, so whoever came first would keep the order's own depot from its case.
fn is_of_a_foreign_order(reader: &Reader<'_>, device: &Device, case: &Whose) -> Result<bool, StoreError> {
    for order in &case.orders {
        if reader.is_foreign_order(order, &device.sites)? {
            return Ok(true);
        }
    }
    Ok(false)
}
