-- What each turn changed, for the replicas that did not write it; the newest few thousand turns.
CREATE TABLE told (
  turn INTEGER PRIMARY KEY,
  writer TEXT NOT NULL,          -- who had the turn, by a name that no other start of a hub has
  changes TEXT NOT NULL          -- JSON list
);

-- Which replica does what only one of them may do. Who beats no more is followed by another.
CREATE TABLE claims (
  name TEXT PRIMARY KEY,
  holder TEXT NOT NULL,
  beat INTEGER NOT NULL
) WITHOUT ROWID;

-- Runs of devices, by the text that each drew at its start: one that speaks after a newer one began is a copy.
CREATE TABLE runs (
  device TEXT NOT NULL,
  run TEXT NOT NULL,
  n INTEGER NOT NULL,
  began_ms INTEGER NOT NULL,
  PRIMARY KEY (device, run)
) WITHOUT ROWID;
