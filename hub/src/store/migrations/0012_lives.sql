-- Runs of the hub: the epoch of its own actor, and where the feed ended when the run began. A page that was signed in
-- a run that is not here, or later than the next run here began, was sent by a store that is newer than this one.
CREATE TABLE hub_runs (
  run INTEGER PRIMARY KEY,
  began INTEGER NOT NULL
);

-- What was there at a moment: the day's first, and what a backup is sure to hold. Devices keep what came later.
CREATE TABLE marks (
  at_ms INTEGER PRIMARY KEY,
  is_backup INTEGER NOT NULL,    -- 0 for the day's first, 1 for a backup that was verified, 2 for one under way
  feed INTEGER NOT NULL
);
CREATE TABLE outbox_marks (
  device TEXT NOT NULL,
  outbox_epoch TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  taken_through INTEGER NOT NULL,
  PRIMARY KEY (device, outbox_epoch, at_ms)
);
CREATE INDEX outbox_marks_time ON outbox_marks (at_ms);

-- 0 once a release is in every figure of the ERP that leases are cut from, or was taken back.
ALTER TABLE recon_items ADD COLUMN weighs INTEGER NOT NULL DEFAULT 1;
CREATE INDEX recon_items_weigh ON recon_items (opened_ms) WHERE weighs = 1;
