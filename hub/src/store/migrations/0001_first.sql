-- What the hub knows of itself: ledger epoch, actor epoch, hybrid clock; and how far its own readers have got.
CREATE TABLE cursors (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

-- Ground: everything that is told to devices or was told by them, once, in the order it was committed.
CREATE TABLE ledger (
  position INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,            -- chunk, order, fact, lease, anchor, sources
  document TEXT NOT NULL,        -- hex; empty unless a chunk
  document_kind TEXT NOT NULL,   -- case, dispatch; empty unless a chunk
  hash TEXT NOT NULL,            -- hex SHA-256 of the item
  origin TEXT NOT NULL,          -- the device that sent it; empty for the hub's own
  actor TEXT NOT NULL,           -- a chunk's writer
  seq INTEGER NOT NULL,          -- a chunk's number among its writer's
  subject TEXT NOT NULL,         -- what a newer item of this subject replaces
  body BLOB NOT NULL,
  at_ms INTEGER NOT NULL,
  checksum BLOB NOT NULL
);
CREATE UNIQUE INDEX ledger_once ON ledger (document, hash);
CREATE INDEX ledger_writer ON ledger (document, actor, seq) WHERE kind = 'chunk';
CREATE INDEX ledger_document ON ledger (document, position) WHERE kind = 'chunk';
CREATE INDEX ledger_origin ON ledger (origin, position) WHERE origin <> '';
CREATE INDEX ledger_subject ON ledger (subject, position) WHERE subject <> '';

-- What each scope gets, in lanes. One writer allots positions, so a reader never passes a row that commits later.
CREATE TABLE feed (
  position INTEGER PRIMARY KEY AUTOINCREMENT,
  scope TEXT NOT NULL,
  lane INTEGER NOT NULL,
  item INTEGER NOT NULL REFERENCES ledger (position),
  document TEXT NOT NULL,
  hash TEXT NOT NULL,
  subject TEXT NOT NULL
);
CREATE UNIQUE INDEX feed_once ON feed (scope, document, hash);
CREATE INDEX feed_page ON feed (scope, lane, position);
CREATE INDEX feed_item ON feed (item);
CREATE INDEX feed_subject ON feed (scope, subject) WHERE subject <> '';

-- Derived: documents as they stand. A row is behind while last_chunk > folded_through.
CREATE TABLE documents (
  document TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  heads TEXT NOT NULL,
  view TEXT NOT NULL,
  snapshot BLOB NOT NULL,
  folded_through INTEGER NOT NULL,
  last_chunk INTEGER NOT NULL,
  site TEXT,
  order_id TEXT,
  vehicle TEXT,
  state TEXT,
  over INTEGER NOT NULL DEFAULT 0,  -- 1 once nobody needs to work on it
  case_type TEXT,
  owner TEXT,
  severity TEXT,
  occurrence INTEGER,
  due_ms INTEGER,                -- planned departure of a dispatch, resolve-by of a case
  opened_ms INTEGER NOT NULL,
  changed_ms INTEGER NOT NULL,
  checksum BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX documents_behind ON documents (document) WHERE last_chunk > folded_through;
CREATE INDEX documents_order ON documents (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX documents_list ON documents (kind, over, due_ms);

-- Which scopes have a document: they have all its chunks so far and get each new one.
CREATE TABLE document_scopes (
  document TEXT NOT NULL,
  scope TEXT NOT NULL,
  PRIMARY KEY (document, scope)
) WITHOUT ROWID;

CREATE TABLE orders (
  order_id TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  site TEXT NOT NULL,
  vehicle TEXT NOT NULL,
  customer TEXT NOT NULL,
  status TEXT NOT NULL,
  body TEXT NOT NULL,
  at_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX orders_customer ON orders (customer);

-- The newest fact under each key; all of them stand in the ledger.
CREATE TABLE facts (
  key TEXT PRIMARY KEY,
  source TEXT NOT NULL,
  origin TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  order_id TEXT,
  customer TEXT,
  body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX facts_order ON facts (order_id) WHERE order_id IS NOT NULL;

CREATE TABLE sources (
  source TEXT PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  told_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- Ground: decisions as their devices signed them.
CREATE TABLE decisions (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  device TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  position INTEGER NOT NULL,
  id TEXT NOT NULL UNIQUE,
  hash TEXT NOT NULL,
  body TEXT NOT NULL,
  signature TEXT NOT NULL,
  kind TEXT NOT NULL,
  site TEXT NOT NULL,
  dispatch TEXT,
  order_id TEXT,
  at_ms INTEGER NOT NULL,
  received_ms INTEGER NOT NULL,
  checksum BLOB NOT NULL,
  UNIQUE (device, epoch, position)
);
CREATE INDEX decisions_order ON decisions (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX decisions_dispatch ON decisions (dispatch) WHERE dispatch IS NOT NULL;

CREATE TABLE recon_items (
  decision TEXT PRIMARY KEY,
  dispatch TEXT,
  order_id TEXT,
  row INTEGER,
  family TEXT NOT NULL,
  outcome TEXT,
  approver TEXT,
  body TEXT NOT NULL,
  opened_ms INTEGER NOT NULL,
  closed_ms INTEGER
) WITHOUT ROWID;
CREATE INDEX recon_items_order ON recon_items (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX recon_items_open ON recon_items (opened_ms) WHERE outcome IS NULL;

CREATE TABLE postings (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  key TEXT NOT NULL UNIQUE,
  decision TEXT NOT NULL,
  order_id TEXT NOT NULL,
  line INTEGER,
  kind TEXT NOT NULL,
  quantity INTEGER,
  state TEXT NOT NULL CHECK (state IN ('queued', 'in_doubt', 'applied', 'dead', 'withdrawn')),
  is_wanted INTEGER NOT NULL DEFAULT 1,
  attempts INTEGER NOT NULL DEFAULT 0,
  next_try_ms INTEGER NOT NULL,
  sent_ms INTEGER,
  claimed INTEGER NOT NULL DEFAULT 0,
  last_error TEXT,
  applied_ms INTEGER,
  document TEXT,
  body TEXT NOT NULL
);
CREATE INDEX postings_open ON postings (order_id, n) WHERE state <> 'applied';
CREATE INDEX postings_decision ON postings (decision);

CREATE TABLE leases (
  id TEXT PRIMARY KEY,
  site TEXT NOT NULL,
  body TEXT NOT NULL,
  signature TEXT NOT NULL,
  state TEXT NOT NULL,
  used TEXT NOT NULL,
  granted_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL,
  closed_ms INTEGER
) WITHOUT ROWID;
CREATE INDEX leases_site ON leases (site, granted_ms);

CREATE TABLE devices (
  device TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  public_key TEXT NOT NULL,
  sites TEXT NOT NULL,
  vehicles TEXT NOT NULL,
  added_ms INTEGER NOT NULL,
  seen_ms INTEGER,
  status TEXT,
  refill_through INTEGER NOT NULL DEFAULT 0  -- up to here it also gets its own chunks back
) WITHOUT ROWID;

-- How far each life of a device's outbox was taken: a push that comes again changes nothing.
CREATE TABLE outboxes (
  device TEXT NOT NULL,
  outbox_epoch TEXT NOT NULL,
  taken_through INTEGER NOT NULL,
  PRIMARY KEY (device, outbox_epoch)
) WITHOUT ROWID;
CREATE TABLE rejections (
  device TEXT NOT NULL,
  outbox_epoch TEXT NOT NULL,
  number INTEGER NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (device, outbox_epoch, number)
) WITHOUT ROWID;

-- Where each chain of decisions has got to.
CREATE TABLE chains (
  device TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  position INTEGER NOT NULL,
  hash TEXT NOT NULL,
  anchored INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (device, epoch)
) WITHOUT ROWID;

CREATE TABLE quarantine (
  position INTEGER PRIMARY KEY AUTOINCREMENT,
  origin TEXT NOT NULL,
  what TEXT NOT NULL,
  document TEXT NOT NULL,
  hash TEXT NOT NULL,
  reason TEXT NOT NULL,
  size INTEGER NOT NULL,
  head BLOB NOT NULL,
  at_ms INTEGER NOT NULL
);
CREATE UNIQUE INDEX quarantine_once ON quarantine (origin, what, document, hash);
CREATE INDEX quarantine_hash ON quarantine (document, hash);

CREATE TABLE events (
  source TEXT NOT NULL,
  id TEXT NOT NULL,
  hash TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  PRIMARY KEY (source, id)
) WITHOUT ROWID;

-- Ground: who changed what, as a chain of hashes.
CREATE TABLE audit (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail TEXT NOT NULL,
  previous TEXT NOT NULL,
  hash TEXT NOT NULL
);
