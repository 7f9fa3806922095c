-- The proof: blocks over postings, chained by their hashes, and signatures over
-- blocks. Written once and never changed, like the ledger itself.

CREATE TABLE ledger_blocks (
    -- 1, 2, 3 and so on; the key is what finally keeps the chain from forking.
    height            bigint      PRIMARY KEY,
    previous_hash     bytea       NOT NULL,
    root              bytea       NOT NULL,
    posting_count     integer     NOT NULL,
    -- How many postings it and all blocks before it have.
    postings_total    bigint      NOT NULL,
    first_recorded_at timestamptz NOT NULL,
    last_recorded_at  timestamptz NOT NULL,
    sealed_at         timestamptz NOT NULL,
    hash              bytea       NOT NULL,
    -- The postings in their order, and the leaf of each, 32 bytes each.
    posting_ids       uuid[]      NOT NULL,
    leaf_hashes       bytea       NOT NULL,
    CONSTRAINT ledger_blocks_height CHECK (height > 0),
    CONSTRAINT ledger_blocks_hashes CHECK (
        octet_length(previous_hash) = 32
        AND octet_length(root) = 32
        AND octet_length(hash) = 32
    ),
    CONSTRAINT ledger_blocks_postings CHECK (
        posting_count BETWEEN 1 AND 4096
        AND posting_count = cardinality(posting_ids)
        AND octet_length(leaf_hashes) = 32 * posting_count
        AND postings_total >= posting_count
    ),
    CONSTRAINT ledger_blocks_times CHECK (first_recorded_at <= last_recorded_at)
);

-- Finds the block of a posting by the time at which it was recorded.
CREATE INDEX ledger_blocks_recorded ON ledger_blocks
    USING gist (tstzrange(first_recorded_at, last_recorded_at, '[]'));

CREATE TABLE ledger_checkpoints (
    height         bigint      PRIMARY KEY REFERENCES ledger_blocks (height),
    block_hash     bytea       NOT NULL,
    postings_total bigint      NOT NULL,
    signed_at      timestamptz NOT NULL,
    -- The first 8 bytes of the hash of the public key, and the key.
    key_id         bytea       NOT NULL,
    public_key     bytea       NOT NULL,
    signature      bytea       NOT NULL,
    CONSTRAINT ledger_checkpoints_lengths CHECK (
        octet_length(block_hash) = 32
        AND octet_length(key_id) = 8
        AND octet_length(public_key) = 32
        AND octet_length(signature) = 64
    )
);

-- Which process seals. Whoever seals holds the row's lock until it commits, so
-- a process whose lease ran out cannot write behind the next one's back.
CREATE TABLE ledger_sealer (
    is_only    boolean     PRIMARY KEY DEFAULT true,
    holder     uuid,
    epoch      bigint      NOT NULL,
    expires_at timestamptz NOT NULL,
    -- Whether there may be postings from before there were blocks, which are to
    -- be sealed first.
    has_older  boolean     NOT NULL,
    CONSTRAINT ledger_sealer_only CHECK (is_only)
);
INSERT INTO ledger_sealer (epoch, expires_at, has_older)
SELECT 0, '-infinity', EXISTS (SELECT FROM postings);

-- Wallets whose projections are behind: a row for each batch of the ledger, from
-- when it is sealed until the projections have it.
CREATE TABLE projection_queue (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  text   NOT NULL,
    wallet_ids uuid[] NOT NULL
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000
);

CREATE TRIGGER ledger_blocks_unchanged BEFORE UPDATE OR DELETE ON ledger_blocks
    FOR EACH ROW EXECUTE FUNCTION refuse_ledger_change();
CREATE TRIGGER ledger_blocks_kept BEFORE TRUNCATE ON ledger_blocks
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();
CREATE TRIGGER ledger_checkpoints_unchanged BEFORE UPDATE OR DELETE ON ledger_checkpoints
    FOR EACH ROW EXECUTE FUNCTION refuse_ledger_change();
CREATE TRIGGER ledger_checkpoints_kept BEFORE TRUNCATE ON ledger_checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();

ALTER TABLE ledger_blocks
    ENABLE ALWAYS TRIGGER ledger_blocks_unchanged,
    ENABLE ALWAYS TRIGGER ledger_blocks_kept;
ALTER TABLE ledger_checkpoints
    ENABLE ALWAYS TRIGGER ledger_checkpoints_unchanged,
    ENABLE ALWAYS TRIGGER ledger_checkpoints_kept;

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT ON ledger_blocks, ledger_checkpoints TO %I', application);
    EXECUTE format(
        'GRANT SELECT, UPDATE (holder, epoch, expires_at, has_older) ON ledger_sealer TO %I',
        application
    );
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON projection_queue TO %I', application);
END
$$;
