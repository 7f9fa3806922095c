-- Transactions: the fold of their events, the checks of those under way, and
-- the providers' callbacks.
--
-- The truth is the `events` table of the event log. A row here changes only in
-- the transaction that appends the events it folds, by compare-and-set on its
-- version. There are no foreign keys between these tables: they are written
-- together, and `verify` checks what the keys would.

CREATE TABLE transactions (
    -- A UUIDv7, so that the order of ids is the order of creation.
    transaction_id        uuid        PRIMARY KEY,
    tenant_id             text        NOT NULL,
    kind                  text        NOT NULL CHECK (kind IN ('transfer', 'deposit', 'withdrawal')),
    state                 text        NOT NULL CHECK (state IN (
        'PENDING', 'HELD', 'PROCESSING', 'UNKNOWN', 'SETTLING', 'RELEASING',
        'COMPLETED', 'FAILED', 'MANUAL_REVIEW'
    )),
    currency_code         text        NOT NULL CHECK (currency_code ~ '^[A-Z]{3}$'),
    amount_minor          bigint      NOT NULL CHECK (amount_minor > 0),
    from_wallet_id        uuid,
    to_wallet_id          uuid,
    provider              text        CHECK (provider ~ '^[a-z][a-z0-9_]{0,31}$'),
    initiator_user_id     uuid        NOT NULL,
    -- The initiator's note. It is in no event, because it may be personal.
    description           text        NOT NULL CHECK (length(description) <= 200),
    hold_id               uuid,
    provider_requests     integer     NOT NULL DEFAULT 0 CHECK (provider_requests >= 0),
    provider_requested_at timestamptz,
    provider_reference    text,
    decline_code          text,
    unknown_since         timestamptz,
    failure_reason        text,
    failure_message       text,
    review_cause          text,
    beneficiary_user_id   uuid,
    posted_at             timestamptz,
    created_at            timestamptz NOT NULL,
    updated_at            timestamptz NOT NULL,
    -- How many events it has had.
    version               bigint      NOT NULL CHECK (version >= 1),
    CONSTRAINT transactions_sides CHECK (
        (kind = 'transfer' AND from_wallet_id IS NOT NULL AND to_wallet_id IS NOT NULL
            AND provider IS NULL)
        OR (kind = 'deposit' AND from_wallet_id IS NULL AND to_wallet_id IS NOT NULL
            AND provider IS NOT NULL)
        OR (kind = 'withdrawal' AND from_wallet_id IS NOT NULL AND to_wallet_id IS NULL
            AND provider IS NOT NULL)
    ),
    CONSTRAINT transactions_failure_told CHECK (
        (state = 'FAILED') = (failure_reason IS NOT NULL)
        AND (state = 'FAILED') = (failure_message IS NOT NULL)
    ),
    CONSTRAINT transactions_posting_told CHECK ((state = 'COMPLETED') = (posted_at IS NOT NULL)),
    CONSTRAINT transactions_unknown_told CHECK ((state = 'UNKNOWN') = (unknown_since IS NOT NULL)),
    CONSTRAINT transactions_review_told CHECK (
        (state = 'MANUAL_REVIEW') = (review_cause IS NOT NULL)
    )
) WITH (fillfactor = 85);

-- For the lists: what a user started, and what reached a wallet of the user's.
CREATE INDEX transactions_by_initiator ON transactions (initiator_user_id, transaction_id);
CREATE INDEX transactions_by_beneficiary ON transactions (beneficiary_user_id, transaction_id)
    WHERE beneficiary_user_id IS NOT NULL;

-- One row for each transaction under way: none once it is COMPLETED or FAILED,
-- or waits for a person. Recovery looks here only, so its work is what is
-- stuck, not what is there. All times are the database's.
CREATE TABLE transaction_checks (
    transaction_id uuid        PRIMARY KEY,
    tenant_id      text        NOT NULL,
    -- When recovery looks at it, unless somebody holds the lease then.
    next_check_at  timestamptz NOT NULL,
    -- How often recovery has looked.
    attempts       integer     NOT NULL DEFAULT 0,
    -- Grows with every callback; a check that was nudged meanwhile comes at once.
    nudges         integer     NOT NULL DEFAULT 0,
    -- What the last run left to the next one beside the events.
    note           text,
    -- Who works on it. Every write of a run is bound to the epoch under which it
    -- got the lease, so a run that was overtaken cannot write.
    lease_holder   uuid        NOT NULL,
    lease_epoch    bigint      NOT NULL DEFAULT 1,
    lease_until    timestamptz NOT NULL,
    -- Joins what recovery does with the request that began it.
    correlation_id text        NOT NULL
) WITH (
    -- A queue: small, with a great turnover.
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000
);

CREATE INDEX transaction_checks_due ON transaction_checks (next_check_at);

-- The durable inbox of callbacks: a callback is answered once its row is
-- committed, and a repeated one changes nothing.
CREATE TABLE provider_callbacks (
    provider       text        NOT NULL CHECK (provider ~ '^[a-z][a-z0-9_]{0,31}$'),
    -- The provider's id of the callback.
    callback_id    text        NOT NULL CHECK (length(callback_id) BETWEEN 1 AND 128),
    tenant_id      text        NOT NULL,
    kind           text        NOT NULL CHECK (length(kind) <= 64),
    -- Our name of what it is about, as the provider tells it.
    reference      text        NOT NULL CHECK (length(reference) <= 128),
    -- The transaction it is about, once there is one.
    transaction_id uuid,
    body           bytea       NOT NULL CHECK (octet_length(body) <= 65536),
    received_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    matched_at     timestamptz,
    PRIMARY KEY (provider, callback_id),
    CONSTRAINT provider_callbacks_matched CHECK (
        (transaction_id IS NULL) = (matched_at IS NULL)
    )
);

-- For matching later.
CREATE INDEX provider_callbacks_unmatched ON provider_callbacks (received_at)
    WHERE transaction_id IS NULL;

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON transactions TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON transaction_checks TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT ON provider_callbacks TO %I', application);
    EXECUTE format(
        'GRANT UPDATE (transaction_id, matched_at) ON provider_callbacks TO %I', application
    );
END
$$;
