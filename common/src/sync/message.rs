//! What travels. Values with tags inside travel as their JSON text, so that a reader of another
//! version can keep what it does not know; the envelope is postcard.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor},
};

use super::{
    cursor::{Cursor, Lane, LedgerEpoch},
    session::BATCH_MAX,
};
use crate::{
    decision::ChainHead,
    id::{DeviceId, DocumentId, DocumentKind, Hash32},
    seal::{PublicKey, Sealed},
};

/// Something a device tells the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Upward {
    /// A change of a document, raw.
    Chunk {
        /// Which document.
        document: DocumentId,
        /// Case or dispatch.
        kind: DocumentKind,
        /// The change's bytes.
        bytes: Vec<u8>,
    },
    /// A decision, signed by the device: a [`crate::decision::DecisionRecord`].
    Decision(Sealed),
    /// A [`crate::fact::Report`] as JSON: a fact of the depot's own that others need.
    Fact(String),
    /// How the device is: a [`DeviceStatus`] as JSON.
    Status(String),
}

/// How a device is, for the hub's fleet view. Newer replaces older.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// When, by the device's clock.
    pub at: crate::time::UtcMs,
    /// Readings stored since the store was made.
    pub readings: u64,
    /// Repeats dropped since the store was made.
    pub duplicates: u64,
    /// Messages in quarantine.
    pub quarantined: u64,
    /// Records that wait to be pushed.
    pub outbox: u64,
    /// The program's version.
    pub version: String,
    /// Where its vehicle was last, for vehicles.
    pub position: Option<crate::geo::Point>,
    /// Where its vehicle was since, thinned, for vehicles; a stretch is told once. They travel in the status so that a
    /// hub which does not know of them takes the rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tracks: Vec<crate::telemetry::Track>,
}

/// The outbox in order, from a device to the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// Which life of the device's outbox the numbers count in.
    pub outbox_epoch: u64,
    /// Records with their numbers, rising. More than [`BATCH_MAX`] are refused, and of these one more than that is read.
    #[serde(deserialize_with = "little_more_than_a_batch")]
    pub records: Vec<(u64, Upward)>,
}

/// Keeps one record more than a push may have, so that it shows, and no others: some take thirty times their bytes in
/// memory.
fn little_more_than_a_batch<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(u64, Upward)>, D::Error> {
    struct Records;
    impl<'de> Visitor<'de> for Records {
        type Value = Vec<(u64, Upward)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("records with their numbers")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
            let mut records = Vec::new();
            while let Some(record) = from.next_element()? {
                if records.len() <= BATCH_MAX {
                    records.push(record);
                }
            }
            Ok(records)
        }
    }
    from.deserialize_seq(Records)
}

/// How far the hub has taken the outbox. Sent only after the commit that it speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushReply {
    /// The last number taken or rejected.
    pub taken_through: u64,
    /// Records that were not let in; they are taken through all the same.
    pub rejected: Vec<Rejection>,
    /// The last number that the hub's newest backup covers; up to here the device may forget.
    pub kept_through: u64,
}

/// A record that the hub did not let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Its number.
    pub number: u64,
    /// Why, for people.
    pub reason: String,
}

/// How does this device stand with the hub? Asked once after each start, before anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stand {
    /// Which life of the device's outbox goes on.
    pub outbox_epoch: u64,
}

/// What the hub knows of a device. A store that holds less is an older copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// When, by the hub's clock, and no earlier than the newest lease of the device's depots.
    pub at: crate::time::UtcMs,
    /// The last number taken in the life of the outbox that was asked for; 0 if none was.
    pub taken_through: u64,
    /// Every life of the outbox of which something was taken.
    pub outbox_epochs: Vec<u64>,
    /// Where each epoch of the device's chain has got to: a [`crate::decision::ChainHead`] each, signed by the hub.
    pub heads: Vec<Sealed>,
}

impl Standing {
    /// The head of the newest epoch, with its signed text. With a key, one that the hub did not sign is left out.
    #[must_use]
    pub fn newest_head(&self, device: &DeviceId, hub: Option<&PublicKey>) -> Option<(ChainHead, Sealed)> {
        let read = |sealed: &Sealed| hub.map_or_else(|| sealed.peek(), |key| sealed.open::<ChainHead>(key)).ok();
        let heads = self.heads.iter().filter_map(|sealed| Some((read(sealed)?, sealed.clone())));
        heads.filter(|(head, _)| head.device == *device).max_by_key(|(head, _)| head.epoch)
    }

    /// The newest life of the outbox that the hub knows; 0 if it knows none.
    #[must_use]
    pub fn newest_outbox_epoch(&self) -> u64 {
        self.outbox_epochs.iter().copied().max().unwrap_or(0)
    }
}

/// What is new for this device?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// How far the device has got; the default before the first answer.
    pub cursor: Cursor,
    /// How long the hub may wait for something new, in milliseconds of its clock.
    pub wait_ms: u32,
    /// Whether only the recall lane is wanted: the first question after a reconnect.
    pub recalls_only: bool,
}

/// What is new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullReply {
    /// The next page.
    Page {
        /// Items by lane, in order of position within a lane.
        items: Vec<FeedItem>,
        /// Where the device stands once it has committed them.
        cursor: Cursor,
        /// Whether more waits.
        more: bool,
    },
    /// The cursor counts in another life of the ledger, or the device's scopes have grown since. Start again
    /// in this one, and push again what the hub may have forgotten.
    OtherEpoch(LedgerEpoch),
}

/// One item of the feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedItem {
    /// Its lane.
    pub lane: Lane,
    /// Its position in the ledger.
    pub position: u64,
    /// What it says.
    pub says: Downward,
}

/// Something the hub tells a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Downward {
    /// An [`crate::order::Order`] as JSON; replaces older versions.
    Order(String),
    /// A [`crate::fact::Report`] as JSON.
    Fact(String),
    /// A [`crate::lease::Lease`], signed by the hub.
    Lease(Sealed),
    /// A change of a document, raw.
    Chunk {
        /// Which document.
        document: DocumentId,
        /// Case or dispatch.
        kind: DocumentKind,
        /// The change's bytes.
        bytes: Vec<u8>,
    },
    /// A receipted [`crate::decision::ChainHead`], signed by the hub: up to here a cut chain would show.
    Anchor(Sealed),
    /// How long ago each source was heard: a map from [`crate::fact::Source`] to UTC milliseconds, as JSON.
    Sources(String),
    /// What the hub signs of the page in which this stands: a [`super::PageDigest`]. From protocol 2 on.
    Page(Sealed),
    /// A whole document as [`crate::document::Document::save`] writes it, in place of its changes. From protocol 2 on.
    Snapshot {
        /// Which document.
        document: DocumentId,
        /// Case or dispatch.
        kind: DocumentKind,
        /// The document's bytes.
        bytes: Vec<u8>,
    },
}

impl Downward {
    /// The lane it belongs to when nothing more urgent is known of it.
    #[must_use]
    pub fn usual_lane(&self) -> Lane {
        match self {
            Self::Order(_) | Self::Fact(_) | Self::Lease(_) => Lane::Orders,
            Self::Chunk { .. } | Self::Snapshot { .. } => Lane::Documents,
            Self::Anchor(_) | Self::Sources(_) | Self::Page(_) => Lane::Rest,
        }
    }

    /// What makes two items the same, within one scope.
    #[must_use]
    pub fn hash(&self) -> Hash32 {
        match self {
            Self::Chunk { bytes, .. } | Self::Snapshot { bytes, .. } => Hash32::of(bytes),
            Self::Order(json) | Self::Fact(json) | Self::Sources(json) => Hash32::of(json.as_bytes()),
            Self::Lease(sealed) | Self::Anchor(sealed) | Self::Page(sealed) => sealed.hash(),
        }
    }
}
