//! Orders from files, for an ERP that writes files or for what another system left behind.
//!
//! In: lines of a CSV file and a map that says which column is what. Out: orders, and for every line that is part of
//! none the reason: line, field and why. No line is dropped; an order of which one line cannot be read is no order, since
//! it would leave short. Reads and writes no store: the caller does.

mod lines;
mod orders;
mod settings;
#[cfg(test)]
mod tests;
mod weights;

pub use lines::{Lines, Row};
pub use orders::{Read, Reject, read};
pub use settings::{ImportMap, WeightMap};
