//! What happened, for programs that look at processes: OCEL 2.0 (JSON and SQLite), XES and EPCIS 2.0.
//!
//! In: one view of the store ([`walk()`]). Out: events and objects, one document after another, into a [`Sink`] that writes
//! them down as they come. The entries of a document are what happened; who has said something twice is told twice.
//! Nothing is made up: an event has the time that its entry or its evidence has.

pub mod epcis;
mod form;
pub mod held;
pub mod ocel_json;
pub mod ocel_sqlite;
#[cfg(test)]
mod tests;
pub mod walk;
pub mod xes;

use std::io;

use gatehouse_common::time::UtcMs;

pub use form::{Form, write};
pub use walk::walk;

use crate::store::StoreError;

/// Why an export was not finished. What was written of it is no export; write it anew.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was written could not be.
    #[error("export cannot be written: {0}")]
    Write(#[from] io::Error),
    /// The file of the export refused.
    #[error("export cannot be written: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A value could not be written as JSON.
    #[error("value cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    /// Its name: the document's and its place in it.
    pub id: String,
    /// What, such as `dispatch released` or `case resolved`.
    pub kind: String,
    /// When it was so.
    pub at: UtcMs,
    /// More about it, as text.
    pub attributes: Vec<(&'static str, String)>,
    /// What it was about, with the part that each had.
    pub objects: Vec<(String, &'static str)>,
}

/// One thing that events are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogObject {
    /// Its name, its type before a colon.
    pub id: String,
    /// Its type.
    pub kind: &'static str,
    /// More about it, as text.
    pub attributes: Vec<(&'static str, String)>,
    /// Other objects and what they are to it.
    pub related: Vec<(String, &'static str)>,
}

/// How much there was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Events.
    pub events: u64,
    /// Objects.
    pub objects: u64,
}

/// Takes events and objects as they come. An object may come after events that name it, and comes once.
pub trait Sink {
    /// Takes an object.
    /// # Errors
    /// If it cannot be written.
    fn object(&mut self, object: &LogObject) -> Result<(), ExportError>;
    /// Takes an event.
    /// # Errors
    /// If it cannot be written.
    fn event(&mut self, event: &LogEvent) -> Result<(), ExportError>;
    /// Writes what comes last. Nothing is whole before.
    /// # Errors
    /// If it cannot be written.
    fn finish(&mut self) -> Result<(), ExportError>;
}

/// A time as exports have it, to the millisecond.
#[must_use]
pub fn rfc3339(at: UtcMs) -> String {
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(timestamp) => format!("{timestamp:.3}"),
        Err(_) => "1970-01-01T00:00:00.000Z".to_owned(),
    }
}
