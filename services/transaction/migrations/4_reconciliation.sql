-- Reconciliation: what providers say they did, how it was matched with
-- transactions, and what was not. Nothing here is part of a transaction's truth.

-- For finding what a settlement should contain, and by the provider's name.
-- Transfers have no provider and are in neither.
CREATE INDEX transactions_by_provider_day ON transactions (provider, posted_at)
    WHERE provider IS NOT NULL AND posted_at IS NOT NULL;
CREATE INDEX transactions_by_provider_reference ON transactions (provider, provider_reference)
    WHERE provider IS NOT NULL AND provider_reference IS NOT NULL;

CREATE TABLE settlement_files (
    file_id         uuid        PRIMARY KEY,
    tenant_id       text        NOT NULL,
    provider        text        NOT NULL CHECK (provider ~ '^[a-z][a-z0-9_]{0,31}$'),
    -- FILE: brought by somebody; LIST: the provider's list, read by the nightly job.
    source          text        NOT NULL CHECK (source IN ('FILE', 'LIST')),
    file_name       text        NOT NULL CHECK (length(file_name) <= 200),
    settlement_date date        NOT NULL,
    -- Lines count from RECONCILING on.
    state           text        NOT NULL CHECK (state IN (
        'IMPORTING', 'FAILED', 'RECONCILING', 'RECONCILED'
    )),
    sha256          bytea       CHECK (octet_length(sha256) = 32),
    bytes           bigint      NOT NULL DEFAULT 0 CHECK (bytes >= 0),
    lines           bigint      NOT NULL DEFAULT 0 CHECK (lines >= 0),
    problem_line    bigint,
    problem_column  text        CHECK (length(problem_column) <= 64),
    problem_code    text        CHECK (length(problem_code) BETWEEN 1 AND 64),
    problem_message text        CHECK (length(problem_message) <= 500),
    imported_by     text        NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    reconciled_at   timestamptz,
    -- How far matching has come: the last group of lines that is done.
    matched_through text        NOT NULL DEFAULT '',
    -- Of a failed file: whether its lines are deleted.
    is_purged       boolean     NOT NULL DEFAULT false,
    -- Who reads or matches it. Every write is bound to the epoch, so a run that
    -- was overtaken cannot write.
    lease_epoch     bigint      NOT NULL DEFAULT 1,
    lease_until     timestamptz NOT NULL,
    CONSTRAINT settlement_files_problem_told CHECK (
        (state = 'FAILED') = (problem_code IS NOT NULL)
        AND (problem_code IS NULL) = (problem_line IS NULL)
        AND (problem_code IS NULL) = (problem_column IS NULL)
        AND (problem_code IS NULL) = (problem_message IS NULL)
    ),
    CONSTRAINT settlement_files_content_told CHECK (
        state IN ('IMPORTING', 'FAILED') OR sha256 IS NOT NULL
    ),
    CONSTRAINT settlement_files_end_told CHECK (
        (state = 'RECONCILED') = (reconciled_at IS NOT NULL)
    )
);

-- The same content counts once.
CREATE UNIQUE INDEX settlement_files_content ON settlement_files (tenant_id, provider, sha256)
    WHERE source = 'FILE' AND state IN ('RECONCILING', 'RECONCILED');
-- A day is listed once, by one process at a time.
CREATE UNIQUE INDEX settlement_files_listed
    ON settlement_files (tenant_id, provider, settlement_date)
    WHERE source = 'LIST' AND state <> 'FAILED';
CREATE INDEX settlement_files_day ON settlement_files (provider, settlement_date);
CREATE INDEX settlement_files_under_way ON settlement_files (lease_until)
    WHERE state IN ('IMPORTING', 'RECONCILING');

CREATE INDEX settlement_files_to_purge ON settlement_files (file_id)
    WHERE state = 'FAILED' AND NOT is_purged;

CREATE TABLE settlement_lines (
    file_id            uuid        NOT NULL,
    -- Counted from 1, the header included.
    line               bigint      NOT NULL CHECK (line > 0),
    reference          text        NOT NULL CHECK (length(reference) <= 128),
    provider_reference text        NOT NULL CHECK (length(provider_reference) <= 128),
    batch_reference    text        NOT NULL CHECK (length(batch_reference) <= 128),
    type_word          text        NOT NULL CHECK (length(type_word) <= 64),
    line_type          text        NOT NULL CHECK (line_type IN ('CHARGE', 'PAYOUT', 'REFUND')),
    currency_code      text        NOT NULL CHECK (currency_code ~ '^[A-Z]{3}$'),
    gross_minor        bigint      NOT NULL,
    fee_minor          bigint      NOT NULL,
    net_minor          bigint      NOT NULL,
    occurred_at        timestamptz NOT NULL,
    -- Lines with the same one are matched together.
    group_key          text        NOT NULL CHECK (length(group_key) <= 160),
    state              text        NOT NULL DEFAULT 'PENDING'
        CHECK (state IN ('PENDING', 'MATCHED', 'BROKEN')),
    match_id           uuid,
    break_id           uuid,
    PRIMARY KEY (file_id, line),
    CONSTRAINT settlement_lines_end_told CHECK (
        (state = 'MATCHED') = (match_id IS NOT NULL)
        AND (state = 'BROKEN') = (break_id IS NOT NULL)
    )
) WITH (fillfactor = 85);

CREATE INDEX settlement_lines_by_group ON settlement_lines (file_id, group_key, line);
CREATE INDEX settlement_lines_by_match ON settlement_lines (match_id) WHERE match_id IS NOT NULL;
CREATE INDEX settlement_lines_by_break ON settlement_lines (break_id) WHERE break_id IS NOT NULL;

CREATE TABLE settlement_matches (
    match_id          uuid        PRIMARY KEY,
    tenant_id         text        NOT NULL,
    file_id           uuid        NOT NULL,
    -- The name of the rule that joined them.
    rule              text        NOT NULL CHECK (length(rule) BETWEEN 1 AND 64),
    matched_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The transactions of matches: each in at most one match a source.
CREATE TABLE settlement_match_transactions (
    transaction_id uuid   NOT NULL,
    source         text   NOT NULL CHECK (source IN ('FILE', 'LIST')),
    match_id       uuid   NOT NULL,
    file_id        uuid   NOT NULL,
    currency_code  text   NOT NULL,
    amount_minor   bigint NOT NULL,
    PRIMARY KEY (transaction_id, source)
);

CREATE INDEX settlement_match_transactions_by_file ON settlement_match_transactions (file_id);

CREATE TABLE settlement_breaks (
    -- A UUIDv7, so that the order of ids is the order in which they were first seen.
    break_id             uuid        PRIMARY KEY,
    tenant_id            text        NOT NULL,
    provider             text        NOT NULL,
    -- What it is about; seen again, it is the same break.
    subject              text        NOT NULL CHECK (length(subject) <= 200),
    reason               text        NOT NULL CHECK (reason IN (
        'MISSING_IN_LEDGER', 'MISSING_AT_PROVIDER', 'AMOUNT_MISMATCH', 'CURRENCY_MISMATCH',
        'DUPLICATE_LINE', 'STATUS_MISMATCH', 'DATE_OUTSIDE_WINDOW', 'UNKNOWN_REFERENCE',
        'TYPE_MISMATCH'
    )),
    state                text        NOT NULL DEFAULT 'OPEN' CHECK (state IN ('OPEN', 'RESOLVED')),
    settlement_date      date        NOT NULL,
    -- The file that showed it last, and the line, when there is one.
    file_id              uuid        NOT NULL,
    line                 bigint,
    reference            text,
    provider_reference   text,
    type_word            text,
    line_type            text,
    line_currency        text,
    line_gross_minor     bigint,
    line_occurred_at     timestamptz,
    transaction_id       uuid,
    transaction_type     text,
    transaction_currency text,
    transaction_minor    bigint,
    transaction_state    text,
    first_seen_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    resolution           text        CHECK (resolution IN (
        'MATCHED_LATER', 'ADJUSTED', 'CORRECTED_BY_PROVIDER', 'WRITTEN_OFF', 'FALSE_ALARM'
    )),
    note                 text        CHECK (length(note) <= 500),
    resolved_by          text,
    resolved_at          timestamptz,
    CONSTRAINT settlement_breaks_subject UNIQUE (tenant_id, provider, subject),
    CONSTRAINT settlement_breaks_line_told CHECK (
        (line IS NULL) = (line_type IS NULL)
        AND (line IS NULL) = (line_currency IS NULL)
        AND (line IS NULL) = (line_gross_minor IS NULL)
        AND (line IS NULL) = (line_occurred_at IS NULL)
        AND (line IS NULL) = (type_word IS NULL)
        AND (line IS NULL) = (reference IS NULL)
        AND (line IS NULL) = (provider_reference IS NULL)
    ),
    CONSTRAINT settlement_breaks_transaction_told CHECK (
        (transaction_id IS NULL) = (transaction_type IS NULL)
        AND (transaction_id IS NULL) = (transaction_currency IS NULL)
        AND (transaction_id IS NULL) = (transaction_minor IS NULL)
        AND (transaction_id IS NULL) = (transaction_state IS NULL)
    ),
    CONSTRAINT settlement_breaks_side_told CHECK (line IS NOT NULL OR transaction_id IS NOT NULL),
    CONSTRAINT settlement_breaks_end_told CHECK (
        (state = 'RESOLVED') = (resolution IS NOT NULL)
        AND (state = 'RESOLVED') = (resolved_by IS NOT NULL)
        AND (state = 'RESOLVED') = (resolved_at IS NOT NULL)
        AND (state = 'RESOLVED') = (note IS NOT NULL)
    )
);

CREATE INDEX settlement_breaks_open ON settlement_breaks (provider, break_id) WHERE state = 'OPEN';
CREATE INDEX settlement_breaks_by_file ON settlement_breaks (file_id);
CREATE INDEX settlement_breaks_by_transaction ON settlement_breaks (transaction_id)
    WHERE transaction_id IS NOT NULL;

-- How a provider's files are read; absent rows mean what the code begins with.
CREATE TABLE reconciliation_settings (
    tenant_id                 text        NOT NULL,
    provider                  text        NOT NULL,
    version                   bigint      NOT NULL CHECK (version >= 1),
    delimiter                 text        NOT NULL CHECK (length(delimiter) = 1),
    reference_column          text        NOT NULL,
    provider_reference_column text        NOT NULL,
    batch_reference_column    text        NOT NULL,
    type_column               text        NOT NULL,
    currency_column           text        NOT NULL,
    gross_column              text        NOT NULL,
    fee_column                text        NOT NULL,
    net_column                text        NOT NULL,
    occurred_at_column        text        NOT NULL,
    trailer_marker            text        NOT NULL,
    end_marker                text        NOT NULL,
    -- The provider's words, and what each of them means.
    type_words                text[]      NOT NULL,
    line_types                text[]      NOT NULL,
    updated_by                text        NOT NULL,
    updated_at                timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, provider),
    CONSTRAINT reconciliation_settings_words CHECK (
        cardinality(type_words) = cardinality(line_types) AND cardinality(type_words) >= 1
    )
);

-- The rules that belong to a row of settings, in their order.
CREATE TABLE reconciliation_rules (
    tenant_id              text    NOT NULL,
    provider               text    NOT NULL,
    position               integer NOT NULL CHECK (position BETWEEN 1 AND 16),
    name                   text    NOT NULL CHECK (name ~ '^[a-z][a-z0-9_]{0,63}$'),
    match_key              text    NOT NULL CHECK (match_key IN (
        'REFERENCE', 'PROVIDER_REFERENCE', 'BATCH_REFERENCE'
    )),
    cardinality            text    NOT NULL CHECK (cardinality IN (
        'ONE_TO_ONE', 'MANY_TO_ONE', 'ONE_TO_MANY'
    )),
    amount_tolerance_minor bigint  NOT NULL CHECK (amount_tolerance_minor BETWEEN 0 AND 1000000),
    date_window_days       integer NOT NULL CHECK (date_window_days BETWEEN 0 AND 90),
    PRIMARY KEY (tenant_id, provider, position),
    CONSTRAINT reconciliation_rules_name UNIQUE (tenant_id, provider, name)
);

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE ON settlement_files, settlement_breaks,
             reconciliation_settings TO %I',
        application
    );
    EXECUTE format('GRANT SELECT, INSERT ON settlement_matches TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT ON settlement_match_transactions TO %I', application);
    -- Lines of a file that failed go, and files that turned out to be there already;
    -- all others stay as they came.
    EXECUTE format('GRANT SELECT, INSERT, DELETE ON settlement_lines TO %I', application);
    EXECUTE format('GRANT DELETE ON settlement_files TO %I', application);
    EXECUTE format(
        'GRANT UPDATE (state, match_id, break_id) ON settlement_lines TO %I', application
    );
    EXECUTE format('GRANT SELECT, INSERT, DELETE ON reconciliation_rules TO %I', application);
END
$$;
