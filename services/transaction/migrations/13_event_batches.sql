-- A transaction's events stand in rows of event_batches, with those of others that were
-- written at the same moment. These are the names of its rows, in the order in which it
-- was written. Whoever writes an event turns the row from the version before it, so an
-- aggregate's events have one writer at a time, as batches require.
ALTER TABLE transactions ADD COLUMN event_batches uuid[] NOT NULL DEFAULT '{}';

-- Programs of the version before run on while the new ones start, and write rows of
-- `events`. Behind a batch such a row would never be published, and the batches behind it
-- would wait for it for ever: the relay looks for the event before a row among the rows.
CREATE FUNCTION events_refuse_behind_batch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM transactions
        WHERE transaction_id = NEW.aggregate_id AND event_batches <> '{}'
    ) THEN
        RAISE EXCEPTION 'events of transaction % are written in batches', NEW.aggregate_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'events_refuse_behind_batch';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER events_refuse_behind_batch
    BEFORE INSERT ON events
    FOR EACH ROW WHEN (NEW.aggregate_kind = 'transaction')
    EXECUTE FUNCTION events_refuse_behind_batch();

-- Batches wait for the rows of their aggregates, which are many after an outage.
CREATE INDEX outbox_aggregate_id ON outbox (aggregate_id);
