//! The rules about schedules that `bursar-transaction verify` checks.

use bursar_server::Invariant;

/// Every rule.
pub(crate) const INVARIANTS: [Invariant; 5] = [
    Invariant {
        number: 18,
        name: "a schedule that is active, or has a run under way, has a check",
        sql: "SELECT schedule_id
              FROM schedules
              LEFT JOIN schedule_checks AS checks USING (schedule_id)
              WHERE checks.schedule_id IS NULL
                AND (schedules.state = 'ACTIVE' OR EXISTS (
                    SELECT 1
                    FROM schedule_runs
                    WHERE schedule_runs.schedule_id = schedules.schedule_id
                      AND schedule_runs.state IN ('STARTED', 'RETRYING')
                ))",
    },
    Invariant {
        number: 18,
        name: "no check of a schedule is overdue by more than a minute",
        sql: "SELECT schedule_id
              FROM schedule_checks
              WHERE greatest(next_check_at, lease_until) < clock_timestamp() - interval '1 minute'",
    },
    Invariant {
        number: 15,
        name: "a schedule's runs are numbered 1..n and due in that order",
        sql: "SELECT schedules.schedule_id
              FROM schedules
              LEFT JOIN (
                  SELECT schedule_id, number,
                      due_at > coalesce(lag(due_at) OVER (
                          PARTITION BY schedule_id ORDER BY number
                      ), '-infinity') AS is_in_order
                  FROM schedule_runs
              ) AS runs USING (schedule_id)
              GROUP BY schedules.schedule_id
              HAVING count(runs.number) <> run_count
                  OR coalesce(max(runs.number), 0) <> run_count
                  OR NOT coalesce(bool_and(runs.is_in_order), true)",
    },
    Invariant {
        number: 15,
        name: "a run that completed has moved money by its last attempt, and no other run by any",
        sql: "SELECT runs.schedule_id
              FROM schedule_runs AS runs
              LEFT JOIN LATERAL unnest(runs.transaction_ids)
                  WITH ORDINALITY AS attempts (transaction_id, attempt) ON true
              LEFT JOIN transactions ON transactions.transaction_id = attempts.transaction_id
              WHERE (transactions.state = 'COMPLETED') IS TRUE
                  <> (runs.state = 'COMPLETED' AND attempt = cardinality(runs.transaction_ids))
                -- One that is under way may be ahead of its run, and one that a person
                -- has looked at may have come to a good end.
                AND (attempt < cardinality(runs.transaction_ids)
                    OR runs.state NOT IN ('STARTED', 'MANUAL_REVIEW'))",
    },
    Invariant {
        number: 15,
        name: "a run's transactions are its schedule's transfer, and nobody else's",
        sql: "SELECT schedules.schedule_id
              FROM schedules
              JOIN schedule_runs AS runs USING (schedule_id)
              CROSS JOIN LATERAL unnest(runs.transaction_ids) AS attempts (transaction_id)
              JOIN transactions ON transactions.transaction_id = attempts.transaction_id
              WHERE transactions.tenant_id <> schedules.tenant_id
                 OR transactions.initiator_user_id <> schedules.initiator_user_id
                 OR transactions.kind <> 'transfer'
                 OR transactions.from_wallet_id <> schedules.from_wallet_id
                 OR transactions.to_wallet_id <> schedules.to_wallet_id
                 OR transactions.amount_minor <> schedules.amount_minor",
    },
];
