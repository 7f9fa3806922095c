-- Bank accounts that users are paid out to, and withdrawals that name one.
--
-- An account's number and name are personal: they are kept sealed, under the
-- key-encryption key and bound to the row.

CREATE TABLE payout_accounts (
    -- A UUIDv7.
    payout_account_id uuid        PRIMARY KEY,
    tenant_id         text        NOT NULL,
    -- Whose it is.
    user_id           uuid        NOT NULL,
    provider          text        NOT NULL CHECK (length(provider) BETWEEN 1 AND 32),
    currency_code     text        NOT NULL CHECK (currency_code ~ '^[A-Z]{3}$'),
    -- The bank's code, which is nobody's secret.
    sort_code         text        NOT NULL CHECK (length(sort_code) BETWEEN 3 AND 11),
    -- Number and name.
    sealed            bytea       NOT NULL CHECK (length(sealed) <= 1024),
    created_at        timestamptz NOT NULL,
    archived_at       timestamptz
);

-- For the lists, and for counting those that a user has.
CREATE INDEX payout_accounts_by_user ON payout_accounts (user_id, payout_account_id)
    WHERE archived_at IS NULL;

ALTER TABLE transactions
    -- Where a withdrawal is paid to, if its provider pays to bank accounts.
    ADD COLUMN payout_account_id uuid,
    ADD CONSTRAINT transactions_payout_fits CHECK (
        payout_account_id IS NULL OR kind = 'withdrawal'
    );

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT ON payout_accounts TO %I', application);
    EXECUTE format('GRANT UPDATE (archived_at) ON payout_accounts TO %I', application);
END
$$;
