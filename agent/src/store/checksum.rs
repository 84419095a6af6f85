//! The checksum of ground rows: SQLite does not see a flipped bit, this does.

use sha2::{Digest, Sha256};

/// The first 8 bytes of SHA-256 over `parts`, each preceded by its length.
pub fn of(parts: &[&[u8]]) -> Vec<u8> {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize()[..8].to_vec()
}
