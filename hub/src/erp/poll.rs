//! Brings the ERP's news in: orders, customers' credit, and that the ERP was heard at all.
//!
//! A read is complete when the last page of it is written down; what begins later sees everything
//! that was confirmed before. [`read_at`] says when the newest complete read began. The hub's clock may have been wrong
//! when what is stored was dated: no date keeps out what the ERP says now, and none that is ahead is relied on.

use std::{collections::BTreeSet, sync::Arc};

use gatehouse_common::{
    fact::{Fact, FactKey, FactValue, Report, Source},
    id::{CustomerId, DeviceId, Hash32},
    order::{Order, OrderStatus},
    time::{Moment, UtcMs},
};
use tracing::{debug, info, warn};

use super::{Caps, ChangePage, Connector, Customer, ErpCursor, ErpError, counted};
use crate::{
    clock::Clock,
    core::APART_MS,
    store::{Reader, Store, StoreError, Tx, quarantine},
    tasks::{Stop, TaskError},
};

const CURSOR: &str = "erp.cursor";
const READ_AT: &str = "erp.read_at";

/// When and how often.
#[derive(Debug, Clone, Copy)]
pub struct PollOptions {
    /// Wait between two reads, in milliseconds. Default 5,000.
    pub every_ms: u64,
    /// A credit standing that did not change is told again after this, in milliseconds, so that it does
    /// not grow stale at depots while the ERP can be reached. Default 600,000.
    pub repeat_credit_ms: i64,
    /// Longest wait after failures, in milliseconds. Default 60,000.
    pub wait_max_ms: u64,
}

impl Default for PollOptions {
    fn default() -> Self {
        Self { every_ms: 5_000, repeat_credit_ms: 600_000, wait_max_ms: 60_000 }
    }
}

/// Why a read did not come in.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// The ERP did not answer as it should.
    #[error(transparent)]
    Erp(#[from] ErpError),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// When the newest complete read of the ERP began; none before the first. Among replicas it counts as begun so much
/// earlier as their clocks may be apart: what any of them dated before that, was so when it began.
/// # Errors
/// [`StoreError::Sql`].
pub fn read_at(reader: &Reader<'_>) -> Result<Option<UtcMs>, StoreError> {
    Ok(reader.cursor(READ_AT)?.and_then(|text| text.parse().ok()).map(UtcMs))
}

/// Reads the ERP again and again until told to stop.
/// # Errors
/// Only if the store is stopped.
pub async fn run(
    store: Store,
    connector: Arc<dyn Connector>,
    clock: Clock,
    options: PollOptions,
    mut stop: Stop,
) -> Result<(), TaskError> {
    let mut failures: u32 = 0;
    while !stop.is_stopped() {
        let wait_ms = match once(&store, connector.as_ref(), &clock, &options).await {
            Ok(()) => {
                if failures > 0 {
                    info!(erp = connector.name(), "the ERP answers again");
                }
                failures = 0;
                options.every_ms
            }
            Err(PollError::Store(e @ StoreError::Stopped)) => return Err(e.into()),
            Err(error) => {
                if failures == 0 {
                    warn!(erp = connector.name(), error = %error, "the ERP cannot be read; depots go on with what they have");
                }
                failures = failures.saturating_add(1);
                match error {
                    // Each wrong login makes the ERP slower and may lock the account.
                    PollError::Erp(ErpError::Auth { .. }) => options.wait_max_ms,
                    _ => backoff_ms(options.every_ms, failures, options.wait_max_ms, rand::random()),
                }
            }
        };
        tokio::select! {
            () = clock.sleep(wait_ms) => {}
            () = stop.stopped() => break,
        }
    }
    Ok(())
}

/// Doubles with each failure up to `max_ms`, give or take a quarter by `chance`, so that many do not come back at once.
pub(super) fn backoff_ms(first_ms: u64, failures: u32, max_ms: u64, chance: u64) -> u64 {
    let doubled = first_ms.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(max_ms);
    let quarter = doubled / 4;
    doubled - quarter + chance % quarter.saturating_mul(2).saturating_add(1)
}

/// One complete read. It ends early where another has written beyond its place meanwhile; the next goes on from there.
/// # Errors
/// [`PollError`]; pages that were written down before it stay.
pub async fn once(
    store: &Store,
    connector: &dyn Connector,
    clock: &Clock,
    options: &PollOptions,
) -> Result<(), PollError> {
    let (began, caps) = (clock.wall(), connector.caps());
    let (cursor, last) = store.read(|r| Ok((place(r)?, read_at(r)?))).await?;
    if last.is_some_and(|last| last.since(began) > APART_MS) {
        // It was dated by a clock that was ahead. Should the clock go there again, it would count as a new one.
        store.write(|tx| tx.set_cursor(READ_AT, "")).await?;
    }
    if !take_pages(store, connector, clock, began, cursor).await? {
        return Ok(());
    }
    let unknown = {
        let (now, repeat_ms) = (clock.now(), options.repeat_credit_ms);
        store.write(move |tx| repeat_credit(tx, began, repeat_ms, &now)).await?
    };
    for id in unknown {
        // Its changes lie before our first read, or it has none: it is asked for by name.
        match connector.customer(&id).await {
            Ok(customer) => {
                let now = clock.now();
                // What a page said meanwhile may be newer.
                store
                    .write(move |tx| match standing(tx, &customer.id)? {
                        None => put_credit(tx, &customer, caps, began, &now),
                        Some(_) => Ok(()),
                    })
                    .await?;
            }
            Err(ErpError::NotFound { detail }) => debug!(customer = %id, "{detail}"),
            Err(error) => return Err(error.into()),
        }
    }
    let (now, read) = (clock.wall(), began.plus(if store.is_shared() { -APART_MS } else { 0 }));
    store
        .write(move |tx| {
            // Last, and only now: whoever sees this time may rely on everything the read brought.
            tx.set_cursor(READ_AT, &read.0.to_string())?;
            tx.source_heard(Source::Erp, now)
        })
        .await?;
    Ok(())
}

/// How far the changes of the ERP are written down.
fn place(reader: &Reader<'_>) -> Result<ErpCursor, StoreError> {
    Ok(ErpCursor(reader.cursor(CURSOR)?.unwrap_or_default()))
}

/// Writes down what changed since `cursor`, page by page. False: another read has written beyond this one's place, so
/// that what this one still has may be older, and is left out.
async fn take_pages(
    store: &Store,
    connector: &dyn Connector,
    clock: &Clock,
    began: UtcMs,
    mut cursor: ErpCursor,
) -> Result<bool, PollError> {
    let caps = connector.caps();
    loop {
        let page = connector.changes(&cursor).await?;
        let (since, next, more) = (cursor.clone(), page.cursor.clone(), page.more);
        let now = clock.now();
        let is_taken = store
            .write(move |tx| {
                if place(tx)? != since {
                    return Ok(false);
                }
                take_page(tx, &page, caps, began, &now)?;
                tx.set_cursor(CURSOR, &page.cursor.0)?;
                Ok(true)
            })
            .await?;
        if !is_taken || !more || next == cursor {
            return Ok(is_taken);
        }
        cursor = next;
    }
}

fn take_page(tx: &mut Tx<'_>, page: &ChangePage, caps: Caps, began: UtcMs, now: &Moment) -> Result<(), StoreError> {
    // Credit comes first: with an order its depot gets what is known of the customer.
    for customer in &page.customers {
        put_credit(tx, customer, caps, began, now)?;
    }
    for order in &page.orders {
        put_counted(tx, order, now.wall)?;
    }
    for customer in page.customers.iter().filter(|_| caps.orders_in_credit) {
        // The figure holds the orders of this page too, which were not known a moment ago.
        put_credit(tx, customer, caps, began, now)?;
    }
    for why in &page.unreadable {
        warn!("the ERP sent what cannot be read: {why}");
        let origin = DeviceId::new("erp").map_err(|e| StoreError::Refused(e.to_string()))?;
        let refused = quarantine::Refused {
            origin: &origin,
            what: "erp",
            document: None,
            hash: Hash32::of(why.as_bytes()),
            reason: why,
            bytes: why.as_bytes(),
        };
        tx.quarantine_put(&refused, now.wall)?;
    }
    Ok(())
}

/// Keeps an order under the next version of our own count, if anything in it changed. Returns whether it did.
/// # Errors
/// [`StoreError::Damaged`] if the known one cannot be read.
pub fn put_counted(tx: &mut Tx<'_>, order: &Order, now: UtcMs) -> Result<bool, StoreError> {
    let known = tx.order(&order.id)?;
    let version = known.as_ref().map_or(0, |k| k.version);
    if known.is_some_and(|k| k == Order { version, ..order.clone() }) {
        return Ok(false);
    }
    tx.put_order(&Order { version: version.saturating_add(1), ..order.clone() }, now)
}

fn put_credit(
    tx: &mut Tx<'_>,
    customer: &Customer,
    caps: Caps,
    read_began: UtcMs,
    now: &Moment,
) -> Result<(), StoreError> {
    // A gate asks for room for the very order that the ERP has taken off already.
    let held = if caps.orders_in_credit { counted::credit_held(tx, &customer.id)? } else { 0 };
    let headroom_minor = customer.headroom_minor().saturating_add(held);
    let value = FactValue::Credit { on_hold: customer.on_hold, headroom_minor };
    let at = match standing(tx, &customer.id)?.map(|fact| fact.report) {
        // So far ahead, it keeps nothing out.
        Some(held) if now.is_before(held.at) => read_began,
        // Else hub and depots keep what is dated later: the clock was ahead, or is behind now.
        Some(held) if held.at > read_began && held.value != value => held.at.plus(1),
        Some(held) => read_began.max(held.at),
        None => read_began,
    };
    let report = Report {
        key: FactKey::Credit { customer: customer.id.clone() },
        value,
        source: Source::Erp,
        at,
        evidence: format!("customer {} at the ERP", customer.id),
    };
    tx.put_fact(&report, now)?;
    Ok(())
}

/// What is held of a customer's credit.
fn standing(reader: &Reader<'_>, customer: &CustomerId) -> Result<Option<Fact>, StoreError> {
    reader.fact(&FactKey::Credit { customer: customer.clone() })
}

/// Tells standings again that have not changed for a while; returns customers of whom nothing is known.
fn repeat_credit(
    tx: &mut Tx<'_>,
    read_began: UtcMs,
    repeat_ms: i64,
    now: &Moment,
) -> Result<Vec<CustomerId>, StoreError> {
    let released = tx.orders()?.into_iter().filter(|o| o.status == OrderStatus::Released);
    let customers: BTreeSet<CustomerId> = released.map(|o| o.customer.id).collect();
    let mut unknown = Vec::new();
    for customer in customers {
        match standing(tx, &customer)? {
            None => unknown.push(customer),
            Some(fact) if is_due(&fact, read_began, repeat_ms, now.wall) => {
                // All changes up to this read are in, so what is held is what the ERP would say now.
                let at =
                    if now.is_before(fact.report.at) { read_began } else { read_began.max(fact.report.at.plus(1)) };
                tx.put_fact(&Report { at, ..fact.report }, now)?;
            }
            Some(_) => {}
        }
    }
    Ok(unknown)
}

/// Whether a standing is to be told again: it is so old, or it is dated ahead and was not told within that time.
fn is_due(held: &Fact, read_began: UtcMs, repeat_ms: i64, now: UtcMs) -> bool {
    let (age, told) = (read_began.since(held.report.at), now.since(held.received.wall));
    age >= repeat_ms || age < 0 && !(0..repeat_ms).contains(&told)
}

#[cfg(test)]
mod tests;
