//! Decisions that came in: one recon item each, and the charge to its lease.

use std::collections::BTreeSet;

use gatehouse_common::{
    decision::{DecisionKind, DecisionRecord, LeaseCharge},
    id::OrderId,
    time::UtcMs,
};
use tracing::warn;

use crate::{
    clock::Clock,
    core::{
        leases::{LeaseRow, LeaseState, covers},
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
        if !charge_lease(tx, record, now)? {
            // Nothing is set aside for it: it weighs by itself.
            item.charge = None;
        }
        tx.put_recon_item(&item)?;
    }
    tx.set_cursor(CURSOR, &last.to_string())?;
    Ok(orders)
}

/// Charges a decision to its lease. False if the lease is not its gateway's.
fn charge_lease(tx: &mut Tx<'_>, record: &DecisionRecord, now: UtcMs) -> Result<bool, StoreError> {
    let Some(charge) = &record.lease else { return Ok(true) };
    let Some(mut row) = tx.lease(&charge.lease)? else {
        warn!(decision = %record.id, lease = %charge.lease, "decision {} names a lease that was never granted", record.id);
        return Ok(true);
    };
    if row.lease.site != record.site || !row.lease.is_for(&record.device) {
        warn!(decision = %record.id, lease = %charge.lease, "decision {} names another's lease", record.id);
        return Ok(false);
    }
    match record.kind {
        DecisionKind::LeaseClosed => close(tx, row, record, charge, now)?,
        _ if row.state == LeaseState::Outstanding => {
            row.used.add(&charge.used);
            tx.put_lease(&row, now)?;
        }
        _ => {}
    }
    Ok(true)
}

/// A gateway states what it used of a lease.
fn close(
    tx: &mut Tx<'_>,
    row: LeaseRow,
    record: &DecisionRecord,
    charge: &LeaseCharge,
    now: UtcMs,
) -> Result<(), StoreError> {
    if row.state == LeaseState::Settled {
        if covers(&row.used, &charge.used) {
            // It was written off, and the ERP's figures hold all that is stated now.
            return Ok(());
        }
        tx.weighs_again(&charge.lease)?;
    }
    // One of before leases were for one gateway: who took another's place reads that one's lease from the feed and knows
    // nothing of its use. Of all others it is known whose they are, without a look at old decisions.
    if row.lease.device.is_none() && !row.used.is_nothing() && !tx.has_charged(&record.device, &charge.lease)? {
        warn!(decision = %record.id, lease = %charge.lease,
            "lease {} was used by another device than the one that closes it: it stays as it is", charge.lease);
        return Ok(());
    }
    tx.put_lease(&LeaseRow { state: LeaseState::Closed, used: charge.used.clone(), closed_at: Some(now), ..row }, now)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use gatehouse_common::{
        decision::{DecidedBy, Mode},
        dispatch,
        id::{DecisionId, DeviceId, Hash32},
        lease::{Lease, LeaseUse},
        seal::{PrivateKey, Sealed},
        time::{BootId, Moment},
    };

    use super::*;
    use crate::fixture;

    struct Hub {
        store: Store,
        directory: tempfile::TempDir,
    }

    /// What `value` minor units of the customer's credit use.
    fn using(value_minor: i64) -> LeaseUse {
        let credit_minor = BTreeMap::from([("C1".parse().unwrap(), value_minor)]);
        LeaseUse { value_minor, credit_minor, ..LeaseUse::default() }
    }

    impl Hub {
        /// A hub that has granted D1 a lease of 100, for gw-1 or for whoever takes it.
        fn new(device: Option<&str>) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(&directory.path().join("hub.db"), &"hub".parse().unwrap()).unwrap();
            let lease = Lease {
                device: device.map(|d| d.parse().unwrap()),
                value_ceiling_minor: 100,
                credit_minor: using(100).credit_minor,
                ..fixture::lease("L1", "D1")
            };
            let sealed = Sealed::new(&lease, &PrivateKey::from_seed([1; 32])).unwrap();
            store.write_now(move |tx| tx.put_lease(&LeaseRow::granted(lease, sealed), UtcMs(1))).unwrap();
            Self { store, directory }
        }

        /// A device decided something under the lease, and the hub takes that in.
        fn decided(&self, device: &str, position: u64, kind: DecisionKind, used: LeaseUse) {
            let device: DeviceId = device.parse().unwrap();
            let boot = BootId("b".into());
            let record = DecisionRecord {
                v: 1,
                id: DecisionId::of(&device, 1, position),
                device,
                site: "D1".parse().unwrap(),
                epoch: 1,
                position,
                previous: Hash32::ZERO,
                kind,
                mode: (kind == DecisionKind::Release).then_some(Mode::Normal),
                dispatch: (kind == DecisionKind::Release)
                    .then(|| dispatch::document_id(&"O1".parse().unwrap(), &"D1".parse().unwrap(), 1)),
                order: None,
                load: Vec::new(),
                gates: Vec::new(),
                bundle: Hash32::ZERO,
                lease: Some(LeaseCharge { lease: "L1".parse().unwrap(), used }),
                by: DecidedBy::Rule { rule: "r".into() },
                reason: "r".into(),
                at: Moment { wall: UtcMs(9), uncertainty_ms: 0, boot, boottime_ms: 9, trusted: true },
                begins: None,
                drills: Vec::new(),
            };
            let sealed = Sealed::new(&record, &PrivateKey::from_seed([2; 32])).unwrap();
            self.store
                .write_now(move |tx| {
                    tx.put_decision(&record, &sealed, UtcMs(9))?;
                    take_batch(tx, UtcMs(9)).map(drop)
                })
                .unwrap();
        }

        fn lease(&self) -> (LeaseState, i64) {
            let row = self.store.read_now(|r| r.lease(&"L1".parse().unwrap())).unwrap().unwrap();
            (row.state, row.used.value_minor)
        }

        fn weigh(&self) -> usize {
            let items = self.store.read_now(|r| r.recon_items_that_weigh()).unwrap();
            items.iter().filter(|item| item.dispatch.is_some()).count()
        }
    }

    #[test]
    fn a_gateway_that_took_anothers_place_neither_uses_nor_closes_the_others_lease() {
        let hub = Hub::new(Some("gw-1"));
        hub.decided("gw-2", 1, DecisionKind::LeaseClosed, LeaseUse::default());
        assert_eq!(hub.lease(), (LeaseState::Outstanding, 0), "its slice stays set aside for gw-1");
        hub.decided("gw-2", 2, DecisionKind::Release, using(60));
        assert_eq!(hub.lease(), (LeaseState::Outstanding, 0));
        let items = hub.store.read_now(|r| r.recon_items_that_weigh()).unwrap();
        let release = items.iter().find(|item| item.dispatch.is_some()).unwrap();
        assert_eq!(release.charge, None, "nothing is set aside for it");
        hub.decided("gw-1", 1, DecisionKind::Release, using(40));
        hub.decided("gw-1", 2, DecisionKind::LeaseClosed, using(40));
        assert_eq!(hub.lease(), (LeaseState::Closed, 40));
        // The control: one that is for nobody by name is closed by whoever takes it.
        let hub = Hub::new(None);
        hub.decided("gw-2", 1, DecisionKind::LeaseClosed, LeaseUse::default());
        assert_eq!(hub.lease(), (LeaseState::Closed, 0));
    }

    #[test]
    fn an_old_decision_that_rotted_keeps_no_gateway_from_closing_its_own_lease() {
        let hub = Hub::new(Some("gw-1"));
        hub.decided("gw-1", 1, DecisionKind::Release, using(40));
        let beside = rusqlite::Connection::open(hub.directory.path().join("hub.db")).unwrap();
        beside.execute("UPDATE decisions SET body = 'of L1, and rotten'", []).unwrap();
        hub.decided("gw-1", 2, DecisionKind::LeaseClosed, using(40));
        assert_eq!(hub.lease(), (LeaseState::Closed, 40));
    }

    #[test]
    fn what_is_stated_of_a_settled_lease_weighs_again_only_if_it_is_more_than_was_known() {
        let settled = |used: LeaseUse| {
            let hub = Hub::new(Some("gw-1"));
            hub.decided("gw-1", 1, DecisionKind::Release, using(60));
            hub.store
                .write_now(move |tx| {
                    let row = tx.lease(&"L1".parse().unwrap())?.unwrap();
                    tx.put_lease(&LeaseRow { state: LeaseState::Settled, used, ..row }, UtcMs(60))?;
                    tx.weighs_no_more(&DecisionId::of(&"gw-1".parse().unwrap(), 1, 1))
                })
                .unwrap();
            assert_eq!(hub.weigh(), 0);
            hub
        };
        let hub = settled(using(60));
        hub.decided("gw-1", 2, DecisionKind::LeaseClosed, using(60));
        assert_eq!((hub.lease(), hub.weigh()), ((LeaseState::Settled, 60), 0));
        let hub = settled(using(60));
        hub.decided("gw-1", 2, DecisionKind::LeaseClosed, using(80));
        assert_eq!((hub.lease(), hub.weigh()), ((LeaseState::Closed, 80), 1));
    }
}
