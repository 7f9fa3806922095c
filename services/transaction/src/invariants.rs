//! The rules that `bursar-transaction verify` checks. The numbers are the
//! platform's.

use bursar_server::Invariant;

/// Every rule of this service's database.
pub(crate) const INVARIANTS: [Invariant; 7] = [
    Invariant {
        number: 7,
        name: "no event after a terminal one",
        sql: "SELECT ended.aggregate_id
              FROM events AS ended
              JOIN events AS later
                  ON later.aggregate_id = ended.aggregate_id AND later.version > ended.version
              WHERE ended.kind IN ('transaction.completed', 'transaction.failed')",
    },
    Invariant {
        number: 8,
        name: "versions of events run 1..n without a gap",
        sql: bursar_events::VERSION_GAPS_SQL,
    },
    Invariant {
        number: 8,
        name: "a transaction's row is what its last event makes it",
        sql: "SELECT transactions.transaction_id
              FROM transactions
              FULL JOIN (
                  SELECT DISTINCT ON (aggregate_id) aggregate_id, version, kind
                  FROM events
                  WHERE aggregate_kind = 'transaction'
                  ORDER BY aggregate_id, version DESC
              ) AS last ON last.aggregate_id = transactions.transaction_id
              WHERE transactions.version IS DISTINCT FROM last.version
                 OR transactions.state IS DISTINCT FROM CASE last.kind
                     WHEN 'transaction.initiated' THEN 'PENDING'
                     WHEN 'transaction.funds_held' THEN 'HELD'
                     WHEN 'transaction.provider_requested' THEN 'PROCESSING'
                     WHEN 'transaction.provider_accepted' THEN 'PROCESSING'
                     WHEN 'transaction.provider_succeeded' THEN 'SETTLING'
                     WHEN 'transaction.provider_declined' THEN 'RELEASING'
                     WHEN 'transaction.outcome_unknown' THEN 'UNKNOWN'
                     WHEN 'transaction.completed' THEN 'COMPLETED'
                     WHEN 'transaction.failed' THEN 'FAILED'
                     WHEN 'transaction.review_required' THEN 'MANUAL_REVIEW'
                 END",
    },
    Invariant {
        number: 10,
        name: "no event unpublished for over 30 s",
        sql: bursar_events::UNPUBLISHED_EVENTS_SQL,
    },
    Invariant {
        number: 18,
        name: "what is under way has a check, what is at rest has none",
        sql:
            "SELECT coalesce(transactions.transaction_id, checks.transaction_id)
              FROM transactions
              FULL JOIN transaction_checks AS checks USING (transaction_id)
              WHERE (checks.transaction_id IS NULL)
                  <> coalesce(transactions.state IN ('COMPLETED', 'FAILED', 'MANUAL_REVIEW'), true)",
    },
    Invariant {
        number: 18,
        name: "no check is overdue by more than a minute",
        sql: "SELECT transaction_id
              FROM transaction_checks
              WHERE greatest(next_check_at, lease_until) < clock_timestamp() - interval '1 minute'",
    },
    Invariant {
        number: 15,
        name: "only what is COMPLETED was posted, and for somebody",
        sql: "SELECT transaction_id
              FROM transactions
              WHERE (state = 'COMPLETED') <> (posted_at IS NOT NULL)
                 OR (state = 'COMPLETED' AND kind <> 'withdrawal' AND beneficiary_user_id IS NULL)",
    },
];
