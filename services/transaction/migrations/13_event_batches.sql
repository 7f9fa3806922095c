-- A transaction's events stand in rows of event_batches, with those of others that were
-- written at the same moment. These are the names of its rows, in the order of its
-- versions. Whoever writes an event turns the row from the version before it, so an
-- aggregate's events have one writer at a time, as batches require.
ALTER TABLE transactions ADD COLUMN event_batches uuid[] NOT NULL DEFAULT '{}';
