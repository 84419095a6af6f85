//! Tells the hub what happened here and learns what is new there.

mod backoff;
mod client;
mod line;
mod standing;

#[cfg(test)]
mod tests;

pub use backoff::Backoff;
pub use client::{HubState, Sync};
pub use line::{ExchangeError, Line};
