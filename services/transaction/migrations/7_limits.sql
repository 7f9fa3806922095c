-- Limits of what users may move: the rules, and how much of them is used.
--
-- Whoever records a movement reads the rules and writes the use in the database
-- transaction of the intent; whoever records that it failed gives it back in that of
-- the outcome. What is used is counted for a currency and a kind of movement from
-- the first rule about them on, for all users, and never stops: rules are archived
-- and not deleted.

CREATE TABLE limit_rules (
    -- A UUIDv7.
    limit_rule_id           uuid        PRIMARY KEY,
    tenant_id               text        NOT NULL,
    -- Whom it holds for: a tier, all tiers (all three are null), a user, or a wallet
    -- with its owner.
    tier                    smallint    CHECK (tier BETWEEN 0 AND 9),
    user_id                 uuid,
    wallet_id               uuid,
    movement                text        NOT NULL CHECK (
        movement IN ('any', 'transfer', 'deposit', 'withdrawal')
    ),
    currency_code           text        NOT NULL CHECK (currency_code ~ '^[A-Z]{3}$'),
    single_minor            bigint      CHECK (single_minor >= 0),
    daily_minor             bigint      CHECK (daily_minor >= 0),
    monthly_minor           bigint      CHECK (monthly_minor >= 0),
    velocity_count          integer     CHECK (velocity_count BETWEEN 0 AND 10000),
    velocity_window_seconds integer     CHECK (velocity_window_seconds BETWEEN 1 AND 604800),
    note                    text        NOT NULL CHECK (length(note) BETWEEN 1 AND 500),
    created_by              text        NOT NULL,
    created_at              timestamptz NOT NULL,
    archived_by             text,
    archived_at             timestamptz,
    CONSTRAINT limit_rules_one_scope CHECK (
        (tier IS NULL OR user_id IS NULL) AND (wallet_id IS NULL OR user_id IS NOT NULL)
    ),
    CONSTRAINT limit_rules_limits_something CHECK (
        num_nonnulls(single_minor, daily_minor, monthly_minor, velocity_count) > 0
    ),
    CONSTRAINT limit_rules_velocity_whole CHECK (
        (velocity_count IS NULL) = (velocity_window_seconds IS NULL)
    ),
    CONSTRAINT limit_rules_archived_whole CHECK ((archived_by IS NULL) = (archived_at IS NULL))
);

-- One rule at a time for the same; and what is read for every movement.
CREATE UNIQUE INDEX limit_rules_present
    ON limit_rules (tenant_id, currency_code, user_id, wallet_id, tier, movement)
    NULLS NOT DISTINCT
    WHERE archived_at IS NULL;
-- Those of a user, in all currencies.
CREATE INDEX limit_rules_of_user ON limit_rules (tenant_id, user_id) WHERE archived_at IS NULL;
-- Whether there ever was a rule.
CREATE INDEX limit_rules_counted ON limit_rules (tenant_id, currency_code, movement);

-- What a user's movements of a period come to, those that failed left out. A row
-- is made when it is first needed, from the movements there are.
CREATE TABLE limit_usage (
    tenant_id     text           NOT NULL,
    user_id       uuid           NOT NULL,
    movement      text           NOT NULL CHECK (movement IN ('transfer', 'deposit', 'withdrawal')),
    currency_code text           NOT NULL,
    -- Days and months of UTC.
    period        text           NOT NULL CHECK (period IN ('day', 'month')),
    starts_on     date           NOT NULL,
    -- Beyond 64 bits, so that no sum of amounts can leave it.
    used_minor    numeric(38, 0) NOT NULL CHECK (used_minor >= 0),
    movements     bigint         NOT NULL CHECK (movements >= 0),
    PRIMARY KEY (user_id, movement, currency_code, period, starts_on),
    CONSTRAINT limit_usage_month_starts CHECK (
        period <> 'month' OR extract(day FROM starts_on) = 1
    )
) WITH (fillfactor = 70);

-- For deleting what is long over.
CREATE INDEX limit_usage_by_start ON limit_usage (starts_on);

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    -- UPDATE on the whole table, because changing a rule locks it.
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON limit_rules TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON limit_usage TO %I', application);
END
$$;
