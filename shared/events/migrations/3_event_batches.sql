-- The other half of the log: events that were written together, in one row.
--
-- A writer that holds the lock of every aggregate it tells of has the order of
-- their versions already: whoever writes the next version waits for it. Such a
-- writer needs no key of (aggregate, version) to be refused by, so that its
-- events need no row and no index entry each. One row a statement is what makes
-- an event cost next to nothing.
--
-- An aggregate's events are written to `events` or here, from some version on
-- here only: the relay looks for the event before a row among the rows.

CREATE TABLE event_batches (
    -- Drawn by a writer that holds its aggregates' locks, so an aggregate's
    -- batches are in the order of their numbers.
    seq              bigint        GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- One element an event, in an order in which an aggregate's versions rise.
    event_ids        uuid[]        NOT NULL,
    aggregate_ids    uuid[]        NOT NULL,
    versions         bigint[]      NOT NULL,
    data             bytea[]       NOT NULL,
    occurred_at      timestamptz[] NOT NULL,
    -- Which of the types and of the origins below it has, from 1.
    types            int[]         NOT NULL,
    origins          int[]         NOT NULL,
    -- One element a type. A subject is its prefix and the aggregate's id.
    aggregate_kinds  text[]        NOT NULL,
    subject_prefixes text[]        NOT NULL,
    kinds            text[]        NOT NULL,
    schemas          text[]        NOT NULL,
    -- One element an origin; traceparents may be null.
    tenant_ids       text[]        NOT NULL,
    actors           text[]        NOT NULL,
    correlation_ids  text[]        NOT NULL,
    traceparents     text[]        NOT NULL,
    recorded_at      timestamptz   NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT event_batches_events CHECK (
        cardinality(event_ids) >= 1
        AND cardinality(aggregate_ids) = cardinality(event_ids)
        AND cardinality(versions) = cardinality(event_ids)
        AND cardinality(data) = cardinality(event_ids)
        AND cardinality(occurred_at) = cardinality(event_ids)
        AND cardinality(types) = cardinality(event_ids)
        AND cardinality(origins) = cardinality(event_ids)
    ),
    CONSTRAINT event_batches_types CHECK (
        cardinality(subject_prefixes) = cardinality(aggregate_kinds)
        AND cardinality(kinds) = cardinality(aggregate_kinds)
        AND cardinality(schemas) = cardinality(aggregate_kinds)
    ),
    CONSTRAINT event_batches_origins CHECK (
        cardinality(actors) = cardinality(tenant_ids)
        AND cardinality(correlation_ids) = cardinality(tenant_ids)
        AND cardinality(traceparents) = cardinality(tenant_ids)
    ),
    CONSTRAINT event_batches_versions CHECK (1 <= ALL (versions)),
    CONSTRAINT event_batches_occurred_at CHECK (
        '1970-01-01 00:00:00Z' <= ALL (occurred_at)
        AND '9999-01-01 00:00:00Z' > ALL (occurred_at)
    )
);

-- Random ids and encoded messages do not get smaller; trying costs more than
-- what it would save.
ALTER TABLE event_batches
    ALTER event_ids SET STORAGE EXTERNAL,
    ALTER aggregate_ids SET STORAGE EXTERNAL,
    ALTER versions SET STORAGE EXTERNAL,
    ALTER data SET STORAGE EXTERNAL,
    ALTER occurred_at SET STORAGE EXTERNAL,
    ALTER types SET STORAGE EXTERNAL,
    ALTER origins SET STORAGE EXTERNAL,
    ALTER correlation_ids SET STORAGE EXTERNAL,
    ALTER traceparents SET STORAGE EXTERNAL;

CREATE INDEX event_batches_recorded_at ON event_batches USING brin (recorded_at);

-- The whole log, an event a row, for people and checks.
CREATE VIEW event_log AS
    SELECT event_id, tenant_id, aggregate_kind, aggregate_id, subject, version, kind, schema,
        data, actor, correlation_id, traceparent, occurred_at, recorded_at
    FROM events
    UNION ALL
    SELECT event.id, batch.tenant_ids[event.origin], batch.aggregate_kinds[event.type],
        event.aggregate_id, batch.subject_prefixes[event.type] || event.aggregate_id,
        event.version, batch.kinds[event.type], batch.schemas[event.type], event.data,
        batch.actors[event.origin], batch.correlation_ids[event.origin],
        batch.traceparents[event.origin], event.occurred_at, batch.recorded_at
    FROM event_batches AS batch
    CROSS JOIN LATERAL UNNEST(
        batch.event_ids, batch.aggregate_ids, batch.versions, batch.data, batch.occurred_at,
        batch.types, batch.origins
    ) AS event (id, aggregate_id, version, data, occurred_at, type, origin);

-- One row for each batch that is not published yet, as in `outbox`.
CREATE TABLE outbox_batches (
    seq         bigint      PRIMARY KEY,
    tenant_id   text        NOT NULL DEFAULT 'default',
    events      int         NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 100000
);

CREATE TRIGGER event_batches_refuse_row_change
    BEFORE UPDATE OR DELETE ON event_batches
    FOR EACH ROW EXECUTE FUNCTION events_refuse_change();
CREATE TRIGGER event_batches_refuse_truncate
    BEFORE TRUNCATE ON event_batches
    FOR EACH STATEMENT EXECUTE FUNCTION events_refuse_change();

CREATE FUNCTION event_batches_fill_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox_batches (seq, events) VALUES (NEW.seq, cardinality(NEW.event_ids));
    IF (SELECT last_value = 1 FROM relay_doorbell) THEN
        PERFORM setval('relay_doorbell', 0);
        PERFORM pg_notify('bursar_outbox', '');
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER event_batches_fill_outbox
    AFTER INSERT ON event_batches
    FOR EACH ROW EXECUTE FUNCTION event_batches_fill_outbox();

ALTER TABLE event_batches ENABLE ALWAYS TRIGGER event_batches_refuse_row_change;
ALTER TABLE event_batches ENABLE ALWAYS TRIGGER event_batches_refuse_truncate;
ALTER TABLE event_batches ENABLE ALWAYS TRIGGER event_batches_fill_outbox;

-- All batches have one publisher: number 8 beside the partitions of `outbox`.
ALTER TABLE relay_leases
    DROP CONSTRAINT relay_leases_partition_check,
    ADD CONSTRAINT relay_leases_partition_check CHECK (partition BETWEEN 0 AND 8);
INSERT INTO relay_leases (partition) VALUES (8);

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT ON event_batches TO %I', application);
    EXECUTE format('GRANT SELECT ON event_log TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT, DELETE ON outbox_batches TO %I', application);
END
$$;
