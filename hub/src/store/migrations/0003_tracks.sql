-- Where vehicles were, as their units told: each stretch once.
CREATE TABLE tracks (
  device   TEXT NOT NULL,
  from_ms  INTEGER NOT NULL,
  to_ms    INTEGER NOT NULL,
  seen     INTEGER NOT NULL,
  kept     INTEGER NOT NULL,
  body     TEXT NOT NULL,
  taken_ms INTEGER NOT NULL,
  PRIMARY KEY (device, from_ms, to_ms, seen)
);
