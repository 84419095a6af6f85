//! Entries: what writers say in a document.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::actor::{Actor, NotAnActor};
use crate::time::{Hlc, UtcMs};

/// The keys of the entries that a view names as superseded or void: what was said and lost, or counts for nothing.
#[must_use]
pub fn named_as_lost(view: &serde_json::Value) -> BTreeSet<&str> {
    let named = ["superseded", "void"].into_iter().filter_map(|field| view.get(field)?.as_array());
    named.flatten().filter_map(|entry| entry.get(0)?.as_str()).collect()
}

/// The key of an entry: its writer and the writer's count in this document, from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey {
    /// Who wrote it.
    pub actor: Actor,
    /// The how-manieth of this writer in this document.
    pub n: u32,
}

impl fmt::Display for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.actor, self.n)
    }
}

impl FromStr for EntryKey {
    type Err = NotAnActor;

    fn from_str(text: &str) -> Result<Self, NotAnActor> {
        let refuse = || NotAnActor(text.to_owned());
        let (actor, n) = text.rsplit_once('-').ok_or_else(refuse)?;
        let key = Self { actor: actor.parse()?, n: n.parse().map_err(|_| refuse())? };
        if key.to_string() == text { Ok(key) } else { Err(refuse()) }
    }
}

impl Serialize for EntryKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EntryKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What can be said in a kind of document, by version of its fold.
pub trait Folds {
    /// The newest fold that this code knows.
    const NEWEST: u32;

    /// The entry that asks for a version of the fold.
    fn fold(version: u32) -> Self;

    /// The version it asks for, if it is that entry.
    fn fold_named(&self) -> Option<u32>;

    /// The version from which on this kind of entry is known, from 1. Below it the entry counts for nothing.
    fn needs_fold(&self) -> u32;
}

/// `says` for a document with these entries, led by the version of the fold where they need another: a new document
/// asks for the newest, an older one is raised only when something newer is said in it.
#[must_use]
pub fn with_fold<T: Folds>(entries: &BTreeMap<EntryKey, Entry<T>>, mut says: Vec<T>) -> Vec<T> {
    let asked = entries.values().filter_map(|entry| entry.says.fold_named()).max().unwrap_or(1);
    let needed = says.iter().map(T::needs_fold).max().unwrap_or(1);
    let wanted = if entries.is_empty() { T::NEWEST } else { needed };
    if !says.is_empty() && wanted > asked {
        says.insert(0, T::fold(wanted));
    }
    says
}

/// One entry with the head that all entries share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry<T> {
    /// Keys of the entries that the writer had seen and that no other seen entry had superseded.
    /// This alone is "before"; two entries neither of which reaches the other are concurrent.
    pub after: Vec<EntryKey>,
    /// When it was written, by the writer's wall clock. For display and for values the fold compares, never for order.
    pub at: UtcMs,
    /// The writer's hybrid logical clock: breaks the last tie, nothing else.
    pub hlc: Hlc,
    /// The person or rule on whose behalf the device wrote it, for display.
    pub by: String,
    /// What it says.
    #[serde(flatten)]
    pub says: T,
}
