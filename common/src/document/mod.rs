//! The Automerge document under every case and dispatch.
//!
//! A document is a set of immutable entries plus notes. An entry is one compact JSON text under the
//! key `<actor>-<counter>` of the map `entries`, so that any Automerge program can read it. Every
//! document starts from the same first change ([`genesis`]), so two creators never hide each
//! other's keys. Nothing outside this module knows that Automerge lies underneath.

pub mod actor;
pub mod entry;
pub mod gate;
pub mod history;
mod store;

pub use actor::{Actor, ActorKind};
pub use entry::{Entry, EntryKey, Folds, named_as_lost, with_fold};
pub use history::History;
pub use store::{Applied, Chunk, Document, DocumentError, WAITING_MAX_MS, beyond, genesis};
