-- What operators move in customers' wallets: adjustments and grants of bonus money.

ALTER TABLE transactions
    -- Why a wallet is adjusted, and the transaction that it corrects, if it names one.
    ADD COLUMN adjustment_reason text CHECK (adjustment_reason IN (
        'goodwill', 'correction', 'chargeback', 'settlement_difference', 'write_off',
        'fee_reversal'
    )),
    ADD COLUMN corrected_transaction_id uuid,
    -- The campaign of a bonus grant.
    ADD COLUMN campaign_id uuid,
    -- An adjustment has to be explained, which may take more words.
    DROP CONSTRAINT transactions_description_check,
    ADD CONSTRAINT transactions_description_check CHECK (
        length(description) <= CASE kind WHEN 'adjustment' THEN 500 ELSE 200 END
    ),
    DROP CONSTRAINT transactions_kind_check,
    ADD CONSTRAINT transactions_kind_check CHECK (kind IN (
        'transfer', 'deposit', 'withdrawal', 'refund', 'adjustment', 'bonus_grant'
    )),
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
        OR (kind = 'adjustment' AND (from_wallet_id IS NULL) <> (to_wallet_id IS NULL)
            AND provider IS NULL)
        OR (kind = 'bonus_grant' AND from_wallet_id IS NULL AND to_wallet_id IS NOT NULL
            AND provider IS NULL)
    ),
    DROP CONSTRAINT transactions_original_told,
    ADD CONSTRAINT transactions_original_told CHECK (
        (kind = 'refund') = (original_transaction_id IS NOT NULL)
        -- Whose wallet a refund or the debit of an adjustment takes from.
        AND (kind = 'refund' OR (kind = 'adjustment' AND from_wallet_id IS NOT NULL))
            = (payer_user_id IS NOT NULL)
        AND (NOT covers_shortfall OR (kind = 'refund' AND provider IS NOT NULL))
    ),
    ADD CONSTRAINT transactions_adjustment_told CHECK (
        (kind = 'adjustment') = (adjustment_reason IS NOT NULL)
        AND (corrected_transaction_id IS NULL OR kind = 'adjustment')
    ),
    ADD CONSTRAINT transactions_campaign_told CHECK (
        (kind = 'bonus_grant') = (campaign_id IS NOT NULL)
    );
