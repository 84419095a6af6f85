-- Each look at an order asks for its postings; without this one it reads those of all orders.
CREATE INDEX postings_order ON postings (order_id, n);
-- The next ones to send are few among all that were ever sent.
CREATE INDEX postings_due ON postings (next_try_ms, n) WHERE state IN ('queued', 'in_doubt');
-- By both, or the cases of one order are looked for among all cases.
DROP INDEX documents_order;
CREATE INDEX documents_order ON documents (order_id, kind) WHERE order_id IS NOT NULL;
