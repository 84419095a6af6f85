//! Damaged rows, put aside and made whole again.
//!
//! In: a row that [`super::damage`] found, or bytes that somebody gives. Out: the row as it was written, from what the
//! store itself still has of it, or from a device that gives the same bytes again: its hash says which they are, so nothing
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
    Scope, StoreChange, StoreError, Tx,
    damage::{DamagedRow, number},
    documents,
    ledger::Placed,
    row,
    sql::{ToValue, params},
};

/// Under which name is kept since when changes of a device are sent back for want of a row.
fn sent_back(table: &str, row: &str, device: &str) -> String {
    format!("sent_back/{table}/{row}/{device}")
}

/// Why a change is refused whose document cannot be read and did not become whole for long. It is let in once the document
/// is whole again.
pub(super) const UNREADABLE: &str = "the hub's copy of this document is damaged";

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
        self.keep_as_found(found, &document, body, now)?;
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

    fn keep_as_found(
        &mut self,
        found: &DamagedRow,
        document: &str,
        body: Vec<u8>,
        at: UtcMs,
    ) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO damaged (of_table, name, document, why, body, found_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (of_table, name) DO UPDATE SET document = ?3, why = ?4, body = ?5, found_ms = ?6, mended_ms = NULL",
            params![found.table, found.row, document, found.why, body, at.0],
        )?;
        Ok(())
    }

    /// Notes that a document cannot be folded: it is shown as it was folded last, and as damaged since its last change,
    /// until a program comes that can. Each start of one tries.
    pub(super) fn note_unfoldable(&mut self, found: &DamagedRow) -> Result<(), StoreError> {
        if self.is_put_aside(found.table, &found.row)? {
            return Ok(());
        }
        let sql = "SELECT changed_ms FROM documents WHERE document = ?1";
        let changed: Option<i64> = self.sql.optional(sql, params![found.row], |r| r.get(0))?;
        match changed {
            Some(changed) => self.keep_as_found(found, &found.row, Vec::new(), UtcMs(changed)),
            None => Ok(()),
        }
    }

    /// Notes that a document was folded: if it could not be before, its devices are listened to again.
    pub(super) fn note_foldable(&mut self, document: &DocumentId) -> Result<(), StoreError> {
        let name = document.to_string();
        if !self.is_put_aside("documents", &name)? {
            return Ok(());
        }
        self.sql.execute("DELETE FROM damaged WHERE of_table = 'documents' AND name = ?1", params![name])?;
        self.sql.execute("DELETE FROM quarantine WHERE document = ?1 AND reason = ?2", params![name, UNREADABLE])?;
        Ok(())
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

    /// What the store still has of a row of the ledger: what it is found by in what it says, a change in its document's snapshot, an order as it is served, a
    /// lease as it stands.
    fn mend_from_here(&mut self, position: &str, now: UtcMs) -> Result<bool, StoreError> {
        if self.found_by_what_it_says(number(position), now)? {
            self.is_whole("ledger", position, now)?;
            return Ok(true);
        }
        let row: Option<(String, String, String)> = self.sql.optional(
            "SELECT document, hash, subject FROM ledger WHERE position = ?1",
            params![number(position)],
            |r| Ok::<_, StoreError>((r.get("document")?, r.get("hash")?, r.get("subject")?)),
        )?;
        let Some((document, hash, subject)) = row else { return Ok(false) };
        let Ok(hash) = hash.parse::<Hash32>() else { return Ok(false) };
        if !document.is_empty() {
            let Ok(document) = document.parse::<DocumentId>() else { return Ok(false) };
            let Some(bytes) = self.in_snapshot(&document, &hash)? else { return Ok(false) };
            return self.mend_chunk(&document, &bytes, now);
        }
        let Some((kind, body)) = self.served(&subject, &hash)? else { return Ok(false) };
        self.rewrite(number(position), kind, "", "", &body, now)?;
        self.feed_again(number(position), &[])?;
        Ok(true)
    }

    /// Has a row found by what it says, if that is sound. Returns whether it is.
    fn found_by_what_it_says(&mut self, position: i64, now: UtcMs) -> Result<bool, StoreError> {
        let Some((found_by, again)) = self.to_be_found_by(position)? else { return Ok(false) };
        // Where it was written again meanwhile, the later row stays: a document's last change must.
        let stays = again.map_or(position, |again| again.max(position));
        if let Some(again) = again {
            if stays == again {
                // That one may have rotted as well.
                self.copy(position, again, now)?;
            }
            let goes = again.min(position);
            self.sql.execute("UPDATE feed SET item = ?2 WHERE item = ?1", params![goes, stays])?;
            self.sql.execute("DELETE FROM ledger WHERE position = ?1", params![goes])?;
            self.is_whole("ledger", &goes.to_string(), now)?;
        }
        self.set_found_by(stays, &found_by)?;
        if again.is_some() {
            self.feed_again(stays, &[])?;
        }
        // A change that came again while it was not found was refused, as the second of its number.
        self.sql.execute(
            "DELETE FROM quarantine WHERE what = 'chunk'
                AND document = (SELECT document FROM ledger WHERE position = ?1)
                AND hash = (SELECT hash FROM ledger WHERE position = ?1)",
            params![stays],
        )?;
        Ok(true)
    }

    /// Writes what one row says, which is sound, into another.
    fn copy(&mut self, from: i64, to: i64, now: UtcMs) -> Result<(), StoreError> {
        let sql = "SELECT kind, document, document_kind, body FROM ledger WHERE position = ?1";
        let (kind, document, document_kind, body): (String, String, String, Vec<u8>) =
            self.sql.one(sql, params![from], |r| {
                Ok::<_, StoreError>((r.get("kind")?, r.get("document")?, r.get("document_kind")?, r.get("body")?))
            })?;
        self.rewrite(to, &kind, &document, &document_kind, &body, now)
    }

    /// Kind and body of an item that replaces older ones, from where it is served, if it has this hash. The subject says
    /// of which kind it is: the row's own kind may be what rotted.
    fn served(&self, subject: &str, hash: &Hash32) -> Result<Option<(&'static str, Vec<u8>)>, StoreError> {
        if let Some(order) = subject.strip_prefix("order/") {
            let sql = "SELECT body FROM orders WHERE order_id = ?1";
            let body: Option<String> = self.sql.optional(sql, params![order], |r| r.get(0))?;
            let body = body.filter(|body| Downward::Order(body.clone()).hash() == *hash);
            return Ok(body.map(|body| ("order", body.into_bytes())));
        }
        if let Some(lease) = subject.strip_prefix("lease/") {
            let sql = "SELECT body, signature FROM leases WHERE id = ?1";
            let sealed = self.sql.optional(sql, params![lease], |r| {
                Ok::<_, StoreError>(Sealed { body: r.get("body")?, signature: r.get("signature")? })
            })?;
            let Some(sealed) = sealed.filter(|sealed| sealed.hash() == *hash) else { return Ok(None) };
            return Ok(Some(("lease", serde_json::to_vec(&sealed)?)));
        }
        Ok(None)
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
        let scopes = self.scopes_of(document)?;
        self.feed_again(place, &scopes)?;
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

    /// Readers have passed the row while it was left out: it comes once more, behind where they stand, to whoever had it
    /// and to `scopes`.
    fn feed_again(&mut self, place: i64, scopes: &[Scope]) -> Result<(), StoreError> {
        let sql = "SELECT scope, lane, subject FROM feed WHERE item = ?1 ORDER BY position";
        let mut to: Vec<(Scope, Lane, String)> = self.sql.query(sql, params![place], |r| {
            let lane = usize::try_from(r.get::<i64>("lane")?).ok().and_then(Lane::from_index);
            let scope = row::parse("feed", &r.get::<String>("scope")?)?;
            Ok::<_, StoreError>((scope, lane.unwrap_or(Lane::Documents), r.get("subject")?))
        })?;
        self.sql.execute("DELETE FROM feed WHERE item = ?1", params![place])?;
        for scope in scopes {
            if to.iter().all(|(known, ..)| known != scope) {
                to.push((scope.clone(), Lane::Documents, String::new()));
            }
        }
        let item = self.sql.optional("SELECT document, hash FROM ledger WHERE position = ?1", params![place], |r| {
            Ok::<_, StoreError>(Placed {
                place: row::from_sql(place),
                document: r.get("document")?,
                hash: r.get("hash")?,
            })
        })?;
        let Some(item) = item else { return Ok(()) };
        for (scope, lane, subject) in to {
            self.feed_row(&scope, lane, &item, &subject)?;
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
        // Nothing is sent back for want of it any more.
        let (first, end) = (sent_back(table, name, ""), sent_back(table, name, "\u{10ffff}"));
        self.sql.execute("DELETE FROM cursors WHERE name >= ?1 AND name <= ?2", params![first, end])?;
        Ok(())
    }

    /// Since when changes of `device` are sent back for want of this row: since `now` if none was before.
    pub(super) fn sent_back_since(
        &mut self,
        found: &DamagedRow,
        device: &DeviceId,
        now: UtcMs,
    ) -> Result<UtcMs, StoreError> {
        let name = sent_back(found.table, &found.row, device.as_str());
        if let Some(since) = self.cursor(&name)? {
            return Ok(UtcMs(row::parse("cursors", &since)?));
        }
        self.set_cursor(&name, &now.0.to_string())?;
        Ok(now)
    }

    /// Has those devices begin again that may have what is damaged: they tell their decisions, and compare their documents.
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
