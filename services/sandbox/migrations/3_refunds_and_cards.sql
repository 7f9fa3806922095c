-- Refunds give a charge's money back, captures take authorised money from a
-- card. Both are movements: they are planned, finished, told and settled like
-- the others. What they draw on counts them, so that no two of them can take
-- more than there is.
ALTER TABLE movements
    DROP CONSTRAINT movements_kind_check,
    ADD CONSTRAINT movements_kind_check
        CHECK (kind IN ('charge', 'payout', 'refund', 'capture')),
    -- What the provider keeps for itself.
    ADD COLUMN fee_minor bigint NOT NULL DEFAULT 0 CHECK (fee_minor >= 0),
    -- Of a charge or capture: the sum of its refunds that were not declined.
    ADD COLUMN refunded_minor bigint NOT NULL DEFAULT 0,
    -- What a refund or capture draws on.
    ADD COLUMN source_kind text,
    ADD COLUMN source_reference text CHECK (length(source_reference) BETWEEN 1 AND 64),
    ADD CONSTRAINT movements_refunded_at_most CHECK (refunded_minor BETWEEN 0 AND amount_minor),
    ADD CONSTRAINT movements_source CHECK (
        CASE kind
            WHEN 'refund' THEN coalesce(source_kind, '') IN ('charge', 'capture')
            WHEN 'capture' THEN coalesce(source_kind, '') = 'authorization'
            ELSE source_kind IS NULL
        END
        AND (source_kind IS NULL) = (source_reference IS NULL)
    );

CREATE INDEX movements_by_source ON movements (source_kind, source_reference)
    WHERE source_reference IS NOT NULL;

-- For settlement files and the list of a period.
CREATE INDEX movements_by_end ON movements (finished_at, position) WHERE finished_at IS NOT NULL;

-- Cards that were shown. The number itself is never written: the token follows
-- from it under the provider's key.
CREATE TABLE card_tokens (
    token      text        PRIMARY KEY CHECK (token ~ '^tok_[0-9a-f]{32}$'),
    last4      text        NOT NULL CHECK (last4 ~ '^[0-9]{4}$'),
    brand      text        NOT NULL CHECK (length(brand) BETWEEN 1 AND 32),
    -- The name of the surprise that the card brings, if any.
    behaviour  text        CHECK (length(behaviour) BETWEEN 1 AND 64),
    created_at timestamptz NOT NULL
);

-- Money that is reserved on a card. One row a reference, for ever.
CREATE TABLE card_authorizations (
    -- Orders the lists.
    position         bigint      GENERATED ALWAYS AS IDENTITY UNIQUE,
    reference        text        PRIMARY KEY CHECK (length(reference) BETWEEN 1 AND 64),
    authorization_id uuid        NOT NULL,
    card_token       text        NOT NULL REFERENCES card_tokens (token),
    amount_minor     bigint      NOT NULL CHECK (amount_minor > 0),
    currency         text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    description      text        NOT NULL CHECK (length(description) <= 200),
    status           text        NOT NULL
        CHECK (status IN ('pending', 'authorized', 'declined', 'voided', 'expired')),
    decline_code     text        CHECK (length(decline_code) BETWEEN 1 AND 64),
    -- The sum of its captures that were not declined.
    captured_minor   bigint      NOT NULL DEFAULT 0,
    created_at       timestamptz NOT NULL,
    -- When a pending one is answered, and as what.
    settle_at        timestamptz,
    -- After this nothing can be captured.
    expires_at       timestamptz NOT NULL,
    -- When it was declined, voided or expired.
    finished_at      timestamptz,
    CONSTRAINT card_authorizations_captured_at_most
        CHECK (captured_minor BETWEEN 0 AND amount_minor),
    CONSTRAINT card_authorizations_finished
        CHECK ((status IN ('pending', 'authorized')) = (finished_at IS NULL)),
    CONSTRAINT card_authorizations_settle_when_pending
        CHECK (status <> 'pending' OR settle_at IS NOT NULL),
    CONSTRAINT card_authorizations_declined_with_code
        CHECK (status <> 'declined' OR decline_code IS NOT NULL)
) WITH (fillfactor = 90);

CREATE INDEX card_authorizations_pending ON card_authorizations (settle_at)
    WHERE status = 'pending';
CREATE INDEX card_authorizations_open ON card_authorizations (expires_at)
    WHERE status = 'authorized' AND captured_minor < amount_minor;

-- Notices tell of authorisations as well, which are no movements.
ALTER TABLE callbacks DROP CONSTRAINT callbacks_kind_reference_fkey;

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    EXECUTE format('GRANT UPDATE (refunded_minor) ON movements TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT ON card_tokens, card_authorizations TO %I', application);
    EXECUTE format(
        'GRANT UPDATE (status, decline_code, captured_minor, finished_at)
         ON card_authorizations TO %I',
        application
    );
END
$$;
