-- The audit trail: one row for each event of the mesh that is audited. Rows are
-- chained by hashes, so that a changed, removed or slipped-in row can be named
-- (the encoding that is hashed is described in src/domain/audit.rs). Each
-- tenant has a chain of its own.
CREATE TABLE audit_events (
    tenant_id       text        NOT NULL,
    position        bigint      NOT NULL,
    event_id        uuid        NOT NULL,
    source          text        NOT NULL,
    type            text        NOT NULL,
    subject         text        NOT NULL,
    subject_version bigint      NOT NULL,
    actor           text        NOT NULL,
    correlation_id  text        NOT NULL,
    occurred_at     timestamptz NOT NULL,
    recorded_at     timestamptz NOT NULL,
    -- Text and not jsonb: what is hashed must stay byte for byte as it was.
    data            text        NOT NULL,
    previous_hash   bytea       NOT NULL,
    hash            bytea       NOT NULL,
    CONSTRAINT audit_events_pkey PRIMARY KEY (tenant_id, position),
    CONSTRAINT audit_events_event_id_key UNIQUE (event_id),
    CONSTRAINT audit_events_position_positive CHECK (position >= 1),
    CONSTRAINT audit_events_data_is_object CHECK (data IS JSON OBJECT),
    CONSTRAINT audit_events_previous_hash_length CHECK (octet_length(previous_hash) = 32),
    CONSTRAINT audit_events_hash_length CHECK (octet_length(hash) = 32)
);

-- One index a filter of the list; each ends in the order of the list.
CREATE INDEX audit_events_by_type ON audit_events (tenant_id, type, position);
CREATE INDEX audit_events_by_subject ON audit_events (tenant_id, subject, position);
CREATE INDEX audit_events_by_correlation_id ON audit_events (tenant_id, correlation_id, position);
CREATE INDEX audit_events_by_actor ON audit_events (tenant_id, actor, position);

-- Where each chain ends. The row is locked while the chain grows, which makes
-- the chain linear; and it shows when rows are cut off at the chain's end.
CREATE TABLE audit_chains (
    tenant_id text   NOT NULL,
    position  bigint NOT NULL,
    hash      bytea  NOT NULL,
    CONSTRAINT audit_chains_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT audit_chains_position_not_negative CHECK (position >= 0),
    CONSTRAINT audit_chains_hash_length CHECK (octet_length(hash) = 32)
) WITH (fillfactor = 50);

CREATE FUNCTION audit_events_refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only: % is refused', TG_OP
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER audit_events_no_update_delete
    BEFORE UPDATE OR DELETE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION audit_events_refuse_change();
CREATE TRIGGER audit_events_no_truncate
    BEFORE TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION audit_events_refuse_change();
-- ALWAYS: session_replication_role = replica must not switch them off.
ALTER TABLE audit_events ENABLE ALWAYS TRIGGER audit_events_no_update_delete;
ALTER TABLE audit_events ENABLE ALWAYS TRIGGER audit_events_no_truncate;

DO $$
DECLARE
    application_role text := current_setting('bursar.application_role');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT ON audit_events TO %I', application_role);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE (position, hash) ON audit_chains TO %I', application_role);
END
$$;
