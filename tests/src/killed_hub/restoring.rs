//! The errand that brings a backup back, killed at a call and then done again.
//!
//! In: a folder with a backup and no store. Out: a store that is sound and holds what the backup does. The errand
//! does it anew after it was killed, or says that a store is there: then that one must be whole.

use std::{
    path::Path,
    process::ExitStatus,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use super::{
    BACKUP,
    calls::{Kill, was_killed},
    known,
    session::End,
};
use crate::demo::programs::Program;

/// Longest that the errand may take.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// What became of the errand.
#[derive(Debug, Clone, Copy)]
pub struct Restoring {
    /// Whether it was killed; else it has no such call.
    pub is_killed: bool,
    /// Whether the store was whole by then, so that the second errand left it as it was, and said so.
    pub was_there: bool,
}

/// What came of a session with a restore.
#[derive(Debug)]
pub struct Restored {
    /// What became of the errand.
    pub restoring: Restoring,
    /// How much that was acknowledged the restored store did not have.
    pub forgotten: usize,
    /// How it ended.
    pub end: End,
}

fn arguments(folder: &Path) -> [String; 5] {
    let database = format!("sqlite:{}", folder.join("hub.db").display());
    [
        "hub".to_owned(),
        "restore".to_owned(),
        folder.join(BACKUP).display().to_string(),
        "--database".to_owned(),
        database,
    ]
}

/// Runs the errand by way of another program.
/// # Errors
/// If it cannot be started, or does not end.
pub async fn run(either: &Path, folder: &Path, through: &[String]) -> anyhow::Result<ExitStatus> {
    let errand = Program::new("restore", either.to_owned(), arguments(folder).to_vec(), folder);
    errand.start_through(through).await?;
    let begun = Instant::now();
    loop {
        if let Some(status) = errand.ended().await {
            return Ok(status);
        }
        if begun.elapsed() > ENDS_WITHIN {
            bail!("restore does not end");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Brings the backup in `folder` back there. An errand that was killed is done again.
/// # Errors
/// If it goes wrong, but for a store that is there since the first one was killed.
pub async fn restore(either: &Path, folder: &Path, kill: Option<Kill>) -> anyhow::Result<Restoring> {
    let mut is_killed = false;
    if let Some(kill) = kill {
        let status = run(either, folder, &kill.through(&folder.join("restore-trace"))).await?;
        is_killed = was_killed(status);
        if !is_killed {
            ensure!(status.success(), "restore ended with {status}");
            return Ok(Restoring { is_killed, was_there: false });
        }
    }
    let arguments = arguments(folder);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let was_there = match Program::ask(either, &arguments, None).await {
        Ok(_) => false,
        Err(error) if is_killed && format!("{error:#}").contains("is there already") => true,
        Err(error) => return Err(error),
    };
    Ok(Restoring { is_killed, was_there })
}

/// Reads the store in `folder` over: it is sound, holds what the backup does, and stands in a new life of the ledger.
/// # Errors
/// If it is anything else.
pub async fn check(either: &Path, folder: &Path) -> anyhow::Result<()> {
    let store = folder.join("hub.db");
    let database = format!("sqlite:{}", store.display());
    Program::ask(either, &["hub", "verify", "--database", &database], None).await.context("what was restored")?;
    let lacking = known::lacking(&known::by_hub(&folder.join(BACKUP))?, &known::by_hub(&store)?);
    ensure!(lacking.is_empty(), "the backup has what the store lacks: {lacking:?}");
    let lives = known::number(&store, "SELECT count(*) FROM cursors WHERE name = 'ledger.restored_from'")?;
    ensure!(lives == 1, "nothing says that the store was restored: no device would tell again what it forgot");
    Ok(())
}
