//! Errands about the store as a whole: back it up, bring it back, check it, move it.

use std::path::PathBuf;

use anyhow::bail;
use clap::Subcommand;

use super::{location, open, say};
use crate::{
    clock::Clock,
    store::{
        Location,
        moving::{self, Verified},
    },
    wiring,
};

#[derive(Debug, Subcommand)]
pub(super) enum Whole {
    /// Write one state of the store into a new file, while the hub runs, and read it over.
    ///
    /// The file is a store of SQLite, whatever the hub's own is on; `status` and `verify` read it. Keys are not in it:
    /// keep `key_file` and `authority_file` apart.
    Backup {
        /// The file to write; it must not be there yet.
        file: PathBuf,
        /// Where everything is kept.
        #[arg(long, value_name = "DATABASE")]
        database: String,
    },
    /// Bring a backup back, to where no store is. What devices told since the backup they then tell again.
    Restore {
        /// The backup. It stays as it is.
        file: PathBuf,
        /// Where everything shall be kept.
        #[arg(long, value_name = "DATABASE")]
        database: String,
    },
    /// Read the whole store, or a backup as `sqlite:FILE`, against its checksums, while the hub runs.
    Verify {
        /// Where everything is kept.
        #[arg(long, value_name = "DATABASE")]
        database: String,
        /// Print one JSON object with the digest of each table instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Move a stopped hub's store of SQLite to an empty database of PostgreSQL, which must then hold the same.
    Move {
        /// From where: `sqlite:PATH`. The file stays, and is not served again.
        #[arg(long, value_name = "DATABASE")]
        database: String,
        /// To where: `postgresql://USER@HOST:PORT/NAME`.
        #[arg(long, value_name = "DATABASE")]
        to: String,
    },
}

/// Does one of them.
pub(super) fn run(errand: Whole) -> anyhow::Result<()> {
    match errand {
        Whole::Backup { file, database } => {
            let verified = open(&database, false)?.back_up(&file, Clock::system().wall())?;
            say(&format!("{} holds {}", file.display(), told(&verified)))
        }
        Whole::Restore { file, database } => {
            let to = location(&database)?;
            let verified = moving::restore(&file, &to)?;
            say(&format!("{to} holds {}; a new life of the ledger begins", told(&verified)))
        }
        Whole::Verify { database, json } => {
            let from = location(&database)?;
            if let Location::Sqlite(path) = &from
                && !path.exists()
            {
                bail!("there is no database at {}", path.display());
            }
            let verified = moving::verify(&from)?;
            if json {
                return say(&serde_json::to_string(&verified)?);
            }
            say(&format!("{from} is sound{}: {}", but_for(&verified), told(&verified)))?;
            match verified.snapshots_damaged {
                0 => Ok(()),
                n => say(&format!("{n} stored documents are damaged; they are folded anew from the ledger")),
            }
        }
        Whole::Move { database, to } => {
            let (from, to) = (location(&database)?, location(&to)?);
            let (Location::Sqlite(path), Location::Postgresql(_)) = (&from, &to) else {
                bail!("a store moves from sqlite:PATH to postgresql://; the other way goes by backup and restore");
            };
            if !path.exists() {
                bail!("there is no database at {}", path.display());
            }
            let _lock = wiring::lock(path)?;
            let verified = moving::move_to(path, &to)?;
            say(&format!("{to} holds {}, the same as {from}; serve it from there", told(&verified)))
        }
    }
}

/// What is known to be unsound, after the word that the rest is sound.
fn but_for(verified: &Verified) -> &'static str {
    if verified.rows_put_aside == 0 { "" } else { " but for what is put aside" }
}

fn told(verified: &Verified) -> String {
    let tables = verified.tables.values().filter(|table| table.rows > 0).count();
    let aside = match verified.rows_put_aside {
        0 => String::new(),
        n => format!(" ({n} damaged and put aside)"),
    };
    format!("{} rows{aside} in {tables} tables, ledger {}", verified.rows(), verified.ledger_epoch.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use gatehouse_common::{id::Hash32, sync::LedgerEpoch};

    use super::*;

    #[test]
    fn rows_that_are_put_aside_are_told_and_nothing_is_said_where_there_are_none() {
        let mut verified = Verified {
            tables: BTreeMap::new(),
            state: Hash32::ZERO,
            ledger_epoch: LedgerEpoch(7),
            snapshots_damaged: 0,
            rows_put_aside: 0,
        };
        assert_eq!((told(&verified).as_str(), but_for(&verified)), ("0 rows in 0 tables, ledger 7", ""));
        verified.rows_put_aside = 2;
        assert_eq!(told(&verified), "0 rows (2 damaged and put aside) in 0 tables, ledger 7");
        assert_eq!(but_for(&verified), " but for what is put aside");
        assert!(serde_json::to_string(&verified).unwrap().contains("\"rows_put_aside\":2"));
    }
}
