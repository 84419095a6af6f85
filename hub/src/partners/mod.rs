//! What other systems tell the hub of their own accord.
//!
//! In: the bytes they sent. Out: facts, or a refusal that names the place and the remedy; files that answer theirs. Who may
//! send what is for [`crate::auth`] to know; the ERP is asked by `erp` instead.

pub mod cloudevents;
pub mod desk;
pub mod edi;
pub mod events;
pub mod mail;
pub mod positions;
pub mod webhooks;
