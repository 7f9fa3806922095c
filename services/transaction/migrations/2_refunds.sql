-- Refunds, and operators' decisions about what waits for a person.

ALTER TABLE transactions
    -- The transaction that a refund gives back, and the user whose wallet pays.
    ADD COLUMN original_transaction_id uuid,
    ADD COLUMN payer_user_id uuid,
    -- Whether the platform pays what that wallet has not got.
    ADD COLUMN covers_shortfall boolean NOT NULL DEFAULT false,
    -- How many shares of that wallet's were found, and what it pays by the last.
    ADD COLUMN share_number integer NOT NULL DEFAULT 0 CHECK (share_number >= 0),
    ADD COLUMN share_wallet_minor bigint,
    -- The sum of this transaction's refunds that have not failed. It is no part of
    -- the fold: it changes under this row's lock, in the database transaction that
    -- records the intent or the failure of a refund.
    ADD COLUMN refunded_minor bigint NOT NULL DEFAULT 0,
    -- The state in which it stopped for a person, and what a person last decided.
    ADD COLUMN stopped_in text,
    ADD COLUMN resolution text CHECK (resolution IN ('COMPLETE', 'FAIL', 'RETRY'));

-- What waits for a person came from the state that the event before made.
UPDATE transactions
SET stopped_in = CASE before.kind
    WHEN 'transaction.initiated' THEN 'PENDING'
    WHEN 'transaction.funds_held' THEN 'HELD'
    WHEN 'transaction.provider_requested' THEN 'PROCESSING'
    WHEN 'transaction.provider_accepted' THEN 'PROCESSING'
    WHEN 'transaction.provider_succeeded' THEN 'SETTLING'
    WHEN 'transaction.provider_declined' THEN 'RELEASING'
    WHEN 'transaction.outcome_unknown' THEN 'UNKNOWN'
END
FROM events AS before
WHERE transactions.state = 'MANUAL_REVIEW'
  AND before.aggregate_id = transactions.transaction_id
  AND before.version = transactions.version - 1;

ALTER TABLE transactions
    DROP CONSTRAINT transactions_kind_check,
    ADD CONSTRAINT transactions_kind_check
        CHECK (kind IN ('transfer', 'deposit', 'withdrawal', 'refund')),
    DROP CONSTRAINT transactions_sides,
    ADD CONSTRAINT transactions_sides CHECK (
        (kind = 'transfer' AND from_wallet_id IS NOT NULL AND to_wallet_id IS NOT NULL
            AND provider IS NULL)
        OR (kind = 'deposit' AND from_wallet_id IS NULL AND to_wallet_id IS NOT NULL
            AND provider IS NOT NULL)
        OR (kind = 'withdrawal' AND from_wallet_id IS NOT NULL AND to_wallet_id IS NULL
            AND provider IS NOT NULL)
        OR (kind = 'refund' AND from_wallet_id IS NOT NULL
            AND (to_wallet_id IS NULL) <> (provider IS NULL))
    ),
    ADD CONSTRAINT transactions_original_told CHECK (
        (kind = 'refund') = (original_transaction_id IS NOT NULL)
        AND (kind = 'refund') = (payer_user_id IS NOT NULL)
        AND (NOT covers_shortfall OR (kind = 'refund' AND provider IS NOT NULL))
    ),
    ADD CONSTRAINT transactions_share_told CHECK (
        (share_number > 0) = (share_wallet_minor IS NOT NULL)
        AND (share_number = 0 OR covers_shortfall)
        AND share_wallet_minor BETWEEN 0 AND amount_minor
    ),
    -- Nothing is given back that was not moved.
    ADD CONSTRAINT transactions_refunded CHECK (
        refunded_minor BETWEEN 0 AND amount_minor
        AND (refunded_minor = 0 OR (state = 'COMPLETED' AND kind IN ('transfer', 'deposit')))
    ),
    ADD CONSTRAINT transactions_stop_told CHECK (
        (state = 'MANUAL_REVIEW') = (stopped_in IS NOT NULL)
    );

-- For the lists of whose wallet a refund takes from, and for the sum of refunds.
CREATE INDEX transactions_by_payer ON transactions (payer_user_id, transaction_id)
    WHERE payer_user_id IS NOT NULL;
CREATE INDEX transactions_by_original ON transactions (original_transaction_id)
    WHERE original_transaction_id IS NOT NULL;

-- For the operators' list: what waits for a person, the longest waiting first.
CREATE INDEX transactions_in_review
    ON transactions (tenant_id, (coalesce(unknown_since, updated_at)), transaction_id)
    WHERE state IN ('MANUAL_REVIEW', 'UNKNOWN');
