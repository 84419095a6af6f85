//! The device's private key in its file.
//!
//! 32 random bytes as base64, made at first use and readable by the owner only. Losing it makes the
//! device a stranger to the hub; whoever copies it can speak as the device.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_common::seal::PrivateKey;

/// The key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or made.
    #[error("key file {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// Others may read it, so others may have copied it.
    #[error(
        "key file {path} may be read by others; run chmod 600 {path}, and make a new key if someone may have copied it"
    )]
    Open {
        /// Which file.
        path: PathBuf,
    },
    /// The file holds something else.
    #[error(
        "key file {path} does not hold 32 bytes in base64; restore it, or remove it to make a new key and tell the hub"
    )]
    NotAKey {
        /// Which file.
        path: PathBuf,
    },
}

/// The key in `path`; makes file and key if there is none.
/// # Errors
/// [`KeyError`]; an existing file is never written.
pub fn load_or_make(path: &Path) -> Result<PrivateKey, KeyError> {
    match load(path) {
        Err(KeyError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => make(path),
        other => other,
    }
}

/// The key in `path`, if there is one.
/// # Errors
/// [`KeyError`].
pub fn load(path: &Path) -> Result<PrivateKey, KeyError> {
    let fail = |source| KeyError::File { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(fail)?;
    let mode = std::fs::metadata(path).map_err(fail)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyError::Open { path: path.to_owned() });
    }
    let seed: Option<[u8; 32]> = STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
    seed.map(PrivateKey::from_seed).ok_or_else(|| KeyError::NotAKey { path: path.to_owned() })
}

fn make(path: &Path) -> Result<PrivateKey, KeyError> {
    let fail = |source| KeyError::File { path: path.to_owned(), source };
    let seed: [u8; 32] = rand::random();
    // Written beside and renamed, so that a crash leaves no half a key.
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(fail)?;
    writeln!(file, "{}", STANDARD.encode(seed)).and_then(|()| file.sync_all()).map_err(fail)?;
    // A hard link, unlike a rename, never replaces a key that someone else made meanwhile.
    let linked = std::fs::hard_link(&beside, path);
    let removed = std::fs::remove_file(&beside);
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => load(path),
        Err(error) => Err(fail(error)),
        Ok(()) => removed.map_err(fail).map(|()| PrivateKey::from_seed(seed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("device.key");
        let made = load_or_make(&path).unwrap();
        assert_eq!(load_or_make(&path).unwrap().public(), made.public());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load_or_make(&path), Err(KeyError::Open { .. })));
    }
}
