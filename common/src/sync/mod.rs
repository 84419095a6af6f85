//! How a device and the hub exchange what they know. Sans-IO, both ends.
//!
//! A star of feeds: each side numbers what it has to tell, the other says how far it has taken it.
//! Push and pull are two requests, at most one of each in flight. Chunks commute and repeats are
//! harmless, so at-least-once delivery is enough; cursors make it cheap.

pub mod cursor;
pub mod enrolment;
pub mod exchange;
pub mod message;
pub mod page;
pub mod repair;
pub mod session;
pub mod version;

pub use cursor::{Cursor, Lane, LedgerEpoch};
pub use message::{Downward, FeedItem, Pull, PullReply, Push, PushReply, Rejection, Stand, Standing, Upward};
pub use page::{Attested, PageDigest};
pub use repair::{Comparison, Repair, Repaired};
pub use session::{DeviceSession, HubPage};
pub use version::{FrameError, PROTOCOL, decode, encode, encode_as, protocol_of};
