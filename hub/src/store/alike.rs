//! Which documents a device should hold, with their heads, for making both sides alike again.

use gatehouse_common::{
    document::Document,
    id::{DocumentId, DocumentKind, Hash32},
    sync::repair::{self, Heads},
    time::UtcMs,
};

use super::{
    Reader, Scope, StoreError, row,
    sql::{ToValue, Value, params},
};

/// A document of a device's scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) document: DocumentId,
    /// As last folded; none while the fold is behind.
    pub(crate) heads: Option<Vec<Hash32>>,
    /// Whether nobody works on it any more.
    pub(crate) over: bool,
    /// When it last changed.
    pub(crate) changed_at: UtcMs,
}

impl Reader<'_> {
    /// Documents of `scopes` behind `after`, through `through`, by rising id, at most `limit`.
    pub(crate) fn held(
        &self,
        scopes: &[Scope],
        after: Option<DocumentId>,
        through: Option<DocumentId>,
        limit: usize,
    ) -> Result<Vec<Held>, StoreError> {
        if scopes.is_empty() {
            return Ok(Vec::new());
        }
        let marks: Vec<String> = (0..scopes.len()).map(|n| format!("?{}", n + 4)).collect();
        let sql = format!(
            "SELECT d.document, d.heads, d.last_chunk, d.folded_through, d.over, d.changed_ms FROM documents d
              WHERE d.document > ?1 AND d.document <= ?2
                AND EXISTS (SELECT 1 FROM document_scopes s WHERE s.document = d.document AND s.scope IN ({}))
              ORDER BY d.document LIMIT ?3",
            marks.join(", ")
        );
        // Ids are hexadecimal: 'g' comes behind them all.
        let (from, to) = (
            after.map_or_else(String::new, |id| id.to_string()),
            through.map_or_else(|| "g".to_owned(), |id| id.to_string()),
        );
        let mut values: Vec<Value> = params![from, to, limit as i64].to_vec();
        values.extend(scopes.iter().map(|scope| scope.to_string().to_value()));
        self.sql.query(&sql, &values, |r| {
            let (id, heads): (String, String) = (r.get("document")?, r.get("heads")?);
            let is_folded = r.get::<i64>("last_chunk")? <= r.get::<i64>("folded_through")?;
            Ok(Held {
                heads: if is_folded { Some(row::json("documents", &id, &heads)?) } else { None },
                document: row::parse("documents", &id)?,
                over: r.get("over")?,
                changed_at: UtcMs(r.get("changed_ms")?),
            })
        })
    }

    /// How many documents of `scopes` somebody works on, and one hash over their heads; none while a fold is behind.
    pub(crate) fn digest_of_open(&self, scopes: &[Scope]) -> Result<Option<(u64, Hash32)>, StoreError> {
        let mut open: Vec<Heads> = Vec::new();
        for held in self.held(scopes, None, None, i32::MAX as usize)? {
            match held.heads {
                None => return Ok(None),
                Some(_) if held.over => {}
                Some(heads) => open.push((held.document, heads)),
            }
        }
        Ok(Some((open.len() as u64, repair::digest(&open))))
    }

    /// A document with all that was committed of it, and its kind; none if there is nothing of it or it cannot be read.
    pub(crate) fn readable(&self, id: &DocumentId) -> Result<Option<(DocumentKind, Document)>, StoreError> {
        match self.document(id) {
            Err(StoreError::Damaged { .. } | StoreError::Document(_)) => Ok(None),
            found => found,
        }
    }

    /// The heads of what can be read of a document, some of whose changes cannot.
    pub(crate) fn heads_of_the_rest(&self, id: &DocumentId) -> Result<Vec<Hash32>, StoreError> {
        let mut rest = Document::new()?;
        for bytes in self.sound_chunks(id)? {
            rest.apply_own(&bytes)?;
        }
        Ok(rest.heads())
    }

    /// Whether the ledger has a change with this number of this writer in a document.
    pub(crate) fn has_seq(&self, document: &DocumentId, actor: &str, seq: u64) -> Result<bool, StoreError> {
        let found: Option<i64> = self.sql.optional(
            "SELECT position FROM ledger WHERE kind = 'chunk' AND document = ?1 AND actor = ?2 AND seq = ?3 LIMIT 1",
            params![document.to_string(), actor, row::to_sql(seq)],
            |r| r.get(0),
        )?;
        Ok(found.is_some())
    }
}
