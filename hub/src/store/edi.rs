//! Interchanges of partners: what came, what it said, what is written and what became of it.

use gatehouse_common::{
    id::{Hash32, OrderId, SiteId},
    time::UtcMs,
};
use serde::Serialize;

use super::{
    Reader, StoreChange, StoreError, Tx, row,
    sql::{Row, Value, params},
};

/// Most rows of a list.
const LIST_MAX: i64 = 500;

/// One interchange, in or out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EdiFile {
    /// Its place among all.
    pub n: u64,
    /// Whose it is.
    pub partner: String,
    /// `in` or `out`.
    pub direction: String,
    /// Its sender as the envelope names it.
    pub sender: String,
    /// Its number there.
    pub control: String,
    /// Hash of the whole file.
    pub hash: String,
    /// How the file is called.
    pub name: String,
    /// Kinds of its messages.
    pub kind: String,
    /// What it was written for.
    pub cause: String,
    /// In: `taken`, `partly`, `refused`. Out: `waiting`, `written`, `accepted`, `rejected`.
    pub state: String,
    /// Why it is refused or rejected, in whole or in part.
    pub reason: String,
    /// When, by the hub's clock.
    pub at: UtcMs,
}

/// What one part of a message said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EdiWord {
    /// The interchange that it stands in.
    pub file: u64,
    /// Which of its words, from 1.
    pub place: u64,
    /// What it is about, as it came.
    pub subject: String,
    /// The depot of the order, where the hub has one of this name.
    pub site: Option<SiteId>,
    /// Kind of the message.
    pub kind: String,
    /// Code as it came.
    pub code: String,
    /// Reason as it came.
    pub reason: String,
    /// Where the cause lies.
    pub bucket: String,
    /// How far the shipment is, in a word.
    pub milestone: String,
    /// Whether code and reason are known here.
    pub is_known: bool,
    /// When it was so, as the partner says.
    pub happened: Option<UtcMs>,
    /// When the hub learned of it.
    pub learned: UtcMs,
    /// The same for people.
    pub detail: String,
}

impl EdiFile {
    fn read(r: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            n: row::from_sql(r.get("n")?),
            partner: r.get("partner")?,
            direction: r.get("direction")?,
            sender: r.get("sender")?,
            control: r.get("control")?,
            hash: r.get("hash")?,
            name: r.get("name")?,
            kind: r.get("kind")?,
            cause: r.get("cause")?,
            state: r.get("state")?,
            reason: r.get("reason")?,
            at: UtcMs(r.get("at_ms")?),
        })
    }
}

impl EdiWord {
    fn read(r: &Row<'_>) -> Result<Self, StoreError> {
        let site: Option<String> = r.get("site")?;
        let happened: Option<i64> = r.get("happened_ms")?;
        Ok(Self {
            file: row::from_sql(r.get("file")?),
            place: row::from_sql(r.get("place")?),
            subject: r.get("subject")?,
            site: site.map(|site| row::parse("edi_words", &site)).transpose()?,
            kind: r.get("kind")?,
            code: r.get("code")?,
            reason: r.get("reason")?,
            bucket: r.get("bucket")?,
            milestone: r.get("milestone")?,
            is_known: r.get("is_known")?,
            happened: happened.map(UtcMs),
            learned: UtcMs(r.get("learned_ms")?),
            detail: r.get("detail")?,
        })
    }
}

const FILE: &str = "n, partner, direction, sender, control, hash, name, kind, cause, state, reason, at_ms";
const WORD: &str = "file, place, subject, site, kind, code, reason, bucket, milestone, is_known, happened_ms, \
                    learned_ms, detail";

impl Reader<'_> {
    fn edi_where(&self, condition: &str, values: &[Value]) -> Result<Vec<EdiFile>, StoreError> {
        self.sql.query(&format!("SELECT {FILE} FROM edi_files WHERE {condition}"), values, EdiFile::read)
    }

    /// The latest interchanges, newest first.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn edi_files(&self) -> Result<Vec<EdiFile>, StoreError> {
        self.edi_where("n > 0 ORDER BY n DESC LIMIT ?1", params![LIST_MAX])
    }

    /// An interchange that came in: by its sender and number.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn edi_received(&self, partner: &str, sender: &str, control: &str) -> Result<Option<EdiFile>, StoreError> {
        let found = self.edi_where(
            "partner = ?1 AND direction = 'in' AND sender = ?2 AND control = ?3",
            params![partner, sender, control],
        )?;
        Ok(found.into_iter().next())
    }

    /// Whether something was written for this cause already.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn edi_written_for(&self, partner: &str, cause: &str) -> Result<bool, StoreError> {
        Ok(self.sql.one(
            "SELECT EXISTS (SELECT 1 FROM edi_files WHERE partner = ?1 AND cause = ?2 AND direction = 'out')",
            params![partner, cause],
            |r| r.get(0),
        )?)
    }

    /// What is to be written into a partner's folder, oldest first, with its bytes.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn edi_waiting(&self, partner: &str) -> Result<Vec<(EdiFile, Vec<u8>)>, StoreError> {
        let waiting = self.edi_where(
            "partner = ?1 AND direction = 'out' AND state = 'waiting' ORDER BY n LIMIT ?2",
            params![partner, LIST_MAX],
        )?;
        waiting.into_iter().map(|file| Ok((file.clone(), self.edi_body(&file.hash)?.unwrap_or_default()))).collect()
    }

    /// The bytes of a file.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn edi_body(&self, hash: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.sql.optional("SELECT body FROM edi_bodies WHERE hash = ?1", params![hash], |r| r.get(0))?)
    }

    /// What partners said of a shipment, in the order in which the hub learned of it.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn edi_words_of(&self, subject: &str) -> Result<Vec<EdiWord>, StoreError> {
        let sql = format!("SELECT {WORD} FROM edi_words WHERE subject = ?1 ORDER BY file, place LIMIT ?2");
        self.sql.query(&sql, params![subject, LIST_MAX], EdiWord::read)
    }

    /// The latest words that a person should look at: a code that is not known, or an order that the hub does not have.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn edi_words_unclear(&self) -> Result<Vec<EdiWord>, StoreError> {
        let sql = format!(
            "SELECT {WORD} FROM edi_words WHERE is_known = 0 OR site IS NULL ORDER BY file DESC, place LIMIT ?1"
        );
        self.sql.query(&sql, params![LIST_MAX], EdiWord::read)
    }

    /// Whether a partner said that a shipment has left.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn edi_has_left(&self, subject: &str) -> Result<bool, StoreError> {
        Ok(self.sql.one(
            "SELECT EXISTS (SELECT 1 FROM edi_words WHERE subject = ?1 AND milestone = 'departed')",
            params![subject],
            |r| r.get(0),
        )?)
    }

    /// The site of an order, if there is one of this name.
    pub(crate) fn site_of_subject(&self, subject: &str) -> Result<Option<SiteId>, StoreError> {
        let Ok(order) = subject.parse::<OrderId>() else { return Ok(None) };
        Ok(self.order(&order)?.map(|order| order.site))
    }
}

impl Tx<'_> {
    /// The next number of an interchange to a partner, from 1. Never given out twice, since one writes at a time.
    /// # Errors
    /// [`StoreError::Refused`] once all 999,999,999 are used.
    pub fn edi_next_control(&mut self, partner: &str) -> Result<u32, StoreError> {
        // Written with nine digits, so that the order of the texts is that of the numbers.
        let last: String = self.sql.one(
            "SELECT coalesce(max(control), '0') FROM edi_files WHERE partner = ?1 AND direction = 'out'",
            params![partner],
            |r| r.get(0),
        )?;
        let last: u32 = row::parse("edi_files", &last)?;
        match last.checked_add(1).filter(|n| *n <= 999_999_999) {
            Some(next) => Ok(next),
            None => Err(StoreError::Refused(format!("all control numbers to {partner} are used"))),
        }
    }

    /// Keeps an interchange with the bytes of its file; `n` and `at` of `file` are not read. Returns its place; none if
    /// there is one of this partner, direction, sender and number.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn keep_edi_file(&mut self, file: &EdiFile, body: &[u8], now: UtcMs) -> Result<Option<u64>, StoreError> {
        let n: i64 = self.sql.one("SELECT coalesce(max(n), 0) + 1 FROM edi_files", params![], |r| r.get(0))?;
        self.sql.execute(
            "INSERT INTO edi_bodies (hash, body) VALUES (?1, ?2) ON CONFLICT (hash) DO NOTHING",
            params![file.hash.as_str(), body],
        )?;
        let added = self.sql.execute(
            "INSERT INTO edi_files (n, partner, direction, sender, control, hash, name, kind, cause, state, reason, at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT (partner, direction, sender, control) DO NOTHING",
            params![
                n,
                file.partner.as_str(),
                file.direction.as_str(),
                file.sender.as_str(),
                file.control.as_str(),
                file.hash.as_str(),
                file.name.as_str(),
                file.kind.as_str(),
                file.cause.as_str(),
                file.state.as_str(),
                file.reason.as_str(),
                now.0,
            ],
        )?;
        if added == 0 {
            return Ok(None);
        }
        self.changed(StoreChange::Partner);
        Ok(Some(row::from_sql(n)))
    }

    /// Keeps a word of an interchange.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn keep_edi_word(&mut self, word: &EdiWord) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO edi_words (file, place, subject, site, kind, code, reason, bucket, milestone, is_known,
                                    happened_ms, learned_ms, detail)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            params![
                row::to_sql(word.file),
                row::to_sql(word.place),
                word.subject.as_str(),
                word.site.as_ref().map(SiteId::as_str),
                word.kind.as_str(),
                word.code.as_str(),
                word.reason.as_str(),
                word.bucket.as_str(),
                word.milestone.as_str(),
                word.is_known,
                word.happened.map(|at| at.0),
                word.learned.0,
                word.detail.as_str(),
            ],
        )?;
        Ok(())
    }

    /// A file was put where the partner fetches it.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn edi_written(&mut self, n: u64) -> Result<(), StoreError> {
        let sql = "UPDATE edi_files SET state = 'written' WHERE n = ?1 AND state = 'waiting'";
        self.sql.execute(sql, params![row::to_sql(n)])?;
        Ok(())
    }

    /// A partner says what became of what was sent under a number. Returns whether there is such a file.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn edi_answered(&mut self, partner: &str, control: u32, good: bool, reason: &str) -> Result<bool, StoreError> {
        let state = if good { "accepted" } else { "rejected" };
        let changed = self.sql.execute(
            "UPDATE edi_files SET state = ?3, reason = ?4 WHERE partner = ?1 AND direction = 'out' AND control = ?2",
            params![partner, format!("{control:09}"), state, reason],
        )?;
        self.changed(StoreChange::Partner);
        Ok(changed > 0)
    }
}

/// The hash under which a file is kept.
#[must_use]
pub fn file_hash(bytes: &[u8]) -> String {
    Hash32::of(bytes).to_string()
}
