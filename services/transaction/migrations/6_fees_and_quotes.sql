-- Fees, quotes and exchange rates.
--
-- Rules and rates are never changed: another row takes their place, and what was
-- priced by them names them. A quote is a price that was promised, and is used by
-- at most one transaction.

CREATE TABLE fee_rules (
    -- A UUIDv7, so that the order of ids is the order of creation.
    fee_rule_id       uuid        PRIMARY KEY,
    tenant_id         text        NOT NULL,
    kind              text        NOT NULL CHECK (kind IN ('transfer', 'deposit', 'withdrawal')),
    currency_code     text        NOT NULL CHECK (currency_code ~ '^[A-Z]{3}$'),
    from_amount_minor bigint      NOT NULL CHECK (from_amount_minor >= 0),
    to_amount_minor   bigint      CHECK (to_amount_minor >= from_amount_minor),
    fixed_minor       bigint      NOT NULL CHECK (fixed_minor >= 0),
    basis_points      integer     NOT NULL CHECK (basis_points BETWEEN 0 AND 10000),
    min_fee_minor     bigint      NOT NULL CHECK (min_fee_minor >= 0),
    max_fee_minor     bigint      CHECK (max_fee_minor >= greatest(min_fee_minor, fixed_minor)),
    payer             text        NOT NULL CHECK (payer IN ('SENDER', 'RECIPIENT')),
    rounding          text        NOT NULL CHECK (rounding IN ('HALF_UP', 'HALF_EVEN', 'UP', 'DOWN')),
    priority          integer     NOT NULL,
    created_by        text        NOT NULL,
    created_at        timestamptz NOT NULL,
    archived_by       text,
    archived_at       timestamptz,
    -- A provider always moves the amount itself.
    CONSTRAINT fee_rules_payer_fits CHECK (
        kind = 'transfer'
        OR (kind = 'deposit' AND payer = 'RECIPIENT')
        OR (kind = 'withdrawal' AND payer = 'SENDER')
    ),
    CONSTRAINT fee_rules_end_told CHECK ((archived_by IS NULL) = (archived_at IS NULL))
);

-- The rules that count, as they are looked for.
CREATE INDEX fee_rules_active ON fee_rules (tenant_id, kind, currency_code)
    WHERE archived_at IS NULL;

CREATE TABLE exchange_rates (
    -- A UUIDv7.
    exchange_rate_id    uuid        PRIMARY KEY,
    tenant_id           text        NOT NULL,
    from_currency_code  text        NOT NULL CHECK (from_currency_code ~ '^[A-Z]{3}$'),
    to_currency_code    text        NOT NULL CHECK (to_currency_code ~ '^[A-Z]{3}$'),
    -- An exact decimal number, as text: nothing computes with it here.
    rate                text        NOT NULL CHECK (rate ~ '^(0|[1-9][0-9]{0,8})([.][0-9]{1,12})?$'),
    spread_basis_points integer     NOT NULL CHECK (spread_basis_points BETWEEN 0 AND 5000),
    source              text        NOT NULL CHECK (length(source) BETWEEN 1 AND 64),
    observed_at         timestamptz NOT NULL,
    created_by          text        NOT NULL,
    created_at          timestamptz NOT NULL,
    CONSTRAINT exchange_rates_pair CHECK (from_currency_code <> to_currency_code)
);

-- The latest of a pair.
CREATE INDEX exchange_rates_by_pair
    ON exchange_rates (tenant_id, from_currency_code, to_currency_code, observed_at, exchange_rate_id);

CREATE TABLE quotes (
    -- A UUIDv7.
    quote_id                uuid        PRIMARY KEY,
    tenant_id               text        NOT NULL,
    user_id                 uuid        NOT NULL,
    kind                    text        NOT NULL CHECK (kind IN ('transfer', 'deposit', 'withdrawal')),
    currency_code           text        NOT NULL CHECK (currency_code ~ '^[A-Z]{3}$'),
    amount_minor            bigint      NOT NULL CHECK (amount_minor > 0),
    -- The wallets that it is for; any when absent.
    from_wallet_id          uuid,
    to_wallet_id            uuid,
    fee_minor               bigint,
    fee_payer               text,
    fee_rule_id             uuid,
    converted_currency_code text,
    converted_minor         bigint,
    fx_rate                 text,
    fx_spread_basis_points  integer,
    fx_source               text,
    fx_observed_at          timestamptz,
    fx_rate_id              uuid,
    created_at              timestamptz NOT NULL,
    expires_at              timestamptz NOT NULL,
    -- The transaction that has used it, and when.
    transaction_id          uuid,
    used_at                 timestamptz,
    CONSTRAINT quotes_use_told CHECK ((transaction_id IS NULL) = (used_at IS NULL))
);

-- A transaction has one price.
CREATE UNIQUE INDEX quotes_by_transaction ON quotes (transaction_id)
    WHERE transaction_id IS NOT NULL;
-- For the deletion of those that nobody has used.
CREATE INDEX quotes_unused ON quotes (expires_at) WHERE transaction_id IS NULL;

ALTER TABLE transactions
    -- What it costs, in its own currency, and by which rule.
    ADD COLUMN fee_minor bigint,
    ADD COLUMN fee_payer text,
    ADD COLUMN fee_rule_id uuid,
    -- What arrives in another currency, and by which rate.
    ADD COLUMN converted_currency_code text,
    ADD COLUMN converted_minor bigint,
    ADD COLUMN fx_rate text,
    ADD COLUMN fx_spread_basis_points integer,
    ADD COLUMN fx_source text,
    ADD COLUMN fx_observed_at timestamptz,
    ADD COLUMN fx_rate_id uuid,
    ADD CONSTRAINT transactions_fee_told CHECK (
        (fee_minor IS NULL) = (fee_payer IS NULL) AND (fee_minor IS NULL) = (fee_rule_id IS NULL)
    ),
    -- Who bears it fits the kind, and the recipient is left something.
    ADD CONSTRAINT transactions_fee_fits CHECK (
        fee_minor IS NULL
        OR (fee_minor >= 0 AND fee_payer = 'SENDER' AND kind IN ('transfer', 'withdrawal'))
        OR (fee_minor BETWEEN 0 AND amount_minor - 1 AND fee_payer = 'RECIPIENT'
            AND kind IN ('transfer', 'deposit'))
    ),
    ADD CONSTRAINT transactions_conversion_told CHECK (
        (converted_minor IS NULL) = (converted_currency_code IS NULL)
        AND (converted_minor IS NULL) = (fx_rate IS NULL)
        AND (converted_minor IS NULL) = (fx_spread_basis_points IS NULL)
        AND (converted_minor IS NULL) = (fx_source IS NULL)
        AND (converted_minor IS NULL) = (fx_observed_at IS NULL)
        AND (converted_minor IS NULL) = (fx_rate_id IS NULL)
    ),
    ADD CONSTRAINT transactions_conversion_fits CHECK (
        converted_minor IS NULL
        OR (converted_minor > 0 AND kind = 'transfer' AND converted_currency_code <> currency_code)
    ),
    -- At another rate it would not come back.
    ADD CONSTRAINT transactions_converted_stays CHECK (converted_minor IS NULL OR refunded_minor = 0);

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT ON fee_rules, exchange_rates TO %I', application);
    EXECUTE format('GRANT UPDATE (archived_by, archived_at) ON fee_rules TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT, DELETE ON quotes TO %I', application);
    EXECUTE format('GRANT UPDATE (transaction_id, used_at) ON quotes TO %I', application);
END
$$;
