//! What other systems are told of their own accord: by HTTP as Standard Webhooks or CloudEvents, and into NATS JetStream.
//!
//! In: changes of the store. Out: first rows, one event and a delivery for each subscription it concerns, in the commit
//! that notes the change as told; then signed requests, or messages that a stream acknowledges, tried again on the
//! published schedule under the same id. [`envelope`], [`sign`], [`schedule`] and [`targets`] decide without I/O.

pub mod announce;
pub mod deliver;
pub mod envelope;
pub mod nats;
pub mod schedule;
pub mod sign;
pub mod targets;
#[cfg(test)]
mod tests;
