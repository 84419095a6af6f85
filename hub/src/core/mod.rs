//! The quiet rooms of the hub: pure functions of what the store holds.

pub mod closing;
pub mod joining;
pub mod leases;
pub mod lifting;
pub mod opening;
pub mod ownership;
pub mod projections;
pub mod reconcile;
