-- A caller's idempotency keys, each with the answer to its first request.
--
-- The row is inserted in the transaction of the effect. While answer_code is
-- null the request has been claimed and not yet answered.
CREATE TABLE idempotency_keys (
    tenant_id   text        NOT NULL,
    -- Who asks, such as `usr_…` or `service:transaction`.
    principal   text        NOT NULL,
    -- The RPC's path.
    method      text        NOT NULL,
    key         text        NOT NULL,
    -- SHA-256 of the encoded request.
    fingerprint bytea       NOT NULL,
    -- What the request is about to make, for a caller that resumes it.
    resource    uuid,
    -- The gRPC code of the answer: 0 is a response, anything else an error.
    answer_code smallint,
    -- The message of an error in UTF-8; bytes, because text cannot hold NUL.
    answer_message bytea,
    -- The encoded response message, or the encoded google.rpc.Status of an error.
    answer_body bytea,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, principal, method, key),
    CONSTRAINT idempotency_keys_key_length CHECK (length(key) BETWEEN 1 AND 128),
    CONSTRAINT idempotency_keys_fingerprint_length CHECK (octet_length(fingerprint) = 32),
    CONSTRAINT idempotency_keys_answer_code CHECK (answer_code BETWEEN 0 AND 16),
    CONSTRAINT idempotency_keys_answer_whole CHECK (
        (answer_code IS NULL) = (answer_body IS NULL)
        AND (answer_code IS NOT NULL AND answer_code <> 0) = (answer_message IS NOT NULL)
    ),
    CONSTRAINT idempotency_keys_expiry CHECK (expires_at > created_at)
);

-- For the job that deletes expired keys, oldest first.
CREATE INDEX idempotency_keys_expires_at ON idempotency_keys (expires_at);

DO $$
BEGIN
    EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO %I',
        current_setting('bursar.application_role')
    );
END
$$;
