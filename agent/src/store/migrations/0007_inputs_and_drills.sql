-- Ground: what came in beside readings, in order, each row with how many readings had come before it.
CREATE TABLE inputs (
  n        INTEGER PRIMARY KEY AUTOINCREMENT,
  readings INTEGER NOT NULL,
  at_ms    INTEGER NOT NULL,
  at       TEXT NOT NULL,
  start    INTEGER NOT NULL,
  body     BLOB NOT NULL,
  checksum BLOB NOT NULL
);

-- What a replay can begin with: everything that the core remembers, as it was behind an input. Documents are not in
-- it; they are made from their chunks.
CREATE TABLE checkpoints (
  n        INTEGER PRIMARY KEY AUTOINCREMENT,
  input    INTEGER NOT NULL,
  readings INTEGER NOT NULL,
  chunk    INTEGER NOT NULL,
  at_ms    INTEGER NOT NULL,
  body     BLOB NOT NULL,
  checksum BLOB NOT NULL
);

-- Ground: drills that were started and ended, by whom and why. Only grows.
CREATE TABLE drills (
  n        INTEGER PRIMARY KEY AUTOINCREMENT,
  source   TEXT NOT NULL,
  turn     TEXT NOT NULL,
  at_ms    INTEGER NOT NULL,
  by       TEXT NOT NULL,
  reason   TEXT NOT NULL,
  checksum BLOB NOT NULL
);
