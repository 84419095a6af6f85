//! What every benchmark needs: lines to print, and what the kernel knows of a process.
#![expect(clippy::cast_precision_loss, reason = "figures")]

pub mod lines;
pub mod process;

use std::path::{Path, PathBuf};

/// The folder for peers: the user's cache, outside any clone.
pub fn default_peers() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map_or_else(|| Path::new("/tmp").to_owned(), PathBuf::from);
    cache.unwrap_or_else(|| home().join(".cache")).join("gatehouse/peers")
}
