//! One depot or one vehicle: listens, decides, remembers, shows, tells the hub.
//!
//! The rooms: `intake` takes messages in, `driver` hands them to `core`, `core` decides without
//! touching clock, disk or network, `store` commits what it decided, `sync` tells the hub, `page`
//! shows people. `meters` counts, `supervisor` tells systemd. `audit` proves the chain of decisions, offline; `replay` tries other
//! rules on what was recorded.
//! `wiring` puts them together; `config` says how.

pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod core;
pub mod doctor;
pub mod driver;
pub mod intake;
pub mod logs;
pub mod meters;
mod pace;
pub mod page;
pub mod replay;
pub mod scrub;
pub mod store;
pub mod supervisor;
pub mod sync;
pub mod tasks;
pub mod wiring;
