//! What a hub last knew of its store, kept in a file outside of it: a store that is behind that is an older copy.
//!
//! Whoever puts an older file back in the place of the store tells nobody. The program that ran on the newer one
//! remembers how far that had got, notices at its next start, and begins another life of the ledger, as after
//! `restore`. A file that is lost with the store proves nothing; then devices notice (`sync/repair.rs`).

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use gatehouse_common::{id::DeviceId, sync::LedgerEpoch, time::UtcMs};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{AuditEntry, Location, Reader, Store, StoreError, cursors, sql::params};

/// How far a store had got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    ledger: u64,
    turns: i64,
}

impl Known {
    /// Whether a store that says `self` of itself, and that it began with a restore of `from`, is an older copy of the
    /// one that said `before`.
    pub(super) fn is_behind(&self, from: Option<LedgerEpoch>, before: &Self) -> bool {
        if self.ledger == before.ledger {
            self.turns < before.turns
        } else {
            // A life that did not begin with the one that was known is of an earlier one, or of another store.
            from != Some(LedgerEpoch(before.ledger))
        }
    }
}

impl Reader<'_> {
    pub(super) fn known(&self) -> Result<Known, StoreError> {
        let turns = self
            .sql
            .one("SELECT turns FROM turn WHERE id = 1", params![], |r| r.get::<i64>(0).map_err(StoreError::from))?;
        Ok(Known { ledger: self.ledger_epoch()?.0, turns })
    }
}

/// The file in which it is kept.
#[derive(Debug, Clone)]
pub struct Remembered {
    path: PathBuf,
}

impl Remembered {
    /// In the file at `path`, which need not be there.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn read(&self) -> Option<Known> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    warn!(%error, "{} cannot be read; whether the store is an older copy only devices can tell: {error}", self.path.display());
                }
                return None;
            }
        };
        serde_json::from_str(&text)
            .map_err(|error| warn!(%error, "{} says nothing of use: {error}", self.path.display()))
            .ok()
    }

    fn write(&self, known: &Known) -> Result<(), StoreError> {
        let mut part = self.path.as_os_str().to_owned();
        part.push(format!(".{:08x}", rand::random::<u32>()));
        let part = PathBuf::from(part);
        let written = File::create(&part)
            .and_then(|mut file| {
                serde_json::to_writer(&mut file, known)?;
                file.write_all(b"\n")?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&part, &self.path));
        written.map_err(|error| {
            // What is left of it would stay for ever.
            let _ = fs::remove_file(&part);
            StoreError::NotWritten(format!("{}: {error}", self.path.display()))
        })
    }

    /// Writes down how far `store` has got, if it has got further. Only what is on disk is written down. It blocks.
    /// # Errors
    /// [`StoreError::NotWritten`] if the file cannot be written; the store's own errors.
    pub fn note(&self, store: &Store) -> Result<(), StoreError> {
        let known = store.read_now(|r| r.known())?;
        // Another replica on this machine may have written more meanwhile.
        let is_newer = self.read().is_none_or(|held| held.ledger != known.ledger || held.turns < known.turns);
        if is_newer { self.write(&known) } else { Ok(()) }
    }

    /// As [`Store::open_after`]. A store that is behind what is remembered is an older copy: another life of its ledger
    /// begins, and the audit says so.
    /// # Errors
    /// As [`Store::open_after`].
    pub fn open(&self, location: &Location, name: &DeviceId, now: UtcMs) -> Result<Store, StoreError> {
        let connection = location.open()?;
        let begun = cursors::begin(&connection, now, self.read().as_ref())?;
        let store = Store::over(connection, location, name, begun.actor_epoch)?;
        if begun.is_older_copy {
            let epoch = store.read_now(|r| r.ledger_epoch())?;
            warn!(%epoch, "the store is older than what this hub knew of it: another life of the ledger begins");
            let entry = AuditEntry {
                at: now,
                actor: name.to_string(),
                action: "store found to be an older copy".to_owned(),
                subject: epoch.to_string(),
                detail: format!("it is behind what {} says", self.path.display()),
            };
            store.write_now(move |tx| tx.audit(&entry))?;
        }
        if let Err(error) = self.note(&store) {
            // Recalls have to get through on a full disk too.
            warn!(%error, "how far the store has got is not written down: {error}");
        }
        Ok(store)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_an_older_copy_if_it_is_behind_in_its_life_or_of_an_earlier_one() {
        let known = |ledger, turns| Known { ledger, turns };
        let before = known(7, 100);
        assert!(!known(7, 100).is_behind(None, &before));
        assert!(!known(7, 101).is_behind(Some(LedgerEpoch(5)), &before));
        assert!(known(7, 99).is_behind(None, &before));
        assert!(!known(8, 3).is_behind(Some(LedgerEpoch(7)), &before), "restored, and told so");
        assert!(known(5, 300).is_behind(None, &before), "a backup of the life before, copied back");
        assert!(known(8, 300).is_behind(Some(LedgerEpoch(5)), &before));
    }
}
