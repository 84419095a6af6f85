//! Thresholds of the detectors: when a condition is one.

use serde::{Deserialize, Serialize};

use super::MINUTE_MS;

/// When detectors speak.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Detectors {
    /// A door occupied, or standing open, this long past its planned end is blocked, in ms. Default 600,000.
    pub dock_blocked_after_ms: u64,
    /// A dispatch not gone this long after planned departure is late, in ms. Default 900,000.
    pub departure_delay_after_ms: u64,
    /// A condition that has cleared this long clears its case, in ms. Default 120,000.
    pub clear_after_ms: u64,
    /// Fixes in a row that a geofence crossing needs. Default 2.
    pub geofence_fixes: u32,
    /// Width of the ring in which a geofence keeps its last answer, in metres. Default 50.
    pub geofence_ring_m: f64,
    /// Fixes with a larger radius of confidence are dropped, in metres. Default 100.
    pub fix_accuracy_max_m: f64,
    /// Fixes that imply a higher speed are dropped, in km/h. Default 200.
    pub fix_speed_max_kmh: f64,
}

impl Default for Detectors {
    fn default() -> Self {
        Self {
            dock_blocked_after_ms: 10 * MINUTE_MS,
            departure_delay_after_ms: 15 * MINUTE_MS,
            clear_after_ms: 2 * MINUTE_MS,
            geofence_fixes: 2,
            geofence_ring_m: 50.0,
            fix_accuracy_max_m: 100.0,
            fix_speed_max_kmh: 200.0,
        }
    }
}
