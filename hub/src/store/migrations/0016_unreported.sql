-- Since when a person is asked what became of a lease that ran out and of which its depot stated nothing.
ALTER TABLE leases ADD COLUMN asked_ms INTEGER;
