-- Fraud screening: rules, what they found, the cases that a person decides, and what
-- the worker keeps of users. Nothing but the column is part of a transaction's truth.

ALTER TABLE transactions
    -- When a person approved what screening had stopped.
    ADD COLUMN approved_at timestamptz;

-- One row for each tenant that ever had a rule. Its revision grows in the database
-- transaction that changes a rule, and every screening reads it, so that a change
-- counts at once wherever rules are kept compiled.
CREATE TABLE fraud_rule_sets (
    tenant_id text   PRIMARY KEY,
    revision  bigint NOT NULL CHECK (revision >= 1)
);

CREATE TABLE fraud_rules (
    tenant_id     text        NOT NULL,
    name          text        NOT NULL CHECK (name ~ '^[a-z][a-z0-9_]{0,63}$'),
    -- What its hits belong to: a rule of the same name that is made later is another.
    rule_id       uuid        NOT NULL,
    version       bigint      NOT NULL CHECK (version >= 1),
    expression    text        NOT NULL CHECK (length(expression) BETWEEN 1 AND 1000),
    outcome       text        NOT NULL CHECK (outcome IN ('ALLOW', 'REVIEW', 'DENY')),
    mode          text        NOT NULL CHECK (mode IN ('OFF', 'SHADOW', 'ACTIVE')),
    stage         text        NOT NULL CHECK (stage IN ('BEFORE', 'AFTER')),
    priority      integer     NOT NULL CHECK (priority BETWEEN 0 AND 10000),
    description   text        NOT NULL CHECK (length(description) <= 500),
    updated_by    text        NOT NULL,
    updated_at    timestamptz NOT NULL,
    -- Hits that are no longer kept one by one.
    folded_active bigint      NOT NULL DEFAULT 0 CHECK (folded_active >= 0),
    folded_shadow bigint      NOT NULL DEFAULT 0 CHECK (folded_shadow >= 0),
    folded_errors bigint      NOT NULL DEFAULT 0 CHECK (folded_errors >= 0),
    PRIMARY KEY (tenant_id, name),
    CONSTRAINT fraud_rules_id UNIQUE (rule_id)
);

-- A rule that matched, or could not be evaluated. Rows are only added, so that
-- payments that meet one rule at one time never wait for each other; old ones are
-- folded into the rule.
CREATE TABLE fraud_hits (
    rule_id        uuid        NOT NULL,
    -- Of a transaction that was denied there is no row of `transactions`.
    transaction_id uuid        NOT NULL,
    tenant_id      text        NOT NULL,
    user_id        uuid        NOT NULL,
    rule_version   bigint      NOT NULL,
    mode           text        NOT NULL CHECK (mode IN ('SHADOW', 'ACTIVE')),
    is_error       boolean     NOT NULL,
    -- What became of the transaction by all rules together.
    verdict        text        NOT NULL CHECK (verdict IN ('ALLOW', 'REVIEW', 'DENY')),
    hit_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (rule_id, transaction_id)
);

CREATE INDEX fraud_hits_by_time ON fraud_hits (rule_id, hit_at);
CREATE INDEX fraud_hits_to_fold ON fraud_hits (hit_at);

CREATE TABLE fraud_cases (
    -- A UUIDv7, so that the order of ids is the order in which they were opened.
    case_id        uuid        PRIMARY KEY,
    tenant_id      text        NOT NULL,
    state          text        NOT NULL DEFAULT 'OPEN'
        CHECK (state IN ('OPEN', 'APPROVED', 'REJECTED')),
    -- BEFORE: the transaction was stopped. AFTER: it is COMPLETED.
    stage          text        NOT NULL CHECK (stage IN ('BEFORE', 'AFTER')),
    transaction_id uuid        NOT NULL,
    user_id        uuid        NOT NULL,
    rule_name      text        NOT NULL,
    rule_version   bigint      NOT NULL,
    is_rule_error  boolean     NOT NULL,
    -- What the rules saw, in the order of the table of variables.
    variable_names  text[]     NOT NULL,
    variable_values text[]     NOT NULL,
    opened_at      timestamptz NOT NULL,
    decided_by     text,
    decided_at     timestamptz,
    reason         text        CHECK (length(reason) <= 500),
    CONSTRAINT fraud_cases_transaction UNIQUE (transaction_id, stage),
    CONSTRAINT fraud_cases_variables CHECK (cardinality(variable_names) = cardinality(variable_values)),
    CONSTRAINT fraud_cases_end_told CHECK (
        (state = 'OPEN') = (decided_by IS NULL)
        AND (state = 'OPEN') = (decided_at IS NULL)
        AND (state = 'OPEN') = (reason IS NULL)
    )
);

CREATE INDEX fraud_cases_open ON fraud_cases (tenant_id, case_id) WHERE state = 'OPEN';
CREATE INDEX fraud_cases_by_user ON fraud_cases (user_id, case_id);

-- Since when a user's transfers reach a wallet.
CREATE TABLE fraud_payees (
    user_id            uuid        NOT NULL,
    wallet_id          uuid        NOT NULL,
    tenant_id          text        NOT NULL,
    first_completed_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, wallet_id)
);

-- What a user paid on a day of UTC, by transfers and withdrawals that are COMPLETED.
CREATE TABLE fraud_profile_days (
    user_id       uuid    NOT NULL,
    currency_code text    NOT NULL,
    day           date    NOT NULL,
    tenant_id     text    NOT NULL,
    payments      bigint  NOT NULL CHECK (payments >= 1),
    sum_minor     numeric NOT NULL CHECK (sum_minor > 0),
    max_minor     bigint  NOT NULL CHECK (max_minor > 0),
    PRIMARY KEY (user_id, currency_code, day)
) WITH (fillfactor = 85);

-- For deleting what is older than anybody looks.
CREATE INDEX fraud_profile_days_by_day ON fraud_profile_days (day);

-- Whom users paid before. The sums of days are built from the events.
INSERT INTO fraud_payees (user_id, wallet_id, tenant_id, first_completed_at)
SELECT initiator_user_id, to_wallet_id, min(tenant_id), min(posted_at)
FROM transactions
WHERE kind = 'transfer' AND state = 'COMPLETED'
GROUP BY initiator_user_id, to_wallet_id;

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON fraud_rule_sets TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON fraud_rules TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT, DELETE ON fraud_hits TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT ON fraud_cases TO %I', application);
    EXECUTE format(
        'GRANT UPDATE (state, decided_by, decided_at, reason) ON fraud_cases TO %I', application
    );
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON fraud_payees TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON fraud_profile_days TO %I', application);
END
$$;
