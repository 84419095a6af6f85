//! The peer that Automerge itself brings: its sync protocol, one conversation for each document.
//!
//! Both sides keep their documents in SQLite and nothing in memory, like a hub that any of many processes may serve.
//! Nothing goes over a wire; what would is counted. Each side's time is its own thread's.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, ensure};
use automerge::{
    Automerge, ChangeHash,
    sync::{Message, State, SyncDoc},
};
use gatehouse_common::id::DocumentId;
use rusqlite::{Connection, OptionalExtension, params};

use crate::{look::thread_cpu_s, repo::Pair};

/// Rounds after which two sides that do not agree never will.
const ROUNDS_MAX: u32 = 50;
/// Bytes that name a document and the length of its message.
const FRAME: u64 = 18;

/// What is known of the other side when the line comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knows {
    /// Nothing: every document is asked for.
    Nothing,
    /// What both had, and by a miracle which documents have changed since.
    WhatChanged,
}

/// What a reconnect took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Bytes up.
    pub up: u64,
    /// Bytes down.
    pub down: u64,
    /// Messages both ways.
    pub messages: u64,
    /// Rounds of asking and answering.
    pub rounds: u32,
    /// Seconds of processor of the depot.
    pub depot_cpu_s: f64,
    /// The same of the hub.
    pub hub_cpu_s: f64,
}

struct Side {
    conn: Connection,
    states: BTreeMap<DocumentId, State>,
}

/// Measures the reconnect of `pairs`, whose sides had `common` heads when the line was cut.
pub fn run(pairs: &[Pair], common: &[Vec<ChangeHash>], knows: Knows) -> anyhow::Result<Figures> {
    let directory = tempfile::tempdir()?;
    let mut depot = Side::with(&directory.path().join("depot.db"), pairs, |pair| pair.depot.save())?;
    let mut hub = Side::with(&directory.path().join("hub.db"), pairs, |pair| pair.hub.save())?;
    let mut asked: Vec<DocumentId> = Vec::new();
    for (pair, common) in pairs.iter().zip(common) {
        if knows == Knows::WhatChanged {
            if pair.depot.heads() == pair.hub.heads() {
                continue;
            }
            for side in [&mut depot, &mut hub] {
                side.states.insert(pair.id, State { shared_heads: common.clone(), ..State::new() });
            }
        }
        asked.push(pair.id);
    }
    let mut figures = Figures::default();
    let mut down: BTreeMap<DocumentId, Vec<u8>> = asked.iter().map(|id| (*id, Vec::new())).collect();
    while !down.is_empty() {
        figures.rounds += 1;
        ensure!(figures.rounds < ROUNDS_MAX, "Automerge's sync does not come to an end");
        let begun = thread_cpu_s();
        let up = depot.answer(&down)?;
        figures.depot_cpu_s += thread_cpu_s() - begun;
        figures.up += weight(&up);
        let begun = thread_cpu_s();
        down = hub.answer(&up)?;
        figures.hub_cpu_s += thread_cpu_s() - begun;
        figures.down += weight(&down);
        figures.messages += (up.len() + down.len()) as u64;
    }
    for pair in pairs {
        ensure!(depot.load(&pair.id)?.get_heads() == hub.load(&pair.id)?.get_heads(), "{} is not the same", pair.id);
    }
    Ok(figures)
}

fn weight(messages: &BTreeMap<DocumentId, Vec<u8>>) -> u64 {
    messages.values().map(|message| message.len() as u64 + FRAME).sum()
}

impl Side {
    fn with(path: &Path, pairs: &[Pair], of: impl Fn(&Pair) -> Vec<u8>) -> anyhow::Result<Self> {
        let mut conn = Connection::open(path)?;
        conn.pragma_update(None, "journal_mode", "wal")?;
        conn.pragma_update(None, "synchronous", "full")?;
        conn.execute_batch("CREATE TABLE documents (id TEXT PRIMARY KEY, body BLOB NOT NULL)")?;
        let tx = conn.transaction()?;
        for pair in pairs {
            tx.execute("INSERT INTO documents VALUES (?1, ?2)", params![pair.id.to_string(), of(pair)])?;
        }
        tx.commit()?;
        Ok(Self { conn, states: BTreeMap::new() })
    }

    fn load(&self, id: &DocumentId) -> anyhow::Result<Automerge> {
        let mut query = self.conn.prepare_cached("SELECT body FROM documents WHERE id = ?1")?;
        let body: Option<Vec<u8>> = query.query_row([id.to_string()], |row| row.get(0)).optional()?;
        Ok(Automerge::load(&body.context("a document that is not there")?)?)
    }

    /// Takes one message of each document (empty: none yet) and says what is to be answered; all in one commit.
    fn answer(&mut self, messages: &BTreeMap<DocumentId, Vec<u8>>) -> anyhow::Result<BTreeMap<DocumentId, Vec<u8>>> {
        self.conn.execute_batch("BEGIN")?;
        let mut answers = BTreeMap::new();
        for (id, message) in messages {
            let mut document = self.load(id)?;
            let mut state = self.states.remove(id).unwrap_or_default();
            if !message.is_empty() {
                let message = Message::decode(message)?;
                let brought = !message.changes.is_empty();
                document.receive_sync_message(&mut state, message)?;
                // Kept even if the heads are the same: a change that waits for another would be lost, and never come again.
                if brought {
                    let mut update = self.conn.prepare_cached("UPDATE documents SET body = ?2 WHERE id = ?1")?;
                    update.execute(params![id.to_string(), document.save_nocompress()])?;
                }
            }
            if let Some(answer) = document.generate_sync_message(&mut state) {
                answers.insert(*id, answer.encode());
            }
            self.states.insert(*id, state);
        }
        self.conn.execute_batch("COMMIT")?;
        Ok(answers)
    }
}
