-- The provider's clock, which tests may set. One row.
CREATE TABLE test_clock (
    only_row  boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    -- How far it is ahead of the real time while it runs; 0 is the real time.
    ahead_us  bigint      NOT NULL DEFAULT 0,
    -- Where it stands, when it stands.
    frozen_at timestamptz
);
INSERT INTO test_clock DEFAULT VALUES;

-- Faults of every operation, also ones that come and go, and of callbacks.
ALTER TABLE faults
    DROP CONSTRAINT faults_operation_check,
    ADD CONSTRAINT faults_operation_check CHECK (operation IN (
        'charge', 'payout', 'refund', 'authorization', 'capture', 'void', 'account',
        'status', 'list', 'callback'
    )),
    DROP CONSTRAINT faults_delay_ms_check,
    ADD CONSTRAINT faults_delay_ms_check CHECK (delay_ms BETWEEN 0 AND 604800000),
    -- The answer of an `http_error`.
    ADD COLUMN http_status smallint CHECK (http_status = 429 OR http_status BETWEEN 500 AND 599),
    -- How many times more than once a notice is sent.
    ADD COLUMN copies smallint CHECK (copies BETWEEN 1 AND 100),
    -- When set, only notices of this event are hit.
    ADD COLUMN event text CHECK (length(event) BETWEEN 1 AND 64),
    -- How many requests it has seen; of each `flapping_of` the first
    -- `flapping_fail` are hit.
    ADD COLUMN seen bigint NOT NULL DEFAULT 0,
    ADD COLUMN flapping_fail integer,
    ADD COLUMN flapping_of integer CHECK (flapping_of BETWEEN 2 AND 1000000),
    ADD CONSTRAINT faults_flapping CHECK (
        (flapping_fail IS NULL) = (flapping_of IS NULL)
        AND (flapping_fail IS NULL OR flapping_fail BETWEEN 1 AND flapping_of - 1)
    );

-- Surprises that come only once a reference.
CREATE TABLE surprises_had (
    operation text NOT NULL,
    reference text NOT NULL,
    PRIMARY KEY (operation, reference)
);

ALTER TABLE callbacks
    -- How often it is still sent after it was taken.
    ADD COLUMN copies_left integer NOT NULL DEFAULT 0 CHECK (copies_left >= 0),
    -- By the provider's clock: not to be sent earlier.
    ADD COLUMN not_before timestamptz,
    -- Whether a later notice that is taken ends the waiting.
    ADD COLUMN waits_for_later boolean NOT NULL DEFAULT false;

CREATE INDEX callbacks_waiting ON callbacks (callback_id) WHERE waits_for_later;

-- What is wrong with a settlement file, on demand.
CREATE TABLE planted_discrepancies (
    discrepancy_id bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    day            date    NOT NULL,
    kind           text    NOT NULL CHECK (kind IN (
        'drop_line', 'duplicate_line', 'change_amount', 'change_currency',
        'unknown_reference', 'wrong_date', 'extra_line', 'wrong_trailer'
    )),
    -- Which line it hits: those of a reference, or the one of a number.
    reference      text    CHECK (length(reference) BETWEEN 1 AND 64),
    movement_kind  text    CHECK (movement_kind IN ('charge', 'payout', 'refund', 'capture')),
    line           bigint  CHECK (line > 0),
    -- The difference to an amount, or the amount of a line that is added.
    minor          bigint,
    currency       text    CHECK (currency ~ '^[A-Z]{3}$'),
    -- By how many days a date is wrong.
    days           integer CHECK (days BETWEEN -366 AND 366),
    CONSTRAINT planted_discrepancies_target CHECK (
        CASE WHEN kind IN ('extra_line', 'wrong_trailer')
            THEN reference IS NULL AND line IS NULL
            ELSE (reference IS NULL) <> (line IS NULL)
        END
    )
);

CREATE INDEX planted_discrepancies_by_day ON planted_discrepancies (day, discrepancy_id);

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    EXECUTE format('GRANT SELECT, UPDATE ON test_clock TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT ON surprises_had TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT, DELETE ON planted_discrepancies TO %I', application);
    EXECUTE format(
        'GRANT UPDATE (copies_left, not_before, waits_for_later) ON callbacks TO %I', application
    );
END
$$;
