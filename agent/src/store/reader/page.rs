//! What people look at: the board, cases, how the agent is.

use std::collections::BTreeMap;

use gatehouse_common::{
    document::WAITING_MAX_MS,
    gate::GateResult,
    id::DocumentId,
    lease::{Lease, LeaseUse},
    order::Order,
    time::{Moment, UtcMs},
};
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Reader, lost::lost, order_of, rule};
use crate::{
    core::{
        drills::Drill,
        senders::SenderState,
        state::{AskedOverride, LineSeen, RecallAlarm},
        trips::Trip,
        unfoldable::UNFOLDABLE,
        waits::{WAITS, Waits},
    },
    store::{
        DrillRow, QuarantineRow, Room, ScrubPlace, Scrubbed, StoreError, drills, facts,
        ledger::{from_json, uint},
        outbox, quarantine, readings, room, scrub,
    },
};

/// Rows that are named; more would only repeat that the disk is bad.
const NAMED_MAX: u32 = 20;

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
    /// What the entries say that the view names as superseded or void, by entry key.
    pub lost: BTreeMap<String, Value>,
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
    /// What the entries say that the view names as superseded or void, by entry key.
    pub lost: BTreeMap<String, Value>,
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
    /// Records that the hub did not let in, or that are damaged here and were not told.
    pub rejected: u64,
    /// Rows that were put aside since they are not what was written, and that are not whole again; the oldest of many.
    pub put_aside: Vec<String>,
    /// Documents that the program cannot fold, as people name them; the first of many. They are left out of decisions,
    /// and shown as they were folded last.
    pub unfoldable: Vec<String>,
    /// Every source with its age.
    pub sources: Vec<SourceAge>,
    /// How far the decision chain has got.
    pub decisions: u64,
    /// How much room the store has.
    pub room: Room,
    /// Sources that are pretended to be gone, with who said so, why, and until when.
    pub drills: Vec<DrillOn>,
    /// Documents that have changes whose past has not come in, the longest first.
    pub waiting: Vec<WaitingRow>,
}

impl Status {
    /// For how long the first of the waiting documents has waited, in milliseconds, by the wall clock.
    #[must_use]
    pub fn waits_ms(&self, now: UtcMs) -> Option<i64> {
        self.waiting.first().map(|first| now.since(first.since).max(0))
    }

    /// Whether a document waits for longer than what is on its way takes.
    #[must_use]
    pub fn waits_too_long(&self, now: UtcMs) -> bool {
        self.waits_ms(now).is_some_and(|waits_ms| waits_ms > WAITING_MAX_MS)
    }
}

/// A document that has changes whose past has not come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaitingRow {
    /// Which.
    pub document: DocumentId,
    /// `case` or `dispatch`.
    pub kind: String,
    /// Since when.
    pub since: UtcMs,
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

    /// Documents that wait for the past of a change.
    fn waiting(&self) -> Result<Vec<WaitingRow>, StoreError> {
        let mut waiting = Vec::new();
        for (id, body) in self.rules_under(WAITS)? {
            // One that cannot be read begins anew, in the core as here.
            let Ok(Waits { since: Some(since) }) = serde_json::from_str(&body) else { continue };
            let kind: Option<String> = self.ask(|conn| {
                conn.prepare_cached("SELECT kind FROM documents WHERE document = ?1")?
                    .query_row([&id], |row| row.get(0))
                    .optional()
            })?;
            waiting.extend(kind.zip(id.parse().ok()).map(|(kind, document)| WaitingRow { document, kind, since }));
        }
        waiting.sort_by_key(|row| (row.since, row.document));
        Ok(waiting)
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

    fn unfoldable(&self) -> Result<Vec<String>, StoreError> {
        let named: Vec<String> = self.rule(UNFOLDABLE)?.unwrap_or_default();
        Ok(named.into_iter().take(NAMED_MAX as usize).collect())
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
            put_aside: self.put_aside_names(NAMED_MAX)?,
            unfoldable: self.unfoldable()?,
            sources: self.sources()?,
            decisions: number("SELECT count(*) FROM decisions")?,
            room: self.ask(room::look)?,
            drills: self.drills_on()?,
            waiting: self.waiting()?,
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
}

fn cases(conn: &Connection) -> rusqlite::Result<Vec<CaseRow>> {
    conn.prepare_cached(
        "SELECT document, view FROM documents WHERE kind = 'case' AND view <> 'null' ORDER BY document",
    )?
    .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?
    .map(|row| {
        let (id, view) = row?;
        let (document, view): (DocumentId, Value) = (parse_id(&id)?, from_json(&view)?);
        Ok::<_, rusqlite::Error>(CaseRow { document, lost: lost(conn, document, &view), view })
    })
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
    let document = parse_id(id)?;
    Ok(BoardRow {
        document,
        lost: lost(conn, document, &view),
        view,
        order,
        gates: gates.and_then(|g| serde_json::from_str(&g).ok()).unwrap_or_default(),
        alarm,
        trip: rule::<Trip>(conn, &format!("trip/{id}"))?,
        asked,
    })
}

fn parse_id(text: &str) -> rusqlite::Result<DocumentId> {
    text.parse().map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(e)))
}
