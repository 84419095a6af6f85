-- Readings in blocks: those of many commits in one row, see store/readings. The program moves the rows of the
-- old table, then drops it.
ALTER TABLE readings RENAME TO readings_0001;
DROP INDEX readings_by_id;
ALTER TABLE sources RENAME TO sources_0001;

-- Ground. The newest block grows until it is full; all others stay as they are.
CREATE TABLE blocks (
  first    INTEGER PRIMARY KEY,
  count    INTEGER NOT NULL,
  body     BLOB NOT NULL,
  checksum BLOB NOT NULL
);

-- Ground: the names behind the numbers in blocks. The figures are derived, as of the newest run of seen ids;
-- what came since is in the blocks behind it.
CREATE TABLE sources (
  number   INTEGER PRIMARY KEY,
  source   TEXT NOT NULL UNIQUE,
  heard_ms INTEGER NOT NULL,
  readings INTEGER NOT NULL,
  checksum BLOB NOT NULL
);

-- Every (source, id) that ever came, in sorted runs; kept when the readings themselves are deleted.
CREATE TABLE seen_runs (
  run   INTEGER PRIMARY KEY,
  level INTEGER NOT NULL,
  first INTEGER NOT NULL,
  last  INTEGER NOT NULL,
  bits  INTEGER NOT NULL,
  whole INTEGER NOT NULL
);
CREATE TABLE seen (
  place    INTEGER PRIMARY KEY,
  entries  BLOB NOT NULL,
  checksum INTEGER NOT NULL
);

-- The newest position says how many came.
DELETE FROM counters WHERE name = 'readings_stored';
