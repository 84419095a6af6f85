//! Answers what is new for a device.
//!
//! In: its cursor. Out: a page of its scopes' feeds, the most urgent lane first. Nothing of another
//! scope is ever read for it.

use std::collections::BTreeSet;

use gatehouse_common::{
    id::DeviceId,
    sync::{Cursor, HubPage, Lane, Pull, PullReply},
};

use crate::store::{Device, FeedRow, Reader, Store, StoreError};

/// Rows read at once.
const READ: usize = 256;

fn known(reader: &Reader<'_>, device: &DeviceId) -> Result<Device, StoreError> {
    reader.device(device)?.ok_or_else(|| StoreError::Refused(format!("device {device} is not on the list")))
}

/// The page for `device` after the cursor of `pull`, as things are now; it may be empty.
///
/// A device's own chunks are left out, unless it begins anew: see [`answer`].
/// # Errors
/// [`StoreError::Refused`] if the device is not on the list; [`StoreError::Damaged`] if a row is.
pub fn handle_pull(reader: &Reader<'_>, device: &DeviceId, pull: &Pull) -> Result<PullReply, StoreError> {
    let device = known(reader, device)?;
    let mut page = match HubPage::begin(pull, reader.ledger_epoch()?) {
        Ok(page) => page,
        Err(other) => return Ok(other),
    };
    if reader.begins_again(&device.device)? && pull.cursor != Cursor::start(pull.cursor.epoch) {
        return Ok(PullReply::OtherEpoch(pull.cursor.epoch));
    }
    let scopes = device.scopes();
    let refill_through = reader.refill_through(&device.device)?;
    let mut seen = BTreeSet::new();
    for (lane, mut after) in HubPage::lanes(pull) {
        loop {
            let rows = reader.feed(&scopes, lane, after, READ)?;
            let (last, full) = (rows.last().map(|r| r.item.position), rows.len() < READ);
            for row in rows {
                if is_own(&row, &device.device, refill_through) || !seen.insert(row.ledger) {
                    page.skip(lane, row.item.position);
                } else if !page.offer(row.item, row.weight) {
                    return Ok(page.finish());
                }
            }
            match last {
                Some(last) if !full => after = last,
                _ => break,
            }
        }
    }
    Ok(page.finish())
}

fn is_own(row: &FeedRow, device: &DeviceId, refill_through: u64) -> bool {
    row.origin.as_ref() == Some(device) && row.item.position > refill_through
}

/// Answers a pull as things are now. A device whose cursor stands at the start of the documents' lane is
/// new, or was restored: up to the feed's present end it also gets what it once sent itself.
/// # Errors
/// As [`handle_pull`].
pub fn answer(store: &Store, device: &DeviceId, pull: &Pull) -> Result<PullReply, StoreError> {
    let (begins, has_begun_again) = store.read_now(|r| {
        let at_start = pull.cursor.positions[Lane::Documents.index()] == 0 && !pull.recalls_only;
        let refills = at_start && r.has_own_chunks_after_refill(&known(r, device)?)?;
        let is_back = pull.cursor == Cursor::start(pull.cursor.epoch) && r.begins_again(device)?;
        Ok((refills, is_back))
    })?;
    if begins || has_begun_again {
        let device = device.clone();
        store.write_now(move |tx| {
            if has_begun_again {
                tx.has_begun_again(&device)?;
            }
            if begins {
                let head = tx.feed_head()?;
                tx.set_refill_through(&device, head)?;
            }
            Ok(())
        })?;
    }
    store.read_now(|r| handle_pull(r, device, pull))
}

/// Whether an answer has something to tell, so that it need not wait.
#[must_use]
pub fn has_news(reply: &PullReply) -> bool {
    match reply {
        PullReply::Page { items, .. } => !items.is_empty(),
        PullReply::OtherEpoch(_) => true,
    }
}
