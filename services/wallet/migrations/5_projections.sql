-- What is derived from the ledger: sums by day, balances at every thousandth
-- version, and which entries count from another time than that of their
-- recording. All of it can be thrown away and made again from the entries.

-- How far a wallet's entries are folded into the tables below, and its money at
-- that version. The row's lock decides who folds the wallet.
CREATE TABLE projection_cursors (
    wallet_id uuid   PRIMARY KEY,
    tenant_id text   NOT NULL,
    version   bigint NOT NULL,
    available bigint NOT NULL,
    held      bigint NOT NULL,
    bonus     bigint NOT NULL,
    CONSTRAINT projection_cursors_version CHECK (version >= 0)
) WITH (fillfactor = 80);

-- The sums of a wallet's entries by day of UTC of the time from which they
-- count. Sums are numeric: a day's turnover may exceed what a balance may.
CREATE TABLE wallet_days (
    wallet_id     uuid    NOT NULL,
    day           date    NOT NULL,
    tenant_id     text    NOT NULL,
    currency      char(3) NOT NULL,
    available_in  numeric NOT NULL,
    available_out numeric NOT NULL,
    held_in       numeric NOT NULL,
    held_out      numeric NOT NULL,
    bonus_in      numeric NOT NULL,
    bonus_out     numeric NOT NULL,
    entries       bigint  NOT NULL,
    -- The least and the greatest version among the day's entries.
    first_version bigint  NOT NULL,
    last_version  bigint  NOT NULL,
    PRIMARY KEY (wallet_id, day)
) WITH (fillfactor = 80);

-- A wallet's money at versions 1000, 2000 and so on, from which the money at any
-- other version is at most 999 entries away.
CREATE TABLE wallet_snapshots (
    wallet_id uuid   NOT NULL,
    version   bigint NOT NULL,
    available bigint NOT NULL,
    held      bigint NOT NULL,
    bonus     bigint NOT NULL,
    PRIMARY KEY (wallet_id, version)
);

-- Entries that count from another time than that of their recording. All others
-- are in the order of their times by their versions, so these few are all that
-- a question by effective time needs besides the ledger's own key.
CREATE TABLE displaced_entries (
    wallet_id    uuid          NOT NULL,
    version      bigint        NOT NULL,
    effective_at timestamptz   NOT NULL,
    bucket       wallet_bucket NOT NULL,
    amount       bigint        NOT NULL,
    PRIMARY KEY (wallet_id, version)
);
CREATE INDEX displaced_entries_effective
    ON displaced_entries (wallet_id, effective_at, version);

CREATE TYPE rebuild_status AS ENUM ('pending', 'running', 'completed');

-- Comparisons of the tables above with the entries.
CREATE TABLE projection_rebuilds (
    id                  uuid           PRIMARY KEY,
    tenant_id           text           NOT NULL,
    -- The one wallet it is about; null for all of the tenant.
    wallet_id           uuid,
    dry_run             boolean        NOT NULL,
    status              rebuild_status NOT NULL,
    requested_by        text           NOT NULL,
    -- The last wallet that is done; null before the first.
    cursor_wallet_id    uuid,
    wallets_total       bigint         NOT NULL DEFAULT 0,
    wallets_checked     bigint         NOT NULL DEFAULT 0,
    wallets_differing   bigint         NOT NULL DEFAULT 0,
    wallets_rebuilt     bigint         NOT NULL DEFAULT 0,
    differences         bigint         NOT NULL DEFAULT 0,
    balance_differences bigint         NOT NULL DEFAULT 0,
    created_at          timestamptz    NOT NULL,
    started_at          timestamptz,
    finished_at         timestamptz,
    -- Who works on it, and until when nobody else takes it over.
    lease_epoch         bigint         NOT NULL DEFAULT 0,
    leased_until        timestamptz,
    CONSTRAINT projection_rebuilds_end CHECK ((status = 'completed') = (finished_at IS NOT NULL)),
    CONSTRAINT projection_rebuilds_begin CHECK (status = 'pending' OR started_at IS NOT NULL)
);
-- All wallets of a tenant are rebuilt by one rebuild at a time.
CREATE UNIQUE INDEX projection_rebuilds_of_all
    ON projection_rebuilds (tenant_id) WHERE wallet_id IS NULL AND status <> 'completed';
CREATE INDEX projection_rebuilds_due ON projection_rebuilds (created_at) WHERE status <> 'completed';
CREATE INDEX projection_rebuilds_list ON projection_rebuilds (tenant_id, id);

DO $$
BEGIN
    EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE, DELETE ON
             projection_cursors, wallet_days, wallet_snapshots, displaced_entries TO %I',
        current_setting('bursar.application_role')
    );
    EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE ON projection_rebuilds TO %I',
        current_setting('bursar.application_role')
    );
END
$$;
