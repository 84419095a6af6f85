-- Who was invited. Of the secret only its hash is kept; the first key that uses it keeps it.
CREATE TABLE invitations (
  secret_sha256 TEXT PRIMARY KEY,
  device        TEXT NOT NULL,
  kind          TEXT NOT NULL,
  sites         TEXT NOT NULL,
  vehicles      TEXT NOT NULL,
  made_ms       INTEGER NOT NULL,
  until_ms      INTEGER NOT NULL,
  used_by       TEXT,
  used_ms       INTEGER
);

-- Certificates that were issued, by serial number in hexadecimal.
CREATE TABLE certificates (
  serial       TEXT PRIMARY KEY,
  device       TEXT NOT NULL,
  line_key     TEXT NOT NULL,     -- SHA-256 of the key of the device's line
  from_ms      INTEGER NOT NULL,
  until_ms     INTEGER NOT NULL,
  pem          TEXT NOT NULL,
  superseded_ms INTEGER           -- since when a newer one of the device is in use
);
CREATE INDEX certificates_of ON certificates (device, from_ms);

-- Devices that were cut off, in order: a hub that runs ends their connections.
CREATE TABLE cuts (
  n      INTEGER PRIMARY KEY AUTOINCREMENT,
  device TEXT NOT NULL,
  at_ms  INTEGER NOT NULL
);

-- A revoked device stays on the list, so that its name and its key are never let in again.
ALTER TABLE devices ADD COLUMN revoked_ms INTEGER;
ALTER TABLE devices ADD COLUMN revoked_why TEXT NOT NULL DEFAULT '';
-- Until when the key that is listed may fetch a first certificate without an invitation's secret.
ALTER TABLE devices ADD COLUMN adopt_until_ms INTEGER NOT NULL DEFAULT 0;

-- Nonces of signed exchanges, for as long as the exchange might be repeated.
CREATE TABLE nonces (
  device TEXT NOT NULL,
  nonce  TEXT NOT NULL,
  at_ms  INTEGER NOT NULL,
  PRIMARY KEY (device, nonce)
) WITHOUT ROWID;
CREATE INDEX nonces_by_age ON nonces (at_ms);

-- How often whom was refused what.
CREATE TABLE refusals (
  who     TEXT NOT NULL,
  what    TEXT NOT NULL,
  times   INTEGER NOT NULL,
  last_ms INTEGER NOT NULL,
  PRIMARY KEY (who, what)
) WITHOUT ROWID;
