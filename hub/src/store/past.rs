//! Takes out what partners sent and what others were told, once it is long past.
//!
//! In: the hub's clock. Out: fewer marks of events that partners sent, and fewer deliveries, each event with the last of its
//! own; a few at a time. What still waits for a subscriber stays. Where nobody asked for it in all that time (its
//! subscription was ended or is no longer configured) and it is no news any more, it is parked; what is parked stays as long
//! again, so that a person can replay it.
//!
//! Nothing is taken or told twice for that. A repeat of an event whose mark is gone is no newer than the fact that is held,
//! and changes nothing ([`crate::partners::events`]). What was told of a case or a dispatch stands in `hook_told`, which stays:
//! a row for each document, as long as the hub has the document, and from it comes the number that names the next event.
//! `hook_ended` has a row for each subscription and stays too.

use std::time::Duration;

use gatehouse_common::time::UtcMs;
use tracing::info;

use super::{
    Store, StoreChange, StoreError, Tx,
    sql::params,
    webhooks::{DELIVERY, HookDelivery},
};
use crate::tasks::Stop;

/// How long it is kept, in milliseconds: 90 days.
pub const KEPT_MS: i64 = 90 * 24 * 3_600_000;

/// Most rows of each kind that go in one commit.
const ROWS: usize = 100;
/// Rest between two such pieces, in real time.
const REST: Duration = Duration::from_millis(200);
/// The states of a delivery that waits no more.
const OVER: [&str; 3] = ["delivered", "stale", "dead"];

/// What was done with what is long past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gone {
    /// Marks of events that partners sent, taken out.
    pub marks: u64,
    /// Deliveries that waited no more, taken out.
    pub told: u64,
    /// Deliveries that nobody asked for while they were news; they are parked now.
    pub parked: u64,
}

impl Gone {
    fn and(self, more: Self) -> Self {
        Self { marks: self.marks + more.marks, told: self.told + more.told, parked: self.parked + more.parked }
    }
}

impl Tx<'_> {
    /// Takes out, or parks, what is long past at `now`, of each kind the oldest, about `limit` rows.
    /// # Errors
    /// [`StoreError::Sql`].
    pub(crate) fn prune_past(&mut self, now: UtcMs, limit: usize) -> Result<Gone, StoreError> {
        let before = now.plus(-KEPT_MS);
        Ok(Gone {
            marks: self.prune_marks(before, limit)?,
            told: self.prune_told(before, limit)?,
            parked: self.park_unasked(before, now, limit)?,
        })
    }

    /// Those of the same millisecond go together.
    fn prune_marks(&mut self, before: UtcMs, limit: usize) -> Result<u64, StoreError> {
        let oldest: Vec<i64> = self.sql.query(
            "SELECT at_ms FROM events WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2",
            params![before.0, limit as i64],
            |r| r.get(0),
        )?;
        let Some(last) = oldest.last() else { return Ok(0) };
        Ok(self.sql.execute("DELETE FROM events WHERE at_ms <= ?1", params![last])? as u64)
    }

    fn prune_told(&mut self, before: UtcMs, limit: usize) -> Result<u64, StoreError> {
        let mut went = 0;
        for state in OVER {
            let oldest: Vec<(String, String)> = self.sql.query(
                "SELECT event, hook FROM hook_deliveries WHERE state = ?1 AND next_try_ms < ?2
                  ORDER BY next_try_ms, event, hook LIMIT ?3",
                params![state, before.0, limit as i64],
                |r| Ok::<_, StoreError>((r.get("event")?, r.get("hook")?)),
            )?;
            for (event, hook) in &oldest {
                self.forget_delivery(event, hook)?;
            }
            went += oldest.len() as u64;
        }
        Ok(went)
    }

    /// The event goes with the last of its deliveries: until then it is sent from.
    fn forget_delivery(&mut self, event: &str, hook: &str) -> Result<(), StoreError> {
        self.sql.execute("DELETE FROM hook_deliveries WHERE event = ?1 AND hook = ?2", params![event, hook])?;
        self.sql.execute(
            "DELETE FROM hook_events
              WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM hook_deliveries WHERE event = ?1)",
            params![event],
        )?;
        Ok(())
    }

    /// A subscription that is served asks for what is due within seconds. What was due all that time has none.
    fn park_unasked(&mut self, before: UtcMs, now: UtcMs, limit: usize) -> Result<u64, StoreError> {
        let sql = format!(
            "SELECT {DELIVERY} FROM hook_deliveries
              WHERE state = 'waiting' AND next_try_ms < ?1
                AND EXISTS (SELECT 1 FROM hook_events WHERE id = hook_deliveries.event AND expires_ms < ?2)
              ORDER BY next_try_ms, event, hook LIMIT ?3"
        );
        let unasked = self.sql.query(&sql, params![before.0, now.0, limit as i64], HookDelivery::read)?;
        let parked = unasked.len() as u64;
        for delivery in unasked {
            let last_error = "nobody asked for it while it was news".to_owned();
            // Its time begins anew, so that a person can still replay it.
            let stale = HookDelivery { state: "stale".to_owned(), next_try: now, last_error, ..delivery };
            self.keep_hook_delivery(&stale)?;
            self.changed(StoreChange::Partner);
        }
        Ok(parked)
    }
}

/// Takes out what is long past at `now`, in pieces of one commit each, until nothing more goes or it is stopped.
/// # Errors
/// The store's; what went before stays gone.
pub(super) async fn prune(store: &Store, now: UtcMs, stop: &mut Stop) -> Result<(), StoreError> {
    let mut all = Gone::default();
    loop {
        let gone = store.write(move |tx| tx.prune_past(now, ROWS)).await?;
        if gone == Gone::default() {
            break;
        }
        all = all.and(gone);
        tokio::select! {
            () = tokio::time::sleep(REST) => {}
            () = stop.stopped() => break,
        }
    }
    let Gone { marks, told, parked } = all;
    if marks + told > 0 {
        info!(marks, told, "{marks} marks of partners' events and {told} deliveries were taken out: long past");
    }
    if parked > 0 {
        info!(parked, "{parked} deliveries are parked: their subscriptions are not served, and they are no news");
    }
    Ok(())
}
