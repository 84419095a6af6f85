-- What the hub signed of its pages: proof that it sent the changes in them, should it be restored from a backup.
-- `ledger` and `head` say from when on the hub's backups hold what a page had.
CREATE TABLE pages (
  n         INTEGER PRIMARY KEY AUTOINCREMENT,
  ledger    TEXT NOT NULL,
  head      INTEGER NOT NULL,
  body      TEXT NOT NULL,
  signature TEXT NOT NULL,
  marks     BLOB NOT NULL
);
CREATE TABLE page_marks (
  mark BLOB PRIMARY KEY,
  page INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX page_marks_page ON page_marks (page);

-- 1 for a change that the hub did not let in, or that builds on one: kept, and no part of its document any more.
ALTER TABLE chunks ADD COLUMN aside INTEGER NOT NULL DEFAULT 0;
