//! Events that are told to other systems, and their deliveries.

use gatehouse_common::{id::SiteId, time::UtcMs};
use serde::Serialize;

use super::{
    Reader, StoreChange, StoreError, Tx, row,
    sql::{Row, params},
};

/// Most rows of a list.
const LIST_MAX: i64 = 500;

/// Something that happened, as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HookEvent {
    /// Its name, the same at every try.
    pub id: String,
    /// Such as `dispatch.departed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The depot that it is about.
    pub site: SiteId,
    /// The body as it is sent.
    pub body: String,
    /// When it was noted.
    pub at: UtcMs,
    /// After this nobody is told of it.
    pub expires: UtcMs,
}

/// A delivery of an event to a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HookDelivery {
    /// What.
    pub event: String,
    /// To which subscription.
    pub hook: String,
    /// `waiting`, `delivered`, `stale` or `dead`.
    pub state: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When next; of one that waits no more, about when that was. From then on it is kept as [`super::past`] says.
    pub next_try: UtcMs,
    /// What came of the last try.
    pub last_error: String,
}

impl HookEvent {
    fn read(r: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: r.get("id")?,
            kind: r.get("type")?,
            site: row::parse("hook_events", &r.get::<String>("site")?)?,
            body: r.get("body")?,
            at: UtcMs(r.get("at_ms")?),
            expires: UtcMs(r.get("expires_ms")?),
        })
    }
}

impl HookDelivery {
    pub(super) fn read(r: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            event: r.get("event")?,
            hook: r.get("hook")?,
            state: r.get("state")?,
            attempts: r.get("attempts")?,
            next_try: UtcMs(r.get("next_try_ms")?),
            last_error: r.get("last_error")?,
        })
    }
}

/// The columns that [`HookDelivery::read`] reads.
pub(super) const DELIVERY: &str = "event, hook, state, attempts, next_try_ms, last_error";

impl Reader<'_> {
    /// What was told last of a subject: its state, and which change that was.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn hook_told(&self, subject: &str) -> Result<Option<(String, u64)>, StoreError> {
        self.sql.optional("SELECT state, n FROM hook_told WHERE subject = ?1", params![subject], |r| {
            Ok((r.get("state")?, row::from_sql(r.get("n")?)))
        })
    }

    /// When the next delivery of a subscription is due; none if nothing waits.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn hook_due(&self, hook: &str, now: UtcMs) -> Result<Option<(HookDelivery, HookEvent)>, StoreError> {
        let sql = format!(
            "SELECT {DELIVERY} FROM hook_deliveries
              WHERE hook = ?1 AND state = 'waiting' AND next_try_ms <= ?2 ORDER BY next_try_ms, event LIMIT 1"
        );
        let Some(delivery) = self.sql.optional(&sql, params![hook, now.0], HookDelivery::read)? else {
            return Ok(None);
        };
        let sql = "SELECT id, type, site, body, at_ms, expires_ms FROM hook_events WHERE id = ?1";
        let event = self.sql.one(sql, params![delivery.event.as_str()], HookEvent::read)?;
        Ok(Some((delivery, event)))
    }

    /// When and why a receiver ended a subscription, if it did.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn hook_ended(&self, hook: &str) -> Result<Option<(UtcMs, String)>, StoreError> {
        self.sql.optional("SELECT at_ms, reason FROM hook_ended WHERE hook = ?1", params![hook], |r| {
            Ok((UtcMs(r.get("at_ms")?), r.get("reason")?))
        })
    }

    /// How many deliveries of a subscription stand in each state.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn hook_counts(&self, hook: &str) -> Result<Vec<(String, u64)>, StoreError> {
        let sql = "SELECT state, count(*) AS n FROM hook_deliveries WHERE hook = ?1 GROUP BY state ORDER BY state";
        self.sql.query(sql, params![hook], |r| Ok((r.get("state")?, row::from_sql(r.get("n")?))))
    }

    /// Deliveries that are parked for a person or were too late, the latest first.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn hook_dead(&self) -> Result<Vec<HookDelivery>, StoreError> {
        let sql = format!(
            "SELECT {DELIVERY} FROM hook_deliveries WHERE state IN ('dead', 'stale')
              ORDER BY next_try_ms DESC, event LIMIT ?1"
        );
        self.sql.query(&sql, params![LIST_MAX], HookDelivery::read)
    }
}

impl Tx<'_> {
    /// Notes what is told of a subject.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn tell_hook(&mut self, subject: &str, state: &str, n: u64) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO hook_told (subject, state, n) VALUES (?1, ?2, ?3)
             ON CONFLICT (subject) DO UPDATE SET state = ?2, n = ?3",
            params![subject, state, row::to_sql(n)],
        )?;
        Ok(())
    }

    /// Keeps an event and a delivery for each of `hooks`.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn keep_hook_event(&mut self, event: &HookEvent, hooks: &[String]) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO hook_events (id, type, site, body, at_ms, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (id) DO NOTHING",
            params![
                event.id.as_str(),
                event.kind.as_str(),
                event.site.as_str(),
                event.body.as_str(),
                event.at.0,
                event.expires.0,
            ],
        )?;
        for hook in hooks {
            self.sql.execute(
                "INSERT INTO hook_deliveries (event, hook, state, attempts, next_try_ms, last_error)
                 VALUES (?1, ?2, 'waiting', 0, ?3, '') ON CONFLICT (event, hook) DO NOTHING",
                params![event.id.as_str(), hook.as_str(), event.at.0],
            )?;
        }
        self.changed(StoreChange::Partner);
        Ok(())
    }

    /// What came of a try: the state it is in now, how often it was tried, when next, and what was said.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn keep_hook_delivery(&mut self, delivery: &HookDelivery) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE hook_deliveries SET state = ?3, attempts = ?4, next_try_ms = ?5, last_error = ?6
              WHERE event = ?1 AND hook = ?2",
            params![
                delivery.event.as_str(),
                delivery.hook.as_str(),
                delivery.state.as_str(),
                i64::from(delivery.attempts),
                delivery.next_try.0,
                delivery.last_error.as_str(),
            ],
        )?;
        Ok(())
    }

    /// A receiver wants nothing more. What waits for it is parked.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn end_hook(&mut self, hook: &str, reason: &str, now: UtcMs) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO hook_ended (hook, at_ms, reason) VALUES (?1, ?2, ?3) ON CONFLICT (hook) DO NOTHING",
            params![hook, now.0, reason],
        )?;
        self.sql.execute(
            "UPDATE hook_deliveries SET state = 'dead', last_error = ?2, next_try_ms = ?3
              WHERE hook = ?1 AND state = 'waiting'",
            params![hook, reason, now.0],
        )?;
        Ok(())
    }

    /// A person takes a subscription up again. What was parked stays so until it is replayed.
    /// # Errors
    /// [`StoreError::Refused`] if it was not ended.
    pub fn resume_hook(&mut self, hook: &str) -> Result<(), StoreError> {
        match self.sql.execute("DELETE FROM hook_ended WHERE hook = ?1", params![hook])? {
            0 => Err(StoreError::Refused(format!("subscription {hook} was not ended"))),
            _ => Ok(()),
        }
    }

    /// A person wants a parked or late delivery tried again, under the same id, and though it is late.
    /// # Errors
    /// [`StoreError::Refused`] if there is no such delivery that is parked, or it was taken out by now.
    pub fn replay_hook(&mut self, event: &str, hook: &str, now: UtcMs) -> Result<(), StoreError> {
        let changed = self.sql.execute(
            "UPDATE hook_deliveries SET state = 'waiting', attempts = 0, next_try_ms = ?3
              WHERE event = ?1 AND hook = ?2 AND state IN ('dead', 'stale')",
            params![event, hook, now.0],
        )?;
        if changed == 0 {
            return Err(StoreError::Refused(format!("no parked delivery of {event} to {hook}")));
        }
        self.sql.execute(
            "UPDATE hook_events SET expires_ms = ?2 WHERE id = ?1 AND expires_ms < ?2",
            params![event, now.plus(86_400_000).0],
        )?;
        self.changed(StoreChange::Partner);
        Ok(())
    }
}
