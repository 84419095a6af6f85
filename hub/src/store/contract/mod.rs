//! What a store promises, whatever engine it is on: every test here runs on SQLite and on PostgreSQL.

mod dialect;
mod folds;
mod in_a_row;
mod loads;
mod lost;
mod moved;
mod positions;
mod promises;
mod pruned;
pub(crate) mod server;
mod taken_over;
mod widened;

use std::sync::Arc;

use gatehouse_common::{
    case::{self, CaseType, Says},
    id::DocumentId,
    sync::{Downward, Lane},
    time::UtcMs,
};

use super::{DocumentSays, Location, PostgresOptions, Scope, Store, StoreError, Tx, sql::Connection};
use server::{Server, USER};

/// A store that several may open at the same time.
pub(crate) struct Ground {
    pub(crate) location: Location,
    pub(crate) server: Option<Arc<Server>>,
    _folder: Option<tempfile::TempDir>,
}

impl Ground {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(folder.path().join("hub.db"));
        Self { location, server: None, _folder: Some(folder) }
    }

    /// None if PostgreSQL is not installed.
    pub(crate) fn postgresql() -> Option<Self> {
        let server = Server::shared()?;
        let database = server.database();
        let location = Location::Postgresql(options(server.port, &database));
        Some(Self { location, server: Some(server), _folder: None })
    }

    /// A replica.
    pub(crate) fn open(&self) -> Store {
        Store::open_at(&self.location, &"hub".parse().unwrap()).unwrap()
    }

    /// A connection beside every store, for what no store would do.
    pub(crate) fn beside(&self) -> Connection {
        match &self.location {
            Location::Sqlite(path) => Connection::open_sqlite(path).unwrap(),
            Location::Postgresql(options) => Connection::open_postgres(options).unwrap(),
        }
    }
}

pub(crate) fn options(port: u16, database: &str) -> PostgresOptions {
    PostgresOptions {
        host: "127.0.0.1".to_owned(),
        port,
        user: USER.to_owned(),
        database: database.to_owned(),
        password: None,
        ca_file: None,
    }
}

/// Makes of each promise one test on each engine.
macro_rules! on_both {
    ($($promise:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[test]
            fn $promise() {
                super::$promise(&super::super::Ground::sqlite());
            })*
        }
        mod on_postgresql {
            $(#[test]
            fn $promise() {
                if let Some(ground) = super::super::Ground::postgresql() {
                    super::$promise(&ground);
                }
            })*
        }
    };
}
use on_both;

fn d1() -> Scope {
    Scope::Site("D1".parse().unwrap())
}

fn note(text: &str) -> Downward {
    Downward::Sources(format!("\"{text}\""))
}

fn publish(tx: &mut Tx<'_>, text: &str) -> Result<bool, StoreError> {
    tx.publish(&d1(), Lane::Rest, &note(text), UtcMs(1))
}

/// What the depot reads after `after`, with positions.
fn feed(store: &Store, after: u64) -> Vec<(u64, Downward)> {
    let rows = store.read_now(|r| r.feed(&[d1()], Lane::Rest, after, 10_000)).unwrap().rows;
    rows.into_iter().map(|row| (row.item.position, row.item.says)).collect()
}

const CASE: &str = "door 3";

fn case_id() -> DocumentId {
    case::document_id(&case::dedup_key(CaseType::DockBlocked, CASE, "-"), 1)
}

fn opened() -> DocumentSays {
    DocumentSays::Case(vec![Says::Opened {
        case_type: CaseType::DockBlocked,
        subject: CASE.to_owned(),
        leg: "-".to_owned(),
        occurrence: 1,
        site: "D1".parse().unwrap(),
        since: UtcMs(0),
        summary: "door 3 is blocked".to_owned(),
        order: None,
        blocks: None,
        follows: None,
    }])
}
