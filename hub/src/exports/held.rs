//! Exports that are held for a while, so that a download that was cut off goes on where it ended.
//!
//! Each is one state of the store. Its file has no name any more once it is written: it takes up room as long as someone
//! may read it, and none after a crash.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{ExportError, Form};
use crate::store::Reader;

/// How many are held at one time.
const HELD_MAX: usize = 4;
/// How long each is held.
const HELD_FOR: Duration = Duration::from_secs(3_600);

/// An export that is whole.
#[derive(Debug)]
pub struct Held {
    /// Its name, which nobody can guess.
    pub id: String,
    /// In which form it is.
    pub form: Form,
    /// Its length in bytes.
    pub length: u64,
    file: File,
    made: Instant,
}

impl Held {
    /// Bytes from `at` on, at most `room`; none at its end.
    /// # Errors
    /// If the disk does not give them.
    pub fn read(&self, at: u64, room: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; room];
        let read = self.file.read_at(&mut bytes, at)?;
        bytes.truncate(read);
        Ok(bytes)
    }
}

/// What is held.
#[derive(Debug, Default)]
pub struct Exports(Mutex<VecDeque<Arc<Held>>>);

impl Exports {
    /// The export of this name, if it is still held.
    #[must_use]
    pub fn find(&self, form: Form, id: &str) -> Option<Arc<Held>> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|held| held.made.elapsed() < HELD_FOR);
        held.iter().find(|held| held.form == form && held.id == id).cloned()
    }

    /// Writes one state of the store, and holds it in place of the oldest.
    /// # Errors
    /// [`ExportError`]; nothing is held then.
    pub fn make(&self, r: &Reader<'_>, form: Form) -> Result<Arc<Held>, ExportError> {
        let id = hex::encode(rand::random::<[u8; 16]>());
        let path = Unnamed(std::env::temp_dir().join(format!("gatehouse-export-{id}")));
        super::write(r, form, &path.0)?;
        let file = File::open(&path.0)?;
        let held = Arc::new(Held { id, form, length: file.metadata()?.len(), file, made: Instant::now() });
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while all.len() >= HELD_MAX {
            all.pop_front();
        }
        all.push_back(held.clone());
        Ok(held)
    }
}

/// A file that loses its name, whatever becomes of it.
struct Unnamed(PathBuf);

impl Drop for Unnamed {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = fs::remove_file(&self.0);
    }
}
