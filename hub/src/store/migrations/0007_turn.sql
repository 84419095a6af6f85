-- Whose turn it is to write: who writes locks the one row, and gives numbers out from it.
CREATE TABLE turn (
  id INTEGER PRIMARY KEY,
  turns INTEGER NOT NULL,        -- how many there were: who finds another number has missed something
  ledger INTEGER NOT NULL,       -- the last number that was given out, table by table
  feed INTEGER NOT NULL,
  decisions INTEGER NOT NULL,
  postings INTEGER NOT NULL,
  quarantine INTEGER NOT NULL,
  audit INTEGER NOT NULL,
  forks INTEGER NOT NULL,
  cuts INTEGER NOT NULL
);
INSERT INTO turn (id, turns, ledger, feed, decisions, postings, quarantine, audit, forks, cuts)
SELECT 1, 0,
       (SELECT coalesce(max(position), 0) FROM ledger),
       (SELECT coalesce(max(position), 0) FROM feed),
       (SELECT coalesce(max(n), 0) FROM decisions),
       (SELECT coalesce(max(n), 0) FROM postings),
       (SELECT coalesce(max(position), 0) FROM quarantine),
       (SELECT coalesce(max(n), 0) FROM audit),
       (SELECT coalesce(max(n), 0) FROM forks),
       (SELECT coalesce(max(n), 0) FROM cuts);
