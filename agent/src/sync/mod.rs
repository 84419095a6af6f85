//! Tells the hub what happened here and learns what is new there.

mod backoff;
mod client;
mod enrolment;
mod failure;
mod line;
mod mender;
mod mending;
mod standing;
mod transport;

#[cfg(test)]
mod tests;

pub use backoff::Backoff;
pub use client::{HubState, Sync};
pub use enrolment::{CertificateState, EnrolmentError, enrol};
pub use failure::ExchangeError;
pub use line::{Line, Own, Parties};
pub use mender::{CHECK_EVERY_MS, Due, Mender};
pub use standing::is_older;
pub use transport::TransportError;
