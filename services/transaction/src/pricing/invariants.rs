//! What `verify` checks about prices.

use bursar_server::Invariant;

/// The rules about fees, quotes and exchange rates.
pub(crate) const INVARIANTS: [Invariant; 2] = [
    Invariant {
        number: 15,
        name: "a quote is used by one transaction, which has its price",
        sql: "SELECT quotes.quote_id
              FROM quotes
              LEFT JOIN transactions USING (transaction_id)
              WHERE quotes.transaction_id IS NOT NULL
                AND (quotes.tenant_id, quotes.user_id, quotes.kind, quotes.currency_code,
                     quotes.amount_minor, quotes.fee_minor, quotes.fee_payer, quotes.fee_rule_id,
                     quotes.converted_currency_code, quotes.converted_minor, quotes.fx_rate_id)
                    IS DISTINCT FROM
                    (transactions.tenant_id, transactions.initiator_user_id, transactions.kind,
                     transactions.currency_code, transactions.amount_minor,
                     transactions.fee_minor, transactions.fee_payer, transactions.fee_rule_id,
                     transactions.converted_currency_code, transactions.converted_minor,
                     transactions.fx_rate_id)",
    },
    Invariant {
        number: 15,
        name: "what a transaction costs is what a fee rule for it says",
        sql: "SELECT transactions.transaction_id
              FROM transactions
              LEFT JOIN fee_rules USING (fee_rule_id)
              WHERE transactions.fee_rule_id IS NOT NULL
                AND (fee_rules.fee_rule_id IS NULL
                     OR (fee_rules.tenant_id, fee_rules.kind, fee_rules.currency_code,
                         fee_rules.payer)
                        IS DISTINCT FROM
                        (transactions.tenant_id, transactions.kind, transactions.currency_code,
                         transactions.fee_payer)
                     OR transactions.amount_minor < fee_rules.from_amount_minor
                     OR transactions.amount_minor > fee_rules.to_amount_minor
                     OR transactions.fee_minor > fee_rules.max_fee_minor
                     OR transactions.fee_minor < least(
                         fee_rules.min_fee_minor, transactions.amount_minor - 1
                     ))",
    },
];
