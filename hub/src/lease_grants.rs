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
    id::{CustomerId, DecisionId, LeaseId, SiteId},
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
    erp::{Caps, Connector, ErpError, counted},
    store::{DeviceKind, Reader, Store, StoreError, Tx},
    tasks::{Stop, TaskError},
};

mod known;
mod unreported;

use known::{book, held, needed_at};
pub use unreported::{ask, write_off, write_off_untold};

/// Wait between two looks, in milliseconds of the hub's clock.
const EVERY_MS: u64 = 15_000;
/// Two of the status reports that a quiet depot sends. One that was not heard for so long gets no new lease: it could not take it, and its slice would lie idle.
const HEARD_WITHIN_MS: i64 = 600_000;

/// The figure of a customer on whom nothing may be lent, whatever else is counted.
const CREDIT_OF_NOBODY: i64 = i64::MIN;

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
    let sites = match store.read(move |r| connected_sites(r, now)).await {
        Ok(sites) => sites,
        Err(e @ StoreError::Stopped) => return Err(e),
        Err(error) => {
            warn!(%error, "depots cannot be read; no lease is granted");
            BTreeSet::new()
        }
    };
    for site in sites {
        match look_after(store, connector, clock, grantor, &site).await {
            Ok(_) => {
                told.remove(&site);
            }
            Err(GrantError::Store(e @ StoreError::Stopped)) => return Err(e),
            // Once per depot and trouble: the next look is seconds away.
            Err(error) if told.insert(site.clone()) => {
                warn!(site = %site, %error, "depot {site} gets no new lease for now: {error}");
            }
            Err(_) => {}
        }
    }
    Ok(())
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

/// Depots with a gateway that was heard lately.
fn connected_sites(reader: &Reader<'_>, now: UtcMs) -> Result<BTreeSet<SiteId>, StoreError> {
    let devices = reader.devices()?.into_iter();
    let heard = devices.filter(|d| d.seen.is_some_and(|seen| now.since(seen) <= HEARD_WITHIN_MS));
    Ok(heard.filter(|d| d.device.kind == DeviceKind::Gateway).flat_map(|d| d.device.sites).collect())
}

/// Grants `site` a lease, or more time for the one it holds, if that is due. Returns the lease's name.
/// # Errors
/// [`GrantError`]; nothing was granted.
pub async fn look_after(
    store: &Store,
    connector: &dyn Connector,
    clock: &Clock,
    grantor: &Grantor,
    site: &SiteId,
) -> Result<Option<LeaseId>, GrantError> {
    let now = clock.wall();
    let (of, renew_after_ms) = (site.clone(), grantor.renew_after_ms);
    let customers = store
        .read(move |r| {
            let (needed, held) = (needed_at(r, &of)?, held(r, &of)?);
            // Most looks end here, without a word to the ERP: nothing better could come of it than all that is needed.
            if due(held.as_ref().map(of_row), &needed, &needed, true, renew_after_ms, now) == Due::Nothing {
                return Ok(None);
            }
            let lent = held.map(|row| row.lease.credit_minor).unwrap_or_default();
            Ok(Some(needed.credit_minor.into_keys().chain(lent.into_keys()).collect()))
        })
        .await?;
    let Some(customers) = customers else { return Ok(None) };
    let (figures, caps) = (read_figures(connector, clock, site, customers).await?, connector.caps());
    let (grantor, site, now) = (grantor.clone(), site.clone(), clock.wall());
    let granted = store.write(move |tx| grant(tx, &grantor, &site, figures, caps, now)).await?;
    Ok(granted.map(|lease| {
        info!(lease = %lease.id, "lease {} is granted until {}", lease.id, lease.expires_at);
        lease.id
    }))
}

/// The lease and what of it is used.
fn of_row(row: &LeaseRow) -> (&Lease, &LeaseUse) {
    (&row.lease, &row.used)
}

async fn read_figures(
    connector: &dyn Connector,
    clock: &Clock,
    site: &SiteId,
    customers: BTreeSet<CustomerId>,
) -> Result<Figures, ErpError> {
    let read_at = clock.wall();
    let mut credit_minor = BTreeMap::new();
    for customer in customers {
        let minor = credit_of(connector, &customer).await?;
        credit_minor.insert(customer, minor);
    }
    let stock = connector.stock(site).await?;
    Ok(Figures { read_at, credit_minor, stock })
}

async fn credit_of(connector: &dyn Connector, customer: &CustomerId) -> Result<i64, ErpError> {
    match connector.customer(customer).await {
        Ok(customer) if customer.on_hold => Ok(CREDIT_OF_NOBODY),
        Ok(customer) => Ok(customer.headroom_minor()),
        // Nobody vouches for it, so nothing is lent on it.
        Err(ErpError::NotFound { .. }) => Ok(CREDIT_OF_NOBODY),
        Err(error) => Err(error),
    }
}

fn grant(
    tx: &mut Tx<'_>,
    grantor: &Grantor,
    site: &SiteId,
    mut figures: Figures,
    caps: Caps,
    now: UtcMs,
) -> Result<Option<Lease>, StoreError> {
    if now.since(figures.read_at) > FIGURE_MAX_MS {
        // What has left the book since may not be in them.
        return Ok(None);
    }
    let (needed, held, policy) = (needed_at(tx, site)?, held(tx, site)?, &grantor.policy);
    add_own_orders(tx, site, caps, &mut figures)?;
    let (book, decisions) = book(tx)?;
    let offer = slices(&book, site, &needed, &figures, policy, now);
    let keeps = held.as_ref().is_some_and(|row| still_fits(&row.lease, &book, &figures, policy, now));
    settle(tx, &book, &decisions, now)?;
    let row = match (due(held.as_ref().map(of_row), &needed, &offer, keeps, grantor.renew_after_ms, now), held) {
        (Due::Lease, _) => cut(grantor, site, offer, &figures, now)?,
        (Due::Time, Some(row)) => prolong(grantor, row, &figures, now)?,
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
    site: &SiteId,
    offer: LeaseUse,
    figures: &Figures,
    now: UtcMs,
) -> Result<LeaseRow, StoreError> {
    let lasts = i64::try_from(grantor.policy.lasts_ms).unwrap_or(i64::MAX);
    let lease = Lease {
        id: LeaseId::new(format!("{site}-{}", now.0)).map_err(|e| StoreError::Refused(e.to_string()))?,
        site: site.clone(),
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

fn prolong(grantor: &Grantor, held: LeaseRow, figures: &Figures, now: UtcMs) -> Result<LeaseRow, StoreError> {
    let renewed = renewed(&held.lease, &held.used, figures, &grantor.policy, now);
    let lease = Lease { bundle: grantor.bundle.hash, ..renewed };
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

/// Adds back what the ERP has taken off its figures for orders that are still to leave. A customer on hold has no
/// credit, whatever is added.
fn add_own_orders(reader: &Reader<'_>, site: &SiteId, caps: Caps, figures: &mut Figures) -> Result<(), StoreError> {
    if caps.orders_in_credit {
        for (customer, minor) in figures.credit_minor.iter_mut().filter(|(_, minor)| **minor > CREDIT_OF_NOBODY) {
            *minor = minor.saturating_add(counted::credit_held(reader, customer)?);
        }
    }
    if caps.orders_in_stock {
        for (product, units) in counted::stock_held(reader, site)? {
            let free = figures.stock.entry(product).or_default();
            *free = free.saturating_add(units);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
