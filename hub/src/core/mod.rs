//! The quiet rooms of the hub: pure functions of what the store holds.

pub mod closing;
pub mod joining;
pub mod leases;
pub mod lifting;
pub mod opening;
pub mod ownership;
pub mod projections;
pub mod reconcile;

/// How far the clocks of two replicas may be apart, in milliseconds: one reads the ERP, another decides on what it read.
/// What is dated further ahead than that was dated by a clock that was wrong.
pub const APART_MS: i64 = 10_000;
