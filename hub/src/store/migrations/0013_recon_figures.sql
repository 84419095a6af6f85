-- What reconciliation is measured by: since when an item has been open, what is at stake, whether a person must choose.
ALTER TABLE recon_items ADD COLUMN since_ms INTEGER;
ALTER TABLE recon_items ADD COLUMN value_minor INTEGER NOT NULL DEFAULT 0;
ALTER TABLE recon_items ADD COLUMN currency TEXT NOT NULL DEFAULT '';
ALTER TABLE recon_items ADD COLUMN waits INTEGER NOT NULL DEFAULT 0;
CREATE INDEX recon_items_closed ON recon_items (closed_ms) WHERE closed_ms IS NOT NULL;
