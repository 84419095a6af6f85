//! Which device this is and where it stands.

use std::{collections::BTreeSet, path::PathBuf};

use gatehouse_common::{
    geo::{Geofence, Point},
    id::{DeviceId, DoorId, SiteId, VehicleId},
};
use serde::Deserialize;

use super::read::{Problem, Section};

/// `[device]`
#[derive(Debug, Clone)]
pub struct DeviceConfig {
    /// `id`: its name at the hub. Changing it makes another device of it.
    pub id: DeviceId,
    /// `kind`: `gateway` decides for a depot, `vehicle` follows one vehicle.
    pub kind: DeviceKind,
    /// `site`: the depot it belongs to.
    pub site: SiteId,
    /// `vehicle`: which vehicle it rides in; given if and only if `kind` is `vehicle`.
    pub vehicle: Option<VehicleId>,
    /// `key_file`: its private key. Made at first use, readable by its owner only.
    pub key_file: PathBuf,
}

/// What the agent is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// Decides for a depot.
    Gateway,
    /// Follows one vehicle.
    Vehicle,
}

/// `[site]`
#[derive(Debug, Clone)]
pub struct SiteConfig {
    /// `name`: for people; the site id when left out.
    pub name: Option<String>,
    /// `geofence = { lat, lon, radius_m }`: the yard. Without one no vehicle is seen to leave by
    /// its position, so a gateway must have one.
    pub geofence: Option<Geofence>,
    /// `doors`: the dock doors. A message about a door that is not listed is quarantined; an empty
    /// list takes every door.
    pub doors: BTreeSet<DoorId>,
}

impl DeviceConfig {
    pub(super) fn read(section: &mut Section, problems: &mut Vec<Problem>) -> Option<Self> {
        let id = section.required("id", "give this device a name, such as \"D1-gateway\"", problems);
        let kind: Option<DeviceKind> = section.required("kind", "write \"gateway\" or \"vehicle\"", problems);
        let site = section.required("site", "name the depot, such as \"D1\"", problems);
        let vehicle: Option<VehicleId> = section.optional("vehicle", "name the vehicle, such as \"2207\"", problems);
        let key_file = section.path("key_file", "name the file for the private key, such as \"device.key\"", problems);
        section.finish(problems);
        match (kind, &vehicle) {
            (Some(DeviceKind::Vehicle), None) => {
                problems.push(section.problem("vehicle", "is missing", "a vehicle unit must name its vehicle"));
            }
            (Some(DeviceKind::Gateway), Some(_)) => {
                problems.push(section.problem(
                    "vehicle",
                    "is given for a gateway",
                    "remove it, or write kind = \"vehicle\"",
                ));
            }
            _ => {}
        }
        Some(Self { id: id?, kind: kind?, site: site?, vehicle, key_file: key_file? })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Circle {
    lat: f64,
    lon: f64,
    radius_m: f64,
}

impl SiteConfig {
    pub(super) fn read(section: &mut Section, kind: DeviceKind, problems: &mut Vec<Problem>) -> Option<Self> {
        const GEOFENCE: &str = "write geofence = { lat = 30.27, lon = -97.74, radius_m = 300 }";
        let name = section.optional("name", "give the name as text", problems);
        let circle: Option<Circle> = match kind {
            DeviceKind::Gateway => section.required("geofence", GEOFENCE, problems),
            DeviceKind::Vehicle => section.optional("geofence", GEOFENCE, problems),
        };
        let doors = section.optional("doors", "list the doors as text: doors = [\"1\", \"2\"]", problems);
        section.finish(problems);
        let geofence = circle.and_then(|Circle { lat, lon, radius_m }| {
            let centre = Point { lat, lon };
            if centre.is_valid() && radius_m.is_finite() && radius_m > 0.0 {
                return Some(Geofence { centre, radius_m });
            }
            problems.push(section.problem(
                "geofence",
                format!("lat {lat}, lon {lon}, radius_m {radius_m} is no circle on earth"),
                "give degrees in range and a radius above 0",
            ));
            None
        });
        Some(Self { name, geofence, doors: doors.unwrap_or_default() })
    }
}
