//! Lives of the ledger and runs of the hub, and what of it a backup holds.
//!
//! A store that was restored from a backup begins another life of its ledger. The program that restores says so; and
//! where nobody did, a device shows a page that this store cannot have sent. What was on its way to the ERP is then
//! asked for before it is sent, the leases of every depot have to be told again before one is granted, and devices
//! give back what was forgotten. So that they can, they keep everything that came after the newest backup.

use std::collections::BTreeSet;

use gatehouse_common::{
    id::{DeviceId, SiteId},
    sync::{LedgerEpoch, PageDigest},
    time::UtcMs,
};

use super::{
    DeviceKind, Reader, StoreError, Tx, cursors, row,
    sql::{Connection, params},
};

/// How long devices keep what they told while no backup was ever made, in milliseconds.
const KEPT_MS: i64 = 14 * DAY_MS;
/// How often a push that passes numbers over is sent back after a restore.
const GAP_TIMES: u32 = 3;
const DAY_MS: i64 = 24 * 3_600_000;

/// When the present life of the ledger began by a restore; not there in its first.
const RESTORED: &str = "ledger.restored";
/// The life that was restored ([`Reader::restored_from`]), once the hub has done what follows from it.
const RESTORE_SEEN: &str = "ledger.restore_seen";

/// Of when the copy is that was restored, as far as it shows: what came after that is forgotten.
const COPIED: &str = "ledger.copied";

/// The run in which a device was believed without a proof.
const BELIEVED: &str = "ledger.believed_in";

/// Does what follows from a restore, at the first start after it.
pub(super) fn begin(sql: &Connection, now: UtcMs) -> Result<(), StoreError> {
    let reader = Reader { sql };
    let Some(from) = reader.restored_from()? else { return Ok(()) };
    let from = from.0.to_string();
    if reader.cursor(RESTORE_SEEN)?.as_ref() == Some(&from) {
        return Ok(());
    }
    // Whatever the store holds to be unsent may have been sent by the life that is forgotten, and is asked for first.
    sql.execute(
        "UPDATE postings SET state = 'in_doubt', sent_ms = ?1, claimed = 0 WHERE state = 'queued'",
        params![now.0],
    )?;
    cursors::put(sql, COPIED, &reader.newest_mark()?.0.to_string())?;
    // What is marked was marked in the life before.
    sql.execute("DELETE FROM outbox_marks", params![])?;
    sql.execute("DELETE FROM marks", params![])?;
    cursors::put(sql, RESTORED, &now.0.to_string())?;
    cursors::put(sql, RESTORE_SEEN, &from)
}

/// What devices may forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// The last number of the outbox.
    pub outbox: u64,
    /// The last position of the feed.
    pub feed: u64,
}

fn begun(device: &DeviceId) -> String {
    format!("ledger.begun/{device}")
}

fn gap(device: &DeviceId) -> String {
    format!("outbox.gap/{device}")
}

/// What the names begin with under which it stands in which life leases were told.
const TOLD: &str = "lease.told/";

/// Where it stands in which life a gateway told its leases.
fn told(gateway: &DeviceId) -> String {
    format!("{TOLD}by/{gateway}")
}

/// Where it stands in which life a person answered for a depot that does not come back.
fn answered_for(site: &SiteId) -> String {
    format!("{TOLD}{site}")
}

impl Reader<'_> {
    /// Since when this life of the ledger lasts, if a restore began it.
    /// # Errors
    /// [`StoreError::Damaged`] if it cannot be read.
    pub fn restored_at(&self) -> Result<Option<UtcMs>, StoreError> {
        let text = self.cursor(RESTORED)?;
        text.map(|text| row::parse("cursors", &text).map(UtcMs)).transpose()
    }

    /// When this life of the ledger began, and of when the copy is that it began with; none if no restore began it. Before
    /// the hub has started in it, it is yet to begin.
    fn restore(&self) -> Result<Option<(UtcMs, UtcMs)>, StoreError> {
        let Some(from) = self.restored_from()? else { return Ok(None) };
        if self.cursor(RESTORE_SEEN)? != Some(from.0.to_string()) {
            return Ok(Some((UtcMs(i64::MAX), self.newest_mark()?)));
        }
        let Some(restored) = self.restored_at()? else { return Ok(None) };
        let copied = self.cursor(COPIED)?.map(|text| row::parse("cursors", &text).map(UtcMs)).transpose()?;
        // A life that an older program began does not say: whoever was revoked in it has been passed over since.
        Ok(Some((restored, copied.unwrap_or(UtcMs(i64::MAX)))))
    }

    /// The newest mark; before all time if nothing was marked yet.
    fn newest_mark(&self) -> Result<UtcMs, StoreError> {
        let at: Option<i64> = self.sql.one("SELECT max(at_ms) FROM marks", params![], |r| r.get(0))?;
        Ok(UtcMs(at.unwrap_or(i64::MIN)))
    }

    /// Depots with a gateway that has not told since the restore which leases it holds, and that gateway: what it may spend
    /// nobody knows, so nothing is lent to anyone. Empty in a life that no restore began. One that was listed since and
    /// was never heard is not waited for: whoever makes a box ready does not stop a fleet. One that was revoked after the
    /// copy that was restored is waited for: what it held it may have used, and a person answers for that.
    /// # Errors
    /// [`StoreError::Damaged`] if a row is.
    pub fn untold_leases(&self) -> Result<BTreeSet<(SiteId, DeviceId)>, StoreError> {
        let Some((restored, copied)) = self.restore()? else { return Ok(BTreeSet::new()) };
        let sql = "SELECT name FROM cursors WHERE name LIKE ?1 AND value = ?2";
        let values = params![format!("{TOLD}%"), self.ledger_epoch()?.to_string()];
        let of_this_life: BTreeSet<String> =
            self.sql.query(sql, values, |r| r.get("name").map_err(StoreError::from))?.into_iter().collect();
        let sql = "SELECT device, sites FROM devices
                    WHERE kind = ?1 AND (added_ms < ?2 OR seen_ms >= ?2)
                      AND (revoked_ms IS NULL OR revoked_ms >= ?3)";
        let gateways: Vec<(DeviceId, Vec<SiteId>)> =
            self.sql.query(sql, params![DeviceKind::Gateway.as_str(), restored.0, copied.0], |r| {
                let device: String = r.get("device")?;
                let sites = row::json("devices", &device, &r.get::<String>("sites")?)?;
                Ok::<_, StoreError>((row::parse("devices", &device)?, sites))
            })?;
        let waited_for = gateways.into_iter().filter(|(gateway, _)| !of_this_life.contains(&told(gateway)));
        let untold = waited_for.flat_map(|(gateway, sites)| sites.into_iter().map(move |site| (site, gateway.clone())));
        Ok(untold.filter(|(site, _)| !of_this_life.contains(&answered_for(site))).collect())
    }

    /// Whether a device may tell its outbox: in a life that a restore began only once it stands in it, since before that
    /// it goes on behind what this store has forgotten.
    pub(crate) fn has_begun(&self, device: &DeviceId) -> Result<bool, StoreError> {
        Ok(self.restored_at()?.is_none() || self.cursor(&begun(device))? == Some(self.ledger_epoch()?.to_string()))
    }

    /// Whether a gateway has told in this life of the ledger which leases it holds; in one that no restore began, whether
    /// it did or not.
    pub(crate) fn has_told_leases(&self, gateway: &DeviceId) -> Result<bool, StoreError> {
        Ok(self.restored_at()?.is_none() || self.cursor(&told(gateway))? == Some(self.ledger_epoch()?.to_string()))
    }

    /// Whether a page that this hub signed can have been sent by this store.
    pub(crate) fn knows(&self, page: &PageDigest) -> Result<bool, StoreError> {
        if page.ledger != self.ledger_epoch()? {
            // Of another life: nothing follows from it for this one.
            return Ok(true);
        }
        let run = i64::from(page.run);
        let known = self.sql.optional("SELECT run FROM hub_runs WHERE run = ?1", params![run], |r| r.get::<i64>(0))?;
        let next: Option<i64> =
            self.sql.optional("SELECT began FROM hub_runs WHERE run > ?1 ORDER BY run LIMIT 1", params![run], |r| {
                r.get(0)
            })?;
        // Where several programs write, one run goes on while another begins.
        let ended = next.filter(|_| self.sql.is_written_by_one()).map(row::from_sql);
        Ok(known.is_some() && page.head <= self.feed_head()? && ended.is_none_or(|end| page.head <= end))
    }

    /// The last position that was given out in any feed; 0 before the first. Its row may be gone.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn feed_head(&self) -> Result<u64, StoreError> {
        let head: i64 =
            self.sql.one("SELECT feed FROM turn WHERE id = 1", params![], |r| r.get(0).map_err(StoreError::from))?;
        Ok(row::from_sql(head))
    }

    /// What a device need not keep: what the newest backup holds; while there is none, what is older than two weeks.
    pub(crate) fn kept(&self, device: &DeviceId, outbox_epoch: u64, now: UtcMs) -> Result<Kept, StoreError> {
        let Some((at, feed)) = self.kept_mark(now)? else { return Ok(Kept::default()) };
        let taken: Option<i64> = self.sql.optional(
            "SELECT taken_through FROM outbox_marks WHERE device = ?1 AND outbox_epoch = ?2 AND at_ms = ?3",
            params![device.as_str(), outbox_epoch.to_string(), at],
            |r| r.get(0),
        )?;
        Ok(Kept { outbox: taken.map_or(0, row::from_sql), feed: row::from_sql(feed) })
    }

    /// Whether a damaged row may still come whole from a device: it was put aside less than two weeks ago, for which time a
    /// device that is away is waited for. What such a device holds may be the only copy there is.
    pub(crate) fn awaits_rows(&self, now: UtcMs) -> Result<bool, StoreError> {
        // A document that breaks off its fold is whole, and nothing of it is to come.
        let sql = "SELECT EXISTS (SELECT 1 FROM damaged
                                   WHERE mended_ms IS NULL AND found_ms > ?1 AND of_table <> 'documents')";
        Ok(self.sql.one(sql, params![now.0.saturating_sub(KEPT_MS)], |r| r.get(0))?)
    }

    /// The last position of the feed that need not be kept.
    pub(crate) fn kept_feed(&self, now: UtcMs) -> Result<u64, StoreError> {
        Ok(self.kept_mark(now)?.map_or(0, |(_, feed)| row::from_sql(feed)))
    }

    fn kept_mark(&self, now: UtcMs) -> Result<Option<(i64, i64)>, StoreError> {
        let read = "SELECT at_ms, feed FROM marks WHERE is_backup = ?1 AND at_ms <= ?2 ORDER BY at_ms DESC LIMIT 1";
        let mark = |is_backup: i64, until: i64| {
            self.sql.optional(read, params![is_backup, until], |r| Ok::<_, StoreError>((r.get(0)?, r.get(1)?)))
        };
        match mark(1, i64::MAX)? {
            Some(backup) => Ok(Some(backup)),
            None => mark(0, now.0.saturating_sub(KEPT_MS)),
        }
    }
}

impl Tx<'_> {
    /// Begins another life of the ledger, after the store was restored from a backup: every device starts again and
    /// gives back what the backup did not have. Positions go on; none is given twice. Whatever the store holds to be
    /// unsent may have been sent by the life that is forgotten, and is asked for first.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn begin_ledger_epoch(&mut self, now: UtcMs) -> Result<LedgerEpoch, StoreError> {
        cursors::put_restored(self.sql)?;
        begin(self.sql, now)?;
        self.ledger_epoch()
    }

    /// The device stands in this life of the ledger.
    pub(crate) fn has_begun_in_it(&mut self, device: &DeviceId) -> Result<(), StoreError> {
        let life = self.ledger_epoch()?.to_string();
        self.set_cursor(&begun(device), &life)
    }

    /// Whether numbers that are missing behind `taken` are waited for: in a life that a restore began, a push from
    /// before it may come late, and what it passes over is about to be told again. The fourth time they are not there.
    pub(crate) fn waits_for_gap(&mut self, device: &DeviceId, taken: u64) -> Result<bool, StoreError> {
        if self.restored_at()?.is_none() {
            return Ok(false);
        }
        let name = gap(device);
        let seen = self.cursor(&name)?.and_then(|text| {
            let (at, times) = text.split_once(':')?;
            (at == taken.to_string()).then(|| times.parse::<u32>().ok())?
        });
        let times = seen.unwrap_or(0);
        self.set_cursor(&name, &format!("{taken}:{}", times + 1))?;
        Ok(times < GAP_TIMES)
    }

    /// Whether nobody was believed yet in this run of the hub that its store is an older copy; from now on somebody was.
    pub(crate) fn believes_once_in_a_run(&mut self) -> Result<bool, StoreError> {
        let run = self.actor.epoch.to_string();
        if self.cursor(BELIEVED)?.as_ref() == Some(&run) {
            return Ok(false);
        }
        self.set_cursor(BELIEVED, &run)?;
        Ok(true)
    }

    /// A gateway has told which leases it holds.
    pub(crate) fn leases_are_told(&mut self, gateway: &DeviceId) -> Result<(), StoreError> {
        let life = self.ledger_epoch()?.to_string();
        self.set_cursor(&told(gateway), &life)
    }

    /// A person answers for it that no gateway of a depot holds leases which are not told.
    pub(crate) fn leases_are_answered_for(&mut self, site: &SiteId) -> Result<(), StoreError> {
        let life = self.ledger_epoch()?.to_string();
        self.set_cursor(&answered_for(site), &life)
    }

    /// Marks what there is now, once a day, so that devices can forget it one day though no backup is made.
    pub(crate) fn mark_day(&mut self, now: UtcMs) -> Result<(), StoreError> {
        let newest: Option<i64> = self.sql.optional(
            "SELECT at_ms FROM marks WHERE is_backup = 0 ORDER BY at_ms DESC LIMIT 1",
            params![],
            |r| r.get(0),
        )?;
        let taken =
            self.sql.optional("SELECT at_ms FROM marks WHERE at_ms = ?1", params![now.0], |r| r.get::<i64>(0))?;
        if taken.is_some() {
            // A backup began at this very moment; its mark must stay.
            return Ok(());
        }
        // A clock that was set back marks nothing until it has caught up.
        if newest.is_some_and(|at| now.0.saturating_sub(at) < DAY_MS) {
            return Ok(());
        }
        self.put_mark(0, now)?;
        let old = now.0.saturating_sub(KEPT_MS + 2 * DAY_MS);
        // With those of backups whose program died meanwhile.
        self.forget_marks("is_backup <> 1 AND at_ms < ?1", old)
    }

    /// A backup begins: what is committed now will be in it. Give the result to [`Self::backup_holds`] once it is
    /// verified, or to [`Self::backup_failed`].
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn backup_begins(&mut self, now: UtcMs) -> Result<UtcMs, StoreError> {
        self.put_mark(2, now)?;
        Ok(now)
    }

    /// A backup is written and verified: devices may forget what it holds. `began` is what [`Self::backup_begins`] gave.
    /// # Errors
    /// [`StoreError::Refused`] if no backup began then in this life of the ledger.
    pub fn backup_holds(&mut self, began: UtcMs) -> Result<(), StoreError> {
        let marked =
            self.sql.execute("UPDATE marks SET is_backup = 1 WHERE at_ms = ?1 AND is_backup = 2", params![began.0])?;
        if marked == 0 {
            return Err(StoreError::Refused(format!("no backup of this store began at {began}")));
        }
        self.forget_marks("is_backup > 0 AND at_ms < ?1", began.0)
    }

    /// A backup was not made, or devices may not forget what it holds: nothing is left of its beginning, which
    /// [`Self::backup_begins`] gave.
    /// # Errors
    /// [`StoreError::Sql`]; the mark then goes with the old ones, and holds nothing until it does.
    pub fn backup_failed(&mut self, began: UtcMs) -> Result<(), StoreError> {
        let mark = "EXISTS (SELECT 1 FROM marks WHERE at_ms = ?1 AND is_backup = 2)";
        self.sql.execute(&format!("DELETE FROM outbox_marks WHERE at_ms = ?1 AND {mark}"), params![began.0])?;
        self.sql.execute("DELETE FROM marks WHERE at_ms = ?1 AND is_backup = 2", params![began.0])?;
        Ok(())
    }

    fn put_mark(&mut self, is_backup: i64, now: UtcMs) -> Result<(), StoreError> {
        // A number that was given out in this turn is in it as well: it is committed together with the mark.
        let feed = self.turn.head(super::turn::Numbered::Feed);
        self.sql.execute(
            "INSERT INTO marks (at_ms, is_backup, feed) VALUES (?1, ?2, ?3)
             ON CONFLICT (at_ms) DO UPDATE SET is_backup = ?2, feed = ?3",
            params![now.0, is_backup, feed],
        )?;
        self.sql.execute("DELETE FROM outbox_marks WHERE at_ms = ?1", params![now.0])?;
        self.sql.execute(
            "INSERT INTO outbox_marks (device, outbox_epoch, at_ms, taken_through)
             SELECT device, outbox_epoch, CAST (?1 AS BIGINT), taken_through FROM outboxes",
            params![now.0],
        )?;
        Ok(())
    }

    fn forget_marks(&mut self, which: &str, before: i64) -> Result<(), StoreError> {
        let old = format!("DELETE FROM outbox_marks WHERE at_ms IN (SELECT at_ms FROM marks WHERE {which})");
        self.sql.execute(&old, params![before])?;
        self.sql.execute(&format!("DELETE FROM marks WHERE {which}"), params![before])?;
        Ok(())
    }
}
