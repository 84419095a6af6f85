-- What other systems are told, and how far each has been told.
CREATE TABLE hook_events (
  id TEXT PRIMARY KEY,           -- the same at every try
  type TEXT NOT NULL,
  site TEXT NOT NULL,
  body TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL    -- nobody is told of it after this
);
CREATE TABLE hook_deliveries (
  event TEXT NOT NULL,
  hook TEXT NOT NULL,
  state TEXT NOT NULL,           -- waiting, delivered, stale, dead
  attempts INTEGER NOT NULL,
  next_try_ms INTEGER NOT NULL,
  last_error TEXT NOT NULL,
  PRIMARY KEY (event, hook)
);
CREATE INDEX hook_deliveries_due ON hook_deliveries (hook, state, next_try_ms);
-- Subscriptions that a receiver ended.
CREATE TABLE hook_ended (
  hook TEXT PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  reason TEXT NOT NULL
);
-- What was told last of each document, and the how manieth change that was.
CREATE TABLE hook_told (
  subject TEXT PRIMARY KEY,
  state TEXT NOT NULL,
  n INTEGER NOT NULL
);
