//! Where partners' files arrive and leave.
//!
//! In: files of a folder or a request. Out: facts, cases, words kept as they came; answers and messages of our own, first as
//! rows of the store, then as files. [`take`] reads one file in one transaction; [`due`] says what is to be written, without
//! I/O; [`folders`] moves files. A file is moved only after the commit that took it, so a crash takes it once more, and its
//! control number makes that harmless.

pub mod due;
pub mod folders;
pub mod matters;
pub mod send;
pub mod take;
#[cfg(test)]
mod tests;
