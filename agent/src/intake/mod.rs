//! Takes in what devices send.
//!
//! In: MQTT messages. Out: inputs for the driver, in order of arrival; after the
//! driver's commit the message is acknowledged, in the same order. What cannot be read goes to
//! quarantine with its reason and never holds up what is behind it.

pub mod mqtt;
pub mod payload;
pub mod read;
mod receipts;
pub mod topics;
