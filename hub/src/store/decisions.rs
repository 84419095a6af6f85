//! Decisions as their devices signed them.

use gatehouse_common::{
    decision::{ChainHead, DecisionKind, DecisionRecord, LeaseCharge},
    id::{DecisionId, DeviceId, DocumentId, Hash32, LeaseId, OrderId},
    lease::LeaseUse,
    seal::Sealed,
    time::UtcMs,
};
use serde::Deserialize;

use super::{
    Reader, StoreChange, StoreError, Tx,
    damage::{Checked, number},
    row,
    sql::{Row, Value, params},
    turn::Numbered,
};

/// A decision with where it stands in the hub's own order.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDecision {
    /// Its place among all decisions of all devices.
    pub n: u64,
    /// What was decided.
    pub record: DecisionRecord,
    /// The record exactly as it was signed.
    pub sealed: Sealed,
    /// When it came in, by the hub's clock.
    pub received: UtcMs,
}

struct Stored {
    n: i64,
    id: String,
    body: String,
    signature: String,
    received: i64,
    checksum: Vec<u8>,
}

const COLUMNS: &str = "n, id, body, signature, received_ms, checksum";

impl Stored {
    fn read(r: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            n: r.get("n")?,
            id: r.get("id")?,
            body: r.get("body")?,
            signature: r.get("signature")?,
            received: r.get("received_ms")?,
            checksum: r.get("checksum")?,
        })
    }

    fn open(self) -> Result<StoredDecision, StoreError> {
        row::verify("decisions", &self.id, &[self.body.as_bytes(), self.signature.as_bytes()], &self.checksum)?;
        Ok(StoredDecision {
            n: row::from_sql(self.n),
            record: row::json("decisions", &self.id, &self.body)?,
            sealed: Sealed { body: self.body, signature: self.signature },
            received: UtcMs(self.received),
        })
    }
}

/// The word under which a kind of decision is stored.
fn kind_word(kind: DecisionKind) -> &'static str {
    match kind {
        DecisionKind::Release => "release",
        DecisionKind::Hold => "hold",
        DecisionKind::Override => "override",
        DecisionKind::Recall => "recall",
        DecisionKind::LeaseClosed => "lease_closed",
        DecisionKind::EpochBegun => "epoch_begun",
    }
}

/// What of a decision says what it used.
#[derive(Deserialize)]
struct Charging {
    lease: Option<LeaseCharge>,
}

impl Reader<'_> {
    fn decisions_where(&self, condition: &str, values: &[Value]) -> Result<Vec<StoredDecision>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM decisions WHERE {condition}");
        self.sql.query(&sql, values, |r| Stored::read(r)?.open())
    }

    /// Decisions after the `n`-th that came in, at most `limit`, in that order.
    /// # Errors
    /// [`StoreError::Damaged`] if one of them is.
    pub fn decisions_after(&self, n: u64, limit: usize) -> Result<Vec<StoredDecision>, StoreError> {
        self.decisions_where("n > ?1 ORDER BY n LIMIT ?2", params![row::to_sql(n), limit as i64])
    }

    /// Reads every decision and every fork against its checksum. Returns how many damaged rows are put aside.
    pub(super) fn verify_decisions(&self) -> Result<u64, StoreError> {
        let decisions = self.verified(|after| self.check_decisions(number(after), 500))?;
        Ok(decisions + self.verified(|after| self.check_forks(number(after), 500))?)
    }

    /// Reads up to `limit` decisions behind the `after`-th against their checksums.
    pub(super) fn check_decisions(&self, after: i64, limit: usize) -> Result<Checked, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM decisions WHERE n > ?1 ORDER BY n LIMIT ?2");
        let rows = self.sql.query(&sql, params![after, limit as i64], |r| {
            let stored = Stored::read(r)?;
            Ok::<_, StoreError>((stored.n.to_string(), stored.open().err()))
        })?;
        Ok(Checked::of(rows))
    }

    /// Reads up to `limit` forks behind the `after`-th against their checksums.
    pub(super) fn check_forks(&self, after: i64, limit: usize) -> Result<Checked, StoreError> {
        let sql = "SELECT n, body, signature, checksum FROM forks WHERE n > ?1 ORDER BY n LIMIT ?2";
        let rows = self.sql.query(sql, params![after, limit as i64], |r| {
            let (n, body, signature): (i64, String, String) = (r.get("n")?, r.get("body")?, r.get("signature")?);
            let sum: Vec<u8> = r.get("checksum")?;
            let wrong = row::verify("forks", n, &[body.as_bytes(), signature.as_bytes()], &sum).err();
            Ok::<_, StoreError>((n.to_string(), wrong))
        })?;
        Ok(Checked::of(rows))
    }

    /// The decision with this name.
    /// # Errors
    /// [`StoreError::Damaged`] if it is.
    pub fn decision(&self, id: &DecisionId) -> Result<Option<StoredDecision>, StoreError> {
        Ok(self.decisions_where("id = ?1", params![id.as_str()])?.pop())
    }

    /// Decisions about an order, in the order they came in.
    /// # Errors
    /// [`StoreError::Damaged`] if one of them is.
    pub fn decisions_of_order(&self, order: &OrderId) -> Result<Vec<StoredDecision>, StoreError> {
        self.decisions_where("order_id = ?1 ORDER BY n", params![order.as_str()])
    }

    /// Decisions about a dispatch, in the order they came in.
    /// # Errors
    /// [`StoreError::Damaged`] if one of them is.
    pub fn decisions_of_dispatch(&self, dispatch: &DocumentId) -> Result<Vec<StoredDecision>, StoreError> {
        self.decisions_where("dispatch = ?1 ORDER BY n", params![dispatch.to_string()])
    }

    /// Whether a device has released anything under a lease.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn has_charged(&self, device: &DeviceId, lease: &LeaseId) -> Result<bool, StoreError> {
        Ok(!self.charges(device, lease, false)?.is_empty())
    }

    /// What a device stated that it used of a lease, if it has.
    /// # Errors
    /// [`StoreError::Damaged`] if a decision cannot be read.
    pub(crate) fn statement_of(&self, device: &DeviceId, lease: &LeaseId) -> Result<Option<LeaseUse>, StoreError> {
        Ok(self.charges(device, lease, true)?.pop().map(|charge| charge.used))
    }

    /// What decisions of a device charge to a lease: those that close it, or those that do not.
    fn charges(&self, device: &DeviceId, lease: &LeaseId, closing: bool) -> Result<Vec<LeaseCharge>, StoreError> {
        // No two engines look into JSON in the same way: whatever names the lease is read.
        let sql = "SELECT body FROM decisions WHERE device = ?1 AND body LIKE ?2
                      AND CASE WHEN kind = 'lease_closed' THEN 1 ELSE 0 END = ?3 ORDER BY n";
        let naming = self.sql.query(sql, params![device.as_str(), format!("%{lease}%"), i64::from(closing)], |r| {
            row::json::<Charging>("decisions", device.as_str(), &r.get::<String>("body")?)
        })?;
        Ok(naming.into_iter().filter_map(|said| said.lease).filter(|charge| charge.lease == *lease).collect())
    }

    /// Second records for places that were taken, of one device, in the order they came in.
    /// # Errors
    /// [`StoreError::Damaged`] if one of them is.
    pub fn forks_of(&self, device: &DeviceId) -> Result<Vec<Sealed>, StoreError> {
        let sql = "SELECT body, signature, checksum FROM forks WHERE device = ?1 ORDER BY n";
        self.sql.query(sql, params![device.as_str()], |r| {
            let sealed = Sealed { body: r.get("body")?, signature: r.get("signature")? };
            let sum: Vec<u8> = r.get("checksum")?;
            row::verify("forks", device.as_str(), &[sealed.body.as_bytes(), sealed.signature.as_bytes()], &sum)?;
            Ok(sealed)
        })
    }

    /// When a gateway last began a new epoch, by the hub's clock: what it held before is forgotten.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn epoch_begun_at(&self, gateway: &DeviceId) -> Result<Option<UtcMs>, StoreError> {
        let at: Option<i64> = self.sql.one(
            "SELECT max(received_ms) FROM decisions WHERE device = ?1 AND kind = 'epoch_begun'",
            params![gateway.as_str()],
            |r| r.get(0),
        )?;
        Ok(at.map(UtcMs))
    }

    /// Where each epoch of a device's chain has got to, the oldest first.
    /// # Errors
    /// [`StoreError::Damaged`] if a hash cannot be read.
    pub fn chains_of(&self, device: &DeviceId) -> Result<Vec<ChainHead>, StoreError> {
        let sql = "SELECT epoch FROM chains WHERE device = ?1 ORDER BY epoch";
        let epochs: Vec<u32> = self.sql.query(sql, params![device.as_str()], |r| r.get("epoch"))?;
        epochs.into_iter().map(|epoch| self.chain(device, epoch)).collect()
    }

    /// How many decisions there are.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn decision_count(&self) -> Result<u64, StoreError> {
        Ok(row::from_sql(self.sql.one("SELECT count(*) FROM decisions", params![], |r| r.get(0))?))
    }

    /// The hash of the record that stands at a place of a chain.
    pub(crate) fn decision_hash_at(
        &self,
        device: &DeviceId,
        epoch: u32,
        position: u64,
    ) -> Result<Option<Hash32>, StoreError> {
        let hash: Option<String> = self.sql.optional(
            "SELECT hash FROM decisions WHERE device = ?1 AND epoch = ?2 AND position = ?3",
            params![device.as_str(), epoch, row::to_sql(position)],
            |r| r.get(0),
        )?;
        hash.map(|text| row::parse("decisions", &text)).transpose()
    }
}

impl Tx<'_> {
    /// Keeps a second record for a place that is taken. False if this one was kept before.
    pub(crate) fn put_fork(
        &mut self,
        record: &DecisionRecord,
        sealed: &Sealed,
        now: UtcMs,
    ) -> Result<bool, StoreError> {
        let n = self.turn.next(Numbered::Forks);
        let kept = self.sql.execute(
            "INSERT INTO forks (device, epoch, position, hash, body, signature, received_ms, checksum, n)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (device, epoch, position, hash) DO NOTHING",
            params![
                record.device.as_str(),
                record.epoch,
                row::to_sql(record.position),
                sealed.hash().to_string(),
                sealed.body,
                sealed.signature,
                now.0,
                row::checksum(&[sealed.body.as_bytes(), sealed.signature.as_bytes()]),
                n,
            ],
        )?;
        Ok(kept > 0)
    }

    /// Keeps a decision whose signature and place in its chain were checked.
    pub(crate) fn put_decision(
        &mut self,
        record: &DecisionRecord,
        sealed: &Sealed,
        now: UtcMs,
    ) -> Result<(), StoreError> {
        let n = self.turn.next(Numbered::Decisions);
        self.sql.execute(
            "INSERT INTO decisions (device, epoch, position, id, hash, body, signature, kind, site, dispatch,
                                    order_id, at_ms, received_ms, checksum, n)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            params![
                record.device.as_str(),
                record.epoch,
                row::to_sql(record.position),
                record.id.as_str(),
                sealed.hash().to_string(),
                sealed.body,
                sealed.signature,
                kind_word(record.kind),
                record.site.as_str(),
                record.dispatch.map(|d| d.to_string()),
                record.order.as_ref().map(|(order, _)| order.as_str()),
                record.at.wall.0,
                now.0,
                row::checksum(&[sealed.body.as_bytes(), sealed.signature.as_bytes()]),
                n,
            ],
        )?;
        self.changed(StoreChange::Decision(record.id.clone()));
        Ok(())
    }
}
