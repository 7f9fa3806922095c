-- A writer that wants to find its aggregates' events again names the row that they
-- stand in, and keeps the names with the aggregate: an aggregate has few batches, and an
-- index of all aggregates would cost more than the log.
ALTER TABLE event_batches ADD COLUMN id uuid;

CREATE UNIQUE INDEX event_batches_id ON event_batches (id) WHERE id IS NOT NULL;
