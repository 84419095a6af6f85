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

/// Refuses a row that does not match its checksum.
pub fn check(what: impl std::fmt::Display, parts: &[&[u8]], sum: &[u8]) -> rusqlite::Result<()> {
    if of(parts) == sum { Ok(()) } else { Err(mismatch(what)) }
}

/// The error of a row that does not match its checksum; such a row is never served.
pub fn mismatch(what: impl std::fmt::Display) -> rusqlite::Error {
    damaged(format!("{what} does not match its checksum"))
}

/// An error of the kind that SQLite gives for a damaged file.
pub fn damaged(what: String) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(code, Some(what))
}

/// A checksum for what is read far more often than it is written. Any change within one word shows for certain.
pub fn quick(bytes: &[u8]) -> i64 {
    // Each step maps states one to one, so two that differ once never meet again.
    let step = |sum: u64, word: u64| (sum.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (words, rest) = bytes.as_chunks();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let sum = words.iter().fold(bytes.len() as u64, |sum, word| step(sum, u64::from_le_bytes(*word)));
    step(step(sum, u64::from_le_bytes(last)), 0).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_and_any_cut_changes_the_quick_checksum() {
        let bytes: Vec<u8> = (0..100u8).collect();
        let sum = quick(&bytes);
        for bit in 0..800 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(quick(&other), sum, "bit {bit}");
        }
        assert!((0..100).all(|end| quick(&bytes[..end]) != sum));
        assert_ne!(quick(&[0; 8]), quick(&[0; 16]));
    }
}
