-- Accounts at providers: numbers by which money reaches wallets. A row is
-- committed before the provider is asked, and is settled by compare-and-set.
--
-- Personal data is here only encrypted, bound to the row's id.

CREATE TABLE provider_accounts (
    -- A UUIDv7, so that the order of ids is the order of creation. It is also our
    -- reference at the provider.
    id             uuid        PRIMARY KEY,
    tenant_id      text        NOT NULL,
    wallet_id      uuid        NOT NULL,
    -- The wallet's owner, which never changes.
    owner_user_id  uuid        NOT NULL,
    provider       text        NOT NULL,
    currency       char(3)     NOT NULL,
    status         text        NOT NULL,
    failure        text,
    decline_code   text,
    -- Who holds it, encrypted: what the provider is asked with. Gone with the answer.
    holder_sealed  bytea,
    -- Number and name of an open account, encrypted.
    account_sealed bytea,
    -- A keyed hash of provider and number, by which one number belongs to one
    -- wallet only.
    account_digest bytea,
    bank_name      text,
    bank_code      text,
    created_at     timestamptz NOT NULL,
    finished_at    timestamptz,
    -- How often the provider was sent a request to open it, and when last.
    requests       integer     NOT NULL DEFAULT 0,
    requested_at   timestamptz,
    -- When it is worked on next, how often it was, and by whom: every write of a
    -- run is bound to the epoch under which it got the lease. All of these times
    -- are the database's.
    next_check_at  timestamptz,
    attempts       integer     NOT NULL DEFAULT 0,
    lease_epoch    bigint      NOT NULL DEFAULT 0,
    lease_until    timestamptz NOT NULL DEFAULT '-infinity',
    -- Joins what is done for it with the request that began it.
    correlation_id text        NOT NULL,
    CONSTRAINT provider_accounts_provider CHECK (provider IN ('sandbox', 'providus')),
    CONSTRAINT provider_accounts_status CHECK (status IN ('pending', 'active', 'failed')),
    CONSTRAINT provider_accounts_pending CHECK (
        (status = 'pending') = (holder_sealed IS NOT NULL)
        AND (status = 'pending') = (next_check_at IS NOT NULL)
        AND (status = 'pending') = (finished_at IS NULL)
    ),
    CONSTRAINT provider_accounts_active CHECK (
        num_nonnulls(account_sealed, account_digest, bank_name, bank_code)
            = CASE status WHEN 'active' THEN 4 ELSE 0 END
    ),
    CONSTRAINT provider_accounts_failed CHECK (
        (status = 'failed') = (failure IS NOT NULL)
        AND (failure IS NULL OR failure IN ('declined', 'already_registered', 'unavailable'))
        AND (failure IS NOT DISTINCT FROM 'declined') = (decline_code IS NOT NULL)
    ),
    CONSTRAINT provider_accounts_requests CHECK (
        requests >= 0 AND attempts >= 0 AND (requests = 0 OR requested_at IS NOT NULL)
    )
) WITH (fillfactor = 85);

-- One account a wallet and provider, counting the one that is being opened.
CREATE UNIQUE INDEX provider_accounts_one
    ON provider_accounts (wallet_id, provider)
    WHERE status <> 'failed';

-- One wallet an account number.
CREATE UNIQUE INDEX provider_accounts_number
    ON provider_accounts (account_digest)
    WHERE account_digest IS NOT NULL;

-- A wallet's accounts, newest first.
CREATE INDEX provider_accounts_list ON provider_accounts (wallet_id, id);

-- What is to be worked on: none but pending ones.
CREATE INDEX provider_accounts_due
    ON provider_accounts (provider, next_check_at)
    WHERE next_check_at IS NOT NULL;

DO $$
BEGIN
    EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE (
             status, failure, decline_code, holder_sealed, account_sealed, account_digest,
             bank_name, bank_code, finished_at, requests, requested_at, next_check_at,
             attempts, lease_epoch, lease_until
         ) ON provider_accounts TO %I',
        current_setting('bursar.application_role')
    );
END
$$;
