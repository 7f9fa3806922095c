-- The Ed25519 keys that sign access tokens. The private half is kept encrypted
-- (AES-256-GCM under the key-encryption key from the environment, with the row's
-- id as associated data), so a copy of this table signs nothing.

CREATE TABLE signing_keys (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    -- The name by which tokens and the key set call the key.
    kid text NOT NULL CONSTRAINT signing_keys_kid_key UNIQUE,
    public_key bytea NOT NULL CONSTRAINT signing_keys_public_key_form CHECK (octet_length(public_key) = 32),
    -- Nonce (12 bytes), encrypted seed (32) and tag (16).
    sealed_seed bytea NOT NULL CONSTRAINT signing_keys_sealed_seed_form CHECK (octet_length(sealed_seed) = 60),
    created_at timestamptz NOT NULL,
    -- From when the key signs.
    not_before timestamptz NOT NULL,
    -- From when nothing that it signed is accepted; NULL until a successor was planned.
    retired_at timestamptz,
    CONSTRAINT signing_keys_times_ordered CHECK (retired_at > not_before)
);

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT ON signing_keys TO %I', application);
    EXECUTE format('GRANT UPDATE (retired_at) ON signing_keys TO %I', application);
END
$$;
