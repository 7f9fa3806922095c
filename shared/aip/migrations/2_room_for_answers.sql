-- A key is inserted with its claim and gets its answer, which is longer than the row,
-- some milliseconds later. With room for it in the same page no index has to follow.
ALTER TABLE idempotency_keys SET (fillfactor = 25);
