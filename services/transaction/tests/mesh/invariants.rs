//! What `verify` finds when something is wrong.

use bursar_contracts::transaction::v1::{CreateQuoteRequest, FeePayer, TransactionType};

use crate::support::Mesh;
use crate::support::calls::{deposit, transfer};
use crate::support::prices::{rule, transfer_quote};

/// Each planted break is named by the rule that it breaks, and by no fewer.
#[tokio::test]
async fn planted_breaks_are_found() {
    let breaks = [
        (
            "INSERT INTO event_batches (event_ids, aggregate_ids, versions, data, occurred_at, types,
                 origins, aggregate_kinds, subject_prefixes, kinds, schemas, tenant_ids, actors,
                 correlation_ids, traceparents)
             SELECT ARRAY[gen_random_uuid()], ARRAY[aggregate_id], ARRAY[version + 1], ARRAY[data],
                 ARRAY[occurred_at], '{1}', '{1}', ARRAY[aggregate_kind], '{txn_}', '{transaction.review_required}',
                 ARRAY[schema], ARRAY[tenant_id], ARRAY[actor], ARRAY[correlation_id], '{NULL}'
             FROM event_log WHERE kind = 'transaction.completed'",
            "no event after a terminal one",
        ),
        (
            "INSERT INTO event_batches (event_ids, aggregate_ids, versions, data, occurred_at, types,
                 origins, aggregate_kinds, subject_prefixes, kinds, schemas, tenant_ids, actors,
                 correlation_ids, traceparents)
             SELECT ARRAY[gen_random_uuid()], ARRAY[aggregate_id], ARRAY[version + 2], ARRAY[data],
                 ARRAY[occurred_at], '{1}', '{1}', ARRAY[aggregate_kind], '{txn_}', ARRAY[kind],
                 ARRAY[schema], ARRAY[tenant_id], ARRAY[actor], ARRAY[correlation_id], '{NULL}'
             FROM event_log WHERE kind = 'transaction.completed'",
            "versions of events run 1..n without a gap",
        ),
        (
            "UPDATE transactions SET event_batches = event_batches[2:]",
            "a transaction names the batches that its events are in",
        ),
        (
            "UPDATE transactions SET version = version + 1",
            "a transaction's row is what its last event makes it",
        ),
        (
            "UPDATE transactions SET state = 'SETTLING', posted_at = NULL",
            "a transaction's row is what its last event makes it",
        ),
        (
            "UPDATE transactions SET state = 'SETTLING', posted_at = NULL",
            "what is under way has a check, what is at rest has none",
        ),
        (
            "INSERT INTO transaction_checks (transaction_id, tenant_id, next_check_at, lease_holder,
                 lease_until, correlation_id)
             SELECT transaction_id, tenant_id, now(), transaction_id, now(), 'c' FROM transactions",
            "what is under way has a check, what is at rest has none",
        ),
        (
            "INSERT INTO transaction_checks (transaction_id, tenant_id, next_check_at, lease_holder,
                 lease_until, correlation_id)
             SELECT transaction_id, tenant_id, now() - interval '1 hour', transaction_id,
                 now() - interval '1 hour', 'c' FROM transactions",
            "no check is overdue by more than a minute",
        ),
        (
            "UPDATE transactions SET beneficiary_user_id = NULL",
            "only what is COMPLETED was posted, and for somebody",
        ),
        (
            "UPDATE transactions SET refunded_minor = 1 WHERE kind = 'transfer'",
            "what is reserved of a transaction is the sum of its refunds that have not failed",
        ),
        (
            "UPDATE transactions
             SET kind = 'refund', original_transaction_id = gen_random_uuid(),
                 payer_user_id = initiator_user_id
             WHERE kind = 'transfer'",
            "no more is given back than was moved, and only of what is COMPLETED",
        ),
        (
            "UPDATE quotes SET fee_minor = fee_minor + 1",
            "a quote is used by one transaction, which has its price",
        ),
        (
            "UPDATE quotes SET transaction_id = gen_random_uuid()",
            "a quote is used by one transaction, which has its price",
        ),
        (
            "UPDATE transactions SET fee_rule_id = gen_random_uuid() WHERE fee_rule_id IS NOT NULL",
            "what a transaction costs is what a fee rule for it says",
        ),
        (
            "UPDATE transactions SET currency_code = 'USD' WHERE fee_rule_id IS NOT NULL",
            "what a transaction costs is what a fee rule for it says",
        ),
    ];
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(100).await, bob.wallet().await);
    alice
        .transfer(transfer(&from, &to, 10))
        .await
        .expect("enough");
    mesh.make_rule(rule(TransactionType::Deposit, FeePayer::Recipient))
        .await
        .expect("the rule makes sense");
    let quote = CreateQuoteRequest {
        r#type: TransactionType::Deposit.into(),
        ..transfer_quote("", &from, 100)
    };
    let mut quoted = deposit(&from, 100);
    quoted.quote_id = alice.quote(quote).await.expect("alice may ask").quote_id;
    alice.deposit(quoted).await.expect("the quote fits");
    mesh.verify().await;
    let rules = bursar_transaction::definition().invariants;
    for (statement, broken) in breaks {
        // Rolled back at the end, so that each break is found by itself; the
        // recovery of the running service never sees it.
        let mut planted = mesh.database.owner.begin().await.expect("a connection");
        sqlx::query(statement)
            .execute(&mut *planted)
            .await
            .expect("the break is planted");
        let sql = rules
            .iter()
            .find(|known| known.name == broken)
            .expect("a rule")
            .sql;
        let found = sqlx::query(sql)
            .fetch_all(&mut *planted)
            .await
            .expect("a query");
        assert!(!found.is_empty(), "{broken}: {statement}");
        planted.rollback().await.expect("nothing stays");
    }
    mesh.verify().await;
}
