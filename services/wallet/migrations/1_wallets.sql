-- Wallets: one row each, locked and updated by every posting that touches it.

CREATE TYPE wallet_status AS ENUM ('active', 'frozen', 'closed');
CREATE TYPE wallet_bucket AS ENUM ('available', 'held', 'bonus');

CREATE TABLE wallets (
    id             uuid          PRIMARY KEY,
    tenant_id      text          NOT NULL,
    -- The user it belongs to; null for the platform's own wallets.
    owner_user_id  uuid,
    -- What a wallet of the platform is for, and which one; null for users'.
    system_purpose text,
    system_name    text,
    currency       char(3)       NOT NULL,
    status         wallet_status NOT NULL,
    -- The money by bucket, in minor units: always the sum of the entries.
    available      bigint        NOT NULL,
    held           bigint        NOT NULL,
    bonus          bigint        NOT NULL,
    -- The least that available may be: 0 for a user without credit, the lowest
    -- bigint for the platform's own wallets.
    min_available  bigint        NOT NULL,
    -- How many entries it has had, and how many events.
    version        bigint        NOT NULL,
    event_version  bigint        NOT NULL,
    created_at     timestamptz   NOT NULL,
    CONSTRAINT wallets_currency CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT wallets_available CHECK (available >= min_available),
    CONSTRAINT wallets_held CHECK (held >= 0),
    CONSTRAINT wallets_bonus CHECK (bonus >= 0),
    CONSTRAINT wallets_versions CHECK (version >= 0 AND event_version >= 0),
    CONSTRAINT wallets_owner CHECK (
        (owner_user_id IS NULL) = (system_purpose IS NOT NULL)
        AND (system_purpose IS NULL) = (system_name IS NULL)
    )
-- Room for the next version of a row on its own page, so that an update touches
-- no index.
) WITH (fillfactor = 90);

-- One wallet of the platform for each purpose, name and currency.
CREATE UNIQUE INDEX wallets_system
    ON wallets (tenant_id, system_purpose, system_name, currency)
    WHERE system_purpose IS NOT NULL;

-- A user's wallets, oldest first. None of its columns ever changes.
CREATE INDEX wallets_owner
    ON wallets (tenant_id, owner_user_id, created_at, id)
    WHERE owner_user_id IS NOT NULL;

DO $$
BEGIN
    EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE (status, available, held, bonus, version, event_version)
             ON wallets TO %I',
        current_setting('bursar.application_role')
    );
END
$$;
