-- Rows of ground that were not what was written, as they were found. Nothing is read from here but what is to be made
-- whole: `mended` is 1 once what the row said is in the store again.
CREATE TABLE damaged (
  n        INTEGER PRIMARY KEY AUTOINCREMENT,
  of_table TEXT NOT NULL,
  place    INTEGER NOT NULL,
  document TEXT NOT NULL,
  name     TEXT NOT NULL,
  mended   INTEGER NOT NULL,
  found_ms INTEGER NOT NULL,
  kind     TEXT NOT NULL,
  own      INTEGER NOT NULL,
  aside    INTEGER NOT NULL,
  body     BLOB NOT NULL,
  checksum BLOB NOT NULL
);
CREATE INDEX damaged_by_name ON damaged (document, name);
CREATE INDEX damaged_by_place ON damaged (of_table, place);
