//! What all tables share: checksums, and reading stored text as values.

use std::{fmt::Display, str::FromStr};

use gatehouse_common::id::{Hash32, OrderId};
use serde::de::DeserializeOwned;

use super::StoreError;

/// The checksum of a ground row: the first 8 bytes of SHA-256 over its parts, each with its length.
pub(super) fn checksum(parts: &[&[u8]]) -> [u8; 8] {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    let mut short = [0; 8];
    short.copy_from_slice(&Hash32::of(&bytes).0[..8]);
    short
}

/// Checks a row against its stored checksum.
pub(super) fn verify(table: &'static str, row: impl Display, parts: &[&[u8]], stored: &[u8]) -> Result<(), StoreError> {
    if checksum(parts) == *stored {
        return Ok(());
    }
    Err(damaged(table, row, "checksum is wrong"))
}

/// A row that cannot be used.
pub(super) fn damaged(table: &'static str, row: impl Display, why: impl Display) -> StoreError {
    StoreError::Damaged { table, row: row.to_string(), why: why.to_string() }
}

/// Stored text as a name or number.
pub(super) fn parse<T: FromStr>(table: &'static str, text: &str) -> Result<T, StoreError>
where
    T::Err: Display,
{
    text.parse().map_err(|e| damaged(table, text, e))
}

/// Stored JSON as a value.
pub(super) fn json<T: DeserializeOwned>(table: &'static str, row: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| damaged(table, row, e))
}

/// At most how many rows; all if none.
pub(super) fn limit(limit: Option<usize>) -> i64 {
    limit.and_then(|n| i64::try_from(n).ok()).unwrap_or(i64::MAX)
}

/// The condition that a row is of the order in parameter 2, which may be none. An engine plans without the values: where an
/// order is asked for it must read so, or all rows are looked at.
pub(super) fn of_order(order: Option<&OrderId>) -> &'static str {
    if order.is_some() { "order_id = ?2" } else { "(?2 IS NULL OR order_id = ?2)" }
}

/// A position or count as the store keeps it.
pub(super) fn to_sql(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A position or count as the store kept it.
pub(super) fn from_sql(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}
