-- Users' questions to the operators. The events of a ticket are in the event
-- log; `version` is how many it has.
CREATE TABLE tickets (
    ticket_id           uuid        NOT NULL,
    tenant_id           text        NOT NULL,
    author_user_id      uuid        NOT NULL,
    subject             text        NOT NULL,
    description         text        NOT NULL,
    transaction_id      uuid,
    status              text        NOT NULL,
    resolution          text,
    resolved_by_user_id uuid,
    created_at          timestamptz NOT NULL,
    resolved_at         timestamptz,
    version             bigint      NOT NULL,
    CONSTRAINT tickets_pkey PRIMARY KEY (ticket_id),
    CONSTRAINT tickets_subject_bounded CHECK (char_length(subject) BETWEEN 1 AND 200),
    CONSTRAINT tickets_description_bounded CHECK (char_length(description) <= 10000),
    CONSTRAINT tickets_resolution_bounded CHECK (char_length(resolution) BETWEEN 1 AND 10000),
    CONSTRAINT tickets_status_known CHECK (status IN ('open', 'resolved')),
    CONSTRAINT tickets_version_positive CHECK (version >= 1),
    -- A ticket is resolved with a text, an operator and a time, or not at all.
    CONSTRAINT tickets_resolved_whole CHECK (
        (status = 'resolved') = (resolution IS NOT NULL)
        AND (status = 'resolved') = (resolved_by_user_id IS NOT NULL)
        AND (status = 'resolved') = (resolved_at IS NOT NULL)
    )
);

-- The operators' list. Ids are UUIDv7, so their order is the order of writing.
CREATE INDEX tickets_by_tenant ON tickets (tenant_id, ticket_id);
-- The operators' list of one status, of which the open ones are few.
CREATE INDEX tickets_by_status ON tickets (tenant_id, status, ticket_id);
-- A user's own list.
CREATE INDEX tickets_by_author ON tickets (tenant_id, author_user_id, ticket_id);

DO $$
BEGIN
    EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE ON tickets TO %I',
        current_setting('bursar.application_role')
    );
END
$$;
