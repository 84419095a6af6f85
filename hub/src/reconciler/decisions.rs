//! Decisions that came in: one recon item each, and the charge to its lease.

use std::collections::BTreeSet;

use gatehouse_common::{
    decision::{DecisionKind, DecisionRecord},
    id::OrderId,
    time::UtcMs,
};
use tracing::warn;

use crate::{
    clock::Clock,
    core::{
        leases::LeaseState,
        reconcile::{Outcome, ReconItem},
    },
    store::{Reader, Store, StoreError, Tx},
};

const CURSOR: &str = "reconcile.decisions";
const BATCH: usize = 200;

/// Opens an item for each decision that came in, and charges it to its lease. Returns their orders.
pub(super) async fn take_decisions(store: &Store, clock: &Clock) -> Result<BTreeSet<OrderId>, StoreError> {
    let mut orders = BTreeSet::new();
    loop {
        let waiting = store.read(|r| Ok(!r.decisions_after(taken_through(r)?, 1)?.is_empty())).await?;
        if !waiting {
            return Ok(orders);
        }
        let now = clock.wall();
        orders.extend(store.write(move |tx| take_batch(tx, now)).await?);
    }
}

fn taken_through(reader: &Reader<'_>) -> Result<u64, StoreError> {
    Ok(reader.cursor(CURSOR)?.and_then(|text| text.parse().ok()).unwrap_or(0))
}

fn take_batch(tx: &mut Tx<'_>, now: UtcMs) -> Result<BTreeSet<OrderId>, StoreError> {
    let after = taken_through(tx)?;
    let mut orders = BTreeSet::new();
    let mut last = after;
    for decision in tx.decisions_after(after, BATCH)? {
        last = decision.n;
        let record = &decision.record;
        orders.extend(record.order.iter().map(|(order, _)| order.clone()));
        if tx.recon_item(&record.id)?.is_some() {
            continue;
        }
        let seen = match &record.order {
            Some((order, version)) => tx.order_version(order, *version)?,
            None => None,
        };
        let mut item = ReconItem::open(record, seen.as_ref(), now);
        if !matches!(record.kind, DecisionKind::Release | DecisionKind::Override) {
            item.outcome = Some(Outcome::Matched);
            item.closed = Some(now);
        }
        charge_lease(tx, record, now)?;
        tx.put_recon_item(&item)?;
    }
    tx.set_cursor(CURSOR, &last.to_string())?;
    Ok(orders)
}

fn charge_lease(tx: &mut Tx<'_>, record: &DecisionRecord, now: UtcMs) -> Result<(), StoreError> {
    let Some(charge) = &record.lease else { return Ok(()) };
    let Some(mut row) = tx.lease(&charge.lease)? else {
        warn!(decision = %record.id, lease = %charge.lease, "decision {} names a lease that was never granted", record.id);
        return Ok(());
    };
    // A statement speaks of its own depot's lease and of no other.
    if row.lease.site != record.site {
        warn!(decision = %record.id, lease = %charge.lease, "decision {} names another depot's lease", record.id);
        return Ok(());
    }
    if record.kind == DecisionKind::LeaseClosed {
        // A gateway that took another's place reads that one's lease from the feed and knows nothing of its use.
        if !row.used.is_nothing() && !tx.has_charged(&record.device, &charge.lease)? {
            warn!(decision = %record.id, lease = %charge.lease,
                "lease {} was used by another device than the one that closes it: it stays as it is", charge.lease);
            return Ok(());
        }
        row.state = LeaseState::Closed;
        row.used = charge.used.clone();
        row.closed_at = Some(now);
    } else if row.state == LeaseState::Outstanding {
        row.used.add(&charge.used);
    }
    tx.put_lease(&row, now)
}
