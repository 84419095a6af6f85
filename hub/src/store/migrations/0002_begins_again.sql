-- A device that got more scopes has passed their past: it is told to start again, once.
ALTER TABLE devices ADD COLUMN begins_again INTEGER NOT NULL DEFAULT 0;
