//! X12: its delimiters, its envelope, its layouts, and the messages that road transport speaks (4010, readable to 5010).
//!
//! 204 load tender, 990 answer to it, 214 shipment status, 945 warehouse ship advice, 856 ship notice, 997 acknowledgement.
//! Facts from the standard as used in the field; where releases differ in a length, the longer is taken.

pub mod acknowledge;
pub mod advice;
mod envelope;
mod layout;
mod lex;
pub mod notice;
pub mod response;
pub mod status;
pub mod tender;
pub mod write;

pub(super) use envelope::read;
pub use layout::group_of;
