-- Bulk transfers: many transfers that were asked for by one call.
--
-- Each transfer is a row of `transactions` with events like any other. What is
-- here says that they belong together, and keeps who works on them: while one is
-- under way its bulk transfer has a check, and the transaction has none of its
-- own, so that nothing can move a part of an atomic bulk transfer on by itself.

CREATE TABLE bulk_transfers (
    -- A UUIDv7.
    bulk_transfer_id  uuid        PRIMARY KEY,
    tenant_id         text        NOT NULL,
    mode              text        NOT NULL CHECK (mode IN ('ATOMIC', 'INDEPENDENT')),
    initiator_user_id uuid        NOT NULL,
    transfer_count    integer     NOT NULL CHECK (transfer_count BETWEEN 1 AND 1000),
    -- How the transfers ended. What is not counted here is under way.
    completed_count   integer     NOT NULL DEFAULT 0 CHECK (completed_count >= 0),
    failed_count      integer     NOT NULL DEFAULT 0 CHECK (failed_count >= 0),
    review_count      integer     NOT NULL DEFAULT 0 CHECK (review_count >= 0),
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    CONSTRAINT bulk_transfers_counted CHECK (
        completed_count + failed_count + review_count <= transfer_count
    ),
    -- All transfers of an atomic bulk transfer end together and alike.
    CONSTRAINT bulk_transfers_atomic CHECK (
        mode <> 'ATOMIC'
        OR completed_count + failed_count + review_count = 0
        OR completed_count = transfer_count
        OR failed_count = transfer_count
        OR review_count = transfer_count
    )
) WITH (fillfactor = 85);

CREATE TABLE bulk_transfer_items (
    bulk_transfer_id uuid    NOT NULL,
    -- The index among the request's transfers.
    position         integer NOT NULL CHECK (position BETWEEN 0 AND 999),
    tenant_id        text    NOT NULL,
    -- The caller's own name of it.
    item_key         text    NOT NULL CHECK (length(item_key) BETWEEN 1 AND 64),
    transaction_id   uuid    NOT NULL,
    -- The ledger's refusal of an attempt while another may still arrive. It is
    -- final once the posting's id is barred; until then nothing else is sent.
    refusal          text,
    PRIMARY KEY (bulk_transfer_id, position),
    CONSTRAINT bulk_transfer_items_transaction UNIQUE (transaction_id)
);

-- One row for each bulk transfer under way. All times are the database's.
CREATE TABLE bulk_transfer_checks (
    bulk_transfer_id uuid        PRIMARY KEY,
    tenant_id        text        NOT NULL,
    -- When it is looked at again, unless somebody holds the lease then.
    next_check_at    timestamptz NOT NULL,
    -- How often it was looked at.
    attempts         integer     NOT NULL DEFAULT 0,
    -- Who works on it. Every write of a run is bound to the epoch under which it
    -- got the lease.
    lease_holder     uuid        NOT NULL,
    lease_epoch      bigint      NOT NULL DEFAULT 1,
    lease_until      timestamptz NOT NULL,
    -- Joins what is done later with the request that began it.
    correlation_id   text        NOT NULL
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000
);

CREATE INDEX bulk_transfer_checks_due ON bulk_transfer_checks (next_check_at);

-- For the explanation of a transaction: the callbacks that are about it.
CREATE INDEX provider_callbacks_by_transaction ON provider_callbacks (transaction_id)
    WHERE transaction_id IS NOT NULL;

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON bulk_transfers TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT ON bulk_transfer_items TO %I', application);
    EXECUTE format('GRANT UPDATE (refusal) ON bulk_transfer_items TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON bulk_transfer_checks TO %I', application);
END
$$;
