//! Where devices speak with the hub: push, pull, and who may.
//!
//! In: signed exchanges. Out: signed answers, after the commit they speak of. What a device may say
//! and get comes from its certificate and the list of devices, never from its request.

mod admission;
mod copies;
mod crowd;
pub mod devices;
pub mod endpoint;
mod gate;
mod news;
pub mod pull;
pub mod push;
mod quota;
mod refusal;
mod refusals;
pub mod repair;
mod signed;
pub mod standing;

pub use admission::Admission;
pub use endpoint::{SyncState, router};
pub use news::News;
pub use pull::handle_pull;
pub use push::handle_push;
pub use quota::Quota;
pub use refusals::Refusals;
pub use repair::handle_repair;

#[cfg(test)]
mod tests;
