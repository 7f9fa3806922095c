//! The rules about reconciliation that `bursar-transaction verify` checks.
//!
//! What an adjustment of a break would post is not stored: it follows from the two
//! sides of the break, and its legs sum to zero by construction. So the rules look at
//! the sides, which must be what the line and the transaction say.

use bursar_server::Invariant;

/// Every rule.
pub(crate) const INVARIANTS: [Invariant; 7] = [
    Invariant {
        number: 16,
        name: "a settlement line is matched, broken, or waits for its file to be matched",
        sql: "SELECT lines.file_id
              FROM settlement_lines AS lines
              LEFT JOIN settlement_files AS files USING (file_id)
              LEFT JOIN settlement_matches AS matches USING (match_id)
              LEFT JOIN settlement_breaks AS breaks ON breaks.break_id = lines.break_id
              WHERE files.file_id IS NULL
                 OR CASE lines.state
                     WHEN 'MATCHED' THEN matches.match_id IS NULL
                     WHEN 'BROKEN' THEN breaks.break_id IS NULL
                     ELSE files.state = 'RECONCILED'
                 END
                 -- Nothing of a file counts before it is whole.
                 OR (lines.state <> 'PENDING'
                     AND files.state NOT IN ('RECONCILING', 'RECONCILED'))",
    },
    Invariant {
        number: 16,
        name: "a settlement file that counts has the lines that were read of it",
        sql: "SELECT files.file_id
              FROM settlement_files AS files
              LEFT JOIN settlement_lines AS lines USING (file_id)
              WHERE files.state IN ('RECONCILING', 'RECONCILED')
              GROUP BY files.file_id
              HAVING count(lines.line) <> files.lines",
    },
    Invariant {
        number: 16,
        name: "a match joins lines with completed transactions of the same provider and currency",
        sql: "SELECT matches.match_id
              FROM settlement_matches AS matches
              LEFT JOIN settlement_files AS files USING (file_id)
              LEFT JOIN settlement_match_transactions AS matched USING (match_id)
              LEFT JOIN transactions USING (transaction_id)
              WHERE (transactions.tenant_id, transactions.provider, transactions.currency_code,
                     transactions.amount_minor, transactions.state)
                    IS DISTINCT FROM
                    (matches.tenant_id, files.provider, matched.currency_code,
                     matched.amount_minor, 'COMPLETED')
                 OR matched.source IS DISTINCT FROM files.source
                 OR NOT EXISTS (
                     SELECT 1
                     FROM settlement_lines AS lines
                     WHERE lines.match_id = matches.match_id
                 )
                 OR EXISTS (
                     SELECT 1
                     FROM settlement_lines AS lines
                     JOIN settlement_files AS told ON told.file_id = lines.file_id
                     WHERE lines.match_id = matches.match_id
                       AND (lines.currency_code, told.tenant_id, told.provider, told.source)
                           IS DISTINCT FROM
                           (matched.currency_code, files.tenant_id, files.provider, files.source)
                 )",
    },
    Invariant {
        number: 16,
        name: "what is matched agrees, within the tolerance of its rule",
        sql: "SELECT matches.match_id
              FROM settlement_matches AS matches
              JOIN settlement_files AS files USING (file_id)
              LEFT JOIN reconciliation_settings AS settings
                  ON settings.tenant_id = files.tenant_id AND settings.provider = files.provider
              LEFT JOIN reconciliation_rules AS rules
                  ON rules.tenant_id = files.tenant_id AND rules.provider = files.provider
                  AND rules.name = matches.rule
              CROSS JOIN LATERAL (
                  SELECT sum(CASE line_type WHEN 'CHARGE' THEN gross_minor::numeric
                                            ELSE abs(gross_minor::numeric) END) AS minor
                  FROM settlement_lines
                  WHERE settlement_lines.match_id = matches.match_id
              ) AS told
              CROSS JOIN LATERAL (
                  SELECT sum(amount_minor) AS minor
                  FROM settlement_match_transactions AS matched
                  WHERE matched.match_id = matches.match_id
              ) AS booked
              WHERE abs(told.minor - booked.minor) > CASE
                  -- The rules that every provider begins with allow no difference.
                  WHEN settings.version IS NULL THEN 0
                  -- The same rules as when it was matched, whatever the clocks.
                  WHEN settings.updated_at < files.created_at - interval '1 minute'
                      THEN coalesce(rules.amount_tolerance_minor, 0)
                  -- The widest tolerance that a rule may have.
                  ELSE 1000000
              END",
    },
    Invariant {
        number: 16,
        name: "an open break is that of the line that shows it",
        sql: "SELECT breaks.break_id
              FROM settlement_breaks AS breaks
              LEFT JOIN settlement_lines AS lines USING (file_id, line)
              WHERE breaks.state = 'OPEN' AND breaks.line IS NOT NULL
                AND lines.break_id IS DISTINCT FROM breaks.break_id",
    },
    Invariant {
        number: 16,
        name: "what a break says of its line is what the line says",
        sql: "SELECT breaks.break_id
              FROM settlement_breaks AS breaks
              LEFT JOIN settlement_lines AS lines USING (file_id, line)
              WHERE breaks.line IS NOT NULL
                AND (breaks.line_type, breaks.line_currency, breaks.line_gross_minor,
                     breaks.reference, breaks.provider_reference)
                    IS DISTINCT FROM
                    (lines.line_type, lines.currency_code, lines.gross_minor,
                     lines.reference, lines.provider_reference)",
    },
    Invariant {
        number: 16,
        name: "what a break says of its transaction is what the transaction says",
        sql: "SELECT breaks.break_id
              FROM settlement_breaks AS breaks
              LEFT JOIN transactions USING (transaction_id)
              WHERE breaks.transaction_id IS NOT NULL
                AND (breaks.tenant_id, breaks.provider, breaks.transaction_currency,
                     breaks.transaction_minor)
                    IS DISTINCT FROM
                    (transactions.tenant_id, transactions.provider, transactions.currency_code,
                     transactions.amount_minor)",
    },
];
