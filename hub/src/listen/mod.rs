//! Where the hub listens: TLS 1.3, with a certificate asked of devices, and connections that can be cut.
//!
//! In: connections. Out: requests, each with who is at the other end. Handshakes are bounded in time and in number, and so
//! are connections; heads and bodies are in time. A handshake that fails is counted and told to the audit. What a request
//! means is not known here.

mod configs;
mod connection;
mod handshakes;
mod places;
mod serve;

pub use configs::{Doors, TlsError, devices, people, people_from_files};
pub use connection::{Caller, Connection, From, caller};
pub use handshakes::{Share, Shares, TlsListener};
pub(crate) use places::network;
pub use serve::serve;
