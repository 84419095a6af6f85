//! Turns readings into facts about the depot, and facts into cases.
//!
//! In: readings, in arrival order. Out: the state of doors, vehicles and counts, and the facts that
//! gates rest on; what detectors make of that state. Always by the time at which something was
//! measured; what comes late goes to history only. Never reads a clock.
//!
//! A new detector: keep what it needs in a row of state, write its thresholds into the bundle, say in
//! a pure function what the [`watch::Condition`] of its matter is, and call it from [`detectors`].

pub mod cargo_space;
pub mod clocks;
mod detectors;
pub mod dock;
pub mod geofence;
pub mod position;
pub mod scans;
pub mod temperature;
pub mod watch;
