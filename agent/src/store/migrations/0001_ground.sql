-- Ground: append-only, each row with the first 8 bytes of SHA-256 over its own content.
CREATE TABLE readings (
  position     INTEGER PRIMARY KEY,
  source       TEXT NOT NULL,
  reading_id   TEXT NOT NULL,
  at_ms        INTEGER NOT NULL,
  kind         TEXT NOT NULL,
  payload_hash TEXT NOT NULL,
  body         TEXT NOT NULL,
  received     TEXT NOT NULL,
  checksum     BLOB NOT NULL
);
-- A reading is known by its sender and its own id, for ever.
CREATE UNIQUE INDEX readings_by_id ON readings (source, reading_id);

CREATE TABLE quarantine (
  position     INTEGER PRIMARY KEY,
  topic        TEXT NOT NULL,
  reason       TEXT NOT NULL,
  payload_hash TEXT NOT NULL,
  size         INTEGER NOT NULL,
  head         BLOB NOT NULL,
  at_ms        INTEGER NOT NULL,
  checksum     BLOB NOT NULL
);

CREATE TABLE decisions (
  epoch     INTEGER NOT NULL,
  position  INTEGER NOT NULL,
  id        TEXT NOT NULL UNIQUE,
  hash      TEXT NOT NULL,
  body      TEXT NOT NULL,
  signature TEXT NOT NULL,
  checksum  BLOB NOT NULL,
  PRIMARY KEY (epoch, position)
);

CREATE TABLE chunks (
  position INTEGER PRIMARY KEY,
  document TEXT NOT NULL,
  kind     TEXT NOT NULL,
  hash     TEXT NOT NULL,
  own      INTEGER NOT NULL,
  bytes    BLOB NOT NULL,
  checksum BLOB NOT NULL,
  UNIQUE (document, hash)
);

CREATE TABLE leases (
  id        TEXT PRIMARY KEY,
  body      TEXT NOT NULL,
  signature TEXT NOT NULL,
  received  TEXT NOT NULL,
  used      TEXT NOT NULL,
  state     TEXT NOT NULL,
  checksum  BLOB NOT NULL
);

CREATE TABLE orders (
  order_id TEXT PRIMARY KEY,
  version  INTEGER NOT NULL,
  body     TEXT NOT NULL,
  checksum BLOB NOT NULL
);

CREATE TABLE facts (
  key      TEXT PRIMARY KEY,
  body     TEXT NOT NULL,
  checksum BLOB NOT NULL
);

-- State of rules: written with the readings it came from, never apart from them.
CREATE TABLE rules (
  key      TEXT PRIMARY KEY,
  body     TEXT NOT NULL,
  checksum BLOB NOT NULL
);

-- Derived: can be rebuilt from ground.
CREATE TABLE documents (
  document TEXT PRIMARY KEY,
  kind     TEXT NOT NULL,
  heads    TEXT NOT NULL,
  view     TEXT NOT NULL,
  snapshot BLOB NOT NULL
);
CREATE TABLE gates (
  document TEXT PRIMARY KEY,
  body     TEXT NOT NULL
);
CREATE TABLE sources (
  source   TEXT PRIMARY KEY,
  heard_ms INTEGER NOT NULL,
  readings INTEGER NOT NULL
);
CREATE TABLE counters (
  name  TEXT PRIMARY KEY,
  value INTEGER NOT NULL
);
INSERT INTO counters (name, value) VALUES
  ('readings_stored', 0), ('duplicates_dropped', 0), ('quarantined', 0), ('conflicts', 0);

-- What the hub has to be told, in order. AUTOINCREMENT: a number is never used twice.
CREATE TABLE outbox (
  n        INTEGER PRIMARY KEY AUTOINCREMENT,
  kind     TEXT NOT NULL,
  document TEXT,
  body     BLOB NOT NULL,
  taken    INTEGER NOT NULL DEFAULT 0,
  rejected TEXT
);
CREATE INDEX outbox_waiting ON outbox (n) WHERE taken = 0;

CREATE TABLE identity (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
);
