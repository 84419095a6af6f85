//! How far each device's outbox has been taken, what of it was refused, and where its chain of decisions has got to.

use gatehouse_common::{
    decision::ChainHead,
    id::{DeviceId, Hash32},
    sync::Rejection,
};

use super::{Reader, StoreError, Tx, row, sql::params};

/// Lives of its outbox that are known of one device: each restore of its store begins one.
pub(crate) const LIVES_MAX: usize = 32;

impl Reader<'_> {
    /// The last number taken of a life of a device's outbox; 0 before the first.
    pub(crate) fn taken_through(&self, device: &DeviceId, outbox_epoch: u64) -> Result<u64, StoreError> {
        let taken: Option<i64> = self.sql.optional(
            "SELECT taken_through FROM outboxes WHERE device = ?1 AND outbox_epoch = ?2",
            params![device.as_str(), outbox_epoch.to_string()],
            |r| r.get(0),
        )?;
        Ok(taken.map_or(0, row::from_sql))
    }

    /// Every life of a device's outbox of which something was taken.
    pub(crate) fn outbox_epochs(&self, device: &DeviceId) -> Result<Vec<u64>, StoreError> {
        let sql = "SELECT outbox_epoch FROM outboxes WHERE device = ?1";
        self.sql.query(sql, params![device.as_str()], |r| row::parse("outboxes", &r.get::<String>("outbox_epoch")?))
    }

    /// What was rejected of these numbers.
    pub(crate) fn rejections(
        &self,
        device: &DeviceId,
        outbox_epoch: u64,
        first: u64,
        last: u64,
    ) -> Result<Vec<Rejection>, StoreError> {
        let key = params![device.as_str(), outbox_epoch.to_string(), row::to_sql(first), row::to_sql(last)];
        self.sql.query(
            "SELECT number, reason FROM rejections
              WHERE device = ?1 AND outbox_epoch = ?2 AND number BETWEEN ?3 AND ?4 ORDER BY number",
            key,
            |r| Ok(Rejection { number: row::from_sql(r.get("number")?), reason: r.get("reason")? }),
        )
    }

    /// Where a chain of decisions has got to.
    /// # Errors
    /// [`StoreError::Damaged`] if its hash cannot be read.
    pub fn chain(&self, device: &DeviceId, epoch: u32) -> Result<ChainHead, StoreError> {
        let found: Option<(i64, String)> = self.sql.optional(
            "SELECT position, hash FROM chains WHERE device = ?1 AND epoch = ?2",
            params![device.as_str(), epoch],
            |r| Ok::<_, StoreError>((r.get("position")?, r.get("hash")?)),
        )?;
        match found {
            None => Ok(ChainHead::start(device.clone(), epoch)),
            Some((position, hash)) => Ok(ChainHead {
                device: device.clone(),
                epoch,
                position: row::from_sql(position),
                hash: row::parse::<Hash32>("chains", &hash)?,
            }),
        }
    }
}

impl Tx<'_> {
    pub(crate) fn set_taken_through(
        &mut self,
        device: &DeviceId,
        outbox_epoch: u64,
        taken: u64,
    ) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO outboxes (device, outbox_epoch, taken_through) VALUES (?1, ?2, ?3)
             ON CONFLICT (device, outbox_epoch) DO UPDATE SET taken_through =
               CASE WHEN outboxes.taken_through < ?3 THEN ?3 ELSE outboxes.taken_through END",
            params![device.as_str(), outbox_epoch.to_string(), row::to_sql(taken)],
        )?;
        Ok(())
    }

    /// Lives of an outbox that ended long ago are forgotten: a device counts its lives up, so one that comes again of those
    /// is none of its own.
    pub(crate) fn forget_old_lives(&mut self, device: &DeviceId) -> Result<(), StoreError> {
        let mut lives = self.outbox_epochs(device)?;
        lives.sort_unstable();
        let old = lives.len().saturating_sub(LIVES_MAX);
        for life in &lives[..old] {
            let key = params![device.as_str(), life.to_string()];
            self.sql.execute("DELETE FROM outboxes WHERE device = ?1 AND outbox_epoch = ?2", key)?;
            self.sql.execute("DELETE FROM rejections WHERE device = ?1 AND outbox_epoch = ?2", key)?;
        }
        Ok(())
    }

    pub(crate) fn keep_rejection(
        &mut self,
        device: &DeviceId,
        outbox_epoch: u64,
        rejection: &Rejection,
    ) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO rejections (device, outbox_epoch, number, reason) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (device, outbox_epoch, number) DO UPDATE SET reason = ?4",
            params![device.as_str(), outbox_epoch.to_string(), row::to_sql(rejection.number), rejection.reason],
        )?;
        Ok(())
    }

    /// Refusals that the device need not be told again: it has heard of them and offers these numbers no more.
    pub(crate) fn forget_rejections(
        &mut self,
        device: &DeviceId,
        outbox_epoch: u64,
        through: u64,
    ) -> Result<(), StoreError> {
        self.sql.execute(
            "DELETE FROM rejections WHERE device = ?1 AND outbox_epoch = ?2 AND number <= ?3",
            params![device.as_str(), outbox_epoch.to_string(), row::to_sql(through)],
        )?;
        Ok(())
    }

    pub(crate) fn set_chain(&mut self, head: &ChainHead) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO chains (device, epoch, position, hash) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (device, epoch) DO UPDATE SET position = ?3, hash = ?4",
            params![head.device.as_str(), head.epoch, row::to_sql(head.position), head.hash.to_string()],
        )?;
        Ok(())
    }
}
