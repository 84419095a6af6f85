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
    sql::{Row, Value, params},
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

/// Which leases may still weigh. Both engines use the index `leases_weigh` only where a query has the same words: else each
/// look would read all that were ever granted.
const WEIGH: &str = "state <> 'settled'";

impl Reader<'_> {
    fn leases_where(&self, condition: &str, values: &[Value]) -> Result<Vec<LeaseRow>, StoreError> {
        let sql = format!(
            "SELECT id, body, signature, state, used, closed_ms, asked_ms FROM leases WHERE {condition} ORDER BY granted_ms, id"
        );
        self.sql.query(&sql, values, |r| Stored::read(r)?.open())
    }

    /// Every lease, oldest first.
    /// # Errors
    /// [`StoreError::Damaged`] if one cannot be read.
    pub fn leases(&self) -> Result<Vec<LeaseRow>, StoreError> {
        self.leases_where("1 = 1", params![])
    }

    /// Leases that may still weigh on a figure, oldest first.
    /// # Errors
    /// [`StoreError::Damaged`] if one cannot be read.
    pub fn leases_that_weigh(&self) -> Result<Vec<LeaseRow>, StoreError> {
        self.leases_where(WEIGH, params![])
    }

    /// How many leases wait for a person, since their depots stay away.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn leases_unreported(&self) -> Result<u64, StoreError> {
        let sql =
            format!("SELECT count(*) FROM leases WHERE {WEIGH} AND state = 'outstanding' AND asked_ms IS NOT NULL");
        Ok(row::from_sql(self.sql.one(&sql, params![], |r| r.get(0))?))
    }

    /// Leases of a depot of whose use nothing is stated yet, oldest first.
    /// # Errors
    /// [`StoreError::Damaged`] if one cannot be read.
    pub fn leases_outstanding_at(&self, site: &SiteId) -> Result<Vec<LeaseRow>, StoreError> {
        let condition = format!("site = ?1 AND {WEIGH} AND state = ?2");
        self.leases_where(&condition, params![site.as_str(), LeaseState::Outstanding.as_str()])
    }

    /// When the newest lease of a depot was granted, whatever has become of it.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn newest_lease_at(&self, site: &SiteId) -> Result<Option<UtcMs>, StoreError> {
        let sql = "SELECT max(granted_ms) FROM leases WHERE site = ?1";
        let at: Option<i64> = self.sql.one(sql, params![site.as_str()], |r| r.get(0))?;
        Ok(at.map(UtcMs))
    }

    /// The lease with this name.
    /// # Errors
    /// [`StoreError::Damaged`] if it cannot be read.
    pub fn lease(&self, id: &LeaseId) -> Result<Option<LeaseRow>, StoreError> {
        Ok(self.leases_where("id = ?1", params![id.as_str()])?.pop())
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
