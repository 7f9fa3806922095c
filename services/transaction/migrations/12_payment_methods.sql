-- What a card acquirer is to charge, while it may still have to be asked.

ALTER TABLE transactions
    -- A token of the acquirer's, which lets who has it and our key charge a card. It is
    -- erased in the commit by which the provider need not be asked any more.
    ADD COLUMN payment_method text,
    ADD CONSTRAINT transactions_payment_method_length CHECK (
        length(payment_method) BETWEEN 3 AND 128
    ),
    ADD CONSTRAINT transactions_payment_method_erased CHECK (
        payment_method IS NULL
        OR (kind = 'deposit' AND provider_reference IS NULL
            AND (state IN ('PENDING', 'PROCESSING')
                OR (state = 'MANUAL_REVIEW' AND review_cause = 'screening')))
    );
