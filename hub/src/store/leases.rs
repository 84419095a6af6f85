//! Leases as they were granted, with what of each is used and what has become of it.
//!
//! What the states mean and when a slice returns is decided in `core::leases`; here is only what was said.

use gatehouse_common::{
    id::{LeaseId, SiteId},
    seal::Sealed,
    sync::{Downward, Lane},
    time::UtcMs,
};

use super::{
    Reader, Scope, StoreChange, StoreError, Tx, row,
    sql::{Row, params},
};
use crate::core::leases::{LeaseRow, LeaseState};

struct Stored {
    id: String,
    body: String,
    signature: String,
    state: String,
    used: String,
    closed: Option<i64>,
    asked: Option<i64>,
}

impl Stored {
    fn read(r: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: r.get("id")?,
            body: r.get("body")?,
            signature: r.get("signature")?,
            state: r.get("state")?,
            used: r.get("used")?,
            closed: r.get("closed_ms")?,
            asked: r.get("asked_ms")?,
        })
    }

    fn open(self) -> Result<LeaseRow, StoreError> {
        let state = match self.state.as_str() {
            "outstanding" => LeaseState::Outstanding,
            "closed" => LeaseState::Closed,
            "settled" => LeaseState::Settled,
            other => return Err(row::damaged("leases", &self.id, format!("state {other:?}"))),
        };
        Ok(LeaseRow {
            lease: row::json("leases", &self.id, &self.body)?,
            used: row::json("leases", &self.id, &self.used)?,
            sealed: Sealed { body: self.body, signature: self.signature },
            state,
            closed_at: self.closed.map(UtcMs),
            asked_at: self.asked.map(UtcMs),
        })
    }
}

impl Reader<'_> {
    fn leases_where(&self, condition: &str, value: &str) -> Result<Vec<LeaseRow>, StoreError> {
        let sql = format!(
            "SELECT id, body, signature, state, used, closed_ms, asked_ms FROM leases WHERE {condition} ORDER BY granted_ms, id"
        );
        self.sql.query(&sql, params![value], |r| Stored::read(r)?.open())
    }

    /// Every lease, oldest first.
    /// # Errors
    /// [`StoreError::Damaged`] if one cannot be read.
    pub fn leases(&self) -> Result<Vec<LeaseRow>, StoreError> {
        self.leases_where("?1 = ?1", "")
    }

    /// Leases that may still weigh on a figure, oldest first.
    /// # Errors
    /// [`StoreError::Damaged`] if one cannot be read.
    pub fn leases_that_weigh(&self) -> Result<Vec<LeaseRow>, StoreError> {
        self.leases_where("state <> ?1", LeaseState::Settled.as_str())
    }

    /// How many leases wait for a person, since their depots stay away.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn leases_unreported(&self) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM leases WHERE state = 'outstanding' AND asked_ms IS NOT NULL";
        Ok(row::from_sql(self.sql.one(sql, params![], |r| r.get(0))?))
    }

    /// Leases of a depot, oldest first.
    /// # Errors
    /// [`StoreError::Damaged`] if one cannot be read.
    pub fn leases_of(&self, site: &SiteId) -> Result<Vec<LeaseRow>, StoreError> {
        self.leases_where("site = ?1", site.as_str())
    }

    /// The lease with this name.
    /// # Errors
    /// [`StoreError::Damaged`] if it cannot be read.
    pub fn lease(&self, id: &LeaseId) -> Result<Option<LeaseRow>, StoreError> {
        Ok(self.leases_where("id = ?1", id.as_str())?.pop())
    }
}

impl Tx<'_> {
    /// Writes a lease down as it stands. A new one is sent to its depot, and one that got more time.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn put_lease(&mut self, lease: &LeaseRow, now: UtcMs) -> Result<(), StoreError> {
        let granted = &lease.lease;
        self.sql.execute(
            "INSERT INTO leases (id, site, body, signature, state, used, granted_ms, expires_ms, closed_ms, asked_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (id) DO UPDATE SET body = ?3, signature = ?4, state = ?5, used = ?6, expires_ms = ?8,
                 closed_ms = ?9, asked_ms = ?10",
            params![
                granted.id.as_str(),
                granted.site.as_str(),
                lease.sealed.body,
                lease.sealed.signature,
                lease.state.as_str(),
                serde_json::to_string(&lease.used)?,
                granted.granted_at.0,
                granted.expires_at.0,
                lease.closed_at.map(|c| c.0),
                lease.asked_at.map(|a| a.0),
            ],
        )?;
        let (scope, subject) = (Scope::Site(granted.site.clone()), format!("lease/{}", granted.id));
        self.publish_newest(&scope, Lane::Orders, &Downward::Lease(lease.sealed.clone()), &subject, now)?;
        self.changed(StoreChange::Lease(granted.site.clone()));
        Ok(())
    }
}
