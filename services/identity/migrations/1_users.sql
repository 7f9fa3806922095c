-- Users, how they prove who they are, and what they may do.
--
-- E-mail addresses are stored in their normal form (ASCII, lower case), so an
-- ordinary unique constraint compares them without regard to case and no
-- extension is needed.

CREATE TABLE users (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    email text NOT NULL,
    display_name text NOT NULL,
    -- The version of the user's latest event.
    version bigint NOT NULL CHECK (version > 0),
    created_at timestamptz NOT NULL,
    CONSTRAINT users_email_key UNIQUE (tenant_id, email),
    CONSTRAINT users_email_normal CHECK (email = lower(email COLLATE "C") AND octet_length(email) BETWEEN 3 AND 254),
    CONSTRAINT users_display_name_bounded CHECK (char_length(display_name) BETWEEN 1 AND 100)
);

CREATE TABLE credentials (
    user_id uuid PRIMARY KEY REFERENCES users (id),
    tenant_id text NOT NULL,
    -- An argon2id hash in PHC form: algorithm, parameters, salt and hash.
    password_hash text NOT NULL CONSTRAINT credentials_password_hash_form CHECK (password_hash LIKE '$argon2id$%'),
    -- The hash of the password that a start set from the environment, so that
    -- a later start sees whether the environment changed. NULL for everybody
    -- who registered.
    bootstrap_hash text CONSTRAINT credentials_bootstrap_hash_form CHECK (bootstrap_hash LIKE '$argon2id$%'),
    updated_at timestamptz NOT NULL
);

CREATE TABLE roles (
    tenant_id text NOT NULL,
    name text NOT NULL CONSTRAINT roles_name_form CHECK (name ~ '^[a-z][a-z0-9_-]{0,31}$'),
    PRIMARY KEY (tenant_id, name)
);

CREATE TABLE role_permissions (
    tenant_id text NOT NULL,
    role text NOT NULL,
    -- `resource:action:target`, each part a name or `*`.
    permission text NOT NULL CONSTRAINT role_permissions_permission_form
        CHECK (permission ~ '^([a-z_]+|\*):([a-z_]+|\*):(own|any|\*)$'),
    PRIMARY KEY (tenant_id, role, permission),
    FOREIGN KEY (tenant_id, role) REFERENCES roles (tenant_id, name)
);

CREATE TABLE user_roles (
    tenant_id text NOT NULL,
    user_id uuid NOT NULL REFERENCES users (id),
    role text NOT NULL,
    PRIMARY KEY (user_id, role),
    FOREIGN KEY (tenant_id, role) REFERENCES roles (tenant_id, name)
);

INSERT INTO roles (tenant_id, name) VALUES
    ('default', 'user'),
    ('default', 'support'),
    ('default', 'admin');

-- What every user may do with what is their own.
INSERT INTO role_permissions (tenant_id, role, permission)
SELECT 'default', role, permission
FROM unnest(ARRAY['user', 'admin']) AS role,
    unnest(ARRAY[
        'user:read:own',
        'session:*:own',
        'wallet:*:own',
        'transfer:*:own',
        'deposit:*:own',
        'withdrawal:*:own',
        'transaction:*:own',
        'ticket:create:own',
        'ticket:read:own'
    ]) AS permission;

-- What operators may do beyond. Reading everything is theirs; moving the money
-- of others is nobody's.
INSERT INTO role_permissions (tenant_id, role, permission) VALUES
    ('default', 'admin', '*:read:any'),
    ('default', 'admin', 'ticket:*:any'),
    ('default', 'admin', 'audit:*:any'),
    ('default', 'admin', 'mesh:*:any'),
    ('default', 'support', 'ticket:*:any'),
    ('default', 'support', 'transaction:read:any'),
    ('default', 'support', 'wallet:read:any');

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT ON users, credentials, user_roles TO %I', application);
    EXECUTE format('GRANT UPDATE (version) ON users TO %I', application);
    EXECUTE format('GRANT UPDATE (password_hash, bootstrap_hash, updated_at) ON credentials TO %I', application);
    EXECUTE format('GRANT SELECT ON roles, role_permissions TO %I', application);
END
$$;
