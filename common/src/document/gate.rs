//! The gate for chunks from outside.
//!
//! Automerge does not defend itself: it applies changes whose checksum is wrong, panics on crafted
//! ones and inflates small ones to gigabytes. So a chunk is looked at byte by byte before Automerge
//! sees it, Automerge runs under a caught panic, and the caller applies it to a copy that is
//! thrown away if anything goes wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::{ScalarValue, legacy::OpType};
use serde::de::DeserializeOwned;

use crate::{
    document::{Actor, Entry},
    id::Hash32,
};

/// Largest chunk taken, in bytes.
pub const CHUNK_MAX_BYTES: usize = 64 * 1024;
/// Most operations in one chunk. An entry is one operation; a pasted note is one per character.
pub const CHUNK_MAX_OPS: usize = 16 * 1024;

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const CHANGE_TYPE: u8 = 1;

/// Why a chunk is not let in. Each is final for these bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkRefusal {
    /// More than [`CHUNK_MAX_BYTES`].
    #[error("chunk has {0} bytes; {CHUNK_MAX_BYTES} is the most")]
    TooLarge(usize),
    /// Not the header of an Automerge chunk.
    #[error("not an Automerge chunk")]
    Header,
    /// Whole documents and compressed changes are not taken as changes.
    #[error("chunk type {0}; only uncompressed changes (1) are taken")]
    Type(u8),
    /// The length in the header is not the length of what follows.
    #[error("chunk says {said} bytes and has {has}")]
    Length {
        /// What the header says.
        said: u64,
        /// What is there.
        has: usize,
    },
    /// The checksum is wrong: the bytes were damaged.
    #[error("checksum is wrong")]
    Checksum,
    /// Automerge cannot read it.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// Automerge panicked on it.
    #[error("made the reader panic")]
    Panicked,
    /// The fold of its document, with it, panicked.
    #[error("made the fold of its document panic")]
    FoldPanicked,
    /// It was written by another actor than its sender may use.
    #[error("written by {found}, sent by {expected}")]
    ForeignActor {
        /// The sender's actor.
        expected: String,
        /// The writer in the chunk.
        found: String,
    },
    /// Its number is not the next one of its actor in this document.
    #[error("change number {found} where {expected} was due")]
    Sequence {
        /// The number due.
        expected: u64,
        /// The number in the chunk.
        found: u64,
    },
    /// More than [`CHUNK_MAX_OPS`].
    #[error("{0} operations; {CHUNK_MAX_OPS} is the most")]
    TooManyOperations(usize),
    /// After it the document would not save and load again as the same document.
    #[error("document does not survive saving and loading: {0}")]
    DoesNotSurvive(String),
}

/// What a chunk says of itself, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspected {
    /// The change's hash: SHA-256 as Automerge defines it.
    pub hash: Hash32,
    /// Who wrote it, as bytes.
    pub actor: Vec<u8>,
    /// Its number among that actor's changes in this document, from 1.
    pub seq: u64,
    /// Hashes of the changes it depends on.
    pub deps: Vec<Hash32>,
    /// As Automerge read it.
    pub(super) change: automerge::Change,
}

impl Inspected {
    /// The chunk itself.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.change.raw_bytes()
    }

    /// The writer, if it is one of ours.
    #[must_use]
    pub fn actor(&self) -> Option<Actor> {
        std::str::from_utf8(&self.actor).ok()?.parse().ok()
    }

    /// How many operations it has: no fewer than entries.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.change.len()
    }

    /// The entries in it that can be read as `T`, whether or not they would count for anything.
    /// # Errors
    /// [`ChunkRefusal::Panicked`]: it must not be let in.
    pub fn entries<T: DeserializeOwned>(&self) -> Result<Vec<Entry<T>>, ChunkRefusal> {
        let said = guarded(|| self.change.decode())?;
        let read = |action: &OpType| match action {
            OpType::Put(ScalarValue::Str(text)) => serde_json::from_str::<Entry<T>>(text.as_str()).ok(),
            _ => None,
        };
        Ok(said.operations.iter().filter_map(|operation| read(&operation.action)).collect())
    }
}

/// Looks at a chunk: size, header, type, exact length, checksum, then what Automerge reads in it.
/// # Errors
/// [`ChunkRefusal`]; the bytes belong into quarantine.
pub fn inspect(bytes: &[u8]) -> Result<Inspected, ChunkRefusal> {
    if bytes.len() > CHUNK_MAX_BYTES {
        return Err(ChunkRefusal::TooLarge(bytes.len()));
    }
    let hash = check_header(bytes)?;
    let change = guarded(|| automerge::Change::from_bytes(bytes.to_vec()))?
        .map_err(|e| ChunkRefusal::Unreadable(e.to_string()))?;
    if change.len() > CHUNK_MAX_OPS {
        return Err(ChunkRefusal::TooManyOperations(change.len()));
    }
    Ok(Inspected {
        hash,
        actor: change.actor_id().to_bytes().to_vec(),
        seq: change.seq(),
        deps: change.deps().iter().map(|d| Hash32(d.0)).collect(),
        change,
    })
}

/// The hash of a change, from its bytes alone.
/// # Errors
/// [`ChunkRefusal`] if they are no sound chunk on the face of it.
pub fn change_hash(bytes: &[u8]) -> Result<Hash32, ChunkRefusal> {
    check_header(bytes)
}

/// Runs `work` and turns a panic into a refusal.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, ChunkRefusal> {
    // What was half changed is thrown away by the caller, so unwind safety is not at stake.
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| ChunkRefusal::Panicked)
}

fn check_header(bytes: &[u8]) -> Result<Hash32, ChunkRefusal> {
    let rest = bytes.strip_prefix(&MAGIC).ok_or(ChunkRefusal::Header)?;
    let (checksum, rest) = rest.split_first_chunk::<4>().ok_or(ChunkRefusal::Header)?;
    let (kind, after_kind) = rest.split_first().ok_or(ChunkRefusal::Header)?;
    if *kind != CHANGE_TYPE {
        return Err(ChunkRefusal::Type(*kind));
    }
    let (said, body) = read_length(after_kind).ok_or(ChunkRefusal::Header)?;
    if said != body.len() as u64 {
        return Err(ChunkRefusal::Length { said, has: body.len() });
    }
    // Automerge's hash of a change covers type, length and body; the checksum is its first four bytes.
    let hash = Hash32::of(rest);
    if hash.0[..4] == *checksum { Ok(hash) } else { Err(ChunkRefusal::Checksum) }
}

/// Reads an unsigned LEB128 in its shortest form; `None` if it is longer or does not fit.
fn read_length(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let shortest = index == 0 || *byte != 0;
            return shortest.then(|| (value, &bytes[index + 1..]));
        }
    }
    None
}
