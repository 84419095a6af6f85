-- How far a device had read its lane of documents when it last asked; null before that. And whether it can compare what it
-- holds with what the hub has, as every device since protocol 2.
ALTER TABLE devices ADD COLUMN read_documents INTEGER;
ALTER TABLE devices ADD COLUMN compares INTEGER NOT NULL DEFAULT 1;

-- Through which position a scope's lane of documents has no rows any more. Who stands before that begins again.
CREATE TABLE feed_pruned (
  scope TEXT PRIMARY KEY,
  through INTEGER NOT NULL
);
