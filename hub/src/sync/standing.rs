//! What the hub knows of a device: told when it starts, so that a restored store notices that it is one.
//!
//! And what is done when two copies of one device have been at work: the evidence is kept, and a case opened.

use gatehouse_common::{
    case::{self, Axes, CaseType},
    decision::{ChainHead, DecisionRecord},
    id::{DeviceId, Hash32, OrderId, SiteId},
    seal::{PrivateKey, Sealed},
    sync::{Lane, Stand, Standing},
    time::UtcMs,
};

use crate::{
    core::opening::Opening,
    store::{DocumentSays, Reader, StoreError, Tx},
};

/// The name under which this room speaks in documents.
const BY: &str = "rule: one device, one chain";

/// What is known of `device`, its heads signed with the hub's `key`.
/// # Errors
/// [`StoreError::Damaged`] if a row is.
pub fn standing(
    reader: &Reader<'_>,
    key: &PrivateKey,
    device: &DeviceId,
    asked: &Stand,
    now: UtcMs,
) -> Result<Standing, StoreError> {
    let heads = reader.chains_of(device)?;
    // A device whose store was restored takes no lease of before this: none that was granted while the clock was ahead.
    let mut at = now;
    for site in reader.device(device)?.iter().flat_map(|listed| &listed.sites) {
        at = reader.newest_lease_at(site)?.map_or(at, |newest| at.max(newest));
    }
    let seal = |head: &ChainHead| Sealed::new(head, key).map_err(|e| StoreError::Refused(e.to_string()));
    Ok(Standing {
        at,
        taken_through: reader.taken_through(device, asked.outbox_epoch)?,
        outbox_epochs: reader.outbox_epochs(device)?,
        heads: heads.iter().map(seal).collect::<Result<_, _>>()?,
    })
}

/// Why a new epoch of a chain does not go on from what the hub knows; `None` if it does.
pub(super) fn unfounded(
    reader: &Reader<'_>,
    key: &PrivateKey,
    record: &DecisionRecord,
) -> Result<Option<String>, StoreError> {
    let Some(begins) = &record.begins else { return Ok(None) };
    let earlier = reader.chains_of(&record.device)?.into_iter().rfind(|head| head.epoch < record.epoch);
    let named = begins.known.as_ref().map(|sealed| sealed.open::<ChainHead>(&key.public()));
    Ok(match (earlier, named) {
        (None, None) => None,
        // What the device still had to tell of its last epoch may have come in after it asked.
        (Some(earlier), Some(Ok(named))) if earlier == named || earlier == begins.held => None,
        (Some(earlier), _) => Some(format!(
            "epoch {} does not name record {} of epoch {}, the last that was known before it",
            record.epoch, earlier.position, earlier.epoch
        )),
        (None, Some(_)) => Some(format!("epoch {} names records that are not known here", record.epoch)),
    })
}

/// Opens a case of `POLICY_VIOLATION` about the chain of a device. There is one for each place of a chain.
pub(super) fn raise(tx: &mut Tx<'_>, record: &DecisionRecord, summary: String, now: UtcMs) -> Result<(), StoreError> {
    let leg = format!("chain {}/{}", record.epoch, record.position);
    let order = record.order.as_ref().map(|(order, _)| order.clone());
    violation(tx, &record.device, &record.site, leg, order, summary, now).map(|_| ())
}

/// Opens a case of `POLICY_VIOLATION` about a device. There is one for each `leg`; false if there is one already.
pub(super) fn violation(
    tx: &mut Tx<'_>,
    device: &DeviceId,
    site: &SiteId,
    leg: String,
    order: Option<OrderId>,
    summary: String,
    now: UtcMs,
) -> Result<bool, StoreError> {
    let (case_type, subject) = (CaseType::PolicyViolation, device.to_string());
    let id = case::document_id(&case::dedup_key(case_type, &subject, &leg), 1);
    if tx.case_view(&id)?.is_some() {
        return Ok(false);
    }
    let axes = Axes { time: 0, customer: 0, money: 0, safety: 0 };
    let site = site.clone();
    let opening = Opening { case_type, subject, leg, occurrence: 1, site, summary, order, blocks: None, owner: None };
    // No rule of a bundle was asked: the type alone says how grave it is.
    let says = opening.says(axes, None, Hash32::ZERO, now);
    tx.write_entries(&id, DocumentSays::Case(says), BY, Lane::Documents, now).map(|_| true)
}
