//! What other systems are told of their own accord, as Standard Webhooks.
//!
//! In: changes of the store. Out: first rows, one event and a delivery for each subscription it concerns, in the commit
//! that notes the change as told; then signed requests, tried again on the published schedule under the same id. [`sign`],
//! [`schedule`] and [`targets`] decide without I/O.

pub mod announce;
pub mod deliver;
pub mod schedule;
pub mod sign;
pub mod targets;
#[cfg(test)]
mod tests;
