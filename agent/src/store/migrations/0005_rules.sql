-- Ground: one row for each time that rules were put in force; the newest is in force, the one before it is what a
-- rollback goes back to.
CREATE TABLE bundles (
  n        INTEGER PRIMARY KEY AUTOINCREMENT,
  hash     TEXT NOT NULL,
  version  INTEGER NOT NULL,
  text     TEXT NOT NULL,
  at_ms    INTEGER NOT NULL,
  by       TEXT NOT NULL,
  how      TEXT NOT NULL,
  checksum BLOB NOT NULL
);
