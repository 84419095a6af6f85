-- Events of partners that could not be taken, whole, so that they can be tried again.
CREATE TABLE event_letters (
  n INTEGER PRIMARY KEY,
  origin TEXT NOT NULL,
  hash TEXT NOT NULL,
  reason TEXT NOT NULL,
  body BLOB NOT NULL,
  state TEXT NOT NULL,           -- dead, replayed
  at_ms INTEGER NOT NULL,
  UNIQUE (origin, hash)
);
CREATE INDEX event_letters_state ON event_letters (state, n);
