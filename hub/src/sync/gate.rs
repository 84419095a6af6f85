//! The gate for chunks that devices send: who wrote it, which number it has, whose document it is.
//!
//! The order of the checks matters. Size, header, type, length and checksum are looked at before
//! Automerge sees a byte; the writer and the number before the document is loaded; what the chunk
//! does to the document last. What is refused goes into quarantine, with its sender, and the document
//! is read again from what was let in.

use gatehouse_common::{
    case::CaseView,
    document::{
        ActorKind,
        gate::{ChunkRefusal, Inspected, inspect},
    },
    id::{DocumentId, DocumentKind, Hash32, OrderId},
    time::UtcMs,
};

use crate::{
    core::projections::{Projection, View},
    store::{Device, DeviceKind, Reader, StoreError, Tx, documents::ForeignChunks, quarantine::Refused},
};

/// Why a device may send a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It wrote it itself.
    Own,
    /// The hub sent it to the device once, and has forgotten it.
    Proved,
}

/// Lets a chunk in, or says why not. A chunk that is known is let in and changes nothing.
pub(super) fn chunk(
    tx: &mut Tx<'_>,
    device: &Device,
    document: &DocumentId,
    kind: DocumentKind,
    bytes: &[u8],
    standing: Standing,
    now: UtcMs,
) -> Result<Result<(), String>, StoreError> {
    let (reason, hash) = match inspect(bytes) {
        Err(refusal) => (refusal.to_string(), Hash32::of(bytes)),
        Ok(inspected) => {
            if tx.has_chunk(document, &inspected.hash)? {
                tx.mend_chunk(document, bytes, now)?;
                return Ok(Ok(()));
            }
            let refused = match before_loading(tx, device, document, &inspected, standing)? {
                Some(reason) => Err(reason),
                None => {
                    let (origin, is_proved) = (&device.device, standing == Standing::Proved);
                    let foreign = ForeignChunks { origin, document, kind, chunks: &[(bytes, &inspected)], is_proved };
                    tx.admit_chunks(&foreign, |reader, projection| may_write(reader, device, projection), now)?
                }
            };
            match refused {
                Ok(()) => return Ok(Ok(())),
                Err(reason) => (reason, inspected.hash),
            }
        }
    };
    let refused =
        Refused { origin: &device.device, what: "chunk", document: Some(document), hash, reason: &reason, bytes };
    tx.quarantine_put(&refused, now)?;
    Ok(Err(reason))
}

/// Lets in what a device wrote itself into one document, in its order. Says of each whether it is in, or why not.
pub(super) fn chunks(
    tx: &mut Tx<'_>,
    device: &Device,
    document: &DocumentId,
    kind: DocumentKind,
    chunks: &[&[u8]],
    now: UtcMs,
) -> Result<Vec<Result<(), String>>, StoreError> {
    if chunks.len() > 1 && together(tx, device, document, kind, chunks, now)? {
        return Ok(vec![Ok(()); chunks.len()]);
    }
    chunks.iter().map(|bytes| chunk(tx, device, document, kind, bytes, Standing::Own, now)).collect()
}

/// Tries chunks together: to read, prove and fold a document once costs little more than to do so for one of them. What
/// the document is, and whether the device may write into it, is asked after the last. Only where nothing is odd: one
/// writer, each number the next, none known. Else nothing is changed, and each has to be looked at alone.
fn together(
    tx: &mut Tx<'_>,
    device: &Device,
    document: &DocumentId,
    kind: DocumentKind,
    chunks: &[&[u8]],
    now: UtcMs,
) -> Result<bool, StoreError> {
    let inspected = chunks.iter().map(|bytes| inspect(bytes)).collect::<Result<Vec<Inspected>, _>>();
    let Ok(inspected) = inspected else { return Ok(false) };
    let Some(first) = inspected.first() else { return Ok(true) };
    let is_next = tx.writer_seq(document, &String::from_utf8_lossy(&first.actor))? + 1 == first.seq;
    if !is_next || before_loading(tx, device, document, first, Standing::Own)?.is_some() {
        return Ok(false);
    }
    // Each of a run is new, since its number is.
    let is_run = (first.seq..).zip(&inspected).all(|(seq, next)| next.seq == seq && next.actor == first.actor);
    if !is_run || quarantined(tx, document, inspected.iter().skip(1).flat_map(|next| &next.deps))?.is_some() {
        return Ok(false);
    }
    let run: Vec<(&[u8], &Inspected)> = chunks.iter().copied().zip(&inspected).collect();
    let foreign = ForeignChunks { origin: &device.device, document, kind, chunks: &run, is_proved: false };
    Ok(tx.admit_chunks(&foreign, |reader, projection| may_write(reader, device, projection), now)?.is_ok())
}

fn before_loading(
    tx: &Tx<'_>,
    device: &Device,
    document: &DocumentId,
    inspected: &Inspected,
    standing: Standing,
) -> Result<Option<String>, StoreError> {
    let kind = match device.kind {
        DeviceKind::Gateway => ActorKind::Site,
        DeviceKind::Vehicle => ActorKind::Vehicle,
    };
    let actor = inspected.actor();
    let own =
        actor.as_ref().is_some_and(|a| a.kind == kind && a.device == device.device && device.sites.contains(&a.site));
    let found = String::from_utf8_lossy(&inspected.actor).into_owned();
    if !own && standing == Standing::Own {
        let refusal = ChunkRefusal::ForeignActor { expected: device.device.to_string(), found };
        return Ok(Some(refusal.to_string()));
    }
    let expected = tx.writer_seq(document, &found)? + 1;
    // Others may have given back what came later; the one between is due then. A number is taken once.
    let is_due = inspected.seq <= expected || standing == Standing::Proved;
    if !is_due || tx.has_seq(document, &found, inspected.seq)? {
        return Ok(Some(ChunkRefusal::Sequence { expected, found: inspected.seq }.to_string()));
    }
    // It could never be applied: what it builds on is not let in.
    let refused = quarantined(tx, document, &inspected.deps)?;
    Ok(refused.map(|past| format!("builds on change {past}, which was refused")))
}

/// The first of some changes that was refused.
fn quarantined<'a>(
    tx: &Tx<'_>,
    document: &DocumentId,
    changes: impl IntoIterator<Item = &'a Hash32>,
) -> Result<Option<Hash32>, StoreError> {
    for change in changes {
        if tx.is_quarantined(document, change)? {
            return Ok(Some(*change));
        }
    }
    Ok(None)
}

/// Whether the document, as it now stands, belongs to the device's depots or vehicles.
fn may_write(reader: &Reader<'_>, device: &Device, projection: &Projection) -> Result<Result<(), String>, StoreError> {
    let allowed = match &projection.view {
        View::Case(Some(view)) => device.sites.contains(&view.site) && !is_of_a_foreign_order(reader, device, view)?,
        View::Dispatch(Some(view)) => match device.kind {
            DeviceKind::Gateway => device.sites.contains(&view.site),
            DeviceKind::Vehicle => device.vehicles.contains(&view.vehicle),
        },
        View::Case(None) | View::Dispatch(None) => true,
    };
    // The answer for a foreign document names nothing of it.
    Ok(if allowed { Ok(()) } else { Err("this document is not one of the device's own".to_owned()) })
}

/// Whether a case is about an order that was never one of the device's depots. The case's id follows from the
/// order's number alone, so whoever came first would keep the order's own depot from its case.
fn is_of_a_foreign_order(reader: &Reader<'_>, device: &Device, case: &CaseView) -> Result<bool, StoreError> {
    let named = OrderId::new(case.subject.as_str()).ok();
    for order in case.order.iter().chain(&named) {
        if reader.is_foreign_order(order, &device.sites)? {
            return Ok(true);
        }
    }
    Ok(false)
}
