-- A second record for a place of a chain that is taken: evidence that two copies of a device were at work.
CREATE TABLE forks (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  device TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  position INTEGER NOT NULL,
  hash TEXT NOT NULL,
  body TEXT NOT NULL,
  signature TEXT NOT NULL,
  received_ms INTEGER NOT NULL,
  checksum BLOB NOT NULL,
  UNIQUE (device, epoch, position, hash)
);
