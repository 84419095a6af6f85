//! A row of the outbox as the disk gives it: whole, damaged but known all the same, or lost.
//!
//! Where its kind alone rotted, the checksum says so: it is over the kind as it was, and that follows from the body.
//! Ground holds the same changes and decisions. One of those is what a damaged row said if it has the same bytes, as
//! where only the checksum is damaged, or bytes of the row's checksum.

use gatehouse_common::{id::DocumentId, seal::Sealed, sync::Upward};
use rusqlite::{Connection, Result, Rows, types::ValueRef};

use super::{TRACKS, word_of};
use crate::store::{checksum, documents, ledger::uint};

/// The columns that [`Row::read`] reads.
pub(super) const COLUMNS: &str = "n, kind, document, body, checksum";

/// A row: number, kind, document, body and checksum, in this order. Nothing of it is believed yet.
pub(super) struct Row {
    /// Its number.
    pub n: u64,
    kind: Vec<u8>,
    document: Option<Vec<u8>>,
    body: Vec<u8>,
    /// None in rows of before there was one.
    sum: Option<Vec<u8>>,
}

/// What a row says.
pub(super) enum Says {
    /// It is as it was written.
    Whole(Upward),
    /// It is damaged, and what it said is known from its own body or from ground.
    Mended(Upward),
    /// It is damaged, and nobody knows what it said.
    Lost,
}

impl Says {
    pub(super) fn known(self) -> Option<Upward> {
        match self {
            Self::Whole(says) | Self::Mended(says) => Some(says),
            Self::Lost => None,
        }
    }
}

/// The checksum of a row.
pub(super) fn sum_of(kind: &str, body: &[u8]) -> Vec<u8> {
    checksum::of(&[kind.as_bytes(), body])
}

impl Row {
    pub(super) fn read(row: &rusqlite::Row<'_>) -> Result<Self> {
        let (kind, body) = (bytes(row, 1)?.unwrap_or_default(), bytes(row, 3)?.unwrap_or_default());
        Ok(Self { n: uint(row, 0)?, kind, document: bytes(row, 2)?, body, sum: bytes(row, 4)? })
    }

    pub(super) fn says(&self, conn: &Connection) -> Result<Says> {
        let matches = self.sum.as_ref().is_none_or(|sum| checksum::of(&[&self.kind, &self.body]) == *sum);
        if let Ok(says) = postcard::from_bytes::<Upward>(&self.body) {
            if matches {
                return Ok(Says::Whole(says));
            }
            if [word_of(&says), TRACKS].iter().any(|kind| self.is_of(kind, &self.body)) {
                return Ok(Says::Mended(says));
            }
        }
        Ok(self.in_ground(conn)?.map_or(Says::Lost, Says::Mended))
    }

    /// Whether it is, or was, a decision.
    pub(super) fn is_decision(&self) -> bool {
        self.kind == b"decision"
    }

    fn in_ground(&self, conn: &Connection) -> Result<Option<Upward>> {
        match (self.kind.as_slice(), &self.document) {
            (b"fact" | b"status" | b"tracks", _) => Ok(None),
            (_, Some(document)) => self.among_changes(conn, document),
            _ => self.among_decisions(conn),
        }
    }

    fn among_changes(&self, conn: &Connection, document: &[u8]) -> Result<Option<Upward>> {
        let Ok(document) = std::str::from_utf8(document) else { return Ok(None) };
        let Ok(id) = document.parse::<DocumentId>() else { return Ok(None) };
        let mut query = conn.prepare_cached("SELECT kind, bytes FROM chunks WHERE document = ?1 AND own = 1")?;
        let rows = query.query([document])?;
        self.first(rows, |row| {
            let kind = documents::kind_of(&row.get::<_, String>(0).ok()?)?;
            Some(Upward::Chunk { document: id, kind, bytes: row.get(1).ok()? })
        })
    }

    fn among_decisions(&self, conn: &Connection) -> Result<Option<Upward>> {
        // The newest first: what waits is new.
        let mut query =
            conn.prepare_cached("SELECT body, signature FROM decisions ORDER BY epoch DESC, position DESC")?;
        let rows = query.query([])?;
        self.first(rows, |row| Some(Upward::Decision(Sealed { body: row.get(0).ok()?, signature: row.get(1).ok()? })))
    }

    /// The first of `rows` of ground that this row was written of. Ground that cannot be read is passed over.
    fn first(&self, mut rows: Rows<'_>, of: impl Fn(&rusqlite::Row<'_>) -> Option<Upward>) -> Result<Option<Upward>> {
        while let Some(row) = rows.next()? {
            if let Some(says) = of(row).filter(|says| self.was_written_of(says)) {
                return Ok(Some(says));
            }
        }
        Ok(None)
    }

    /// Whether the row was written of this, whatever has become of it.
    pub(super) fn was_written_of(&self, says: &Upward) -> bool {
        let Ok(body) = postcard::to_stdvec(says) else { return false };
        body == self.body || self.is_of(word_of(says), &body)
    }

    /// Whether the row's checksum is that of a kind and a body.
    fn is_of(&self, kind: &str, body: &[u8]) -> bool {
        self.sum.as_ref().is_some_and(|sum| sum_of(kind, body) == *sum)
    }
}

/// The bytes of a value, whatever a flipped bit has made of its text.
fn bytes(row: &rusqlite::Row<'_>, column: usize) -> Result<Option<Vec<u8>>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => None,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes.to_vec()),
        ValueRef::Integer(_) | ValueRef::Real(_) => Some(Vec::new()),
    })
}
