-- Account numbers that the customer had opened, one a reference for ever.
CREATE TABLE accounts (
    -- The customer's own name for it.
    reference      text        PRIMARY KEY CHECK (length(reference) BETWEEN 1 AND 64),
    -- The provider's own name for it.
    account_id     uuid        NOT NULL,
    currency       text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    holder_name    text        NOT NULL CHECK (length(holder_name) BETWEEN 1 AND 201),
    -- Ten digits, the last of which checks the others; none for a declined one.
    account_number text        UNIQUE CHECK (account_number ~ '^[0-9]{10}$'),
    decline_code   text        CHECK (length(decline_code) BETWEEN 1 AND 64),
    created_at     timestamptz NOT NULL,
    CONSTRAINT accounts_open_or_declined
        CHECK ((account_number IS NULL) = (decline_code IS NOT NULL))
);

-- Faults may hit requests to open accounts as well.
ALTER TABLE faults
    DROP CONSTRAINT faults_operation_check,
    ADD CONSTRAINT faults_operation_check
        CHECK (operation IN ('charge', 'payout', 'account', 'status'));

DO $$
BEGIN
    EXECUTE format(
        'GRANT SELECT, INSERT ON accounts TO %I',
        current_setting('bursar.application_role')
    );
END
$$;
