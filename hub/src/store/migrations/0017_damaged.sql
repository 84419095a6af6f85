-- Ground rows that were found not to match their checksum, and what is derived and differs from its ground: as they were
-- found. The row itself stays in its place, where nobody reads it, until it is whole again.
CREATE TABLE damaged (
  of_table TEXT NOT NULL,
  name TEXT NOT NULL,
  document TEXT NOT NULL,        -- hex; whose change it is
  why TEXT NOT NULL,
  body BLOB NOT NULL,
  found_ms INTEGER NOT NULL,
  mended_ms INTEGER,             -- null until it is whole again
  PRIMARY KEY (of_table, name)
);
