-- The ledger: postings and their entries, written once and never changed.
--
-- There are no foreign keys and no secondary indexes here: every row is written
-- by one statement that holds the locks of its wallets, and both would be paid
-- for with each posting. The invariants check what foreign keys would.

CREATE TYPE posting_kind AS ENUM (
    'transfer', 'deposit', 'hold', 'hold_capture', 'hold_void', 'adjustment'
);
CREATE TYPE hold_action AS ENUM ('place', 'capture', 'void');
CREATE TYPE hold_status AS ENUM ('active', 'captured', 'voided');

CREATE TABLE postings (
    -- The caller's operation id: unique for ever.
    id             uuid         PRIMARY KEY,
    tenant_id      text         NOT NULL,
    transaction_id uuid         NOT NULL,
    kind           posting_kind NOT NULL,
    -- SHA-256 of the posting as its caller sent it.
    fingerprint    bytea        NOT NULL,
    -- The hold it opened or ended.
    hold_id        uuid,
    hold_action    hold_action,
    -- The key of each leg's entry, in the order of the request. They find the
    -- entries without an index on entries.posting_id.
    leg_wallet_ids uuid[]       NOT NULL,
    leg_versions   bigint[]     NOT NULL,
    effective_at   timestamptz  NOT NULL,
    recorded_at    timestamptz  NOT NULL,
    CONSTRAINT postings_fingerprint CHECK (octet_length(fingerprint) = 32),
    CONSTRAINT postings_hold CHECK ((hold_id IS NULL) = (hold_action IS NULL)),
    CONSTRAINT postings_legs CHECK (
        cardinality(leg_wallet_ids) >= 2
        AND cardinality(leg_wallet_ids) = cardinality(leg_versions)
    )
);

CREATE TABLE entries (
    wallet_id     uuid          NOT NULL,
    -- The wallet's version after the entry: 1, 2, 3 and so on without a gap.
    version       bigint        NOT NULL,
    posting_id    uuid          NOT NULL,
    -- The change in minor units, and the bucket's balance after it.
    amount        bigint        NOT NULL,
    balance_after bigint        NOT NULL,
    bucket        wallet_bucket NOT NULL,
    currency      char(3)       NOT NULL,
    tenant_id     text          NOT NULL,
    PRIMARY KEY (wallet_id, version),
    CONSTRAINT entries_version CHECK (version > 0),
    CONSTRAINT entries_amount CHECK (amount <> 0)
);

-- Holds are no part of the ledger's history but its present: a row is opened by
-- one posting and ended once by another.
CREATE TABLE holds (
    id             uuid        PRIMARY KEY,
    tenant_id      text        NOT NULL,
    wallet_id      uuid        NOT NULL,
    -- How much is set aside, and how much of it was captured, in minor units.
    amount         bigint      NOT NULL,
    captured_minor bigint      NOT NULL,
    status         hold_status NOT NULL,
    placed_by      uuid        NOT NULL,
    placed_at      timestamptz NOT NULL,
    ended_by       uuid,
    ended_at       timestamptz,
    CONSTRAINT holds_amount CHECK (amount > 0),
    CONSTRAINT holds_captured CHECK (captured_minor BETWEEN 0 AND amount),
    CONSTRAINT holds_end CHECK (
        (status = 'active') = (ended_by IS NULL)
        AND (ended_by IS NULL) = (ended_at IS NULL)
    )
);

-- A wallet's active holds.
CREATE INDEX holds_active ON holds (wallet_id) WHERE status = 'active';

-- Refuses every change of what was written. Row triggers miss TRUNCATE, so it
-- has a trigger of its own; ENABLE ALWAYS triggers run under
-- session_replication_role = replica too.
CREATE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: the ledger is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER postings_unchanged BEFORE UPDATE OR DELETE ON postings
    FOR EACH ROW EXECUTE FUNCTION refuse_ledger_change();
CREATE TRIGGER postings_kept BEFORE TRUNCATE ON postings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();
CREATE TRIGGER entries_unchanged BEFORE UPDATE OR DELETE ON entries
    FOR EACH ROW EXECUTE FUNCTION refuse_ledger_change();
CREATE TRIGGER entries_kept BEFORE TRUNCATE ON entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();

-- Refuses entries of which some posting does not balance. All entries of a
-- posting come in one statement, so looking at one statement's rows is enough,
-- and it is one pass over them however many postings there are.
CREATE FUNCTION refuse_unbalanced_entries() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    unbalanced uuid;
BEGIN
    SELECT posting_id INTO unbalanced
    FROM inserted
    GROUP BY posting_id, currency
    HAVING sum(amount) <> 0 OR count(*) < 2
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the entries of posting % do not balance', unbalanced
            USING ERRCODE = 'check_violation', CONSTRAINT = 'entries_balance', TABLE = 'entries';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER entries_balance AFTER INSERT ON entries
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_unbalanced_entries();

ALTER TABLE postings
    ENABLE ALWAYS TRIGGER postings_unchanged,
    ENABLE ALWAYS TRIGGER postings_kept;
ALTER TABLE entries
    ENABLE ALWAYS TRIGGER entries_unchanged,
    ENABLE ALWAYS TRIGGER entries_kept,
    ENABLE ALWAYS TRIGGER entries_balance;

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT ON postings, entries TO %I', application);
    EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE (captured_minor, status, ended_by, ended_at) ON holds TO %I',
        application
    );
END
$$;
