//! What reads bytes from outside, tried on bytes that nobody meant.
//!
//! In: a seed of well-formed inputs per [`Target`], and mutations of them. Out: nothing; a target
//! that panics has failed. The same targets are run briefly by a test, and for as long as one
//! likes under a coverage-guided fuzzer (`./run trials fuzz`).

#![expect(clippy::panic, reason = "a panic is how a target fails")]

mod edi;
mod forms;
pub mod mutate;
mod samples;
mod targets;

/// One reader of foreign bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Reads `bytes`; panics if the reader does, or if what it let through breaks its promise.
    pub run: fn(bytes: &[u8]),
    /// Well-formed inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every reader that is tried.
pub const TARGETS: [Target; 18] = [
    Target { name: "payload", run: targets::payload, seeds: samples::payloads },
    Target { name: "owntracks", run: targets::owntracks, seeds: forms::owntracks },
    Target { name: "traccar", run: targets::traccar, seeds: forms::traccar },
    Target { name: "osmand", run: targets::osmand, seeds: forms::osmand },
    Target { name: "nmea", run: targets::nmea, seeds: forms::nmea },
    Target { name: "cloudevents", run: targets::cloudevents, seeds: forms::cloudevents },
    Target { name: "thin-edge", run: targets::thin_edge, seeds: forms::thin_edge },
    Target { name: "sparkplug", run: targets::sparkplug, seeds: forms::sparkplug },
    Target { name: "agent-config", run: targets::agent_config, seeds: samples::agent_configs },
    Target { name: "hub-config", run: targets::hub_config, seeds: samples::hub_configs },
    Target { name: "bundle", run: targets::bundle, seeds: samples::bundles },
    Target { name: "rule", run: targets::rule, seeds: samples::conditions },
    Target { name: "frame", run: targets::frame, seeds: samples::frames },
    Target { name: "chunk", run: targets::chunk, seeds: samples::chunks },
    Target { name: "entries", run: targets::entries, seeds: samples::entries },
    Target { name: "event", run: targets::event, seeds: samples::events },
    Target { name: "x12", run: edi::interchange, seeds: edi::x12 },
    Target { name: "edifact", run: edi::interchange, seeds: edi::edifact },
];

/// A reader that trusts what it should not. A fuzzer that finds nothing here sees nothing.
pub const CONTROL: Target =
    Target { name: "control", run: targets::trusting, seeds: || vec![b"{\"line\":990}".to_vec()] };

/// The target of this name, the control among them.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().chain([CONTROL]).find(|t| t.name == name)
}
