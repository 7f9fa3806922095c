-- What consumers in this database have seen, and what they could not handle.

-- One row for each event that a group has handled, written in the transaction
-- of its effect. Old rows may be deleted: inbox_aggregates knows them too.
CREATE TABLE inbox (
    consumer_group text        NOT NULL,
    event_id       uuid        NOT NULL,
    tenant_id      text        NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer_group, event_id)
);

-- For the deletion of old rows.
CREATE INDEX inbox_recorded_at ON inbox (recorded_at);

-- How far a group has come with each aggregate that it follows.
CREATE TABLE inbox_aggregates (
    consumer_group text        NOT NULL,
    aggregate_id   uuid        NOT NULL,
    tenant_id      text        NOT NULL,
    -- The version of the last event that was handled or skipped.
    version        bigint      NOT NULL,
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer_group, aggregate_id)
) WITH (fillfactor = 90);

-- Events that a group set aside. While an aggregate has one that is not
-- resolved, the aggregate is parked: its later events follow it here.
CREATE TABLE dead_letters (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer_group text        NOT NULL,
    source         text        NOT NULL,
    event_id       uuid        NOT NULL,
    tenant_id      text        NOT NULL,
    aggregate_kind text        NOT NULL,
    aggregate_id   uuid        NOT NULL,
    subject        text        NOT NULL,
    version        bigint      NOT NULL,
    kind           text        NOT NULL,
    schema         text        NOT NULL,
    data           bytea       NOT NULL,
    actor          text        NOT NULL,
    correlation_id text        NOT NULL,
    traceparent    text,
    occurred_at    timestamptz NOT NULL,
    -- False for an event that the group does not handle and that is here only
    -- because its place in the aggregate's order counts.
    wanted         boolean     NOT NULL,
    -- `failed`: could not be handled. `behind`: came after such a one.
    reason         text        NOT NULL CHECK (reason IN ('failed', 'behind')),
    attempts       integer     NOT NULL,
    last_error     text        NOT NULL,
    parked_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- When a replay handled it or an operator discarded it.
    replayed_at    timestamptz,
    discarded      boolean     NOT NULL DEFAULT false,
    CONSTRAINT dead_letters_event UNIQUE (consumer_group, event_id)
);

CREATE INDEX dead_letters_parked ON dead_letters (consumer_group, aggregate_id, version)
    WHERE replayed_at IS NULL;

-- Who consumes a source for a group.
CREATE TABLE consumer_leases (
    consumer_group text        NOT NULL,
    source         text        NOT NULL,
    tenant_id      text        NOT NULL DEFAULT 'default',
    holder         uuid        NOT NULL,
    epoch          bigint      NOT NULL,
    expires_at     timestamptz NOT NULL,
    PRIMARY KEY (consumer_group, source)
) WITH (fillfactor = 50);

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT, DELETE ON inbox TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON inbox_aggregates TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON dead_letters TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON consumer_leases TO %I', application);
END
$$;
