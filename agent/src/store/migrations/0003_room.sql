-- Null in rows from before: they are not checked.
ALTER TABLE outbox ADD COLUMN checksum BLOB;
ALTER TABLE leases ADD COLUMN used_checksum BLOB;

-- Ground: what was let go of to make room, how much and why. Only grows.
CREATE TABLE let_go (
  n        INTEGER PRIMARY KEY,
  what     TEXT NOT NULL,
  at_ms    INTEGER NOT NULL,
  from_ms  INTEGER NOT NULL,
  to_ms    INTEGER NOT NULL,
  count    INTEGER NOT NULL,
  sources  TEXT NOT NULL,
  checksum BLOB NOT NULL
);
