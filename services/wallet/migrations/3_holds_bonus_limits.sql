-- Partial captures and expiry of holds, bonus grants, spending limits, and the
-- queue of what is still to be sealed into the proof chain.

ALTER TYPE posting_kind ADD VALUE 'hold_expiry';
ALTER TYPE posting_kind ADD VALUE 'bonus_funding';
ALTER TYPE posting_kind ADD VALUE 'bonus_grant';
ALTER TYPE posting_kind ADD VALUE 'bonus_conversion';
ALTER TYPE posting_kind ADD VALUE 'bonus_expiry';
ALTER TYPE hold_action ADD VALUE 'capture_final';
ALTER TYPE hold_action ADD VALUE 'expire';
ALTER TYPE hold_status ADD VALUE 'expired';

-- Postings of wallet's own operations belong to no transaction.
ALTER TABLE postings ALTER COLUMN transaction_id DROP NOT NULL;

-- When the wallet's last posting was recorded. The next one is recorded at that
-- time or later, also when the clock of another replica is behind, so a wallet's
-- entries are in the order of their times.
ALTER TABLE wallets
    ADD COLUMN posted_at  timestamptz,
    -- Whether wallet_limits has a row for it.
    ADD COLUMN has_limits boolean NOT NULL DEFAULT false;

ALTER TABLE holds
    -- When it can no longer be captured; null for never.
    ADD COLUMN expires_at     timestamptz,
    -- The transaction to which it belongs, and whose postings alone may end it.
    ADD COLUMN transaction_id uuid,
    ADD COLUMN description    text NOT NULL DEFAULT '';

-- Holds from before belong to the transactions that placed them.
UPDATE holds SET transaction_id = postings.transaction_id
FROM postings WHERE postings.id = holds.placed_by;

ALTER TABLE holds ADD CONSTRAINT holds_description CHECK (length(description) <= 256);

-- What the expiry job looks for.
CREATE INDEX holds_due ON holds (expires_at) WHERE status = 'active' AND expires_at IS NOT NULL;

CREATE TYPE grant_status AS ENUM ('active', 'spent', 'converted', 'expired');

-- Bonus money that was granted. The remainders of a wallet's active grants are
-- the money in its bonus bucket; the wallet's row lock guards them all.
CREATE TABLE bonus_grants (
    id               uuid         PRIMARY KEY,
    tenant_id        text         NOT NULL,
    campaign_id      uuid         NOT NULL,
    -- Where the money came from, and where it goes back to when it expires.
    budget_wallet_id uuid         NOT NULL,
    wallet_id        uuid         NOT NULL,
    owner_user_id    uuid         NOT NULL,
    -- How much was granted and how much of it is left, in minor units.
    amount           bigint       NOT NULL,
    remaining        bigint       NOT NULL,
    -- How much was left when it was converted or expired.
    returned         bigint       NOT NULL,
    status           grant_status NOT NULL,
    granted_by       uuid         NOT NULL,
    granted_at       timestamptz  NOT NULL,
    expires_at       timestamptz,
    -- The posting that spent the last of it, converted it or took it back.
    ended_by         uuid,
    ended_at         timestamptz,
    CONSTRAINT bonus_grants_amount CHECK (amount > 0),
    CONSTRAINT bonus_grants_remaining CHECK (
        remaining >= 0 AND returned >= 0 AND remaining + returned <= amount
    ),
    CONSTRAINT bonus_grants_end CHECK (
        (status = 'active') = (remaining > 0)
        AND (status = 'active') = (ended_by IS NULL)
        AND (ended_by IS NULL) = (ended_at IS NULL)
    )
) WITH (fillfactor = 90);

CREATE INDEX bonus_grants_active ON bonus_grants (wallet_id) WHERE status = 'active';
CREATE INDEX bonus_grants_wallet ON bonus_grants (wallet_id, granted_at, id);
-- What a user was granted in a campaign, for its cap.
CREATE INDEX bonus_grants_campaign ON bonus_grants (campaign_id, owner_user_id);
-- What the expiry job looks for.
CREATE INDEX bonus_grants_due ON bonus_grants (expires_at)
    WHERE status = 'active' AND expires_at IS NOT NULL;

-- What a wallet may spend, and what of it is used up in the current day and
-- month of UTC. Guarded by the wallet's row lock.
CREATE TABLE wallet_limits (
    wallet_id     uuid   PRIMARY KEY,
    tenant_id     text   NOT NULL,
    -- In minor units; null for no limit.
    single_minor  bigint,
    daily_minor   bigint,
    monthly_minor bigint,
    day           date   NOT NULL,
    day_spent     bigint NOT NULL,
    -- The first day of the month.
    month         date   NOT NULL,
    month_spent   bigint NOT NULL,
    CONSTRAINT wallet_limits_positive CHECK (
        single_minor >= 0 AND daily_minor >= 0 AND monthly_minor >= 0
    ),
    CONSTRAINT wallet_limits_spent CHECK (day_spent >= 0 AND month_spent >= 0)
) WITH (fillfactor = 80);

-- What was committed and is in no block yet: a row for each batch of the ledger,
-- written with it. The sealer deletes a row when its block is written, so a
-- batch that commits late is found like any other.
CREATE TABLE ledger_unsealed (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    posting_ids  uuid[]      NOT NULL,
    -- The leaf of each posting, 32 bytes each, in the same order.
    leaf_hashes  bytea       NOT NULL,
    -- The wallets that the batch changed.
    wallet_ids   uuid[]      NOT NULL,
    recorded_at  timestamptz NOT NULL,
    CONSTRAINT ledger_unsealed_leaves CHECK (
        octet_length(leaf_hashes) = 32 * cardinality(posting_ids)
    )
) WITH (
    -- A queue: nearly empty, with a great turnover.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000
);

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    EXECUTE format(
        'GRANT UPDATE (posted_at, has_limits, min_available) ON wallets TO %I', application
    );
    EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE (remaining, returned, status, ended_by, ended_at)
             ON bonus_grants TO %I',
        application
    );
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON wallet_limits TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT, DELETE ON ledger_unsealed TO %I', application);
END
$$;
