//! The language that the agent and the hub both speak.
//!
//! Every type here is a value: readings, facts, orders, gates, leases, decisions, the documents of
//! cases and dispatches, and the sync session of both ends. Nothing in this package reads a clock,
//! a disk or a socket, spawns a task or draws a random number; callers pass `now`, bytes and seeds.

pub mod bundle;
pub mod case;
pub mod decision;
pub mod dispatch;
pub mod document;
pub mod fact;
pub mod gate;
pub mod geo;
pub mod id;
pub mod lease;
pub mod order;
pub mod reading;
pub mod route;
pub mod rule;
pub mod seal;
pub mod sync;
pub mod telemetry;
pub mod time;
