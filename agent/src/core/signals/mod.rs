//! Turns readings into facts about the depot.
//!
//! In: readings, in arrival order. Out: the state of doors, vehicles and counts, and the facts that
//! gates rest on. Always by the time at which something was measured; what comes late goes to
//! history only. Never reads a clock.

pub mod dock;
pub mod geofence;
pub mod position;
pub mod scans;
