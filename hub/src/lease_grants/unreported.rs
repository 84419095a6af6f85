//! Leases that ran out and of which nobody said what was used: what they may have used stays reserved, until their depot
//! states it or a person writes it off. Whoever stays away for long is put to a person, once.

use gatehouse_common::{
    id::{DeviceId, LeaseId, SiteId},
    time::UtcMs,
};

use crate::{
    core::leases::{LeaseRow, is_overdue, written_off},
    store::{AuditEntry, StoreError, Tx},
};

/// Puts every lease to a person that ran out `after_ms` ago and whose use nobody stated. Returns those that are new.
/// # Errors
/// The store's.
pub fn ask(tx: &mut Tx<'_>, after_ms: i64, now: UtcMs) -> Result<Vec<LeaseRow>, StoreError> {
    let mut asked = Vec::new();
    for row in tx.leases_that_weigh()?.into_iter().filter(|row| is_overdue(row, after_ms, now)) {
        let row = LeaseRow { asked_at: Some(now), ..row };
        tx.put_lease(&row, now)?;
        tx.audit(&AuditEntry {
            at: now,
            actor: tx.hub_actor().device.to_string(),
            action: "lease unreported".to_owned(),
            subject: row.lease.id.to_string(),
            detail: format!(
                "depot {} has not stated what it used of it, which ran out at {}: all of it stays reserved until it does, or a \
                 person writes it off",
                row.lease.site, row.lease.expires_at
            ),
        })?;
        asked.push(row);
    }
    Ok(asked)
}

/// A person writes off what of a lease nobody reported, after its end: its depot stays away. Returns the lease.
/// # Errors
/// [`StoreError::Refused`] if there is no such lease, or it is not to be written off.
pub fn write_off(tx: &mut Tx<'_>, id: &LeaseId, by: &str, reason: &str, now: UtcMs) -> Result<LeaseRow, StoreError> {
    let row = tx.lease(id)?.ok_or_else(|| StoreError::Refused(format!("there is no lease {id}")))?;
    let off = written_off(&row, used_until(tx, &row)?, now)
        .map_err(|why| StoreError::Refused(format!("lease {id} stays: {why}")))?;
    tx.put_lease(&off, now)?;
    tx.audit(&AuditEntry {
        at: now,
        actor: by.to_owned(),
        action: "lease written off".to_owned(),
        subject: id.to_string(),
        detail: reason.to_owned(),
    })?;
    Ok(off)
}

/// Until when its depot may use a lease, as far as can be known: after a restore, whether it had got more time is
/// forgotten until the depot tells.
fn used_until(tx: &Tx<'_>, row: &LeaseRow) -> Result<UtcMs, StoreError> {
    let end = row.lease.expires_at;
    let Some(restored) = tx.restored_at()? else { return Ok(end) };
    let is_told = tx.untold_leases()?.iter().all(|(site, _)| *site != row.lease.site);
    let lasts = i64::try_from(row.lease.lasts_ms).unwrap_or(i64::MAX);
    Ok(if is_told { end } else { end.max(restored.plus(lasts)) })
}

/// A person answers for it that a depot which does not come back after a restore holds no lease that this store has
/// forgotten, at none of its gateways, so that others get leases again.
/// # Errors
/// [`StoreError::Refused`] if nothing of it has to be told.
pub fn write_off_untold(tx: &mut Tx<'_>, site: &SiteId, by: &str, reason: &str, now: UtcMs) -> Result<(), StoreError> {
    if tx.untold_leases()?.iter().all(|(untold, _)| untold != site) {
        return Err(StoreError::Refused(format!("of depot {site} nothing has to be told")));
    }
    tx.leases_are_answered_for(site)?;
    tx.audit(&forgotten(site.to_string(), by, reason, now))
}

/// [`write_off_untold`] for one gateway: others of its depots are still waited for. What it tells when it comes back all
/// the same weighs.
/// # Errors
/// [`StoreError::Refused`] if it has nothing to tell.
pub fn write_off_untold_of(
    tx: &mut Tx<'_>,
    gateway: &DeviceId,
    by: &str,
    reason: &str,
    now: UtcMs,
) -> Result<(), StoreError> {
    if tx.untold_leases()?.iter().all(|(_, untold)| untold != gateway) {
        return Err(StoreError::Refused(format!("of gateway {gateway} nothing has to be told")));
    }
    tx.leases_are_told(gateway)?;
    tx.audit(&forgotten(gateway.to_string(), by, reason, now))
}

fn forgotten(subject: String, by: &str, reason: &str, now: UtcMs) -> AuditEntry {
    AuditEntry {
        at: now,
        actor: by.to_owned(),
        action: "forgotten leases written off".to_owned(),
        subject,
        detail: reason.to_owned(),
    }
}
