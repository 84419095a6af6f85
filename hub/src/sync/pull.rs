//! Answers what is new for a device.
//!
//! In: its cursor. Out: a page of its scopes' feeds, the most urgent lane first. Nothing of another
//! scope is ever read for it.

use std::collections::BTreeSet;

use gatehouse_common::{
    id::{DeviceId, Hash32},
    lease::Lease,
    seal::{PrivateKey, Sealed},
    sync::{Cursor, Downward, HubPage, Lane, PageDigest, Pull, PullReply, page::root},
    time::UtcMs,
};

use crate::store::{Device, FeedRow, Reader, Store, StoreError};

/// Rows read at once.
const READ: usize = 256;

/// By what a page is signed, for devices whose protocol knows of it.
#[derive(Debug, Clone)]
pub struct Attest {
    /// The hub's key.
    pub key: PrivateKey,
    /// This run of the hub.
    pub run: u32,
    /// The hub's time.
    pub now: UtcMs,
}

fn known(reader: &Reader<'_>, device: &DeviceId) -> Result<Device, StoreError> {
    reader.device(device)?.ok_or_else(|| StoreError::Refused(format!("device {device} is not on the list")))
}

/// The page for `device` after the cursor of `pull`, as things are now; it may be empty.
///
/// A device's own chunks are left out, unless it begins anew: see [`answer`].
/// # Errors
/// [`StoreError::Refused`] if the device is not on the list; [`StoreError::Damaged`] if a row is.
pub fn handle_pull(
    reader: &Reader<'_>,
    device: &DeviceId,
    pull: &Pull,
    attest: Option<&Attest>,
) -> Result<PullReply, StoreError> {
    let device = known(reader, device)?;
    if attest.is_none() && reader.pruned_through(&device.scopes())? > pull.cursor.positions[Lane::Documents.index()] {
        let why = format!("{} cannot compare what it holds, and the feed no longer has all: upgrade it", device.device);
        return Err(StoreError::Refused(why));
    }
    let page = match page(reader, &device, pull)? {
        Ok(page) => page,
        Err(other) => return Ok(other),
    };
    match attest {
        Some(attest) => Ok(attested(reader, &device, pull, page, attest)?.finish()),
        None => Ok(page.finish()),
    }
}

/// Signs a page that has something, and the first after a reconnect: by that the device sees whether the hub ran on.
fn attested(
    reader: &Reader<'_>,
    device: &Device,
    pull: &Pull,
    mut page: HubPage,
    attest: &Attest,
) -> Result<HubPage, StoreError> {
    if !page.is_empty() || pull.recalls_only {
        let marks = page.marks();
        page.attest(attest.digest(reader, &device.device, &marks)?);
    }
    Ok(page)
}

impl Attest {
    /// What is signed of a page with these marks for a device.
    pub(super) fn digest(
        &self,
        reader: &Reader<'_>,
        device: &DeviceId,
        marks: &[Hash32],
    ) -> Result<Sealed, StoreError> {
        let digest = PageDigest {
            device: device.clone(),
            ledger: reader.ledger_epoch()?,
            run: self.run,
            head: reader.feed_head()?,
            backed_up: reader.kept_feed(self.now)?,
            changes: root(marks),
        };
        Sealed::new(&digest, &self.key).map_err(|e| StoreError::Refused(e.to_string()))
    }
}

fn page(reader: &Reader<'_>, device: &Device, pull: &Pull) -> Result<Result<HubPage, PullReply>, StoreError> {
    let mut page = match HubPage::begin(pull, reader.ledger_epoch()?) {
        Ok(page) => page,
        Err(other) => return Ok(Err(other)),
    };
    let has_new_scope = reader.begins_again(&device.device)? && pull.cursor != Cursor::start(pull.cursor.epoch);
    if has_new_scope || reader.is_behind_pruned(device, &pull.cursor)? {
        return Ok(Err(PullReply::OtherEpoch(pull.cursor.epoch)));
    }
    let scopes = device.scopes();
    let refill_through = reader.refill_through(&device.device)?;
    let mut seen = BTreeSet::new();
    for (lane, mut after) in HubPage::lanes(pull) {
        loop {
            let stretch = reader.feed(&scopes, lane, after, READ)?;
            for row in stretch.rows {
                let is_not_for_it =
                    is_own(&row, &device.device, refill_through) || is_anothers_lease(&row, &device.device);
                if is_not_for_it || !seen.insert(row.ledger) {
                    page.skip(lane, row.item.position);
                } else if !page.offer(row.item, row.weight) {
                    return Ok(Ok(page));
                }
            }
            let Some(last) = stretch.last else { break };
            // What cannot be read is passed over; made whole, it comes again behind.
            page.skip(lane, last);
            if stretch.is_end {
                break;
            }
            after = last;
        }
    }
    Ok(Ok(page))
}

fn is_own(row: &FeedRow, device: &DeviceId, refill_through: u64) -> bool {
    row.origin.as_ref() == Some(device) && row.item.position > refill_through
}

/// A lease of another gateway of the depot. Agents pass over it by themselves, but for those of before leases were for one
/// gateway: two of them would use each other's.
fn is_anothers_lease(row: &FeedRow, device: &DeviceId) -> bool {
    let Downward::Lease(sealed) = &row.item.says else { return false };
    sealed.peek::<Lease>().is_ok_and(|lease| !lease.is_for(device))
}

/// Answers a pull as things are now. A device whose cursor stands at the start of the documents' lane is
/// new, or was restored: up to the feed's present end it also gets what it once sent itself.
/// # Errors
/// As [`handle_pull`].
pub fn answer(store: &Store, device: &DeviceId, pull: &Pull, attest: Option<&Attest>) -> Result<PullReply, StoreError> {
    let (begins, has_begun_again, stands) = store.read_now(|r| {
        let at_start = pull.cursor.positions[Lane::Documents.index()] == 0 && !pull.recalls_only;
        let refills = at_start && r.has_own_chunks_after_refill(&known(r, device)?)?;
        let is_back = pull.cursor == Cursor::start(pull.cursor.epoch) && r.begins_again(device)?;
        let stands = pull.cursor.epoch == r.ledger_epoch()? && !r.has_begun(device)?;
        Ok((refills, is_back, stands))
    })?;
    if begins || has_begun_again || stands {
        let device = device.clone();
        store.write_now(move |tx| {
            if stands {
                tx.has_begun_in_it(&device)?;
            }
            if has_begun_again {
                tx.has_begun_again(&device)?;
            }
            if begins {
                let head = tx.feed_end();
                tx.set_refill_through(&device, head)?;
            }
            Ok(())
        })?;
    }
    store.read_now(|r| handle_pull(r, device, pull, attest))
}

/// Whether an answer has something to tell, so that it need not wait.
#[must_use]
pub fn has_news(reply: &PullReply) -> bool {
    match reply {
        PullReply::Page { items, .. } => items.iter().any(|item| !matches!(item.says, Downward::Page(_))),
        PullReply::OtherEpoch(_) => true,
    }
}
