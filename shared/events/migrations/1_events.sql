-- The event log, and the outbox that the relay empties.

CREATE TABLE events (
    -- Follows the versions of an aggregate inside one statement. Between
    -- transactions it says nothing about the order of commits.
    seq            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- A UUIDv7. Made by the writer and not indexed: nobody looks it up here.
    event_id       uuid        NOT NULL,
    tenant_id      text        NOT NULL,
    aggregate_kind text        NOT NULL,
    aggregate_id   uuid        NOT NULL,
    -- The aggregate's id as text, such as `wal_…`.
    subject        text        NOT NULL,
    -- 1 for the first event of the aggregate, then without a gap.
    version        bigint      NOT NULL,
    -- What happened, such as `wallet.credited`.
    kind           text        NOT NULL,
    -- The full name of the protobuf message in data.
    schema         text        NOT NULL,
    data           bytea       NOT NULL,
    -- Who caused it, such as `usr_…` or `service:transaction`.
    actor          text        NOT NULL,
    correlation_id text        NOT NULL,
    -- The W3C trace context of the writer, when it was traced.
    traceparent    text,
    occurred_at    timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT events_aggregate_version UNIQUE (aggregate_id, version),
    CONSTRAINT events_version_positive CHECK (version >= 1),
    CONSTRAINT events_occurred_at CHECK (
        occurred_at >= '1970-01-01 00:00:00Z' AND occurred_at < '9999-01-01 00:00:00Z'
    ),
    CONSTRAINT events_bounds CHECK (
        length(tenant_id) BETWEEN 1 AND 32
        AND length(aggregate_kind) BETWEEN 1 AND 64
        AND length(subject) BETWEEN 1 AND 128
        AND length(kind) BETWEEN 1 AND 128
        AND length(schema) BETWEEN 1 AND 256
        AND octet_length(data) <= 65536
        AND length(actor) BETWEEN 1 AND 128
        AND length(correlation_id) BETWEEN 1 AND 64
        AND length(traceparent) <= 64
    )
);

-- For finding what was recorded since a time; tiny, because the log is in that
-- order already.
CREATE INDEX events_recorded_at ON events USING brin (recorded_at);

-- One row for each event that is not published yet. A row appears when its
-- event commits and goes when its event is in the stream, so an event that
-- commits late is found like any other.
CREATE TABLE outbox (
    partition    smallint    NOT NULL CHECK (partition BETWEEN 0 AND 7),
    seq          bigint      NOT NULL,
    tenant_id    text        NOT NULL,
    aggregate_id uuid        NOT NULL,
    version      bigint      NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (partition, seq)
) WITH (
    -- The table is a queue: nearly empty, with a great turnover.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 100000
);

-- Who publishes a partition. The epoch grows with every change of hands, and
-- what a holder deletes is bound to the epoch under which it was published.
CREATE TABLE relay_leases (
    partition  smallint    PRIMARY KEY CHECK (partition BETWEEN 0 AND 7),
    tenant_id  text        NOT NULL DEFAULT 'default',
    holder     uuid,
    epoch      bigint      NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);

INSERT INTO relay_leases (partition) SELECT generate_series(0, 7);

-- What the relay knows of its stream, so that a Redis that comes back with less
-- than it had is noticed, and what was lost is published again.
CREATE TABLE relay_streams (
    stream      text        PRIMARY KEY,
    tenant_id   text        NOT NULL DEFAULT 'default',
    -- The id of the last entry, as its two halves.
    last_ms     bigint      NOT NULL,
    last_seq    bigint      NOT NULL,
    -- All consumers are done with the events that were recorded before it.
    settled_at  timestamptz NOT NULL
) WITH (fillfactor = 50);

-- The relay's doorbell: 1 while a relay sleeps and wants to be woken.
--
-- A transaction that notifies holds a lock of the whole server while it commits,
-- so that commits follow one another instead of sharing a flush: with a
-- notification in every transaction 8 writers were 20 times slower. A sequence
-- is read and set outside of transactions, so only the first writer after the
-- relay fell asleep rings.
CREATE SEQUENCE relay_doorbell MINVALUE 0 MAXVALUE 1 START 0;

CREATE FUNCTION events_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the event log is append-only: % refused', TG_OP
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER events_refuse_row_change
    BEFORE UPDATE OR DELETE ON events
    FOR EACH ROW EXECUTE FUNCTION events_refuse_change();
CREATE TRIGGER events_refuse_truncate
    BEFORE TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION events_refuse_change();

-- The partition is a function of the aggregate, so an aggregate's events have
-- one publisher at a time. The last byte of a UUID of version 4, 5 or 7 is
-- evenly spread, and unlike the server's hash functions it never changes.
CREATE FUNCTION events_partition(aggregate_id uuid) RETURNS smallint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (get_byte(uuid_send(aggregate_id), 15) % 8)::smallint;

CREATE FUNCTION events_fill_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox (partition, seq, tenant_id, aggregate_id, version)
    SELECT events_partition(aggregate_id), seq, tenant_id, aggregate_id, version
    FROM inserted;
    IF FOUND AND (SELECT last_value = 1 FROM relay_doorbell) THEN
        PERFORM setval('relay_doorbell', 0);
        PERFORM pg_notify('bursar_outbox', '');
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER events_fill_outbox
    AFTER INSERT ON events
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION events_fill_outbox();

-- Also when session_replication_role says otherwise.
ALTER TABLE events ENABLE ALWAYS TRIGGER events_refuse_row_change;
ALTER TABLE events ENABLE ALWAYS TRIGGER events_refuse_truncate;
ALTER TABLE events ENABLE ALWAYS TRIGGER events_fill_outbox;

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT ON events TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT, DELETE ON outbox TO %I', application);
    EXECUTE format('GRANT SELECT, UPDATE ON relay_leases TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON relay_streams TO %I', application);
    EXECUTE format('GRANT SELECT, UPDATE ON SEQUENCE relay_doorbell TO %I', application);
END
$$;
