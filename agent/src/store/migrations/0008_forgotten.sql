-- Documents that the core has forgotten and whose chunks are still here: a replay may need them, see store/forgotten.
CREATE TABLE forgotten (
  n        INTEGER PRIMARY KEY,
  document TEXT NOT NULL,
  kind     TEXT NOT NULL,
  at_ms    INTEGER NOT NULL,
  input    INTEGER NOT NULL
);
-- Few are ever rejected: whoever asks for them need not read the others.
CREATE INDEX outbox_rejected ON outbox (n) WHERE rejected IS NOT NULL;
