//! Postings to the ERP, in the order they have per order.
//!
//! A posting that is handed out is marked in doubt before it is sent, in a commit of its own: a crash
//! between sending and recording thereby ends in a question to the ERP, never in a second posting.
//! When it was sent is committed with that mark, since the ERP's "no" counts only some time later. The hub's clock may
//! have been ahead for a while: no wait is longer than the longest there is, and nothing was sent later than now.

use gatehouse_common::{
    id::{DecisionId, OrderId},
    time::UtcMs,
};

use super::{
    Reader, StoreChange, StoreError, Tx,
    claims::POST,
    row,
    sql::{Connection, Row, Value, params},
    turn::Numbered,
};
use crate::core::{
    APART_MS,
    reconcile::{Posting, PostingState, QueuedPosting},
};

const COLUMNS: &str = "key, state, is_wanted, attempts, next_try_ms, sent_ms, last_error, applied_ms, document, body";

struct Stored {
    key: String,
    state: String,
    is_wanted: bool,
    attempts: u32,
    next_try: i64,
    sent: Option<i64>,
    last_error: Option<String>,
    applied: Option<i64>,
    document: Option<String>,
    body: String,
}

impl Stored {
    fn read(r: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            key: r.get("key")?,
            state: r.get("state")?,
            is_wanted: r.get("is_wanted")?,
            attempts: r.get("attempts")?,
            next_try: r.get("next_try_ms")?,
            sent: r.get("sent_ms")?,
            last_error: r.get("last_error")?,
            applied: r.get("applied_ms")?,
            document: r.get("document")?,
            body: r.get("body")?,
        })
    }

    fn open(self) -> Result<QueuedPosting, StoreError> {
        let state = match self.state.as_str() {
            "queued" => PostingState::Queued,
            "in_doubt" => PostingState::InDoubt,
            "applied" => PostingState::Applied,
            "dead" => PostingState::Dead,
            "withdrawn" => PostingState::Withdrawn,
            other => return Err(row::damaged("postings", &self.key, format!("state {other:?}"))),
        };
        Ok(QueuedPosting {
            posting: row::json("postings", &self.key, &self.body)?,
            state,
            is_wanted: self.is_wanted,
            attempts: self.attempts,
            next_try: UtcMs(self.next_try),
            sent_at: self.sent.map(UtcMs),
            last_error: self.last_error,
            applied_at: self.applied.map(UtcMs),
            document: self.document,
        })
    }
}

impl Reader<'_> {
    fn postings_where(&self, condition: &str, values: &[Value]) -> Result<Vec<QueuedPosting>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM postings WHERE {condition}");
        self.sql.query(&sql, values, |r| Stored::read(r)?.open())
    }

    /// Postings that follow from a decision, in the order they were queued.
    /// # Errors
    /// [`StoreError::Damaged`] if one cannot be read.
    pub fn postings_of(&self, decision: &DecisionId) -> Result<Vec<QueuedPosting>, StoreError> {
        self.postings_where("decision = ?1 ORDER BY n", params![decision.as_str()])
    }

    /// Postings of an order, in the order they were queued.
    /// # Errors
    /// [`StoreError::Damaged`] if one cannot be read.
    pub fn postings_of_order(&self, order: &OrderId) -> Result<Vec<QueuedPosting>, StoreError> {
        self.postings_where("order_id = ?1 ORDER BY n", params![order.as_str()])
    }

    /// The posting under a key.
    /// # Errors
    /// [`StoreError::Damaged`] if it cannot be read.
    pub fn posting(&self, key: &str) -> Result<Option<QueuedPosting>, StoreError> {
        Ok(self.postings_where("key = ?1", params![key])?.pop())
    }

    /// Postings that are parked for a person, oldest first.
    /// # Errors
    /// [`StoreError::Damaged`] if one cannot be read.
    pub fn dead_letters(&self) -> Result<Vec<QueuedPosting>, StoreError> {
        self.postings_where("state = 'dead' ORDER BY n", params![])
    }

    /// How many postings stand in each state.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn posting_counts(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.sql.query("SELECT state, count(*) AS n FROM postings GROUP BY state", params![], |r| {
            Ok((r.get("state")?, row::from_sql(r.get("n")?)))
        })
    }

    /// When the next posting that could be sent is due; none if nothing waits.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn next_due(&self) -> Result<Option<UtcMs>, StoreError> {
        let due: Option<i64> = self.sql.one(
            "SELECT min(next_try_ms) FROM postings p
              WHERE state IN ('queued', 'in_doubt') AND claimed = 0
                AND NOT EXISTS (SELECT 1 FROM postings e
                                 WHERE e.order_id = p.order_id AND e.n < p.n
                                   AND e.state <> 'applied' AND e.state <> 'withdrawn')",
            params![],
            |r| r.get(0),
        )?;
        Ok(due.map(UtcMs))
    }
}

impl Tx<'_> {
    /// Queues a posting behind those of its order; one whose key is known changes nothing.
    /// Returns whether it is new. In a life of the ledger that a restore began it may have been sent in the life before,
    /// and is asked for first.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn enqueue(&mut self, posting: &Posting, now: UtcMs) -> Result<bool, StoreError> {
        let restored = self.restored_at()?;
        let state = if restored.is_some() { PostingState::InDoubt } else { PostingState::Queued };
        let n = self.turn.next(Numbered::Postings);
        let added = self.sql.execute(
            "INSERT INTO postings (n, key, decision, order_id, line, kind, quantity, state, next_try_ms, body, sent_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (key) DO NOTHING",
            params![
                n,
                posting.key,
                posting.decision.as_str(),
                posting.order.as_str(),
                posting.line,
                posting.kind.as_str(),
                posting.quantity,
                state.as_str(),
                now.0,
                serde_json::to_string(posting)?,
                restored.map(|at| at.0),
            ],
        )?;
        if added > 0 {
            self.changed(StoreChange::Posting(posting.order.clone()));
        }
        Ok(added > 0)
    }

    /// What was handed out and of which nothing was heard may have reached the ERP, as late as `now`: it is asked for
    /// first. Changes nothing unless this replica is the one that hands out.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn take_back_postings(&mut self, now: UtcMs) -> Result<(), StoreError> {
        if !self.holds(POST)? {
            return Ok(());
        }
        take_back(self.sql, now)
    }

    /// Postings that would wait for more than `longest_ms` milliseconds from `now` are due now: none has to wait for so
    /// long, so a clock that was ahead said until when. Changes nothing unless this replica is the one that hands out.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn right_postings(&mut self, now: UtcMs, longest_ms: i64) -> Result<(), StoreError> {
        if !self.holds(POST)? {
            return Ok(());
        }
        // By the index of what is due, so that it costs nothing where nothing waits for so long.
        self.sql.execute(
            "UPDATE postings SET next_try_ms = ?1 WHERE state IN ('queued', 'in_doubt') AND next_try_ms > ?2",
            params![now.0, now.plus(longest_ms).0],
        )?;
        Ok(())
    }

    /// Hands out postings that are due, at most `limit` and one per order: the first of each that is not
    /// applied. Each is returned as it stood and stands as in doubt from now on, until [`Self::finish`],
    /// [`Self::retry`] or [`Self::bury`] says what came of it. One that was queued counts as sent now; so does one that
    /// was sent later than now, by a clock that was ahead: how long ago nobody knows, and its doubt begins anew.
    /// Hands out nothing unless this replica is the one that does: another that took over while it was too slow would
    /// never hear of them.
    /// # Errors
    /// [`StoreError::Damaged`] if one cannot be read.
    pub fn claim_due(&mut self, now: UtcMs, limit: usize) -> Result<Vec<QueuedPosting>, StoreError> {
        if !self.holds(POST)? {
            return Ok(Vec::new());
        }
        // The order the postings were queued in; a dead one stops those behind it, since later ones build on it.
        let mut due = self.postings_where(
            "state IN ('queued', 'in_doubt') AND claimed = 0 AND next_try_ms <= ?1
               AND NOT EXISTS (SELECT 1 FROM postings e
                                WHERE e.order_id = postings.order_id AND e.n < postings.n
                                  AND e.state <> 'applied' AND e.state <> 'withdrawn')
             ORDER BY next_try_ms, n LIMIT ?2",
            params![now.0, limit as i64],
        )?;
        let latest = now.plus(APART_MS);
        for queued in &mut due {
            queued.sent_at = queued.sent_at.map(|sent| if sent > latest { now } else { sent });
            self.sql.execute(
                "UPDATE postings SET sent_ms = CASE WHEN state = 'queued' OR sent_ms > ?4 THEN ?2 ELSE sent_ms END,
                    state = 'in_doubt', claimed = ?3 WHERE key = ?1",
                params![queued.posting.key, now.0, self.claim_mark(), latest.0],
            )?;
        }
        Ok(due)
    }

    /// The ERP has it, under the name `document`.
    /// # Errors
    /// [`StoreError::Refused`] if there is no such posting.
    pub fn finish(&mut self, key: &str, document: Option<&str>, now: UtcMs) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE postings SET state = 'applied', claimed = 0, attempts = attempts + 1, last_error = NULL,
                applied_ms = ?2, document = ?3 WHERE key = ?1",
            params![key, now.0, document],
        )?;
        self.posting_changed(key)
    }

    /// It is tried again, not before `next_try`. `state` is [`PostingState::Queued`] only if the ERP certainly
    /// does not have it; otherwise it is asked for first. `counts` says whether the try reached the ERP and is
    /// one of those after which it is given up. One that is no longer wanted is withdrawn instead of queued. One that
    /// another has under way by now is left as it is.
    /// # Errors
    /// [`StoreError::Refused`] if there is no such posting.
    pub fn retry(
        &mut self,
        key: &str,
        state: PostingState,
        next_try: UtcMs,
        error: &str,
        counts: bool,
    ) -> Result<(), StoreError> {
        let state = if state == PostingState::Queued { state } else { PostingState::InDoubt };
        self.sql.execute(
            "UPDATE postings SET state = CASE WHEN ?2 = 'queued' AND is_wanted = 0 THEN 'withdrawn' ELSE ?2 END,
                claimed = 0, attempts = attempts + ?5, next_try_ms = ?3, last_error = ?4
              WHERE key = ?1 AND claimed IN (0, ?6)",
            params![key, state.as_str(), next_try.0, error, counts, self.claim_mark()],
        )?;
        self.posting_changed(key)
    }

    /// It was on its way until `now` and its answer was missed: what was sent may have waited for its turn for long
    /// after it was handed out.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn was_on_its_way(&mut self, key: &str, now: UtcMs) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE postings SET sent_ms = ?2 WHERE key = ?1 AND claimed IN (0, ?3)",
            params![key, now.0, self.claim_mark()],
        )?;
        Ok(())
    }

    /// What it was for is over: it is never sent again. One that may be at the ERP is asked for first and stays
    /// applied if it is there. Changes nothing while it is under way or once it is applied; ask again then.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn withdraw(&mut self, key: &str, now: UtcMs) -> Result<(), StoreError> {
        let changed = self.sql.execute(
            "UPDATE postings SET state = CASE state WHEN 'queued' THEN 'withdrawn' ELSE 'in_doubt' END,
                    attempts = 0, next_try_ms = CASE state WHEN 'dead' THEN ?2 ELSE next_try_ms END, is_wanted = 0
              WHERE key = ?1 AND claimed = 0 AND is_wanted = 1 AND state IN ('queued', 'in_doubt', 'dead')",
            params![key, now.0],
        )?;
        if changed == 0 { Ok(()) } else { self.posting_changed(key) }
    }

    /// It is parked for a person, with the reason.
    /// # Errors
    /// [`StoreError::Refused`] if there is no such posting.
    pub fn bury(&mut self, key: &str, reason: &str) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE postings SET state = 'dead', claimed = 0, attempts = attempts + 1, last_error = ?2
              WHERE key = ?1 AND claimed IN (0, ?3)",
            params![key, reason, self.claim_mark()],
        )?;
        self.posting_changed(key)
    }

    /// A person wants a parked posting tried again. It is asked for before it is sent, whatever parked it.
    /// # Errors
    /// [`StoreError::Refused`] if no posting with this key is parked.
    pub fn replay(&mut self, key: &str, now: UtcMs) -> Result<(), StoreError> {
        let changed = self.sql.execute(
            "UPDATE postings SET state = 'in_doubt', claimed = 0, attempts = 0, next_try_ms = ?2
              WHERE key = ?1 AND state = 'dead'",
            params![key, now.0],
        )?;
        if changed == 0 {
            return Err(StoreError::Refused(format!("no parked posting {key}")));
        }
        self.posting_changed(key)
    }

    /// A person booked a parked posting at the ERP by hand: it is never sent, and those behind it go on.
    /// # Errors
    /// [`StoreError::Refused`] if no posting with this key is parked.
    pub fn book_by_hand(&mut self, key: &str, document: &str, now: UtcMs) -> Result<(), StoreError> {
        let changed = self.sql.execute(
            "UPDATE postings SET state = 'applied', claimed = 0, applied_ms = ?2, document = ?3
              WHERE key = ?1 AND state = 'dead'",
            params![key, now.0, document],
        )?;
        if changed == 0 {
            return Err(StoreError::Refused(format!("no parked posting {key}")));
        }
        self.posting_changed(key)
    }

    /// A person corrects a parked posting; it stays parked until it is replayed. Its key, its order and its kind stay.
    /// # Errors
    /// [`StoreError::Refused`] if no posting with this key is parked.
    pub fn correct(&mut self, posting: &Posting) -> Result<(), StoreError> {
        let changed = self.sql.execute(
            "UPDATE postings SET quantity = ?2, body = ?3 WHERE key = ?1 AND state = 'dead'",
            params![posting.key, posting.quantity, serde_json::to_string(posting)?],
        )?;
        if changed == 0 {
            return Err(StoreError::Refused(format!("no parked posting {}", posting.key)));
        }
        self.posting_changed(&posting.key)
    }

    /// What is written on a posting that this start of the hub has under way: what another says of it later, who had
    /// it before and was too slow, no longer counts.
    fn claim_mark(&self) -> i64 {
        i64::from(self.actor.epoch.max(1))
    }

    fn posting_changed(&mut self, key: &str) -> Result<(), StoreError> {
        let order: Option<String> =
            self.sql.optional("SELECT order_id FROM postings WHERE key = ?1", params![key], |r| r.get(0))?;
        let order = order.ok_or_else(|| StoreError::Refused(format!("no posting {key}")))?;
        self.changed(StoreChange::Posting(row::parse("postings", &order)?));
        Ok(())
    }
}

/// What was under way may have been sent until `now`, and is asked for before it is sent again.
pub(super) fn take_back(sql: &Connection, now: UtcMs) -> Result<(), StoreError> {
    sql.execute("UPDATE postings SET claimed = 0, sent_ms = ?1 WHERE claimed <> 0", params![now.0])?;
    Ok(())
}
