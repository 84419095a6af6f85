//! Letters to customers and teams, written from templates.
//!
//! In: the events that webhooks are told of, and who wants a letter about which. Out: one letter for each event, tried again
//! on the same schedule under the same message id. News that is old, or that is no longer so, is not sent: a letter that
//! says that a delivery is late must not arrive after the delivery. [`letter`] decides without I/O.

pub mod deliver;
pub mod letter;
#[cfg(test)]
mod tests;
