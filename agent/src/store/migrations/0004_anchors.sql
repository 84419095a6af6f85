-- Receipts of the hub for heads of the decision chain: ground. Only those are kept that agree with the chain.
CREATE TABLE anchors (
  n         INTEGER PRIMARY KEY,
  epoch     INTEGER NOT NULL,
  position  INTEGER NOT NULL,
  hash      TEXT NOT NULL,
  body      TEXT NOT NULL,
  signature TEXT NOT NULL,
  received  TEXT NOT NULL,
  checksum  BLOB NOT NULL,
  UNIQUE (epoch, position, hash)
);
-- The one receipt kept before was never checked; the next decision brings one that is.
DELETE FROM identity WHERE name = 'anchor';
