//! The hub's disk is lost, and the hub goes on from a backup; told so, or not.

use std::path::Path;

use super::{Event, World, bugs::Bug};

impl World {
    /// The hub is backed up, `ms` from now.
    pub fn backup_after(&mut self, ms: i64) {
        self.after(ms, Event::BackUp);
    }

    /// The hub's disk is lost and the newest backup put back, `ms` from now. `is_told` says whether whoever puts it
    /// back does it with the program for that.
    pub fn restore_after(&mut self, ms: i64, is_told: bool) {
        self.after(ms, Event::Restore { is_told });
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

    pub(super) fn restores(&mut self, is_told: bool) {
        let from = self.directory.path().join("backup.db");
        if !from.exists() {
            return;
        }
        if self.bug == Bug::PagesForgotten {
            self.agents.iter().for_each(|agent| change(&agent.path, "DELETE FROM page_marks"));
        }
        let restored = self.hub.is_restored(&from, is_told);
        self.must("restoring the hub", restored);
        if self.bug == Bug::PostedUnasked {
            change(&self.hub.path, "DELETE FROM cursors WHERE name = 'ledger.restored'");
            change(&self.hub.path, "UPDATE postings SET state = 'queued' WHERE state = 'in_doubt'");
        }
        self.book.note(if is_told { "restores" } else { "restores that nobody told of" });
        self.say(if is_told {
            "the hub is restored from its backup"
        } else {
            "an older copy of the hub's file is put back"
        });
        self.hub_works_at(self.now.plus(100));
        self.changes();
    }
}

/// What a wrong program would have written.
fn change(store: &Path, sql: &str) {
    let store = rusqlite::Connection::open(store).expect("a store can be opened");
    store.execute(sql, []).expect("a store can be changed");
}
