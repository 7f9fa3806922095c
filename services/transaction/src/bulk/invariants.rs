//! The rules about bulk transfers that `bursar-transaction verify` checks.

use bursar_server::Invariant;

/// Every rule.
pub(crate) const INVARIANTS: [Invariant; 4] = [
    Invariant {
        number: 18,
        name: "a bulk transfer under way has a check, one that is over has none",
        sql:
            "SELECT coalesce(bulk_transfers.bulk_transfer_id, checks.bulk_transfer_id)
              FROM bulk_transfers
              FULL JOIN bulk_transfer_checks AS checks USING (bulk_transfer_id)
              WHERE (checks.bulk_transfer_id IS NULL)
                  <> coalesce(completed_count + failed_count + review_count = transfer_count, true)",
    },
    Invariant {
        number: 18,
        name: "no check of a bulk transfer is overdue by more than a minute",
        sql: "SELECT bulk_transfer_id
              FROM bulk_transfer_checks
              WHERE greatest(next_check_at, lease_until) < clock_timestamp() - interval '1 minute'",
    },
    Invariant {
        number: 15,
        name: "a bulk transfer has its transfers, and has counted those at rest",
        sql: "SELECT bulk_transfers.bulk_transfer_id
              FROM bulk_transfers
              LEFT JOIN bulk_transfer_items AS items USING (bulk_transfer_id)
              LEFT JOIN transactions ON transactions.transaction_id = items.transaction_id
              GROUP BY bulk_transfers.bulk_transfer_id
              HAVING count(transactions.transaction_id) <> transfer_count
                  -- One that a person is looking at may have gone on since.
                  OR (review_count = 0 AND (
                      count(*) FILTER (WHERE state = 'COMPLETED') <> completed_count
                      OR count(*) FILTER (WHERE state = 'FAILED') <> failed_count
                  ))",
    },
    Invariant {
        number: 15,
        name: "an atomic bulk transfer completed as a whole or not at all",
        sql: "SELECT bulk_transfers.bulk_transfer_id
              FROM bulk_transfers
              JOIN bulk_transfer_items AS items USING (bulk_transfer_id)
              JOIN transactions ON transactions.transaction_id = items.transaction_id
              WHERE bulk_transfers.mode = 'ATOMIC' AND bulk_transfers.review_count = 0
              GROUP BY bulk_transfers.bulk_transfer_id
              HAVING count(*) FILTER (WHERE transactions.state = 'COMPLETED')
                  NOT IN (0, count(*))",
    },
];
