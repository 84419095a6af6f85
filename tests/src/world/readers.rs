//! Readers who look at the same documents again and again: what one of them has seen it sees ever after.
//!
//! One reads at the hub, and where nothing is put back one at each gateway: after that a gateway sets aside what the
//! hub does not take of it. They open the stores' files as strangers would, and remember which changes each document
//! had. Once the hub goes on from a backup, its reader begins anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use gatehouse_common::{document::Document, id::Hash32, time::UtcMs};

use super::{World, bugs::Bug, checks::Broken, clock::MINUTE, depot::open_outside};

/// What a reader has seen of a document is there whenever it looks again.
pub const GROWS: &str = "a document never goes back for who reads it again";

/// Between two looks, at least.
const LOOKS_EVERY: i64 = 6 * MINUTE;
/// The reader at the hub.
const AT_HUB: &str = "the hub";

/// All readers of a world.
#[derive(Debug, Default)]
pub(super) struct Readers {
    at_gateways: bool,
    looked_at: Option<UtcMs>,
    /// By where it was read, and by document.
    shown: BTreeMap<(String, String), Shown>,
    broken: Vec<Broken>,
}

/// How a document was when it was read last.
#[derive(Debug)]
struct Shown {
    heads: String,
    snapshot: Vec<u8>,
    changes: BTreeSet<Hash32>,
    /// Its heads and its snapshot when it was last another one.
    before: Option<(String, Vec<u8>)>,
}

impl World {
    /// From now on documents are read again and again at the hub, and if so at gateways.
    pub(super) fn reads_again(&mut self, at_gateways: bool) {
        self.readers = Some(Readers { at_gateways, ..Readers::default() });
    }

    /// Readers look, if it is time.
    pub(super) fn is_read_again(&mut self) {
        let now = self.now;
        let Some(mut readers) = self.readers.take() else { return };
        if readers.looked_at.is_none_or(|at| now.since(at) >= LOOKS_EVERY) {
            readers.looked_at = Some(now);
            if self.bug == Bug::EntryLost {
                readers.lose_an_entry(&self.hub.path);
            }
            let read = self.looked_at_by(&mut readers);
            *self.book.befell.entry("documents read again").or_default() += read;
        }
        self.readers = Some(readers);
    }

    /// Readers look for the last time. Returns what went back.
    pub(super) fn what_went_back(&mut self) -> Vec<Broken> {
        let Some(mut readers) = self.readers.take() else { return Vec::new() };
        self.looked_at_by(&mut readers);
        readers.broken
    }

    /// The hub's store is another one: what was read in the one before need not be in it yet.
    pub(super) fn hub_is_read_anew(&mut self) {
        if let Some(readers) = &mut self.readers {
            readers.shown.retain(|(place, _), _| place != AT_HUB);
        }
    }

    fn looked_at_by(&self, readers: &mut Readers) -> u64 {
        let (mut read, at_gateways) = (readers.look(AT_HUB, &self.hub.path), readers.at_gateways);
        for agent in self.agents.iter().filter(|agent| at_gateways && agent.is_gateway()) {
            read += readers.look(agent.device.as_str(), &agent.path);
        }
        read
    }
}

impl Readers {
    /// Looks at every document of a store. Returns how many that were.
    fn look(&mut self, place: &str, path: &Path) -> u64 {
        let store = open_outside(path);
        let sql = "SELECT document, heads, snapshot FROM documents WHERE length(snapshot) > 0";
        let mut statement = store.prepare(sql).expect("the table of documents has these columns");
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Vec<u8>>(2)?)));
        let rows: Vec<(String, String, Vec<u8>)> =
            rows.expect("documents can be read").map(|row| row.expect("a row of documents can be read")).collect();
        let known = self.shown.keys().filter(|(at, _)| at == place);
        let mut missing: BTreeSet<String> = known.map(|(_, document)| document.clone()).collect();
        let read = rows.len() as u64;
        for (document, heads, snapshot) in rows {
            missing.remove(&document);
            self.see(place, document, heads, snapshot);
        }
        for document in missing {
            self.broken.push(Broken::new(GROWS, format!("document {document} is gone from {place}")));
            self.shown.remove(&(place.to_owned(), document));
        }
        read
    }

    fn see(&mut self, place: &str, document: String, heads: String, snapshot: Vec<u8>) {
        let key = (place.to_owned(), document);
        let before = match self.shown.remove(&key) {
            Some(shown) if shown.heads == heads => {
                self.shown.insert(key, shown);
                return;
            }
            before => before,
        };
        let changes: BTreeSet<Hash32> = match Document::load(&snapshot) {
            Ok(whole) => whole.chunks().iter().map(|chunk| chunk.hash).collect(),
            Err(error) => {
                self.broken.push(Broken::new(GROWS, format!("document {} at {place} cannot be read: {error}", key.1)));
                return;
            }
        };
        if let Some(before) = &before {
            let lost = before.changes.difference(&changes).count();
            if lost > 0 {
                let what = format!("document {} at {place} lacks {lost} changes that it had", key.1);
                self.broken.push(Broken::new(GROWS, what));
            }
        }
        let before = before.map(|before| (before.heads, before.snapshot));
        self.shown.insert(key, Shown { heads, snapshot, changes, before });
    }

    /// What a wrong hub would do: a document is as it was before it was last seen.
    fn lose_an_entry(&self, hub: &Path) {
        let older = self.shown.iter().filter(|((place, _), _)| place == AT_HUB);
        let older = older.filter_map(|((_, document), shown)| Some((document, shown.before.as_ref()?)));
        let Some((document, (heads, snapshot))) = older.max_by_key(|(_, (_, snapshot))| snapshot.len()) else { return };
        let store = rusqlite::Connection::open(hub).expect("a store can be opened");
        let sql = "UPDATE documents SET heads = ?2, snapshot = ?3 WHERE document = ?1";
        store.execute(sql, rusqlite::params![document, heads, snapshot]).expect("a store can be changed");
    }
}
