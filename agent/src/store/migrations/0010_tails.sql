-- The chunk through which `snapshot` holds the document; those after it are applied at a start. 0 and an empty snapshot:
-- the document is made of its chunks alone.
ALTER TABLE documents ADD COLUMN through INTEGER NOT NULL DEFAULT 0;
UPDATE documents SET through =
  coalesce((SELECT max(position) FROM chunks WHERE chunks.document = documents.document), 0);
