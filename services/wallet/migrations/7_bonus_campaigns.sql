-- Bonus campaigns: the rules by which bonus money is granted. The money itself is
-- in the ledger: a campaign's budget is a wallet of the platform's, which nobody
-- may overdraw, and every grant is a posting out of it.

CREATE TABLE bonus_campaigns (
    id                    uuid        PRIMARY KEY,
    tenant_id             text        NOT NULL,
    name                  text        NOT NULL,
    currency              char(3)     NOT NULL,
    -- Its budget: the wallet `bonus_pool` named after the id. Both are inserted
    -- in one transaction, the wallet with the floor 0.
    budget_wallet_id      uuid        NOT NULL,
    -- The most that one user is granted, in minor units; null for no cap.
    user_cap              bigint,
    -- The window in which it may be granted; it includes its beginning.
    starts_at             timestamptz NOT NULL,
    ends_at               timestamptz,
    -- How long a grant lasts; null for ever.
    grant_ttl_seconds     integer,
    -- The rule of conversion: all null when there is none.
    convert_after_seconds integer,
    convert_min_spend     bigint,
    convert_automatically boolean,
    created_at            timestamptz NOT NULL,
    -- When an operator ended it.
    ended_at              timestamptz,
    CONSTRAINT bonus_campaigns_name CHECK (length(name) BETWEEN 1 AND 100),
    CONSTRAINT bonus_campaigns_cap CHECK (user_cap > 0),
    CONSTRAINT bonus_campaigns_window CHECK (ends_at > starts_at),
    CONSTRAINT bonus_campaigns_ttl CHECK (grant_ttl_seconds > 0),
    CONSTRAINT bonus_campaigns_conversion CHECK (
        num_nulls(convert_after_seconds, convert_min_spend, convert_automatically) IN (0, 3)
        AND convert_after_seconds >= 0
        AND convert_min_spend >= 0
    )
);

-- The list of them, newest first.
CREATE INDEX bonus_campaigns_list ON bonus_campaigns (tenant_id, created_at, id);
-- Those whose grants are converted by themselves.
CREATE INDEX bonus_campaigns_automatic ON bonus_campaigns (id) WHERE convert_automatically;
-- Those whose budget has to be empty.
CREATE INDEX bonus_campaigns_ended ON bonus_campaigns (id) WHERE ended_at IS NOT NULL;

-- The active grants of a campaign, for the job that converts them.
CREATE INDEX bonus_grants_open ON bonus_grants (campaign_id, id) WHERE status = 'active';

-- How much a wallet spent since a grant was made, as far as its entries were
-- counted. A memory and no truth: it can be counted again from the ledger.
CREATE TABLE bonus_spending (
    grant_id        uuid   PRIMARY KEY,
    -- The wallet's version up to which its entries are in the sum.
    counted_version bigint NOT NULL,
    spent           bigint NOT NULL,
    CONSTRAINT bonus_spending_range CHECK (counted_version > 0 AND spent >= 0)
) WITH (fillfactor = 80);

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE (ended_at) ON bonus_campaigns TO %I', application
    );
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON bonus_spending TO %I', application);
END
$$;
