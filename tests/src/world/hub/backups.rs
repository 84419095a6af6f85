//! A hub that is backed up and put back, and that takes out of its feeds what was read.

use std::path::Path;

use gatehouse_hub::store::{Location, StoreError, moving};

use super::{Hub, HubError, PutBack, SEEN};

impl Hub {
    /// Makes a backup at `to`, and tells the store once it is whole.
    /// # Errors
    /// [`HubError`]: there is no backup.
    pub fn backs_up(&self, to: &Path) -> Result<(), HubError> {
        let running = self.running.as_ref().ok_or(HubError::Down)?;
        let now = self.clock.wall();
        let began = running.store.write_now(move |tx| tx.backup_begins(now))?;
        let _ = std::fs::remove_file(to);
        let from = rusqlite::Connection::open(&self.path).expect("the hub's file can be opened");
        from.execute("VACUUM INTO ?1", [to.to_str().expect("a path in words")]).expect("a copy can be made");
        running.store.write_now(move |tx| tx.backup_holds(began))?;
        Ok(())
    }

    /// The hub's store is lost; it goes on from the copy at `from`, put back `how`.
    /// # Errors
    /// [`StoreError`]: it would not start.
    /// # Panics
    /// If the copy cannot be put back.
    pub fn is_restored(&mut self, from: &Path, how: PutBack) -> Result<(), StoreError> {
        self.running = None;
        // Under another name: whoever closes the store that is lost would take away the log of the one that comes.
        self.stores += 1;
        self.path = self.path.with_file_name(format!("hub-{}.db", self.stores));
        match how {
            PutBack::Told => {
                moving::restore(from, &Location::Sqlite(self.path.clone()))?;
            }
            PutBack::Copied => {
                std::fs::copy(from, &self.path).expect("a backup can be put back");
            }
            PutBack::WithItsMachine => {
                std::fs::copy(from, &self.path).expect("a backup can be put back");
                // What the machine knew then is gone as well, or as old.
                let _ = std::fs::remove_file(self.path.with_file_name(SEEN));
            }
        }
        self.start()
    }

    /// Takes out of the feeds what every device has read that was not silent for `away_ms`. Gives how many rows went.
    /// # Errors
    /// [`HubError`].
    pub fn prune(&self, away_ms: i64) -> Result<u64, HubError> {
        let running = self.running.as_ref().ok_or(HubError::Down)?;
        Ok(running.store.prune_now(self.clock.wall().plus(-away_ms))?)
    }
}
