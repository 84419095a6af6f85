-- What is long past is found by its time: marks of events that partners sent, and deliveries that wait no more.
CREATE INDEX events_at ON events (at_ms);
CREATE INDEX hook_deliveries_at ON hook_deliveries (state, next_try_ms);
