//! Who a device is: the hub's own authority, what its certificates say, how a device comes by one and loses it.
//!
//! In: invitations of an administrator, signed questions of devices. Out: certificates, whose names are the device's
//! name, key and scopes; and who is to be cut off. What a device asks for never widens what it gets.

mod authority;
mod budget;
mod claims;
mod enrolment;
mod in_use;
mod renewal;
mod revocations;
mod routes;

pub use authority::{Authority, AuthorityError, LineRequest, RequestError};
pub use claims::{ClaimsError, Peer};
pub use enrolment::{Denied, Terms, enrol, may_enrol};
pub(crate) use in_use::{counts, not_in_use, take_in};
pub use renewal::{may_renew, renew};
pub use revocations::{Revocations, Watcher};
pub use routes::{Enrolment, router};
