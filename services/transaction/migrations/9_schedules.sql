-- Transfers that are made later, once or again and again.
--
-- A schedule is a plan, and each of its runs a transfer like any other. A run's row
-- names the transaction before anything is sent under its id, so that a run is one
-- transfer however often its attempt has to be made. All times of checks are the
-- database's.

CREATE TABLE schedules (
    -- A UUIDv7.
    schedule_id        uuid        PRIMARY KEY,
    tenant_id          text        NOT NULL,
    -- Who made it, and for whom it acts.
    initiator_user_id  uuid        NOT NULL,
    -- The user's verification tier when the user last made or resumed it.
    tier               smallint    NOT NULL CHECK (tier BETWEEN 0 AND 255),
    from_wallet_id     uuid        NOT NULL,
    to_wallet_id       uuid        NOT NULL CHECK (to_wallet_id <> from_wallet_id),
    currency_code      text        NOT NULL CHECK (currency_code ~ '^[A-Z]{3}$'),
    amount_minor       bigint      NOT NULL CHECK (amount_minor > 0),
    -- The initiator's note. It is in no event, because it may be personal.
    description        text        NOT NULL CHECK (length(description) <= 200),
    start_at           timestamptz NOT NULL,
    unit               text        NOT NULL CHECK (unit IN ('ONCE', 'DAY', 'WEEK', 'MONTH')),
    every              smallint    CHECK (every BETWEEN 1 AND 366),
    day_of_month       smallint    CHECK (day_of_month BETWEEN 1 AND 31),
    time_of_day        time,
    time_zone          text        CHECK (length(time_zone) <= 64),
    -- From which local date on is counted, so that neither a late run nor new rules
    -- of a time zone move the dates that follow.
    anchor_date        date,
    end_at             timestamptz,
    max_runs           integer     CHECK (max_runs BETWEEN 1 AND 10000),
    missed_rule        text        NOT NULL CHECK (missed_rule IN ('SKIP', 'RUN_ONCE', 'RUN_ALL')),
    missed_after_s     integer     NOT NULL CHECK (missed_after_s BETWEEN 1 AND 86400),
    catch_up_limit     smallint    NOT NULL CHECK (catch_up_limit BETWEEN 1 AND 100),
    max_retries        smallint    NOT NULL CHECK (max_retries BETWEEN 0 AND 10),
    retry_interval_s   integer     NOT NULL CHECK (retry_interval_s BETWEEN 1 AND 604800),
    pause_after        smallint    NOT NULL CHECK (pause_after BETWEEN 1 AND 1000),
    state              text        NOT NULL CHECK (state IN ('ACTIVE', 'PAUSED', 'ENDED', 'CANCELLED')),
    pause_cause        text        CHECK (pause_cause IN ('OWNER', 'OPERATOR', 'FAILED_RUNS')),
    -- When the next run is due; none when no further one is to come.
    next_run_at        timestamptz,
    run_count          integer     NOT NULL DEFAULT 0 CHECK (run_count >= 0),
    failures_in_a_row  integer     NOT NULL DEFAULT 0 CHECK (failures_in_a_row >= 0),
    created_at         timestamptz NOT NULL,
    -- When the state last changed.
    updated_at         timestamptz NOT NULL,
    -- Grows with every change of the state.
    version            bigint      NOT NULL CHECK (version >= 1),
    CONSTRAINT schedules_recurrence_told CHECK (
        num_nonnulls(every, time_of_day, time_zone, anchor_date)
            = CASE unit WHEN 'ONCE' THEN 0 ELSE 4 END
        AND (day_of_month IS NOT NULL) = (unit = 'MONTH')
    ),
    CONSTRAINT schedules_pause_told CHECK ((state = 'PAUSED') = (pause_cause IS NOT NULL)),
    CONSTRAINT schedules_runs_bounded CHECK (run_count <= max_runs)
) WITH (fillfactor = 85);

-- For the lists.
CREATE INDEX schedules_by_initiator ON schedules (initiator_user_id, schedule_id);

CREATE TABLE schedule_runs (
    schedule_id     uuid        NOT NULL,
    number          integer     NOT NULL CHECK (number >= 1),
    tenant_id       text        NOT NULL,
    due_at          timestamptz NOT NULL,
    state           text        NOT NULL CHECK (state IN (
        'STARTED', 'RETRYING', 'COMPLETED', 'FAILED', 'SKIPPED', 'MANUAL_REVIEW'
    )),
    -- The transaction of each attempt, chosen before the attempt is made.
    transaction_ids uuid[]      NOT NULL CHECK (cardinality(transaction_ids) <= 11),
    -- Why the last attempt was refused.
    failure_reason  text        CHECK (length(failure_reason) <= 64),
    failure_message text        CHECK (length(failure_message) <= 500),
    started_at      timestamptz,
    ended_at        timestamptz,
    retry_at        timestamptz,
    PRIMARY KEY (schedule_id, number),
    CONSTRAINT schedule_runs_attempted CHECK (
        (state = 'SKIPPED') = (cardinality(transaction_ids) = 0)
        AND (state = 'SKIPPED') = (started_at IS NULL)
    ),
    CONSTRAINT schedule_runs_end_told CHECK (
        (state IN ('STARTED', 'RETRYING')) = (ended_at IS NULL)
    ),
    CONSTRAINT schedule_runs_retry_told CHECK ((state = 'RETRYING') = (retry_at IS NOT NULL)),
    CONSTRAINT schedule_runs_failure_told CHECK (
        (failure_reason IS NULL) = (failure_message IS NULL)
        AND (state NOT IN ('RETRYING', 'FAILED') OR failure_reason IS NOT NULL)
    )
) WITH (fillfactor = 85);

-- A schedule has one run at a time.
CREATE UNIQUE INDEX schedule_runs_open ON schedule_runs (schedule_id)
    WHERE state IN ('STARTED', 'RETRYING');

-- One row for each schedule that is active or has a run that has not ended.
CREATE TABLE schedule_checks (
    schedule_id   uuid        PRIMARY KEY,
    tenant_id     text        NOT NULL,
    -- When it is looked at, unless somebody holds the lease then.
    next_check_at timestamptz NOT NULL,
    -- How often it was looked at since it last got on.
    attempts      integer     NOT NULL DEFAULT 0,
    -- Who works on it. Every write of the job is bound to the epoch under which it
    -- got the lease.
    lease_holder  uuid        NOT NULL,
    lease_epoch   bigint      NOT NULL,
    lease_until   timestamptz NOT NULL
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000
);

CREATE INDEX schedule_checks_due ON schedule_checks (next_check_at);

DO $$
DECLARE
    application text := current_setting('bursar.application_role');
BEGIN
    -- What is planned never changes.
    EXECUTE format('GRANT SELECT, INSERT ON schedules, schedule_runs TO %I', application);
    EXECUTE format(
        'GRANT UPDATE (state, pause_cause, next_run_at, run_count, failures_in_a_row,
             updated_at, version, tier) ON schedules TO %I',
        application
    );
    EXECUTE format(
        'GRANT UPDATE (state, transaction_ids, failure_reason, failure_message, ended_at,
             retry_at) ON schedule_runs TO %I',
        application
    );
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON schedule_checks TO %I', application);
END
$$;
