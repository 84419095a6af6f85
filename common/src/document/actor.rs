//! Who writes into documents.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::id::{DeviceId, SiteId};

/// What kind of writer an actor is. Authority over transitions depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActorKind {
    /// The hub.
    Hub,
    /// A gateway at a depot.
    Site,
    /// A vehicle unit.
    Vehicle,
}

/// A writer of entries: kind, site, device and install epoch.
///
/// Its text, such as `site/D1/gw-1/3`, is the Automerge actor id, byte for byte. A device that was
/// restored from a backup takes the next epoch, so that no two changes ever share actor and number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor {
    /// What kind of writer.
    pub kind: ActorKind,
    /// The depot it belongs to; for the hub, the hub's own name.
    pub site: SiteId,
    /// The device.
    pub device: DeviceId,
    /// Which install or restore of the device, from 1.
    pub epoch: u32,
}

/// The text is not an actor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an actor; kind/site/device/epoch is expected")]
pub struct NotAnActor(pub String);

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ActorKind::Hub => "hub",
            ActorKind::Site => "site",
            ActorKind::Vehicle => "vehicle",
        };
        write!(f, "{kind}/{}/{}/{}", self.site, self.device, self.epoch)
    }
}

impl FromStr for Actor {
    type Err = NotAnActor;

    fn from_str(text: &str) -> Result<Self, NotAnActor> {
        let refuse = || NotAnActor(text.to_owned());
        let parts: Vec<&str> = text.split('/').collect();
        let [kind, site, device, epoch] = parts.as_slice() else { return Err(refuse()) };
        let kind = match *kind {
            "hub" => ActorKind::Hub,
            "site" => ActorKind::Site,
            "vehicle" => ActorKind::Vehicle,
            _ => return Err(refuse()),
        };
        let actor = Self {
            kind,
            site: SiteId::new(*site).map_err(|_| refuse())?,
            device: DeviceId::new(*device).map_err(|_| refuse())?,
            epoch: epoch.parse().map_err(|_| refuse())?,
        };
        // One actor has one text: "01" and "+1" would be second names for epoch 1.
        if actor.to_string() == text { Ok(actor) } else { Err(refuse()) }
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
