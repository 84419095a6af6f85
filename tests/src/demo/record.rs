//! The generator's own lists: what was really published, and what physically left or came back.
//!
//! One JSON line each, in files that the checker reads. Nothing here knows what the product made of it.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::Context;
use gatehouse_common::time::UtcMs;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What must become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is stored, once.
    Stored,
    /// It cannot be read and is put aside.
    Quarantined,
    /// It has the id of another message and another content, and is put aside.
    Conflict,
}

/// One message as it was published.
#[derive(Debug, Clone)]
pub struct Message {
    /// Name of the agent that listens to the topic.
    pub store: String,
    /// Where it is published.
    pub topic: String,
    /// Its bytes.
    pub payload: String,
    /// Its own id, if it can be read.
    pub id: Option<String>,
    /// When it was measured, in pretend time.
    pub at: UtcMs,
    /// What it says: door, occupancy, scan, seal, documents, position; or what is wrong with it.
    pub kind: &'static str,
    /// What must become of it.
    pub fate: Fate,
}

/// The lists of one run.
#[derive(Debug)]
pub struct Record {
    published: Mutex<BufWriter<File>>,
    physical: Mutex<BufWriter<File>>,
}

impl Record {
    /// Begins the lists in `folder`.
    /// # Errors
    /// If a file cannot be made.
    pub fn begin(folder: &Path) -> anyhow::Result<Self> {
        let open = |name: &str| {
            let path = folder.join(name);
            File::create(&path)
                .map(BufWriter::new)
                .map(Mutex::new)
                .with_context(|| format!("making {}", path.display()))
        };
        Ok(Self { published: open("published.jsonl")?, physical: open("physical.jsonl")? })
    }

    /// Notes that `message` is published now, for the first time or again.
    pub fn published(&self, message: &Message, again: bool) {
        let hash = hex::encode(Sha256::digest(message.payload.as_bytes()));
        note(
            &self.published,
            &json!({
                "store": message.store,
                "topic": message.topic,
                "id": message.id,
                "at_ms": message.at,
                "kind": message.kind,
                "fate": message.fate,
                "again": again,
                "payload_hash": hash,
                "payload": message.payload,
            }),
        );
    }

    /// Notes that units of an order line left the depot for good.
    pub fn departed(&self, order: &str, line: u16, quantity: u32, at: UtcMs) {
        note(
            &self.physical,
            &json!({ "order": order, "line": line, "moved": "departed", "quantity": quantity, "at_ms": at }),
        );
    }

    /// Notes that units of an order line came back.
    pub fn returned(&self, order: &str, line: u16, quantity: u32, at: UtcMs) {
        note(
            &self.physical,
            &json!({ "order": order, "line": line, "moved": "returned", "quantity": quantity, "at_ms": at }),
        );
    }
}

fn note(list: &Mutex<BufWriter<File>>, value: &Value) {
    let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
    // A list that cannot be written makes the checker find too much in the stores, so it cannot pass by mistake.
    if writeln!(list, "{value}").and_then(|()| list.flush()).is_err() {
        tracing::error!("the generator's list cannot be written");
    }
}
