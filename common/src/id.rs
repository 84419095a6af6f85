//! Names of things: who sent it, what it is about, which record it is.
//!
//! Every name is text that a person can read aloud; [`DocumentId`] and [`Hash32`] are hashes,
//! written in hexadecimal for people and as bytes on the wire.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

/// Why a text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing was given.
    #[error("{what} is empty")]
    Empty {
        /// Which kind of name.
        what: &'static str,
    },
    /// Longer than 128 bytes.
    #[error("{what} is longer than 128 bytes")]
    TooLong {
        /// Which kind of name.
        what: &'static str,
    },
    /// Holds a character that this kind of name may not.
    #[error("{what} {text:?} may not contain {character:?}")]
    Character {
        /// Which kind of name.
        what: &'static str,
        /// The name as given.
        text: String,
        /// The first character that is not allowed.
        character: char,
    },
}

fn check(what: &'static str, text: &str, allowed: fn(char) -> bool) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { what });
    }
    if text.len() > 128 {
        return Err(IdError::TooLong { what });
    }
    match text.chars().find(|c| !allowed(*c)) {
        Some(character) => Err(IdError::Character { what, text: text.to_owned(), character }),
        None => Ok(()),
    }
}

/// Letters, digits, `.`, `_` and `-`: safe inside a topic, a path and an actor id.
fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// Anything printable except `|`, which separates the parts of a dedup key.
fn printable(c: char) -> bool {
    !c.is_control() && c != '|'
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $allowed:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $type(String);

        impl $type {
            /// Takes a text as a name.
            /// # Errors
            /// [`IdError`] names the rule that the text breaks.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                check($what, &text, $allowed)?;
                Ok(Self(text))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }
    };
}

name!(
    /// One device with a key of its own: a gateway or a vehicle unit.
    DeviceId, "device id", plain
);
name!(
    /// One depot.
    SiteId, "site id", plain
);
name!(
    /// One vehicle, as depots, carriers and trackers call it.
    VehicleId, "vehicle id", plain
);
name!(
    /// One dock door of a depot.
    DoorId, "door id", plain
);
name!(
    /// An order as the ERP numbers it.
    OrderId, "order id", printable
);
name!(
    /// A customer as the ERP numbers it.
    CustomerId, "customer id", printable
);
name!(
    /// A product as the ERP numbers it.
    ProductId, "product id", printable
);
name!(
    /// A carrier, by its SCAC or the TMS's number.
    CarrierId, "carrier id", printable
);
name!(
    /// A lease, unique at the hub that granted it.
    LeaseId, "lease id", plain
);
name!(
    /// A decision: device, epoch and position in that device's chain. It is also the key under
    /// which effects at the ERP are posted and found again.
    DecisionId, "decision id", plain
);
name!(
    /// What a message said of itself: its own id, or a hash of device, time and payload.
    ReadingId, "reading id", printable
);
name!(
    /// A person or program that acts: an operator's login, a rule, an API token's name.
    ActorName, "actor name", printable
);

impl DecisionId {
    /// The id of the decision at `position` of the chain `epoch` of `device`.
    #[must_use]
    pub fn of(device: &DeviceId, epoch: u32, position: u64) -> Self {
        Self(format!("{device}-{epoch}-{position}"))
    }
}

macro_rules! hash_bytes {
    ($(#[$doc:meta])* $type:ident, $size:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(pub [u8; $size]);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $type {
            type Err = hex::FromHexError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0; $size];
                hex::decode_to_slice(text, &mut bytes)?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
                } else {
                    <[u8; $size]>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

hash_bytes!(
    /// A case or a dispatch: the first 16 bytes of SHA-256 over kind, dedup key and occurrence.
    DocumentId, 16
);
hash_bytes!(
    /// A SHA-256.
    Hash32, 32
);

impl Hash32 {
    /// The hash before the first one of a chain.
    pub const ZERO: Self = Self([0; 32]);

    /// SHA-256 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

/// The two kinds of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentKind {
    /// What people work on.
    Case,
    /// One load leaving one depot.
    Dispatch,
}

impl DocumentKind {
    /// The word written into document ids.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Case => "case",
            Self::Dispatch => "dispatch",
        }
    }
}

impl DocumentId {
    /// The last id before this one in their order; the very first has none before it and stays.
    #[must_use]
    pub fn just_before(self) -> Self {
        Self(u128::from_be_bytes(self.0).saturating_sub(1).to_be_bytes())
    }

    /// The id that every replica gives to the `occurrence`-th (from 1) document of `dedup_key`.
    ///
    /// Two depots that open a case for the same key thereby open the same document.
    #[must_use]
    pub fn of(kind: DocumentKind, dedup_key: &str, occurrence: u32) -> Self {
        let digest = Hash32::of(format!("{}\n{dedup_key}\n{occurrence}", kind.as_str()).as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&digest.0[..16]);
        Self(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_break_a_topic_or_a_path_is_refused_with_the_character() {
        let refused = SiteId::new("D/1").unwrap_err();
        assert_eq!(refused.to_string(), r#"site id "D/1" may not contain '/'"#);
        assert!(serde_json::from_str::<SiteId>("\"\"").is_err());
    }

    #[test]
    fn two_replicas_give_one_dedup_key_one_document_id() {
        let a = DocumentId::of(DocumentKind::Case, "DOCK_BLOCKED|D1/3|-", 1);
        assert_eq!(a, DocumentId::of(DocumentKind::Case, "DOCK_BLOCKED|D1/3|-", 1));
        assert_ne!(a, DocumentId::of(DocumentKind::Case, "DOCK_BLOCKED|D1/3|-", 2));
        assert_ne!(a, DocumentId::of(DocumentKind::Dispatch, "DOCK_BLOCKED|D1/3|-", 1));
        assert_eq!(a.to_string().parse::<DocumentId>().unwrap(), a);
    }
}
