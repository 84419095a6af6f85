//! Brings the ERP's news in: orders, customers' credit, and that the ERP was heard at all.
//!
//! A read is complete when the last page of it is written down; what begins later sees everything
//! that was confirmed before. [`read_at`] says when the newest complete read began.

use std::{collections::BTreeSet, sync::Arc};

use gatehouse_common::{
    fact::{FactKey, FactValue, Report, Source},
    id::{CustomerId, DeviceId, Hash32},
    order::{Order, OrderStatus},
    time::UtcMs,
};
use tracing::{debug, info, warn};

use super::{Caps, ChangePage, Connector, Customer, ErpCursor, ErpError, counted};
use crate::{
    clock::Clock,
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

/// When the newest complete read of the ERP began; none before the first.
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

/// One complete read.
/// # Errors
/// [`PollError`]; pages that were written down before it stay.
pub async fn once(
    store: &Store,
    connector: &dyn Connector,
    clock: &Clock,
    options: &PollOptions,
) -> Result<(), PollError> {
    let (began, caps) = (clock.wall(), connector.caps());
    let mut cursor = store.read(|r| Ok(ErpCursor(r.cursor(CURSOR)?.unwrap_or_default()))).await?;
    loop {
        let page = connector.changes(&cursor).await?;
        let (next, more) = (page.cursor.clone(), page.more);
        let now = clock.now();
        store
            .write(move |tx| {
                take_page(tx, &page, caps, began, &now)?;
                tx.set_cursor(CURSOR, &page.cursor.0)
            })
            .await?;
        if !more || next == cursor {
            break;
        }
        cursor = next;
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
                store.write(move |tx| put_credit(tx, &customer, caps, began, &now)).await?;
            }
            Err(ErpError::NotFound { detail }) => debug!(customer = %id, "{detail}"),
            Err(error) => return Err(error.into()),
        }
    }
    let now = clock.wall();
    store
        .write(move |tx| {
            // Last, and only now: whoever sees this time may rely on everything the read brought.
            tx.set_cursor(READ_AT, &began.0.to_string())?;
            tx.source_heard(Source::Erp, now)
        })
        .await?;
    Ok(())
}

fn take_page(
    tx: &mut Tx<'_>,
    page: &ChangePage,
    caps: Caps,
    began: UtcMs,
    now: &gatehouse_common::time::Moment,
) -> Result<(), StoreError> {
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
    now: &gatehouse_common::time::Moment,
) -> Result<(), StoreError> {
    // A gate asks for room for the very order that the ERP has taken off already.
    let held = if caps.orders_in_credit { counted::credit_held(tx, &customer.id)? } else { 0 };
    let headroom_minor = customer.headroom_minor().saturating_add(held);
    let report = Report {
        key: FactKey::Credit { customer: customer.id.clone() },
        value: FactValue::Credit { on_hold: customer.on_hold, headroom_minor },
        source: Source::Erp,
        at: read_began,
        evidence: format!("customer {} at the ERP", customer.id),
    };
    tx.put_fact(&report, now)?;
    Ok(())
}

/// Tells standings again that have not changed for a while; returns customers of whom nothing is known.
fn repeat_credit(
    tx: &mut Tx<'_>,
    read_began: UtcMs,
    repeat_ms: i64,
    now: &gatehouse_common::time::Moment,
) -> Result<Vec<CustomerId>, StoreError> {
    let released = tx.orders()?.into_iter().filter(|o| o.status == OrderStatus::Released);
    let customers: BTreeSet<CustomerId> = released.map(|o| o.customer.id).collect();
    let mut unknown = Vec::new();
    for customer in customers {
        match tx.fact(&FactKey::Credit { customer: customer.clone() })? {
            None => unknown.push(customer),
            Some(fact) if read_began.since(fact.report.at) >= repeat_ms => {
                // All changes up to this read are in, so what is held is what the ERP would say now.
                tx.put_fact(&Report { at: read_began, ..fact.report }, now)?;
            }
            Some(_) => {}
        }
    }
    Ok(unknown)
}
