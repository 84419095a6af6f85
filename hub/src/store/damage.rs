//! Ground rows that no longer say what was written: found, never given out, and made whole again.
//!
//! What is read over is shared by [`super::moving::verify`] and the scrub. A row that is damaged stays in its place, where
//! each reader finds its checksum wrong and leaves it out; how it was found is kept aside. It is made whole from what the
//! store itself still has of it, or by a device that gives the same bytes again: its hash says which they are, so nothing
//! else has to be believed.

use gatehouse_common::{
    document::{Document, gate::change_hash},
    id::{DeviceId, DocumentId, Hash32},
    order::Order,
    seal::Sealed,
    sync::{Downward, Lane},
    time::UtcMs,
};

use super::{
    Reader, Scope, StoreChange, StoreError, Tx, documents, row,
    sql::{ToValue, params},
};

/// Why a change is refused whose document cannot be read. It is let in once the document is whole again.
pub(super) const UNREADABLE: &str = "the hub's copy of this document is damaged";

/// A row that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRow {
    /// Of which table.
    pub table: &'static str,
    /// Its name there.
    pub row: String,
    /// What is wrong with it.
    pub why: String,
}

/// What reading over some rows of a table has shown.
pub(super) struct Checked {
    pub(super) rows: u64,
    /// The place of the last of them; none at the end of the table.
    pub(super) last: Option<String>,
    pub(super) damaged: Vec<StoreError>,
}

impl Checked {
    /// From the rows, each with its place and what is wrong with it.
    pub(super) fn of(rows: Vec<(String, Option<StoreError>)>) -> Self {
        let (count, last) = (rows.len() as u64, rows.last().map(|(place, _)| place.clone()));
        Self { rows: count, last, damaged: rows.into_iter().filter_map(|(_, wrong)| wrong).collect() }
    }
}

/// Reads a table over from its start, by `check` from one place on to the next, up to the first row that is damaged.
pub(super) fn verified(check: impl Fn(&str) -> Result<Checked, StoreError>) -> Result<(), StoreError> {
    let mut last = String::new();
    loop {
        let checked = check(&last)?;
        if let Some(first) = checked.damaged.into_iter().next() {
            return Err(first);
        }
        match checked.last {
            Some(place) => last = place,
            None => return Ok(()),
        }
    }
}

/// Which rows are read over next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubPlace {
    table: usize,
    after: String,
}

/// What a stretch of the scrub has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrubbed {
    /// How many rows were read.
    pub rows: u64,
    /// Those that are damaged.
    pub damaged: Vec<DamagedRow>,
    /// Where to go on; none at the end of the round.
    pub next: Option<ScrubPlace>,
}

/// The tables, in the order in which they are read over.
const TABLES: [&str; 5] = ["ledger", "decisions", "forks", "orders", "documents"];

fn number(after: &str) -> i64 {
    after.parse().unwrap_or(0)
}

impl Reader<'_> {
    /// Reads up to `limit` rows over against their checksums, from `place` on.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn scrub(&self, place: ScrubPlace, limit: usize) -> Result<Scrubbed, StoreError> {
        let checked = match TABLES.get(place.table).copied() {
            Some("ledger") => self.check_ledger(number(&place.after), limit)?,
            Some("decisions") => self.check_decisions(number(&place.after), limit)?,
            Some("forks") => self.check_forks(number(&place.after), limit)?,
            Some("orders") => self.check_orders(&place.after, limit)?,
            Some("documents") => self.check_snapshots(&place.after, limit)?,
            _ => return Ok(Scrubbed { rows: 0, damaged: Vec::new(), next: None }),
        };
        let next = match checked.last {
            Some(after) if checked.rows >= limit as u64 => Some(ScrubPlace { after, ..place }),
            _ if place.table + 1 < TABLES.len() => Some(ScrubPlace { table: place.table + 1, after: String::new() }),
            _ => None,
        };
        let damaged = checked.damaged.into_iter().filter_map(|e| match e {
            StoreError::Damaged { table, row, why } => Some(DamagedRow { table, row, why }),
            _ => None,
        });
        Ok(Scrubbed { rows: checked.rows, damaged: damaged.collect(), next })
    }

    /// Orders as they are served against the ledger, from which they come.
    fn check_orders(&self, after: &str, limit: usize) -> Result<Checked, StoreError> {
        let rows = self.sql.query(
            "SELECT order_id, version, site, vehicle, customer, body FROM orders WHERE order_id > ?1
              ORDER BY order_id LIMIT ?2",
            params![after, limit as i64],
            |r| {
                let (id, body): (String, String) = (r.get("order_id")?, r.get("body")?);
                let columns: (i64, String, String, String) =
                    (r.get("version")?, r.get("site")?, r.get("vehicle")?, r.get("customer")?);
                Ok::<_, StoreError>((id, body, columns))
            },
        )?;
        let mut found = Vec::new();
        for (id, body, (version, site, vehicle, customer)) in rows {
            let hash = Downward::Order(body.clone()).hash();
            let fits = serde_json::from_str::<Order>(&body).is_ok_and(|order| {
                order.id.as_str() == id
                    && row::to_sql(order.version) == version
                    && order.site.as_str() == site
                    && order.vehicle.as_str() == vehicle
                    && order.customer.id.as_str() == customer
            });
            let is_sound = fits && self.ledger_place("", &hash)?.is_some();
            let wrong = (!is_sound).then(|| row::damaged("orders", &id, "it is not what the ledger has of it"));
            found.push((id, wrong));
        }
        Ok(Checked::of(found))
    }

    /// Documents of which a change is damaged and not whole again.
    pub(crate) fn damaged_documents(&self) -> Result<Vec<DocumentId>, StoreError> {
        let sql =
            "SELECT DISTINCT document FROM damaged WHERE of_table = 'ledger' AND mended_ms IS NULL AND document <> ''";
        self.sql.query(sql, params![], |r| row::parse("damaged", &r.get::<String>("document")?))
    }

    /// How many rows are damaged and not whole again, by table.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn damaged_counts(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let sql =
            "SELECT of_table, count(*) AS n FROM damaged WHERE mended_ms IS NULL GROUP BY of_table ORDER BY of_table";
        self.sql.query(sql, params![], |r| Ok((r.get("of_table")?, row::from_sql(r.get("n")?))))
    }

    /// Whether any row is damaged and not whole again. Most often none is.
    pub(crate) fn has_damage(&self) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM damaged WHERE mended_ms IS NULL)";
        Ok(self.sql.one(sql, params![], |r| r.get(0))?)
    }

    fn is_put_aside(&self, table: &str, name: &str) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM damaged WHERE of_table = ?1 AND name = ?2 AND mended_ms IS NULL)";
        Ok(self.sql.one(sql, params![table, name], |r| r.get(0))?)
    }
}

impl Tx<'_> {
    /// Puts a damaged row aside, makes it whole if the store itself still has what it said, and else has the devices begin
    /// again that may have it. Returns whether it is whole again; none if it was put aside before.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn put_aside(&mut self, found: &DamagedRow, now: UtcMs) -> Result<Option<bool>, StoreError> {
        if self.is_put_aside(found.table, &found.row)? {
            return Ok(None);
        }
        let (document, body): (String, Vec<u8>) = self.as_found(found)?;
        self.sql.execute(
            "INSERT INTO damaged (of_table, name, document, why, body, found_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (of_table, name) DO UPDATE SET document = ?3, why = ?4, body = ?5, found_ms = ?6, mended_ms = NULL",
            params![found.table, found.row, document, found.why, body, now.0],
        )?;
        let is_whole = match found.table {
            "ledger" => self.mend_from_here(&found.row, now)?,
            "orders" => self.mend_order(&found.row, now)?,
            "documents" => {
                // It is derived: folded anew from the ledger, over what is damaged.
                let sql = "UPDATE documents SET folded_through = 0 WHERE document = ?1 AND last_chunk > 0";
                self.sql.execute(sql, params![found.row])?;
                self.is_whole(found.table, &found.row, now)?;
                self.document_changed(&row::parse("documents", &found.row)?)?;
                true
            }
            _ => false,
        };
        if !is_whole {
            self.ask_devices(found, &document)?;
        }
        Ok(Some(is_whole))
    }

    fn as_found(&self, found: &DamagedRow) -> Result<(String, Vec<u8>), StoreError> {
        let text = |sql: &str, key: &str| -> Result<Vec<u8>, StoreError> {
            let body: Option<String> = self.sql.optional(sql, params![key], |r| r.get(0))?;
            Ok(body.unwrap_or_default().into_bytes())
        };
        Ok(match found.table {
            "ledger" => {
                let sql = "SELECT document, body FROM ledger WHERE position = ?1";
                let read = self.sql.optional(sql, params![number(&found.row)], |r| {
                    Ok::<_, StoreError>((r.get("document")?, r.get("body")?))
                })?;
                read.unwrap_or_default()
            }
            "decisions" => (String::new(), text("SELECT body FROM decisions WHERE id = ?1", &found.row)?),
            "orders" => (String::new(), text("SELECT body FROM orders WHERE order_id = ?1", &found.row)?),
            _ => (String::new(), Vec::new()),
        })
    }

    /// What the store still has of a row of the ledger: a change in its document's snapshot, an order as it is served.
    fn mend_from_here(&mut self, position: &str, now: UtcMs) -> Result<bool, StoreError> {
        let row: Option<(String, String, String, String)> = self.sql.optional(
            "SELECT kind, document, hash, subject FROM ledger WHERE position = ?1",
            params![number(position)],
            |r| Ok::<_, StoreError>((r.get("kind")?, r.get("document")?, r.get("hash")?, r.get("subject")?)),
        )?;
        let Some((kind, document, hash, subject)) = row else { return Ok(false) };
        let Ok(hash) = hash.parse::<Hash32>() else { return Ok(false) };
        if !document.is_empty() {
            let Ok(document) = document.parse::<DocumentId>() else { return Ok(false) };
            let Some(bytes) = self.in_snapshot(&document, &hash)? else { return Ok(false) };
            return self.mend_chunk(&document, &bytes, now);
        }
        let Some(order) = subject.strip_prefix("order/").filter(|_| kind == "order") else { return Ok(false) };
        let body: Option<String> =
            self.sql.optional("SELECT body FROM orders WHERE order_id = ?1", params![order], |r| r.get(0))?;
        let Some(body) = body.filter(|body| Downward::Order(body.clone()).hash() == hash) else { return Ok(false) };
        self.rewrite(number(position), "order", "", "", body.as_bytes(), now)?;
        Ok(true)
    }

    fn in_snapshot(&self, document: &DocumentId, hash: &Hash32) -> Result<Option<Vec<u8>>, StoreError> {
        let stored: Option<(Vec<u8>, Vec<u8>)> = self.sql.optional(
            "SELECT snapshot, checksum FROM documents WHERE document = ?1",
            params![document.to_string()],
            |r| Ok::<_, StoreError>((r.get("snapshot")?, r.get("checksum")?)),
        )?;
        let sound = stored.filter(|(bytes, sum)| row::verify("documents", document, &[bytes], sum).is_ok());
        let whole = sound.and_then(|(bytes, _)| Document::load(&bytes).ok());
        let chunks = whole.map(|whole| whole.chunks()).unwrap_or_default();
        Ok(chunks.into_iter().find(|chunk| chunk.hash == *hash).map(|chunk| chunk.bytes))
    }

    /// Somebody gives a change again. If it is one that is damaged here, that is made whole, and true is returned: the hash
    /// under which it was once let in says that these are its bytes, whoever gives them.
    pub(crate) fn mend_chunk(&mut self, document: &DocumentId, bytes: &[u8], now: UtcMs) -> Result<bool, StoreError> {
        if !self.has_damage()? {
            return Ok(false);
        }
        let (Ok(hash), name) = (change_hash(bytes), document.to_string()) else { return Ok(false) };
        let Some(place) = self.ledger_place(&name, &hash)? else { return Ok(false) };
        if !self.is_put_aside("ledger", &place.to_string())? {
            return Ok(false);
        }
        let kind: Option<String> =
            self.sql.optional("SELECT kind FROM documents WHERE document = ?1", params![name], |r| r.get(0))?;
        let Some(kind) = kind.filter(|kind| documents::kind_of(kind).is_ok()) else { return Ok(false) };
        self.rewrite(place, "chunk", &name, &kind, bytes, now)?;
        self.feed_again(place, document)?;
        // What was refused meanwhile, because the document could not be read, may come again.
        self.sql.execute("DELETE FROM quarantine WHERE document = ?1 AND reason = ?2", params![name, UNREADABLE])?;
        self.document_changed(document)?;
        Ok(true)
    }

    fn rewrite(
        &mut self,
        place: i64,
        kind: &str,
        document: &str,
        document_kind: &str,
        body: &[u8],
        now: UtcMs,
    ) -> Result<(), StoreError> {
        let sum = row::checksum(&[kind.as_bytes(), document.as_bytes(), document_kind.as_bytes(), body]);
        self.sql.execute(
            "UPDATE ledger SET kind = ?2, document = ?3, document_kind = ?4, body = ?5, checksum = ?6 WHERE position = ?1",
            params![place, kind, document, document_kind, body.to_vec(), sum],
        )?;
        self.is_whole("ledger", &place.to_string(), now)
    }

    /// Readers have passed the row while it was left out: it comes once more, behind where they stand.
    fn feed_again(&mut self, place: i64, document: &DocumentId) -> Result<(), StoreError> {
        let mut to: Vec<(Scope, Lane)> =
            self.sql.query("SELECT scope, lane FROM feed WHERE item = ?1", params![place], |r| {
                let lane = usize::try_from(r.get::<i64>("lane")?).ok().and_then(Lane::from_index);
                Ok::<_, StoreError>((row::parse("feed", &r.get::<String>("scope")?)?, lane.unwrap_or(Lane::Documents)))
            })?;
        self.sql.execute("DELETE FROM feed WHERE item = ?1", params![place])?;
        for scope in self.scopes_of(document)? {
            if to.iter().all(|(known, _)| *known != scope) {
                to.push((scope, Lane::Documents));
            }
        }
        let bytes: Vec<u8> = self.sql.one("SELECT body FROM ledger WHERE position = ?1", params![place], |r| {
            r.get(0).map_err(StoreError::from)
        })?;
        let says = Downward::Chunk { document: *document, kind: gatehouse_common::id::DocumentKind::Case, bytes };
        for (scope, lane) in to {
            // Of what is said here only the document's name is written.
            self.feed_row(&scope, lane, &says, row::from_sql(place), "")?;
        }
        Ok(())
    }

    /// An order as it is served is derived: it is read anew from the newest that the ledger has of it.
    fn mend_order(&mut self, id: &str, now: UtcMs) -> Result<bool, StoreError> {
        let Some(newest) = self.newest_of_subject(&format!("order/{id}"))? else { return Ok(false) };
        let Ok(order) = serde_json::from_str::<Order>(&newest) else { return Ok(false) };
        self.write_order(&order, &newest, now)?;
        self.changed(StoreChange::Order(order.id.clone()));
        self.is_whole("orders", id, now)?;
        Ok(true)
    }

    /// A device tells a decision again. One that is damaged here is made whole by it.
    pub(crate) fn mend_decision(&mut self, device: &DeviceId, sealed: &Sealed, now: UtcMs) -> Result<(), StoreError> {
        if !self.has_damage()? {
            return Ok(());
        }
        let sql = "SELECT id FROM decisions WHERE device = ?1 AND hash = ?2";
        let id: Option<String> =
            self.sql.optional(sql, params![device.as_str(), sealed.hash().to_string()], |r| r.get(0))?;
        let Some(id) = id else { return Ok(()) };
        if !self.is_put_aside("decisions", &id)? {
            return Ok(());
        }
        let sum = row::checksum(&[sealed.body.as_bytes(), sealed.signature.as_bytes()]);
        self.sql.execute(
            "UPDATE decisions SET body = ?2, signature = ?3, checksum = ?4 WHERE id = ?1",
            params![id, sealed.body, sealed.signature, sum],
        )?;
        self.is_whole("decisions", &id, now)?;
        self.changed(StoreChange::Decision(row::parse("decisions", &id)?));
        Ok(())
    }

    fn is_whole(&mut self, table: &str, name: &str, now: UtcMs) -> Result<(), StoreError> {
        let sql = "UPDATE damaged SET mended_ms = ?3 WHERE of_table = ?1 AND name = ?2";
        self.sql.execute(sql, params![table, name, now.0])?;
        Ok(())
    }

    /// Has those devices begin again that may have what is damaged: they tell their outbox and compare their documents.
    fn ask_devices(&mut self, found: &DamagedRow, document: &str) -> Result<(), StoreError> {
        if found.table == "decisions" {
            let sql =
                "UPDATE devices SET begins_again = 1 WHERE device IN (SELECT device FROM decisions WHERE id = ?1)";
            self.sql.execute(sql, params![found.row])?;
            return Ok(());
        }
        let Ok(document) = document.parse::<DocumentId>() else { return Ok(()) };
        let scopes = self.scopes_of(&document)?;
        for state in self.devices()? {
            if state.device.scopes().iter().any(|scope| scopes.contains(scope)) {
                let name = state.device.device.as_str().to_value();
                self.sql.execute("UPDATE devices SET begins_again = 1 WHERE device = ?1", &[name])?;
            }
        }
        // Those that wait for something new are told now.
        scopes.into_iter().for_each(|scope| self.changed(StoreChange::Feed(scope)));
        Ok(())
    }

    fn document_changed(&mut self, document: &DocumentId) -> Result<(), StoreError> {
        self.cache.take(document);
        let sql = "SELECT kind FROM documents WHERE document = ?1";
        let kind: Option<String> = self.sql.optional(sql, params![document.to_string()], |r| r.get(0))?;
        match kind.as_deref() {
            Some("case") => self.changed(StoreChange::Case(*document)),
            Some("dispatch") => self.changed(StoreChange::Dispatch(*document)),
            _ => {}
        }
        Ok(())
    }
}
