-- What changed in facts and rules since they were last written: a row for each commit, see store/journal.
CREATE TABLE journal (
  n        INTEGER PRIMARY KEY,
  body     BLOB NOT NULL,
  checksum BLOB NOT NULL
);
