-- Looked at every minute: resolved cases that rest for long, and closed ones in which something was said since. Only cases
-- stand so. Kind is not asked for, or SQLite takes the index of lists and reads all cases.
CREATE INDEX documents_resolved ON documents (changed_ms, document) WHERE state = 'resolved';
CREATE INDEX documents_closed ON documents (changed_ms, document) WHERE state = 'closed';
