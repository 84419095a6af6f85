//! Where the hub listens: TLS 1.3, with a certificate asked of devices, and connections that can be cut.
//!
//! In: connections. Out: streams for the HTTP server, each with who is at its other end. Handshakes are bounded in time
//! and in number; one that fails is counted and told to the audit. Nothing of HTTP is read here.

mod configs;
mod connection;
mod handshakes;

pub use configs::{Doors, TlsError, devices, people, people_from_files};
pub use connection::{Caller, Connection, From, caller};
pub use handshakes::TlsListener;
