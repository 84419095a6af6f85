-- Interchanges of partners, in and out. A number at its sender is taken once.
CREATE TABLE edi_files (
  n INTEGER PRIMARY KEY,         -- in the order in which they were written
  partner TEXT NOT NULL,
  direction TEXT NOT NULL,       -- in, out
  sender TEXT NOT NULL,          -- empty in what could not be read
  control TEXT NOT NULL,         -- the interchange's own number; the hash of what could not be read
  hash TEXT NOT NULL,
  name TEXT NOT NULL,
  kind TEXT NOT NULL,            -- of its messages, such as 214
  cause TEXT NOT NULL,           -- out: what it was written for
  state TEXT NOT NULL,           -- in: taken, partly, refused; out: waiting, written, accepted, rejected
  reason TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  UNIQUE (partner, direction, sender, control)
);
CREATE INDEX edi_files_state ON edi_files (direction, state);
CREATE INDEX edi_files_cause ON edi_files (partner, cause);

-- What the files hold, once for each content.
CREATE TABLE edi_bodies (
  hash TEXT PRIMARY KEY,
  body BLOB NOT NULL
);

-- What partners' messages said, code by code as it came.
CREATE TABLE edi_words (
  file INTEGER NOT NULL,
  place INTEGER NOT NULL,
  subject TEXT NOT NULL,
  site TEXT,                     -- of the order that it names, where there is one
  kind TEXT NOT NULL,
  code TEXT NOT NULL,
  reason TEXT NOT NULL,
  bucket TEXT NOT NULL,
  milestone TEXT NOT NULL,
  is_known INTEGER NOT NULL,
  happened_ms INTEGER,           -- when it was so, as the partner says
  learned_ms INTEGER NOT NULL,   -- when the hub heard of it
  detail TEXT NOT NULL,
  PRIMARY KEY (file, place)
);
CREATE INDEX edi_words_subject ON edi_words (subject);
