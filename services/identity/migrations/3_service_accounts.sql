-- The accounts by which services and other machines call.

CREATE TABLE service_accounts (
    tenant_id text NOT NULL,
    client_id text NOT NULL CONSTRAINT service_accounts_client_id_form CHECK (client_id ~ '^[a-z][a-z0-9_-]{0,63}$'),
    -- SHA-256 of the secret. Secrets are long and random (the configuration
    -- refuses others outside development), so no slow hash is needed.
    secret_hash bytea NOT NULL CONSTRAINT service_accounts_secret_hash_form CHECK (octet_length(secret_hash) = 32),
    -- What the account's tokens grant, as `resource:action:target`. Calls
    -- between services need none: they are open to every service token.
    permissions text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, client_id)
);

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT ON service_accounts TO %I', application);
    EXECUTE format('GRANT UPDATE (secret_hash, updated_at) ON service_accounts TO %I', application);
END
$$;
