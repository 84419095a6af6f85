//! The signature around every exchange.
//!
//! The device signs what it asks, the hub signs what it answers, both over the same few lines of
//! text, so that neither a request nor an answer can be altered, moved to another path or another
//! device, or answered in the hub's name by someone else.

use std::time::Duration;

use crate::{
    id::{DeviceId, Hash32},
    time::UtcMs,
};

/// Header that names the device.
pub const DEVICE_HEADER: &str = "gatehouse-device";
/// Header with the sender's wall clock, in UTC milliseconds.
pub const TIME_HEADER: &str = "gatehouse-time";
/// Header with a fresh random text of 8 to 64 characters per request.
pub const NONCE_HEADER: &str = "gatehouse-nonce";
/// Header with base64 of the ed25519 signature over [`request_text`] or [`reply_text`].
pub const SIGNATURE_HEADER: &str = "gatehouse-signature";

/// Path of a push.
pub const PUSH_PATH: &str = "/sync/v1/push";
/// Path of a pull.
pub const PULL_PATH: &str = "/sync/v1/pull";
/// Path of the question how a device stands: a [`super::Stand`], answered by a [`super::Standing`].
pub const STANDING_PATH: &str = "/sync/v1/standing";
/// Path of everything by which both sides become alike again: a [`super::Repair`], answered by a [`super::Repaired`].
/// A hub that does not know it answers 404; then nothing is repaired.
pub const REPAIR_PATH: &str = "/sync/v1/repair";
/// Path where the hub tells its name, public key and time; not signed by the asker.
pub const HELLO_PATH: &str = "/sync/v1/hello";

/// How far a request's time may be from the hub's clock, in milliseconds. A device whose clock is
/// further off learns the hub's time from [`HELLO_PATH`] and sends that time instead of its own.
pub const SKEW_MAX_MS: i64 = 300_000;

/// How long so many bytes take on the slowest line that is one, of 16 kbit/s: both sides give a body so much more time, or
/// a long push would be cut off on a slow line each time, and told again without end.
#[must_use]
pub fn on_the_slowest_line(bytes: u64) -> Duration {
    Duration::from_millis(bytes / 2)
}

/// What a device signs.
#[must_use]
pub fn request_text(path: &str, device: &DeviceId, time: UtcMs, nonce: &str, body: &[u8]) -> String {
    format!("gatehouse request 1\n{path}\n{device}\n{}\n{nonce}\n{}", time.0, Hash32::of(body))
}

/// What the hub signs: the answer, tied to the request by its nonce.
#[must_use]
pub fn reply_text(device: &DeviceId, time: UtcMs, nonce: &str, status: u16, body: &[u8]) -> String {
    format!("gatehouse reply 1\n{device}\n{}\n{nonce}\n{status}\n{}", time.0, Hash32::of(body))
}
