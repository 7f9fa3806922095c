-- The books of the simulated provider. It stands for another company, so its
-- tables have no tenants: whoever holds the API key is its one customer.

-- What the customer asked for. One row a reference and kind, for ever.
CREATE TABLE movements (
    -- Orders the lists.
    position     bigint      GENERATED ALWAYS AS IDENTITY UNIQUE,
    -- `charge`: money in; `payout`: money out.
    kind         text        NOT NULL CHECK (kind IN ('charge', 'payout')),
    -- The customer's own name for it.
    reference    text        NOT NULL CHECK (length(reference) BETWEEN 1 AND 64),
    -- The provider's own name for it.
    movement_id  uuid        NOT NULL,
    amount_minor bigint      NOT NULL CHECK (amount_minor > 0),
    currency     text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    description  text        NOT NULL CHECK (length(description) <= 200),
    status       text        NOT NULL CHECK (status IN ('pending', 'succeeded', 'declined')),
    decline_code text        CHECK (length(decline_code) BETWEEN 1 AND 64),
    created_at   timestamptz NOT NULL,
    -- When a pending one finishes, and as what.
    settle_at    timestamptz,
    finished_at  timestamptz,
    PRIMARY KEY (kind, reference),
    CONSTRAINT movements_settle_when_pending
        CHECK ((status = 'pending') = (finished_at IS NULL) AND (status <> 'pending' OR settle_at IS NOT NULL)),
    CONSTRAINT movements_declined_with_code
        CHECK (status <> 'declined' OR decline_code IS NOT NULL)
) WITH (fillfactor = 90);

-- For the job that finishes pending ones.
CREATE INDEX movements_pending ON movements (settle_at) WHERE status = 'pending';

-- Notices to the customer, each sent until it is taken or given up.
CREATE TABLE callbacks (
    callback_id     uuid        PRIMARY KEY,
    kind            text        NOT NULL,
    reference       text        NOT NULL,
    -- The body, byte for byte as it is signed and sent.
    body            text        NOT NULL,
    attempts        integer     NOT NULL DEFAULT 0,
    -- Null when it was delivered or given up.
    next_attempt_at timestamptz,
    delivered_at    timestamptz,
    created_at      timestamptz NOT NULL,
    FOREIGN KEY (kind, reference) REFERENCES movements (kind, reference)
) WITH (fillfactor = 90);

CREATE INDEX callbacks_due ON callbacks (next_attempt_at) WHERE next_attempt_at IS NOT NULL;

-- Faults that tests and engineers ask for.
CREATE TABLE faults (
    fault_id     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operation    text        NOT NULL CHECK (operation IN ('charge', 'payout', 'status')),
    kind         text        NOT NULL,
    remaining    integer     NOT NULL CHECK (remaining BETWEEN 0 AND 1000000),
    -- When set, only requests with this reference or amount are hit.
    reference    text        CHECK (length(reference) BETWEEN 1 AND 64),
    amount_minor bigint      CHECK (amount_minor > 0),
    decline_code text        CHECK (length(decline_code) BETWEEN 1 AND 64),
    delay_ms     integer     NOT NULL CHECK (delay_ms BETWEEN 0 AND 60000)
);

CREATE INDEX faults_live ON faults (operation, fault_id) WHERE remaining > 0;

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT ON movements, callbacks TO %I', application);
    EXECUTE format(
        'GRANT UPDATE (status, decline_code, finished_at) ON movements TO %I', application
    );
    EXECUTE format(
        'GRANT UPDATE (attempts, next_attempt_at, delivered_at) ON callbacks TO %I', application
    );
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON faults TO %I', application);
END
$$;
