//! The rules that `bursar-transaction verify` checks. The numbers are the
//! platform's.

use bursar_server::Invariant;

/// Every rule of this service's database.
pub(crate) const INVARIANTS: [Invariant; 10] = [
    Invariant {
        number: 7,
        name: "no event after a terminal one",
        sql: "SELECT aggregate_id
              FROM event_log
              GROUP BY aggregate_id
              HAVING min(version) FILTER (
                  WHERE kind IN ('transaction.completed', 'transaction.failed')
              ) < max(version)",
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
                  FROM event_log
                  WHERE aggregate_kind = 'transaction'
                  ORDER BY aggregate_id, version DESC
              ) AS last ON last.aggregate_id = transactions.transaction_id
              WHERE transactions.version IS DISTINCT FROM last.version
                 OR CASE last.kind
                     -- Back to where it stopped, or on to what the operator says was done.
                     WHEN 'transaction.review_resolved' THEN transactions.state NOT IN (
                         'PENDING', 'HELD', 'PROCESSING', 'UNKNOWN', 'SETTLING', 'RELEASING'
                     )
                     ELSE transactions.state IS DISTINCT FROM CASE last.kind
                     WHEN 'transaction.initiated' THEN 'PENDING'
                     WHEN 'transaction.shortfall_found' THEN 'PENDING'
                     WHEN 'transaction.funds_held' THEN 'HELD'
                     WHEN 'transaction.provider_requested' THEN 'PROCESSING'
                     WHEN 'transaction.provider_accepted' THEN 'PROCESSING'
                     WHEN 'transaction.provider_succeeded' THEN 'SETTLING'
                     WHEN 'transaction.provider_declined' THEN 'RELEASING'
                     WHEN 'transaction.outcome_unknown' THEN 'UNKNOWN'
                     WHEN 'transaction.completed' THEN 'COMPLETED'
                     WHEN 'transaction.failed' THEN 'FAILED'
                     WHEN 'transaction.review_required' THEN 'MANUAL_REVIEW'
                     END
                 END",
    },
    Invariant {
        number: 8,
        name: "a transaction names the batches that its events are in",
        sql: "SELECT event.aggregate_id
              FROM event_batches AS batch
              CROSS JOIN LATERAL UNNEST(batch.aggregate_ids) AS event (aggregate_id)
              LEFT JOIN transactions ON transactions.transaction_id = event.aggregate_id
              WHERE (batch.id = ANY (transactions.event_batches)) IS NOT TRUE",
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
                  <> coalesce(transactions.state IN ('COMPLETED', 'FAILED', 'MANUAL_REVIEW'), true)
                -- The transfers of a bulk transfer are moved on by its check.
                AND NOT EXISTS (
                    SELECT 1
                    FROM bulk_transfer_items
                    JOIN bulk_transfer_checks USING (bulk_transfer_id)
                    WHERE bulk_transfer_items.transaction_id = transactions.transaction_id
                      AND checks.transaction_id IS NULL
                )",
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
                 OR (state = 'COMPLETED' AND to_wallet_id IS NOT NULL AND beneficiary_user_id IS NULL)",
    },
    Invariant {
        number: 15,
        name: "what is reserved of a transaction is the sum of its refunds that have not failed",
        sql: "SELECT coalesce(originals.transaction_id, refunds.original_transaction_id)
              FROM (
                  SELECT transaction_id, refunded_minor
                  FROM transactions
                  WHERE refunded_minor <> 0
              ) AS originals
              FULL JOIN (
                  SELECT original_transaction_id, sum(amount_minor) AS sum_minor
                  FROM transactions
                  WHERE kind = 'refund' AND state <> 'FAILED'
                  GROUP BY original_transaction_id
              ) AS refunds ON refunds.original_transaction_id = originals.transaction_id
              WHERE originals.refunded_minor IS DISTINCT FROM refunds.sum_minor",
    },
    Invariant {
        number: 15,
        name: "no more is given back than was moved, and only of what is COMPLETED",
        sql: "SELECT refunds.transaction_id
              FROM transactions AS refunds
              LEFT JOIN transactions AS originals
                  ON originals.transaction_id = refunds.original_transaction_id
              WHERE refunds.kind = 'refund'
                AND (originals.transaction_id IS NULL
                     OR originals.state <> 'COMPLETED'
                     OR originals.kind NOT IN ('transfer', 'deposit')
                     OR originals.tenant_id <> refunds.tenant_id
                     OR originals.currency_code <> refunds.currency_code
                     OR originals.refunded_minor > originals.amount_minor)",
    },
];
