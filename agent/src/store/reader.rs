//! What pages, sync and status look up. Reads only.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use gatehouse_common::{
    document::Chunk,
    gate::GateResult,
    id::{DocumentId, DocumentKind, Hash32, OrderId},
    lease::{Lease, LeaseUse},
    order::Order,
    seal::Sealed,
    sync::{
        Attested, Cursor, Rejection, page,
        repair::{Heads, Local, digest},
    },
    time::{Moment, UtcMs},
};
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    AnchorRow, Beginning, BundleRow, DecisionRow, DrillRow, KeptInput, KeptReading, QuarantineRow, Room, ScrubPlace,
    Scrubbed, StoreError, Waiting, chain, checkpoints, cursors, documents, drills, facts, inputs,
    ledger::{self, explain, from_json, uint},
    outbox, pages, quarantine, readings, room, rules, scrub,
};
use crate::core::{
    drills::Drill,
    input::RefusedChange,
    senders::SenderState,
    state::{AskedOverride, LineSeen, RecallAlarm},
    trips::Trip,
};

/// Looks things up in a store. Any number of readers may be open beside the one writer.
#[derive(Debug)]
pub struct Reader {
    conn: Connection,
    path: PathBuf,
}

impl Local for Reader {
    type Error = StoreError;

    fn heads(&self, after: Option<DocumentId>, limit: usize) -> Result<Vec<Heads>, StoreError> {
        self.ask(|conn| documents::heads(conn, after, limit))
    }

    fn beyond(&self, document: DocumentId, heads: &[Hash32]) -> Result<Option<(DocumentKind, Vec<Chunk>)>, StoreError> {
        let Some(stored) = self.ask(|conn| documents::one(conn, document))? else { return Ok(None) };
        match stored.open().and_then(|document| document.chunks_beyond(heads)) {
            Ok(chunks) => Ok(Some((stored.kind, chunks))),
            Err(e) => {
                // One document that cannot be read must not keep the others from being repaired.
                tracing::error!(document.id = %document, "document {document} cannot be given to the hub: {e}");
                Ok(None)
            }
        }
    }

    fn page_of(&self, document: &DocumentId, change: &Hash32) -> Result<Option<Attested>, StoreError> {
        self.ask(|conn| pages::of_mark(conn, &page::mark(document, change)))
    }
}

/// One dispatch as the board shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BoardRow {
    /// Its document.
    pub document: DocumentId,
    /// A [`gatehouse_common::dispatch::DispatchView`] as JSON.
    pub view: Value,
    /// The newest version of its order.
    pub order: Option<Order>,
    /// Its gates as last weighed; ages count from each input's own time.
    pub gates: Vec<GateResult>,
    /// A release that was taken back and that nobody has seen yet.
    pub alarm: Option<RecallAlarm>,
    /// Where its vehicle is on the way, at the vehicle's own unit.
    pub trip: Option<Trip>,
    /// An override that waits for a second person.
    pub asked: Option<AskedOverride>,
}

/// One dispatch with everything about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DispatchRow {
    /// As on the board.
    #[serde(flatten)]
    pub board: BoardRow,
    /// Its cases.
    pub cases: Vec<CaseRow>,
    /// Its decisions, oldest first, as signed.
    pub decisions: Vec<Value>,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseRow {
    /// Its document.
    pub document: DocumentId,
    /// A [`gatehouse_common::case::CaseView`] as JSON.
    pub view: Value,
}

/// When a source was last heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceAge {
    /// Its name: a system of the hub's, or a device of the depot.
    pub source: String,
    /// When, by this device's clock (a system of the hub's: by the hub's).
    pub heard: UtcMs,
    /// Readings it sent, for devices.
    pub readings: Option<u64>,
    /// How often numbers of its messages were passed over.
    pub gaps: u64,
    /// How many numbers were passed over in all.
    pub missing: u64,
    /// How far its clock is behind ours, in milliseconds, once that is known; below zero if it is ahead.
    pub clock_behind_ms: Option<i64>,
}

/// One lease that is not closed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeaseRow {
    /// What the hub granted.
    pub lease: Lease,
    /// What was used of it.
    pub used: LeaseUse,
    /// When it came in.
    pub received: Moment,
}

/// How the agent is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The device.
    pub device: String,
    /// Its depot.
    pub site: String,
    /// Its public key, in base64.
    pub public_key: String,
    /// The line to the hub.
    pub line: LineSeen,
    /// The newest lease.
    pub lease: Option<LeaseRow>,
    /// Counters by name: readings stored, duplicates dropped, messages quarantined, conflicts.
    pub counters: BTreeMap<String, u64>,
    /// Records that wait to be told to the hub.
    pub outbox: u64,
    /// Records that the hub did not let in.
    pub rejected: u64,
    /// Every source with its age.
    pub sources: Vec<SourceAge>,
    /// How far the decision chain has got.
    pub decisions: u64,
    /// How much room the store has.
    pub room: Room,
    /// Sources that are pretended to be gone, with who said so, why, and until when.
    pub drills: Vec<DrillOn>,
}

/// A drill that is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DrillOn {
    /// The source that counts as gone.
    pub source: String,
    /// Since when.
    pub since: UtcMs,
    /// Until when, unless someone ends it before.
    pub until: UtcMs,
    /// Who started it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A reading as stored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stored {
    /// Its place in the ledger.
    pub position: u64,
    /// Who sent it.
    pub source: String,
    /// The sender's own id.
    pub reading_id: String,
    /// When it was measured.
    pub at: UtcMs,
    /// A [`gatehouse_common::reading::ReadingValue`] as JSON.
    pub value: Value,
}

impl Reader {
    /// Opens the store at `path` for reading.
    /// # Errors
    /// [`StoreError::Unusable`] while no agent has made the store yet.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)
            .map_err(|e| StoreError::Unusable { path: path.to_owned(), what: e.to_string() })?;
        conn.busy_timeout(std::time::Duration::from_secs(5)).map_err(|e| explain(path, &e))?;
        Ok(Self::over(conn, path))
    }

    pub(super) fn over(conn: Connection, path: &Path) -> Self {
        Self { conn, path: path.to_owned() }
    }

    pub(super) fn conn(&self) -> &Connection {
        &self.conn
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn conn_mut(&mut self) -> &mut Connection {
        &mut self.conn
    }

    fn ask<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        work(&self.conn).map_err(|e| explain(&self.path, &e))
    }

    /// Every dispatch, planned departures first to last.
    /// # Errors
    /// [`StoreError`].
    pub fn board(&self) -> Result<Vec<BoardRow>, StoreError> {
        let mut rows = self.ask(|conn| {
            conn.prepare_cached("SELECT document, view FROM documents WHERE kind = 'dispatch' AND view <> 'null'")?
                .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?
                .map(|row| row.and_then(|(id, view)| board_row(conn, &id, &view)))
                .collect::<rusqlite::Result<Vec<BoardRow>>>()
        })?;
        rows.sort_by_key(|row| (row.view["planned_departure"].as_i64(), row.document));
        Ok(rows)
    }

    /// One dispatch with its cases and decisions.
    /// # Errors
    /// [`StoreError`].
    pub fn dispatch(&self, document: DocumentId) -> Result<Option<DispatchRow>, StoreError> {
        self.ask(|conn| {
            let id = document.to_string();
            let view: Option<String> = conn
                .prepare_cached("SELECT view FROM documents WHERE document = ?1 AND kind = 'dispatch'")?
                .query_row([&id], |row| row.get(0))
                .optional()?;
            let Some(view) = view else { return Ok(None) };
            let board = board_row(conn, &id, &view)?;
            let order = board.view["order"].as_str().unwrap_or_default().to_owned();
            let cases = cases(conn)?
                .into_iter()
                .filter(|case| case.view["blocks"] == id.as_str() || case.view["order"] == order.as_str())
                .collect();
            let decisions = conn
                .prepare_cached(
                    "SELECT body FROM decisions WHERE json_extract(body, '$.dispatch') = ?1 ORDER BY epoch, position",
                )?
                .query_map([&id], |row| row.get::<_, String>(0))?
                .map(|body| body.and_then(|b| from_json(&b)))
                .collect::<rusqlite::Result<Vec<Value>>>()?;
            Ok(Some(DispatchRow { board, cases, decisions }))
        })
    }

    /// Every case.
    /// # Errors
    /// [`StoreError`].
    pub fn cases(&self) -> Result<Vec<CaseRow>, StoreError> {
        self.ask(cases)
    }

    /// One case.
    /// # Errors
    /// [`StoreError`].
    pub fn case(&self, document: DocumentId) -> Result<Option<CaseRow>, StoreError> {
        Ok(self.cases()?.into_iter().find(|case| case.document == document))
    }

    /// Every source with when it was last heard: the hub's systems, then the depot's devices.
    /// # Errors
    /// [`StoreError`].
    pub fn sources(&self) -> Result<Vec<SourceAge>, StoreError> {
        let told: BTreeMap<String, UtcMs> = self.rule("sources")?.unwrap_or_default();
        let mut sources: Vec<SourceAge> = told
            .into_iter()
            .map(|(source, heard)| SourceAge {
                source,
                heard,
                readings: None,
                gaps: 0,
                missing: 0,
                clock_behind_ms: None,
            })
            .collect();
        let senders = self.senders()?;
        let devices = self.ask(readings::heard)?;
        sources.extend(devices.into_iter().map(|(source, heard)| {
            let sender = senders.get(&source);
            SourceAge {
                heard: heard.at,
                readings: Some(heard.readings),
                gaps: sender.map_or(0, |sender| sender.gaps),
                missing: sender.map_or(0, |sender| sender.missing),
                clock_behind_ms: sender.and_then(|sender| sender.times.behind_ms()),
                source,
            }
        }));
        Ok(sources)
    }

    /// What is on of drills.
    fn drills_on(&self) -> Result<Vec<DrillOn>, StoreError> {
        let rows = self.rules_under("drill")?;
        let drills = rows.into_iter().filter_map(|(source, body)| {
            let Drill { since, lasts_ms, by, reason } = serde_json::from_str(&body).ok()?;
            let (since, by) = (since.wall, by.to_string());
            let until = since.plus(i64::try_from(lasts_ms).unwrap_or(i64::MAX));
            Some(DrillOn { source, since, until, by, reason })
        });
        Ok(drills.collect())
    }

    /// The newest turns of drills, newest first.
    /// # Errors
    /// [`StoreError`].
    pub fn drill_turns(&self, limit: u32) -> Result<Vec<DrillRow>, StoreError> {
        self.ask(|conn| drills::newest(conn, limit))
    }

    /// Subjects and states of the rules of one kind.
    fn rules_under(&self, kind: &str) -> Result<Vec<(String, String)>, StoreError> {
        let held = self.ask(|conn| facts::rules_of(conn, &[kind]))?;
        Ok(held.into_iter().filter_map(|(key, body)| Some((key.split_once('/')?.1.to_owned(), body))).collect())
    }

    /// What senders' numbers and clocks show, by source.
    fn senders(&self) -> Result<BTreeMap<String, SenderState>, StoreError> {
        let rows = self.rules_under("sender")?;
        // One that cannot be read begins anew, in the core as here.
        Ok(rows.into_iter().filter_map(|(source, body)| Some((source, serde_json::from_str(&body).ok()?))).collect())
    }

    /// How the agent is.
    /// # Errors
    /// [`StoreError`].
    pub fn status(&self) -> Result<Status, StoreError> {
        let identity = self.identity()?;
        let named = |name: &str| identity.get(name).cloned().unwrap_or_default();
        let mut counters = self.ask(|conn| {
            conn.prepare_cached("SELECT name, value FROM counters ORDER BY name")?
                .query_map([], |row| Ok((row.get(0)?, uint(row, 1)?)))?
                .collect::<rusqlite::Result<BTreeMap<String, u64>>>()
        })?;
        counters.insert("readings_stored".to_owned(), self.ask(readings::newest_position)?);
        let lease = self.ask(|conn| {
            conn.prepare_cached("SELECT body, used, received FROM leases WHERE state = 'open' ORDER BY rowid DESC")?
                .query_row([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?)))
                .optional()?
                .map(|(lease, used, received)| {
                    Ok(LeaseRow { lease: from_json(&lease)?, used: from_json(&used)?, received: from_json(&received)? })
                })
                .transpose()
        })?;
        let number = |sql: &str| self.ask(|conn| conn.prepare_cached(sql)?.query_row([], |row| uint(row, 0)));
        Ok(Status {
            device: named("device"),
            site: named("site"),
            public_key: named("public_key"),
            line: self.rule("line")?.unwrap_or_default(),
            lease,
            counters,
            outbox: self.ask(outbox::count)?,
            rejected: number("SELECT count(*) FROM outbox WHERE rejected IS NOT NULL")?,
            sources: self.sources()?,
            decisions: number("SELECT count(*) FROM decisions")?,
            room: self.ask(room::look)?,
            drills: self.drills_on()?,
        })
    }

    /// Reads `rows_max` ground rows over, from `place` on, and names those that do not match their checksum.
    /// # Errors
    /// [`StoreError`]; a file too damaged to be read is one.
    pub fn scrub(&self, place: ScrubPlace, rows_max: u32) -> Result<Scrubbed, StoreError> {
        self.ask(|conn| scrub::scrub(conn, place, rows_max))
    }

    /// What could not be used, newest first.
    /// # Errors
    /// [`StoreError`].
    pub fn quarantine(&self, limit: u32) -> Result<Vec<QuarantineRow>, StoreError> {
        self.ask(|conn| quarantine::newest(conn, limit))
    }

    /// The oldest records that wait to be pushed, in order.
    /// # Errors
    /// [`StoreError`].
    pub fn outbox(&self, limit: u32) -> Result<Vec<Waiting>, StoreError> {
        self.ask(|conn| outbox::waiting(conn, limit))
    }

    /// The changes of documents among records that the hub did not let in.
    /// # Errors
    /// [`StoreError`].
    pub fn changes_among(&self, rejected: &[Rejection]) -> Result<Vec<RefusedChange>, StoreError> {
        if rejected.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(|conn| outbox::changes_among(conn, rejected))
    }

    /// One hash over the heads of all documents that somebody still works on, and how many they are.
    /// # Errors
    /// [`StoreError`].
    pub fn digest(&self) -> Result<(u64, Hash32), StoreError> {
        let heads = self.ask(documents::open_heads)?;
        Ok((heads.len() as u64, digest(&heads)))
    }

    /// What the hub signed of its newest page that is kept.
    /// # Errors
    /// [`StoreError`].
    pub fn newest_page(&self) -> Result<Option<Sealed>, StoreError> {
        self.ask(pages::newest)
    }

    /// How many pages are kept as proof of what the hub sent.
    /// # Errors
    /// [`StoreError`].
    pub fn pages(&self) -> Result<u64, StoreError> {
        self.ask(pages::count)
    }

    /// Leases that are not closed, as the hub signed them.
    /// # Errors
    /// [`StoreError`].
    pub fn sealed_leases(&self) -> Result<Vec<Sealed>, StoreError> {
        self.ask(ledger::sealed_leases)
    }

    /// Which life of the outbox its numbers count in.
    /// # Errors
    /// [`StoreError`].
    pub fn outbox_epoch(&self) -> Result<u64, StoreError> {
        Ok(self.identity()?.get("outbox_epoch").and_then(|e| e.parse().ok()).unwrap_or(1))
    }

    /// The last number of the outbox that is kept and that the hub said it had taken; 0 if none is.
    /// # Errors
    /// [`StoreError`].
    pub fn outbox_taken(&self) -> Result<u64, StoreError> {
        self.ask(outbox::taken_last)
    }

    /// The last number that a record of the outbox was given; 0 before the first.
    /// # Errors
    /// [`StoreError`].
    pub fn outbox_last(&self) -> Result<u64, StoreError> {
        self.ask(outbox::last)
    }

    /// How far the hub's feed is taken.
    /// # Errors
    /// [`StoreError`].
    pub fn cursor(&self) -> Result<Cursor, StoreError> {
        self.ask(cursors::cursor)
    }

    /// The rules in force and those before, the newest first.
    /// # Errors
    /// [`StoreError`].
    pub fn bundles(&self) -> Result<Vec<BundleRow>, StoreError> {
        Ok(self.ask(rules::rows)?.into_iter().map(|(row, _)| row).collect())
    }

    /// The newest decisions of the running epoch, newest first.
    /// # Errors
    /// [`StoreError`].
    pub fn decisions(&self, limit: u32) -> Result<Vec<DecisionRow>, StoreError> {
        let epoch = self.identity()?.get("actor_epoch").and_then(|e| e.parse().ok()).unwrap_or(1);
        self.ask(|conn| chain::newest(conn, epoch, limit))
    }

    /// Hands every decision of every epoch to `each`, in order, with whether its row matches its checksum.
    /// # Errors
    /// [`StoreError`].
    pub fn each_decision(&self, each: impl FnMut(DecisionRow, bool)) -> Result<(), StoreError> {
        self.ask(|conn| chain::each(conn, each))
    }

    /// The hub's receipts of the chain, in the order in which they came.
    /// # Errors
    /// [`StoreError`]; also of a store that no program of this version has opened yet.
    pub fn anchors(&self) -> Result<Vec<AnchorRow>, StoreError> {
        self.ask(chain::anchors)
    }

    /// The hash of the decision at a place of the chain.
    /// # Errors
    /// [`StoreError`].
    pub fn decision_hash_at(&self, epoch: u32, position: u64) -> Result<Option<Hash32>, StoreError> {
        self.ask(|conn| chain::hash_at(conn, epoch, position))
    }

    /// The newest readings, newest first.
    /// # Errors
    /// [`StoreError`].
    pub fn readings(&self, limit: u32) -> Result<Vec<Stored>, StoreError> {
        let newest = self.ask(|conn| readings::newest(conn, limit as usize))?;
        Ok(newest
            .into_iter()
            .map(|kept| Stored {
                position: kept.position,
                source: kept.source,
                reading_id: kept.id.to_string(),
                at: kept.at,
                value: serde_json::to_value(&kept.value).unwrap_or_default(),
            })
            .collect())
    }

    /// Hands every reading that is kept and lies behind `position` to `take`, in order of arrival.
    /// # Errors
    /// [`StoreError`].
    pub fn readings_since(&self, position: u64, take: impl FnMut(KeptReading)) -> Result<(), StoreError> {
        self.ask(|conn| readings::since(conn, position, take))
    }

    /// What a replay that wants to begin at `at` begins with; none: with an empty store.
    /// # Errors
    /// [`StoreError`]; also of a store that no program of this version has opened yet.
    pub fn beginning(&self, at: Option<UtcMs>) -> Result<Option<Beginning>, StoreError> {
        self.ask(|conn| checkpoints::newest_before(conn, at))
    }

    /// The numbers of the newest input and of the newest reading.
    /// # Errors
    /// [`StoreError`].
    pub fn inputs_end(&self) -> Result<(u64, u64), StoreError> {
        self.ask(|conn| Ok((inputs::newest(conn)?, readings::newest_position(conn)?)))
    }

    /// Up to `limit` inputs behind number `n`, in order.
    /// # Errors
    /// [`StoreError`].
    pub fn inputs_behind(&self, n: u64, limit: u32) -> Result<Vec<KeptInput>, StoreError> {
        self.ask(|conn| inputs::since(conn, n, limit))
    }

    /// The next readings behind `position`, in order of arrival; none at the end.
    /// # Errors
    /// [`StoreError`].
    pub fn readings_behind(&self, position: u64) -> Result<Vec<KeptReading>, StoreError> {
        self.ask(|conn| readings::page_behind(conn, position))
    }

    /// Every document that has a chunk, and its kind.
    /// # Errors
    /// [`StoreError`].
    pub fn documents_with_chunks(&self) -> Result<Vec<(DocumentId, DocumentKind)>, StoreError> {
        self.ask(documents::with_chunks)
    }

    /// The chunks of a document in the order in which they were written, each with its position.
    /// # Errors
    /// [`StoreError`].
    pub fn chunks_of(&self, document: DocumentId) -> Result<Vec<(u64, Chunk)>, StoreError> {
        self.ask(|conn| documents::chunks_of(conn, document))
    }

    /// The newest version of an order.
    /// # Errors
    /// [`StoreError`].
    pub fn order(&self, order: &OrderId) -> Result<Option<Order>, StoreError> {
        self.ask(|conn| order_of(conn, order.as_str()))
    }

    /// Named values: whose store it is.
    /// # Errors
    /// [`StoreError`].
    pub fn identity(&self) -> Result<BTreeMap<String, String>, StoreError> {
        self.ask(|conn| {
            conn.prepare_cached("SELECT name, value FROM identity")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
    }

    pub(super) fn all_gates(&self) -> Result<Vec<(DocumentId, Vec<GateResult>)>, StoreError> {
        let rows: Vec<(String, String)> = self.ask(|conn| {
            conn.prepare_cached("SELECT document, body FROM gates")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        // Derived and weighed again at once, so one that cannot be read is left out.
        Ok(rows
            .into_iter()
            .filter_map(|(id, body)| Some((id.parse().ok()?, serde_json::from_str(&body).ok()?)))
            .collect())
    }

    fn rule<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        self.ask(|conn| rule(conn, key))
    }
}

fn rule<T: serde::de::DeserializeOwned>(conn: &Connection, key: &str) -> rusqlite::Result<Option<T>> {
    let body: Option<String> =
        conn.prepare_cached("SELECT body FROM rules WHERE key = ?1")?.query_row([key], |row| row.get(0)).optional()?;
    body.map(|b| from_json(&b)).transpose()
}

fn cases(conn: &Connection) -> rusqlite::Result<Vec<CaseRow>> {
    conn.prepare_cached(
        "SELECT document, view FROM documents WHERE kind = 'case' AND view <> 'null' ORDER BY document",
    )?
    .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?
    .map(|row| row.and_then(|(id, view)| Ok(CaseRow { document: parse_id(&id)?, view: from_json(&view)? })))
    .collect()
}

fn board_row(conn: &Connection, id: &str, view: &str) -> rusqlite::Result<BoardRow> {
    let view: Value = from_json(view)?;
    let order = order_of(conn, view["order"].as_str().unwrap_or_default())?;
    let gates: Option<String> = conn
        .prepare_cached("SELECT body FROM gates WHERE document = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    #[derive(Deserialize)]
    struct Alarmed {
        #[serde(default)]
        alarm: Option<RecallAlarm>,
        #[serde(default)]
        asked: Option<AskedOverride>,
    }
    let (alarm, asked) =
        rule::<Alarmed>(conn, &format!("dispatch/{id}"))?.map_or((None, None), |row| (row.alarm, row.asked));
    Ok(BoardRow {
        document: parse_id(id)?,
        view,
        order,
        gates: gates.and_then(|g| serde_json::from_str(&g).ok()).unwrap_or_default(),
        alarm,
        trip: rule::<Trip>(conn, &format!("trip/{id}"))?,
        asked,
    })
}

fn order_of(conn: &Connection, order: &str) -> rusqlite::Result<Option<Order>> {
    let body: Option<String> = conn
        .prepare_cached("SELECT body FROM orders WHERE order_id = ?1")?
        .query_row([order], |row| row.get(0))
        .optional()?;
    body.map(|b| from_json(&b)).transpose()
}

fn parse_id(text: &str) -> rusqlite::Result<DocumentId> {
    text.parse().map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(e)))
}
