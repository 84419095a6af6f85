//! How this device stands with the hub: asked once after each start, before anything is told or learnt.
//!
//! A store that was restored from an older copy does not know it. The hub does: it has taken records that the
//! store never numbered, or holds decisions that do not stand in it.

use gatehouse_common::{
    id::DeviceId,
    seal::PublicKey,
    sync::{Stand, Standing, exchange::STANDING_PATH},
};
use tracing::info;

use super::{client::Looks, failure::ExchangeError, line::Line};
use crate::store::{Reader, StoreError};

/// Asks the hub. `None`: it is of a version that cannot say.
pub(super) async fn ask(line: &Line, outbox_epoch: u64) -> Result<Option<Standing>, ExchangeError> {
    match line.exchange::<_, Standing>(STANDING_PATH, &Stand { outbox_epoch }, 0).await {
        Ok(standing) => Ok(Some(standing)),
        Err(ExchangeError::Status { status: 404, .. }) => {
            info!("the hub cannot say what it knows of this device; a restored store would not be noticed");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether the hub knows more of `device` than its store holds.
pub(super) fn outlived(
    looks: &Looks,
    device: &DeviceId,
    hub: &PublicKey,
    standing: &Standing,
) -> Result<bool, StoreError> {
    is_older(&looks.reader(), device, hub, standing)
}

/// Whether `store` is an older copy of the store of `device`: the `hub`, whose key it is, knows more by its `standing`.
/// # Errors
/// [`StoreError`] if the store cannot be read.
pub fn is_older(store: &Reader, device: &DeviceId, hub: &PublicKey, standing: &Standing) -> Result<bool, StoreError> {
    let outbox_epoch = store.outbox_epoch()?;
    // Not the last number that was given out: until it asks, an older copy gives out those that the hub has already.
    if standing.newest_outbox_epoch() > outbox_epoch || standing.taken_through > store.told_at_most()? {
        return Ok(true);
    }
    let Some((head, _)) = standing.newest_head(device, Some(hub)) else { return Ok(false) };
    // What the hub knows of an epoch that ended here was named when the present one began.
    let is_past = u64::from(head.epoch) < outbox_epoch;
    Ok(!is_past && store.decision_hash_at(head.epoch, head.position)? != Some(head.hash))
}
