//! One agent per store, and a log that is on the medium before it is believed.
//!
//! In: the path of a store that is about to be opened. Out: a [`Claim`] to be kept as long as it is open.
//!
//! After a sync that failed, the cache of the operating system still shows what never reached the medium. SQLite would
//! take it for committed and write behind it, and the next power cut would take everything after the gap. So the log
//! is written anew, beside the old one, before SQLite reads it.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::StoreError;

/// Held while a store is open: nobody else may write it meanwhile.
#[derive(Debug)]
pub struct Claim(#[allow(dead_code, reason = "held for its lock, which ends with it")] File);

/// Claims the store at `path` and writes its log anew.
/// # Errors
/// [`StoreError::Unusable`] when another agent has it open or the disk refuses, [`StoreError::DiskFull`].
pub fn claim(path: &Path) -> Result<Claim, StoreError> {
    let unusable = |what: String| StoreError::Unusable { path: path.to_owned(), what };
    let lock = File::create(beside(path, "-lock")).map_err(|e| unusable(e.to_string()))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(unusable("another agent has it open; stop that one first".to_owned()));
        }
        Err(TryLockError::Error(e)) => return Err(unusable(format!("it cannot be locked: {e}"))),
    }
    write_anew(&beside(path, "-wal")).map_err(|e| match e.kind() {
        io::ErrorKind::StorageFull => StoreError::DiskFull { path: path.to_owned() },
        _ => unusable(format!("its log cannot be written anew: {e}")),
    })?;
    Ok(Claim(lock))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Puts a synced copy in the place of `log`. The old one stands until the copy is whole.
fn write_anew(log: &Path) -> io::Result<()> {
    let bytes = match fs::read(log) {
        Ok(bytes) if bytes.is_empty() => return Ok(()),
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    let copy = beside(log, "-anew");
    let mut file = File::create(&copy)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&copy, log)?;
    let directory = log.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_is_refused_until_the_first_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.db");
        let first = claim(&path).unwrap();
        assert!(claim(&path).unwrap_err().to_string().contains("another agent"));
        drop(first);
        claim(&path).unwrap();
    }

    #[test]
    fn the_log_stands_unaltered_under_its_name_in_a_file_of_its_own() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let (path, log) = (directory.path().join("agent.db"), directory.path().join("agent.db-wal"));
        fs::write(&log, b"frames").unwrap();
        let before = fs::metadata(&log).unwrap().ino();
        drop(claim(&path).unwrap());
        assert_eq!(fs::read(&log).unwrap(), b"frames");
        assert_ne!(fs::metadata(&log).unwrap().ino(), before);
    }
}
