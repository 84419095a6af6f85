//! The machine itself: the disk under the store, and the clock.

use std::{
    io::Write,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use super::Finding;
use crate::config::Config;

/// Less room than this is worth a word.
const ROOM_MIN_BYTES: u64 = 256 * 1024 * 1024;
/// Writes that are timed.
const WRITES: usize = 20;
/// A disk that takes longer for one write holds the intake back.
const WRITE_MAX: Duration = Duration::from_millis(50);
/// File systems over a network, on which a write-ahead log is not safe.
const REMOTE: [&str; 7] = ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "afs"];

/// The disk that holds the store.
pub fn disk(config: &Config) -> Vec<Finding> {
    let directory = config.store_path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut findings = Vec::new();
    match timed_writes(directory) {
        Err(error) => {
            findings.push(
                Finding::loses(
                    "disk",
                    format!("nothing can be written in {}: {error}", directory.display()),
                    "everything: the agent does not start, or stands still",
                )
                .remedy("give the agent's user the right to write there, or make room; then ask as that user"),
            );
            return findings;
        }
        Ok(took) => {
            let what = format!("a write reaches the disk of {} in {took:.1?} (median)", directory.display());
            findings.push(if took > WRITE_MAX {
                Finding::note("disk", what).remedy("use a faster disk: each commit waits so long, and intake with it")
            } else {
                Finding::fine("disk", what)
            });
        }
    }
    findings.extend(wal(directory));
    findings.extend(kind(directory));
    findings.push(room(directory));
    findings
}

/// The median time that one small write takes to be on disk.
fn timed_writes(directory: &Path) -> std::io::Result<Duration> {
    let path = directory.join(format!(".gatehouse-doctor-{}", std::process::id()));
    let timed = (|| {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
        let mut took = Vec::new();
        for _ in 0..WRITES {
            let started = Instant::now();
            file.write_all(&[0; 4096])?;
            file.sync_data()?;
            took.push(started.elapsed());
        }
        took.sort();
        Ok(took[WRITES / 2])
    })();
    let _ = std::fs::remove_file(&path);
    timed
}

/// Whether SQLite can keep a write-ahead log there.
fn wal(directory: &Path) -> Option<Finding> {
    let path = directory.join(format!(".gatehouse-doctor-{}.db", std::process::id()));
    let mode = rusqlite::Connection::open(&path).and_then(|conn| {
        conn.pragma_update(None, "journal_mode", "wal")?;
        conn.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0))
    });
    for ending in ["", "-wal", "-shm"] {
        let mut name = path.clone().into_os_string();
        name.push(ending);
        let _ = std::fs::remove_file(name);
    }
    match mode.as_deref() {
        Ok("wal") => None,
        Ok(other) => Some(no_log(directory, other)),
        Err(error) => Some(no_log(directory, &error.to_string())),
    }
}

fn no_log(directory: &Path, what: &str) -> Finding {
    let found = format!("SQLite cannot keep a write-ahead log in {}: {what}", directory.display());
    Finding::loses("disk", found, "everything: the agent does not start").remedy("put the store on a local file system")
}

/// Which file system it is.
fn kind(directory: &Path) -> Option<Finding> {
    let place = directory.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/mounts").ok()?;
    let kind = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(at, _)| place.starts_with(at))
        .max_by_key(|(at, _)| at.len())
        .map(|(_, kind)| kind.to_owned())?;
    if kind == "tmpfs" || kind == "ramfs" {
        let what = format!("{} is memory ({kind})", directory.display());
        return Some(Finding::loses("disk", what, "everything, when the machine starts anew").remedy("name a disk"));
    }
    REMOTE.contains(&kind.as_str()).then(|| {
        let what = format!("{} lies across a network ({kind})", directory.display());
        Finding::loses("disk", what, "the store, when the line breaks in the wrong moment").remedy("use a local disk")
    })
}

/// How much room is left, as `df` says.
fn room(directory: &Path) -> Finding {
    let asked = Command::new("df").arg("-Pk").arg(directory).output();
    let text = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let Some(bytes) = available(&text) else {
        return Finding::unknown("disk", "df does not say how much room is left");
    };
    let what = format!("{} MiB are free on the disk of {}", bytes / 1024 / 1024, directory.display());
    if bytes >= ROOM_MIN_BYTES {
        return Finding::fine("disk", what);
    }
    Finding::loses(
        "disk",
        what,
        "nothing that is acknowledged; but when it is full the agent stands still, and what the \
                    broker cannot keep is lost",
    )
    .remedy("make room, see docs/runbook.md#disk-full")
}

fn available(df: &str) -> Option<u64> {
    df.lines().nth(1)?.split_whitespace().nth(3)?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Whether the clock is kept right by anyone on this machine.
pub fn clock() -> Finding {
    const KEPT: &str = "the clock is synchronised";
    if Path::new("/run/systemd/timesync/synchronized").exists() {
        return Finding::fine("clock", KEPT);
    }
    let asked = Command::new("timedatectl").args(["show", "--property=NTPSynchronized", "--value"]).output();
    match asked.ok().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).as_deref() {
        Some("yes") => Finding::fine("clock", KEPT),
        Some("no") => Finding::note(
            "clock",
            "the clock is not synchronised: ages over a restart are unknown and leases rest until the hub confirms it",
        )
        .remedy("run systemd-timesyncd or chrony, see docs/runbook.md#clock-wrong"),
        _ => Finding::unknown("clock", "nobody on this machine says whether the clock is synchronised")
            .remedy("run systemd-timesyncd or chrony; without either only the hub confirms the clock"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_is_read_from_what_df_prints() {
        let df =
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 264000000 70000000 25000000 74% /\n";
        assert_eq!(available(df), Some(25_600_000_000));
        assert_eq!(available(""), None);
    }

    #[test]
    fn what_is_tried_on_the_disk_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        assert!(timed_writes(directory.path()).is_ok());
        assert_eq!(wal(directory.path()), None);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(timed_writes(Path::new("/nowhere/at/all")).is_err());
    }
}
