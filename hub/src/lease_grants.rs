//! Grants leases: what a connected depot may decide on its own, cut from the ERP's figures.
//!
//! In: open orders and leases from the store, credit and stock from the ERP. Out: signed leases in the depots' feeds,
//! and more time for those that nothing better can follow, with more in them. How much is decided in
//! [`crate::core::leases`]. The figures are read first and the sum is taken in the transaction that writes the lease, so
//! that two grants never count on one slice.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gatehouse_common::{
    bundle::Bundle,
    id::{CustomerId, DecisionId, DeviceId, LeaseId, SiteId},
    lease::{Lease, LeaseUse},
    seal::{PrivateKey, Sealed},
    sync::LedgerEpoch,
    time::UtcMs,
};
use tracing::{info, warn};

use crate::{
    clock::Clock,
    core::{
        APART_MS,
        leases::{
            Book, Due, FIGURE_MAX_MS, Figures, LeasePolicy, LeaseRow, LeaseState, due, is_overdue, renewed, slices,
            still_fits,
        },
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
pub use unreported::{ask, write_off, write_off_untold, write_off_untold_of};

/// Wait between two looks, in milliseconds of the hub's clock.
const EVERY_MS: u64 = 15_000;
/// The same while what the ERP said waits for its orders to be read.
const SOON_MS: u64 = 5_000;
/// Two of the status reports that a quiet depot sends. One that was not heard for so long gets no new lease: it could not take it, and its slice would lie idle.
const HEARD_WITHIN_MS: i64 = 600_000;

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
    /// No lease could be granted in time by what the ERP said.
    #[error(
        "the ERP's figures were too old before a lease could be granted by them; it answers, or is read, too seldom"
    )]
    TooOld,
}

/// What a look leaves to the next.
#[derive(Default)]
pub struct Looks {
    /// Gateways whose trouble was told already.
    told: BTreeSet<(SiteId, DeviceId)>,
    /// What the ERP said that cannot be granted by yet.
    asked: Vec<Asked>,
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
    let mut looks = Looks::default();
    while !stop.is_stopped() {
        once(&store, connector.as_ref(), &clock, &grantor, &mut looks).await?;
        let wait_ms = if looks.waits() { SOON_MS } else { EVERY_MS };
        tokio::select! {
            () = clock.sleep(wait_ms) => {}
            () = stop.stopped() => break,
        }
    }
    Ok(())
}

/// Looks after every gateway that was heard lately, once.
/// # Errors
/// Only if the store is stopped.
pub async fn once(
    store: &Store,
    connector: &dyn Connector,
    clock: &Clock,
    grantor: &Grantor,
    looks: &mut Looks,
) -> Result<(), StoreError> {
    let now = clock.wall();
    ask_people(store, grantor.unreported_after_ms, now).await?;
    let read = store.read(move |r| Ok((life_that_lends(r)?, connected_gateways(r, now)?))).await;
    let (life, gateways) = match read {
        Ok((Ok(life), gateways)) => (life, gateways),
        Ok((Err(untold), _)) => {
            if looks.told.insert(untold.clone()) {
                let (site, gateway) = untold;
                warn!(site = %site, device.id = %gateway, "after the restore {gateway} of depot {site} has not told its leases; \
                       until then, or until they are written off, nobody gets a new lease");
            }
            return Ok(());
        }
        Err(e @ StoreError::Stopped) => return Err(e),
        Err(error) => {
            warn!(%error, "depots cannot be read; no lease is granted");
            return Ok(());
        }
    };
    let waited = std::mem::take(&mut looks.asked);
    let others = gateways.into_iter().filter(|holder| waited.iter().all(|asked| asked.holder != *holder));
    let others: Vec<_> = others.collect();
    for asked in waited {
        looks.grant(store, clock, grantor, asked).await?;
    }
    for holder in others {
        match ask_erp(store, connector, clock, grantor, life, &holder).await {
            Ok(Some(asked)) => looks.grant(store, clock, grantor, asked).await?,
            Ok(None) => drop(looks.told.remove(&holder)),
            Err(error) => looks.failed(&holder, error)?,
        }
    }
    Ok(())
}

impl Looks {
    /// Whether something that the ERP said waits for its orders to be read.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Grants by what the ERP said, or leaves that to the next look if the orders behind it are not read yet.
    async fn grant(&mut self, store: &Store, clock: &Clock, grantor: &Grantor, asked: Asked) -> Result<(), StoreError> {
        let holder = asked.holder.clone();
        match grant_by(store, clock, grantor, asked).await {
            Ok(Given::Done(granted)) => {
                self.told.remove(&holder);
                if let Some(lease) = granted {
                    info!(lease = %lease.id, "lease {} is granted until {}", lease.id, lease.expires_at);
                }
            }
            Ok(Given::Waits(asked)) => self.asked.push(asked),
            Err(error) => self.failed(&holder, error)?,
        }
        Ok(())
    }

    /// Trouble is told once per gateway: the next look is seconds away.
    fn failed(&mut self, holder: &(SiteId, DeviceId), error: GrantError) -> Result<(), StoreError> {
        if let GrantError::Store(e @ StoreError::Stopped) = error {
            return Err(e);
        }
        if self.told.insert(holder.clone()) {
            let (site, gateway) = holder;
            warn!(site = %site, device.id = %gateway, %error, "{gateway} of depot {site} gets no new lease for now: {error}");
        }
        Ok(())
    }
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

/// The life of the ledger, or a gateway that may hold leases which this store has forgotten: what they set aside of which
/// customer nobody knows.
fn life_that_lends(reader: &Reader<'_>) -> Result<Result<LedgerEpoch, (SiteId, DeviceId)>, StoreError> {
    Ok(match reader.untold_leases()?.pop_first() {
        Some(untold) => Err(untold),
        None => Ok(reader.ledger_epoch()?),
    })
}

/// Gateways that were heard lately, each with the depot it is for: the first that is listed of it. It takes no lease of
/// another, whose slices would be set aside for nobody.
fn connected_gateways(reader: &Reader<'_>, now: UtcMs) -> Result<BTreeSet<(SiteId, DeviceId)>, StoreError> {
    let devices = reader.devices()?.into_iter();
    // Heard later than now: by a clock that was ahead, whoever knows when.
    let lately = -APART_MS..=HEARD_WITHIN_MS;
    let heard = devices.filter(|d| d.seen.is_some_and(|seen| lately.contains(&now.since(seen)))).map(|d| d.device);
    let gateways = heard.filter(|device| device.kind == DeviceKind::Gateway);
    Ok(gateways.filter_map(|d| Some((d.sites.into_iter().next()?, d.device))).collect())
}

/// Asks the ERP for its figures, if a gateway is due for a lease.
async fn ask_erp(
    store: &Store,
    connector: &dyn Connector,
    clock: &Clock,
    grantor: &Grantor,
    life: LedgerEpoch,
    holder: &(SiteId, DeviceId),
) -> Result<Option<Asked>, GrantError> {
    let now = clock.wall();
    let ((site, gateway), renew_after_ms) = (holder.clone(), grantor.renew_after_ms);
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
    Asked::of(store, connector, clock, life, holder, customers).await.map(Some)
}

/// What came of what the ERP said.
enum Given {
    /// A lease was granted, or none is due any more.
    Done(Option<Lease>),
    /// Nothing may be granted by it before the orders behind it are read.
    Waits(Asked),
}

/// Grants a lease, or more time for the one that is held, by what the ERP said, if that is still due.
async fn grant_by(store: &Store, clock: &Clock, grantor: &Grantor, asked: Asked) -> Result<Given, GrantError> {
    let now = clock.wall();
    if asked.is_too_old(now) {
        // What has left the book since may not be in them.
        return Err(GrantError::TooOld);
    }
    let is_read = asked.orders_are_read(now);
    if !store.read(is_read).await? {
        return Ok(Given::Waits(asked));
    }
    let grantor = grantor.clone();
    Ok(Given::Done(store.write(move |tx| grant(tx, &grantor, asked, now)).await?))
}

/// The lease and what of it is used.
fn of_row(row: &LeaseRow) -> (&Lease, &LeaseUse) {
    (&row.lease, &row.used)
}

fn grant(tx: &mut Tx<'_>, grantor: &Grantor, asked: Asked, now: UtcMs) -> Result<Option<Lease>, StoreError> {
    if asked.life != tx.ledger_epoch()? {
        // Another one began while the ERP was asked: what is forgotten has to be told first.
        return Ok(None);
    }
    let (site, gateway) = asked.holder.clone();
    let figures = asked.figures(tx)?;
    let (needed, held, policy) = (needed_at(tx, &site)?, held(tx, &site, &gateway)?, &grantor.policy);
    let (book, decisions) = book(tx)?;
    let offer = slices(&book, &site, &needed, &figures, policy, now);
    // One that names no gateway gets no more time: another may use it as well, and more in it would be used twice.
    let is_named = |row: &&LeaseRow| row.lease.device.is_some();
    let keeps = held.as_ref().filter(is_named).is_some_and(|row| still_fits(&row.lease, &book, &figures, policy, now));
    settle(tx, &book, &decisions, now)?;
    let row = match (due(held.as_ref().map(of_row), &needed, &offer, keeps, grantor.renew_after_ms, now), held) {
        (Due::Lease, _) => {
            let at = granted_at(tx, &site, &gateway, now)?;
            cut(grantor, (&site, &gateway), offer, &figures, at, now)?
        }
        (Due::Time, Some(row)) => {
            let longer = renewed(of_row(&row), &needed, &book, &figures, policy, now);
            prolong(grantor, row, longer)?
        }
        (Due::Time, None) | (Due::Nothing, _) => return Ok(None),
    };
    // A gateway passes over a version that does not end later: two looks in one millisecond, or a clock that was set back.
    if tx.lease(&row.lease.id)?.is_some_and(|known| known.lease.expires_at >= row.lease.expires_at) {
        return Ok(None);
    }
    tx.put_lease(&row, now)?;
    Ok(Some(row.lease))
}

/// When a new lease is granted, as gateways put leases in order: after all others of its depot and after the gateway's
/// last new epoch, also where the clock was set back or another replica's is ahead. Else the gateway would pass over it in
/// silence, and each look would cut another.
fn granted_at(reader: &Reader<'_>, site: &SiteId, gateway: &DeviceId, now: UtcMs) -> Result<UtcMs, StoreError> {
    let newest = reader.newest_lease_at(site)?.max(reader.epoch_begun_at(gateway)?);
    Ok(newest.map_or(now, |newest| now.max(newest.plus(1))))
}

fn cut(
    grantor: &Grantor,
    (site, gateway): (&SiteId, &DeviceId),
    offer: LeaseUse,
    figures: &Figures,
    granted_at: UtcMs,
    now: UtcMs,
) -> Result<LeaseRow, StoreError> {
    let lasts = i64::try_from(grantor.policy.lasts_ms).unwrap_or(i64::MAX);
    let lease = Lease {
        id: LeaseId::new(format!("{site}-{}", granted_at.0)).map_err(|e| StoreError::Refused(e.to_string()))?,
        site: site.clone(),
        device: Some(gateway.clone()),
        granted_at,
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

fn prolong(grantor: &Grantor, held: LeaseRow, longer: Lease) -> Result<LeaseRow, StoreError> {
    let lease = Lease { bundle: grantor.bundle.hash, ..longer };
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
