//! Grants leases: what a connected depot may decide on its own, cut from the ERP's figures.
//!
//! In: open orders and leases from the store, credit and stock from the ERP. Out: signed leases in the depots' feeds,
//! and more time for those that nothing better can follow. How much is decided in [`crate::core::leases`]. The figures
//! are read first and the sum is taken in the transaction that writes the lease, so that two grants never count on one
//! slice.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gatehouse_common::{
    bundle::Bundle,
    id::{CustomerId, DecisionId, DeviceId, LeaseId, SiteId},
    lease::{Lease, LeaseUse},
    seal::{PrivateKey, Sealed},
    time::UtcMs,
};
use tracing::{info, warn};

use crate::{
    clock::Clock,
    core::leases::{
        Book, Due, FIGURE_MAX_MS, Figures, LeasePolicy, LeaseRow, LeaseState, due, is_overdue, renewed, slices,
        still_fits,
    },
    erp::{Connector, ErpError},
    store::{DeviceKind, Reader, Store, StoreError, Tx},
    tasks::{Stop, TaskError},
};

mod figures;
mod known;
mod unreported;

use figures::Asked;
use known::{book, held, needed_at};
pub use unreported::{ask, write_off, write_off_untold};

/// Wait between two looks, in milliseconds of the hub's clock.
const EVERY_MS: u64 = 15_000;
/// Two of the status reports that a quiet depot sends. One that was not heard for so long gets no new lease: it could not take it, and its slice would lie idle.
const HEARD_WITHIN_MS: i64 = 600_000;

/// For how long figures are gathered before leases are granted by them, in milliseconds, where each grant waits for a read
/// of the orders: one read is then waited for by many.
const GATHER_MS: i64 = 60_000;

/// By what leases are granted.
#[derive(Clone)]
pub struct Grantor {
    /// Signs them.
    pub key: PrivateKey,
    /// The bundle whose rules they trust.
    pub bundle: Bundle,
    /// How they are cut.
    pub policy: LeasePolicy,
    /// After how many milliseconds a depot gets a fresh one.
    pub renew_after_ms: u64,
    /// How many milliseconds after its end a lease of which nothing was stated is put to a person.
    pub unreported_after_ms: i64,
}

/// Why a depot was not looked after.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// The ERP did not say its figures.
    #[error(transparent)]
    Erp(#[from] ErpError),
    /// The store did not take the lease.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Looks after every depot's lease until told to stop.
/// # Errors
/// Only if the store is stopped.
pub async fn run(
    store: Store,
    connector: Arc<dyn Connector>,
    clock: Clock,
    grantor: Grantor,
    mut stop: Stop,
) -> Result<(), TaskError> {
    let mut told = BTreeSet::new();
    while !stop.is_stopped() {
        once(&store, connector.as_ref(), &clock, &grantor, &mut told).await?;
        tokio::select! {
            () = clock.sleep(EVERY_MS) => {}
            () = stop.stopped() => break,
        }
    }
    Ok(())
}

/// Looks after every depot that was heard lately, once. `told` holds the depots whose trouble was told already.
/// # Errors
/// Only if the store is stopped.
pub async fn once(
    store: &Store,
    connector: &dyn Connector,
    clock: &Clock,
    grantor: &Grantor,
    told: &mut BTreeSet<SiteId>,
) -> Result<(), StoreError> {
    let now = clock.wall();
    ask_people(store, grantor.unreported_after_ms, now).await?;
    if let Some(untold) = nothing_can_be_lent(store).await? {
        if told.insert(untold.clone()) {
            warn!(site = %untold, "after the restore depot {untold} has not told its leases; until then, or until they \
                   are written off, nobody gets a new lease");
        }
        return Ok(());
    }
    let gateways = match store.read(move |r| connected_gateways(r, now)).await {
        Ok(gateways) => gateways,
        Err(e @ StoreError::Stopped) => return Err(e),
        Err(error) => {
            warn!(%error, "depots cannot be read; no lease is granted");
            BTreeSet::new()
        }
    };
    let mut gathered: Vec<Asked> = Vec::new();
    for holder in gateways {
        let asked = ask_erp(store, connector, clock, grantor, (&holder.0, &holder.1)).await;
        gathered.extend(heard(told, &holder.0, asked)?.flatten());
        if gathered.first().is_some_and(|oldest| !oldest.counts_orders() || oldest.age_ms(clock.wall()) > GATHER_MS) {
            grant_all(store, clock, grantor, &mut gathered, told).await?;
        }
    }
    grant_all(store, clock, grantor, &mut gathered, told).await
}

async fn grant_all(
    store: &Store,
    clock: &Clock,
    grantor: &Grantor,
    gathered: &mut Vec<Asked>,
    told: &mut BTreeSet<SiteId>,
) -> Result<(), StoreError> {
    if let Some(newest) = gathered.last() {
        newest.orders_are_read(store, clock).await?;
    }
    for asked in gathered.drain(..) {
        let site = asked.site.clone();
        heard(told, &site, grant_by(store, clock, grantor, asked).await)?;
    }
    Ok(())
}

/// What came of it, if anything; trouble is told once per depot, since the next look is seconds away.
fn heard<T>(
    told: &mut BTreeSet<SiteId>,
    site: &SiteId,
    outcome: Result<T, GrantError>,
) -> Result<Option<T>, StoreError> {
    match outcome {
        Ok(done) => {
            told.remove(site);
            return Ok(Some(done));
        }
        Err(GrantError::Store(e @ StoreError::Stopped)) => return Err(e),
        Err(error) if told.insert(site.clone()) => {
            warn!(site = %site, %error, "depot {site} gets no new lease for now: {error}");
        }
        Err(_) => {}
    }
    Ok(None)
}

/// Puts leases to a person whose depots stay away.
async fn ask_people(store: &Store, after_ms: i64, now: UtcMs) -> Result<(), StoreError> {
    // Most looks end here, without a write.
    let due = store.read(move |r| Ok(r.leases_that_weigh()?.iter().any(|row| is_overdue(row, after_ms, now)))).await;
    let asked = match due {
        Ok(false) => return Ok(()),
        Ok(true) => store.write(move |tx| ask(tx, after_ms, now)).await,
        Err(error) => Err(error),
    };
    match asked {
        Ok(asked) => asked.iter().for_each(|LeaseRow { lease, .. }| {
            warn!(site = %lease.site, lease = %lease.id, "depot {} stays away: what it used of lease {} nobody knows, and all \
                   of that stays reserved until it says so or a person writes it off", lease.site, lease.id);
        }),
        Err(e @ StoreError::Stopped) => return Err(e),
        Err(error) => warn!(%error, "leases that nobody reported are put to nobody for now: {error}"),
    }
    Ok(())
}

/// A depot that may hold leases which this store has forgotten: what they set aside of which customer nobody knows.
/// [`grant`] asks again before it writes; here nobody asks the ERP in vain.
async fn nothing_can_be_lent(store: &Store) -> Result<Option<SiteId>, StoreError> {
    match store.read(|r| r.sites_with_untold_leases()).await {
        Ok(untold) => Ok(untold.into_iter().next()),
        Err(e @ StoreError::Stopped) => Err(e),
        Err(error) => {
            warn!(%error, "it cannot be read which leases were told");
            Ok(None)
        }
    }
}

/// Gateways that were heard lately, each with the depots it is for.
fn connected_gateways(reader: &Reader<'_>, now: UtcMs) -> Result<BTreeSet<(SiteId, DeviceId)>, StoreError> {
    let devices = reader.devices()?.into_iter();
    let heard = devices.filter(|d| d.seen.is_some_and(|seen| now.since(seen) <= HEARD_WITHIN_MS)).map(|d| d.device);
    let gateways = heard.filter(|device| device.kind == DeviceKind::Gateway);
    Ok(gateways.flat_map(|d| d.sites.into_iter().map(move |site| (site, d.device.clone()))).collect())
}

/// Asks the ERP for its figures, if a gateway is due for a lease.
async fn ask_erp(
    store: &Store,
    connector: &dyn Connector,
    clock: &Clock,
    grantor: &Grantor,
    holder: (&SiteId, &DeviceId),
) -> Result<Option<Asked>, GrantError> {
    let now = clock.wall();
    let (site, gateway, renew_after_ms) = (holder.0.clone(), holder.1.clone(), grantor.renew_after_ms);
    let customers: Option<BTreeSet<CustomerId>> = store
        .read(move |r| {
            let (needed, held) = (needed_at(r, &site)?, held(r, &site, &gateway)?);
            // Most looks end here, without a word to the ERP: nothing better could come of it than all that is needed.
            if due(held.as_ref().map(of_row), &needed, &needed, true, renew_after_ms, now) == Due::Nothing {
                return Ok(None);
            }
            let lent = held.map(|row| row.lease.credit_minor).unwrap_or_default();
            Ok(Some(needed.credit_minor.into_keys().chain(lent.into_keys()).collect()))
        })
        .await?;
    let Some(customers) = customers else { return Ok(None) };
    Asked::of(store, connector, clock, holder, customers).await.map(Some)
}

/// Grants a lease, or more time for the one that is held, by what the ERP said, if that is still due. Returns its name.
async fn grant_by(
    store: &Store,
    clock: &Clock,
    grantor: &Grantor,
    asked: Asked,
) -> Result<Option<LeaseId>, GrantError> {
    let (grantor, now) = (grantor.clone(), clock.wall());
    let granted = store.write(move |tx| grant(tx, &grantor, asked, now)).await?;
    Ok(granted.map(|lease| {
        info!(lease = %lease.id, "lease {} is granted until {}", lease.id, lease.expires_at);
        lease.id
    }))
}

/// The lease and what of it is used.
fn of_row(row: &LeaseRow) -> (&Lease, &LeaseUse) {
    (&row.lease, &row.used)
}

fn grant(tx: &mut Tx<'_>, grantor: &Grantor, asked: Asked, now: UtcMs) -> Result<Option<Lease>, StoreError> {
    if asked.age_ms(now) > FIGURE_MAX_MS {
        // What has left the book since may not be in them.
        return Ok(None);
    }
    if !tx.sites_with_untold_leases()?.is_empty() {
        // Another life of the ledger began while the ERP was asked.
        return Ok(None);
    }
    let (site, gateway) = (asked.site.clone(), asked.gateway.clone());
    let Some(figures) = asked.figures(tx)? else { return Ok(None) };
    let (needed, held, policy) = (needed_at(tx, &site)?, held(tx, &site, &gateway)?, &grantor.policy);
    let (book, decisions) = book(tx)?;
    let offer = slices(&book, &site, &needed, &figures, policy, now);
    let keeps = held.as_ref().is_some_and(|row| still_fits(&row.lease, &book, &figures, policy, now));
    settle(tx, &book, &decisions, now)?;
    let row = match (due(held.as_ref().map(of_row), &needed, &offer, keeps, grantor.renew_after_ms, now), held) {
        (Due::Lease, _) => cut(grantor, (&site, &gateway), offer, &figures, now)?,
        (Due::Time, Some(row)) => prolong(grantor, row, &gateway, &figures, now)?,
        (Due::Time, None) | (Due::Nothing, _) => return Ok(None),
    };
    // Two looks in one millisecond grant one lease.
    if tx.lease(&row.lease.id)?.is_some_and(|known| known.lease.expires_at >= row.lease.expires_at) {
        return Ok(None);
    }
    tx.put_lease(&row, now)?;
    Ok(Some(row.lease))
}

fn cut(
    grantor: &Grantor,
    (site, gateway): (&SiteId, &DeviceId),
    offer: LeaseUse,
    figures: &Figures,
    now: UtcMs,
) -> Result<LeaseRow, StoreError> {
    let lasts = i64::try_from(grantor.policy.lasts_ms).unwrap_or(i64::MAX);
    let lease = Lease {
        id: LeaseId::new(format!("{site}-{}", now.0)).map_err(|e| StoreError::Refused(e.to_string()))?,
        site: site.clone(),
        device: Some(gateway.clone()),
        granted_at: now,
        lasts_ms: grantor.policy.lasts_ms,
        expires_at: now.plus(lasts),
        value_ceiling_minor: offer.value_minor,
        credit_minor: offer.credit_minor,
        stock: offer.stock,
        // None of its own: each class of order has its limits in the bundle.
        age_limit_ms: BTreeMap::new(),
        bundle: grantor.bundle.hash,
        erp_read_at: figures.read_at,
    };
    let sealed = sealed(grantor, &lease)?;
    Ok(LeaseRow::granted(lease, sealed))
}

fn prolong(
    grantor: &Grantor,
    held: LeaseRow,
    gateway: &DeviceId,
    figures: &Figures,
    now: UtcMs,
) -> Result<LeaseRow, StoreError> {
    let renewed = renewed(&held.lease, &held.used, figures, &grantor.policy, now);
    let lease = Lease { bundle: grantor.bundle.hash, device: Some(gateway.clone()), ..renewed };
    Ok(LeaseRow { sealed: sealed(grantor, &lease)?, lease, ..held })
}

fn sealed(grantor: &Grantor, lease: &Lease) -> Result<Sealed, StoreError> {
    Sealed::new(lease, &grantor.key).map_err(|e| StoreError::Refused(e.to_string()))
}

/// Takes out of the book what weighs on no figure that a grant may still be cut from.
fn settle(tx: &mut Tx<'_>, book: &Book, decisions: &[DecisionId], now: UtcMs) -> Result<(), StoreError> {
    let settled = book.settled(now.plus(-FIGURE_MAX_MS));
    for id in &settled.loans {
        if let Some(row) = tx.lease(id)? {
            tx.put_lease(&LeaseRow { state: LeaseState::Settled, ..row }, now)?;
        }
    }
    settled.spendings.iter().filter_map(|n| decisions.get(*n)).try_for_each(|decision| tx.weighs_no_more(decision))
}

#[cfg(test)]
mod tests;
