-- Since when a document has chunks whose past has not come in; null while it has none.
ALTER TABLE documents ADD COLUMN waiting_since_ms INTEGER;
CREATE INDEX documents_waiting ON documents (waiting_since_ms) WHERE waiting_since_ms IS NOT NULL;
