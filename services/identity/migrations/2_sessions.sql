-- Sessions and their refresh tokens. Only hashes of tokens are stored: a copy
-- of this table opens no session.

CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    user_id uuid NOT NULL REFERENCES users (id),
    user_agent text NOT NULL CONSTRAINT sessions_user_agent_bounded CHECK (char_length(user_agent) <= 200),
    -- The version of the session's latest event: 1 when it started, 2 when it was ended.
    version bigint NOT NULL CHECK (version > 0),
    created_at timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    -- When the newest refresh token expires; every refresh moves it on.
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    end_reason text CONSTRAINT sessions_end_reason_known
        CHECK (end_reason IN ('logout', 'revoked', 'refresh_token_reused')),
    CONSTRAINT sessions_end_has_reason CHECK ((ended_at IS NULL) = (end_reason IS NULL))
);

-- A user's living sessions, newest first.
CREATE INDEX sessions_user ON sessions (user_id, created_at DESC, id DESC) WHERE ended_at IS NULL;

-- The clean-up takes what expired, oldest first.
CREATE INDEX sessions_expires_at ON sessions (expires_at);

CREATE TABLE refresh_tokens (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    session_id uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    -- SHA-256 of the token, which is 256 random bits: nothing to guess, so no
    -- slow hash is needed.
    token_hash bytea NOT NULL CONSTRAINT refresh_tokens_hash_form CHECK (octet_length(token_hash) = 32),
    -- The token that was exchanged for this one. No foreign keys within the
    -- family: a parent expires, and is deleted, before its successors.
    parent_id uuid,
    -- The token that this one was exchanged for, latest when that was repeated.
    successor_id uuid,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    -- Set instead of used_at when a repeat of the parent replaced this token.
    superseded_at timestamptz,
    CONSTRAINT refresh_tokens_token_hash_key UNIQUE (token_hash),
    CONSTRAINT refresh_tokens_used_has_successor CHECK ((used_at IS NULL) = (successor_id IS NULL)),
    CONSTRAINT refresh_tokens_superseded_is_unused CHECK (superseded_at IS NULL OR used_at IS NULL)
);

-- A session has one live branch; the rotation keeps to it, and this makes sure.
CREATE UNIQUE INDEX refresh_tokens_live_key ON refresh_tokens (session_id)
    WHERE used_at IS NULL AND superseded_at IS NULL;

-- For the cascade from sessions.
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);

-- The clean-up takes what expired, oldest first.
CREATE INDEX refresh_tokens_expires_at ON refresh_tokens (expires_at);

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT, DELETE ON sessions, refresh_tokens TO %I', application);
    EXECUTE format('GRANT UPDATE (version, last_used_at, expires_at, ended_at, end_reason) ON sessions TO %I', application);
    EXECUTE format('GRANT UPDATE (successor_id, used_at, superseded_at) ON refresh_tokens TO %I', application);
END
$$;
