//! Transactions against the ledger: COMPLETED means exactly one posting that
//! moved exactly that money, FAILED means that nothing moved.

use futures::Stream;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::Keyed;
use super::transaction::Transaction;

/// What all postings of one transaction did together.
#[derive(Clone, Debug, Eq, FromRow, PartialEq)]
pub(super) struct Effect {
    transaction_id: Uuid,
    /// How many of its postings moved money for good.
    final_postings: i64,
    /// What is left of them in users' wallets, and of fees and exchanges in the
    /// platform's, as `wallet bucket change currency`, sorted; nothing where they
    /// cancel out. The wallets of the platform go by their purpose. What is left
    /// then is one wallet of the platform's, and every posting is balanced.
    net: Vec<String>,
}

impl Keyed for Effect {
    fn id(&self) -> Uuid {
        self.transaction_id
    }
}

/// Whether the ledger has what the transaction says. A transaction under way may
/// have set money aside, or be one write away from its end.
pub(super) fn agree(transaction: Option<&Transaction>, effect: Option<&Effect>) -> bool {
    let net = effect
        .map(|effect| effect.net.as_slice())
        .unwrap_or_default();
    let final_postings = effect.map_or(0, |effect| effect.final_postings);
    match transaction {
        // Money that moved without a transaction.
        None => net.is_empty() && final_postings == 0,
        Some(transaction) if transaction.is_completed() => {
            final_postings == 1 && net == expected_net(transaction)
        }
        Some(transaction) if transaction.is_failed() => net.is_empty() && final_postings == 0,
        Some(_) => final_postings <= 1,
    }
}

fn expected_net(transaction: &Transaction) -> Vec<String> {
    let (own, other) = (&transaction.currency_code, &transaction.credited_currency);
    let (pays, fee) = (transaction.wallet_pays_minor, transaction.fee_minor);
    let credited = transaction.credited_minor;
    let wallet = |id: Option<Uuid>| id.map(|id| id.to_string());
    let platform = |purpose: &str| Some(purpose.to_owned());
    let mut changes = vec![
        (wallet(transaction.from_wallet_id), -pays, own),
        (platform("fees"), fee, own),
        (wallet(transaction.to_wallet_id), credited, other),
    ];
    if own != other {
        changes.push((platform("liquidity"), pays - fee, own));
        changes.push((platform("liquidity"), -credited, other));
    }
    let mut net: Vec<String> = changes
        .into_iter()
        .filter(|(_, minor, _)| *minor != 0)
        .filter_map(|(name, minor, currency)| {
            name.map(|name| format!("{name} available {minor} {currency}"))
        })
        .collect();
    net.sort();
    net
}

/// The effect of every transaction that has postings, by id. What wallet does by
/// itself is of none. To a transaction it is all one from which of the payer's
/// spendable money it was paid, so bonus money counts as available.
pub(super) fn effects(
    connection: &mut PgConnection,
) -> impl Stream<Item = sqlx::Result<Effect>> + '_ {
    sqlx::query_as(
        r#"
WITH nets AS (
    SELECT postings.transaction_id, coalesce(wallets.system_purpose, wallets.id::text) AS name,
           CASE entries.bucket WHEN 'bonus' THEN 'available' ELSE entries.bucket END AS bucket,
           entries.currency, sum(entries.amount) AS change
    FROM entries
    JOIN postings ON postings.id = entries.posting_id AND postings.transaction_id IS NOT NULL
    JOIN wallets ON wallets.id = entries.wallet_id
        AND (wallets.owner_user_id IS NOT NULL
             OR wallets.system_purpose IN ('fees', 'liquidity'))
    GROUP BY 1, 2, 3, 4
    HAVING sum(entries.amount) <> 0
), left_over AS (
    SELECT transaction_id,
           array_agg(line COLLATE "C" ORDER BY line COLLATE "C") AS net
    FROM nets, LATERAL (
        SELECT concat_ws(' ', name, bucket, change, currency)
    ) AS lines (line)
    GROUP BY transaction_id
), counted AS (
    SELECT transaction_id,
           count(*) FILTER (WHERE kind IN ('transfer', 'deposit', 'hold_capture', 'bonus_grant')
               -- An operator adjusted a wallet, or the platform alone paid a refund. What
               -- bars an id has neither side.
               OR (kind = 'adjustment' AND EXISTS (
                   SELECT FROM entries JOIN wallets ON wallets.id = entries.wallet_id
                   WHERE entries.posting_id = postings.id
                     AND (wallets.owner_user_id IS NOT NULL
                          OR wallets.system_purpose = 'receivable')
               ))) AS final_postings
    FROM postings
    WHERE transaction_id IS NOT NULL
    GROUP BY transaction_id
)
SELECT transaction_id, final_postings, coalesce(net, '{}') AS net
FROM counted LEFT JOIN left_over USING (transaction_id)
ORDER BY transaction_id
        "#,
    )
    .fetch(connection)
}

/// The effect of one transaction. Reads the whole ledger, which has no index for
/// this: few transactions are looked at twice.
pub(super) async fn effect(
    connection: &mut PgConnection,
    id: Uuid,
) -> sqlx::Result<Option<Effect>> {
    sqlx::query_as(
        r#"
WITH own AS MATERIALIZED (
    SELECT id, kind FROM postings WHERE transaction_id = $1
), nets AS (
    SELECT coalesce(wallets.system_purpose, wallets.id::text) AS name,
           CASE entries.bucket WHEN 'bonus' THEN 'available' ELSE entries.bucket END AS bucket,
           entries.currency, sum(entries.amount) AS change
    FROM entries
    JOIN own ON own.id = entries.posting_id
    JOIN wallets ON wallets.id = entries.wallet_id
        AND (wallets.owner_user_id IS NOT NULL
             OR wallets.system_purpose IN ('fees', 'liquidity'))
    GROUP BY 1, 2, 3
    HAVING sum(entries.amount) <> 0
)
SELECT $1 AS transaction_id,
       count(*) FILTER (WHERE kind IN ('transfer', 'deposit', 'hold_capture', 'bonus_grant')
           OR (kind = 'adjustment' AND EXISTS (
               SELECT FROM entries JOIN wallets ON wallets.id = entries.wallet_id
               WHERE entries.posting_id = own.id
                 AND (wallets.owner_user_id IS NOT NULL
                      OR wallets.system_purpose = 'receivable')
           ))) AS final_postings,
       ARRAY(
           SELECT line COLLATE "C"
           FROM nets, LATERAL (
               SELECT concat_ws(' ', name, bucket, change, currency)
           ) AS lines (line)
           ORDER BY 1
       ) AS net
FROM own
HAVING count(*) > 0
        "#,
    )
    .bind(id)
    .fetch_optional(connection)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(state: &str) -> Transaction {
        Transaction {
            transaction_id: Uuid::from_u128(1),
            kind: "transfer".to_owned(),
            state: state.to_owned(),
            currency_code: "EUR".to_owned(),
            amount_minor: 500,
            from_wallet_id: Some(Uuid::from_u128(20)),
            to_wallet_id: Some(Uuid::from_u128(10)),
            provider: None,
            wallet_pays_minor: 500,
            fee_minor: 0,
            credited_minor: 500,
            credited_currency: "EUR".to_owned(),
        }
    }

    fn effect_of(transaction: &Transaction, final_postings: i64) -> Effect {
        Effect {
            transaction_id: transaction.transaction_id,
            final_postings,
            net: expected_net(transaction),
        }
    }

    #[test]
    fn a_completed_transaction_moved_its_money_once() {
        // No posting, two postings or another amount break it.
        let completed = transfer("COMPLETED");
        let right = effect_of(&completed, 1);
        assert!(agree(Some(&completed), Some(&right)));
        assert!(!agree(Some(&completed), None));
        assert!(!agree(
            Some(&completed),
            Some(&Effect {
                final_postings: 2,
                ..right.clone()
            })
        ));
        let less = Effect {
            net: vec!["x".to_owned()],
            ..right
        };
        assert!(!agree(Some(&completed), Some(&less)));
    }

    #[test]
    fn a_refund_takes_from_the_wallet_what_it_had() {
        // The platform paid the rest, or all of it.
        let refund = |pays| Transaction {
            kind: "refund".to_owned(),
            to_wallet_id: None,
            wallet_pays_minor: pays,
            ..transfer("COMPLETED")
        };
        let (part, nothing) = (refund(200), refund(0));
        assert!(agree(Some(&part), Some(&effect_of(&part, 1))));
        assert!(agree(Some(&nothing), Some(&effect_of(&nothing, 1))));
        assert!(effect_of(&nothing, 1).net.is_empty());
        assert!(!agree(Some(&part), Some(&effect_of(&nothing, 1))));
    }

    #[test]
    fn what_operators_move_has_one_side_in_a_wallet() {
        // An adjustment gives or takes, and a grant of bonus money gives.
        let one_sided = |kind: &str, from: Option<u128>, to: Option<u128>| Transaction {
            kind: kind.to_owned(),
            from_wallet_id: from.map(Uuid::from_u128),
            to_wallet_id: to.map(Uuid::from_u128),
            ..transfer("COMPLETED")
        };
        let debit = one_sided("adjustment", Some(20), None);
        let credit = one_sided("adjustment", None, Some(10));
        let grant = one_sided("bonus_grant", None, Some(10));
        for (right, other) in [(&debit, &credit), (&credit, &debit), (&grant, &debit)] {
            assert!(agree(Some(right), Some(&effect_of(right, 1))));
            assert!(!agree(Some(right), Some(&effect_of(other, 1))));
            assert!(!agree(Some(right), None));
        }
    }

    #[test]
    fn a_fee_and_a_rate_change_what_arrives() {
        // The payer pays more, the payee gets something else, and the platform has
        // the fee and both sides of the exchange.
        let converted = Transaction {
            wallet_pays_minor: 505,
            fee_minor: 5,
            credited_minor: 540,
            credited_currency: "USD".to_owned(),
            ..transfer("COMPLETED")
        };
        let effect = effect_of(&converted, 1);
        let (payer, payee) = (Uuid::from_u128(20), Uuid::from_u128(10));
        let expected = [
            format!("{payee} available 540 USD"),
            format!("{payer} available -505 EUR"),
            "fees available 5 EUR".to_owned(),
            "liquidity available -540 USD".to_owned(),
            "liquidity available 500 EUR".to_owned(),
        ];
        assert_eq!(effect.net, expected);
        assert!(agree(Some(&converted), Some(&effect)));
        assert!(!agree(Some(&transfer("COMPLETED")), Some(&effect)));
    }

    #[test]
    fn a_failed_transaction_moved_nothing() {
        // What was set aside and given back is nothing; the rest is not.
        let failed = transfer("FAILED");
        let given_back = Effect {
            final_postings: 0,
            net: Vec::new(),
            ..effect_of(&failed, 0)
        };
        assert!(agree(Some(&failed), None));
        assert!(agree(Some(&failed), Some(&given_back)));
        assert!(!agree(Some(&failed), Some(&effect_of(&failed, 1))));
        assert!(!agree(Some(&failed), Some(&effect_of(&failed, 0))));
    }

    #[test]
    fn money_does_not_move_without_a_transaction() {
        // A posting that nobody ordered is a break.
        assert!(!agree(None, Some(&effect_of(&transfer("COMPLETED"), 1))));
    }

    #[test]
    fn a_transaction_under_way_may_be_a_write_from_its_end() {
        // Posted and not yet told is right; posted twice is not.
        let pending = transfer("PENDING");
        assert!(agree(Some(&pending), None));
        assert!(agree(Some(&pending), Some(&effect_of(&pending, 1))));
        assert!(!agree(Some(&pending), Some(&effect_of(&pending, 2))));
    }
}
