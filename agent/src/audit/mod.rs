//! Proves the chain of decisions, offline.
//!
//! In: the rows of a store, the hub's receipts of the chain (anchors), the keys. Out: a [`Verdict`]
//! that names every record that does not belong, and says how far the chain is anchored. Never
//! changes a store, and never asks anyone.

mod command;
mod verify;

#[cfg(test)]
mod tests;

pub use command::{AuditCommand, run};
pub use verify::{Anchor, Finding, Kept, Keys, Lost, Verdict, Verifier};
