//! The hub's disk is lost, and the hub goes on from a backup; told so, or not.

use std::path::Path;

use super::{Event, World, bugs::Bug, hub::PutBack};

impl World {
    /// The hub is backed up, `ms` from now.
    pub fn backup_after(&mut self, ms: i64) {
        self.after(ms, Event::BackUp);
    }

    /// The hub's store is lost and the newest backup put back, `ms` from now.
    pub fn restore_after(&mut self, ms: i64, how: PutBack) {
        self.after(ms, Event::Restore { how });
    }

    /// The hub's clock goes on, and now and then it writes down how far its store has got.
    pub(super) fn hub_tells_time(&mut self) {
        let told = self.hub.set_time(self.now);
        self.must("what the hub knows of its store", told);
    }

    pub(super) fn backs_up(&mut self) {
        if self.hub.running.is_none() {
            return self.backup_after(super::MINUTE);
        }
        let to = self.directory.path().join("backup.db");
        let backed_up = self.hub.backs_up(&to);
        self.must("a backup of the hub", backed_up);
        self.book.note("backups");
        self.say("the hub is backed up");
    }

    pub(super) fn restores(&mut self, how: PutBack) {
        let from = self.directory.path().join("backup.db");
        if !from.exists() {
            return;
        }
        if self.bug == Bug::PagesForgotten {
            self.agents.iter().for_each(|agent| change(&agent.path, "DELETE FROM page_marks"));
        }
        self.hub_is_read_anew();
        let restored = self.hub.is_restored(&from, how);
        self.must("restoring the hub", restored);
        if self.bug == Bug::PostedUnasked {
            change(&self.hub.path, "DELETE FROM cursors WHERE name = 'ledger.restored'");
            change(&self.hub.path, "UPDATE postings SET state = 'queued' WHERE state = 'in_doubt'");
        }
        let (what, line) = match how {
            PutBack::Told => ("restores", "the hub is restored from its backup"),
            PutBack::Copied => ("restores that nobody told of", "an older copy of the hub's file is put back"),
            PutBack::WithItsMachine => ("restores of the whole machine", "the hub's machine is put back as it was"),
        };
        self.book.note(what);
        self.say(line);
        self.hub_works_at(self.now.plus(100));
        self.changes();
    }
}

impl World {
    /// From `ms` on, and every few minutes while the storm lasts, the hub takes out of its feeds what every device has read
    /// that was not silent for `away_ms`.
    pub fn prune_after(&mut self, ms: i64, away_ms: i64) {
        self.hub.prunes = true;
        self.after(ms, Event::Prune { away_ms });
    }

    pub(super) fn prunes(&mut self, away_ms: i64) {
        if self.now.since(super::DAWN) < super::random::STORM {
            self.after(4 * super::MINUTE, Event::Prune { away_ms });
        }
        if self.hub.running.is_none() {
            return;
        }
        let pruned = self.hub.prune(away_ms);
        let Some(rows) = self.must("pruning the feeds", pruned) else { return };
        if self.bug == Bug::PrunedUntold {
            change(&self.hub.path, "DELETE FROM feed_pruned");
        }
        if rows > 0 {
            *self.book.befell.entry("rows taken out of the feeds").or_default() += rows;
            self.say(&format!("{rows} rows are taken out of the feeds"));
        }
    }
}

/// What a wrong program would have written.
fn change(store: &Path, sql: &str) {
    let store = rusqlite::Connection::open(store).expect("a store can be opened");
    store.execute(sql, []).expect("a store can be changed");
}
