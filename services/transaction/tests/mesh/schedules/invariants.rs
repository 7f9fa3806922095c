//! What `verify` finds when something is wrong with a schedule.

use super::*;

/// Each planted break is named by the rule that it breaks.
#[tokio::test]
async fn planted_breaks_are_found() {
    let numbered = "a schedule's runs are numbered 1..n and due in that order";
    let moved = "a run that completed has moved money by its last attempt, and no other run by any";
    let breaks = [
        (
            "DELETE FROM schedule_checks",
            "a schedule that is active, or has a run under way, has a check",
        ),
        (
            "UPDATE schedule_checks
             SET next_check_at = now() - interval '1 hour', lease_until = now() - interval '1 hour'",
            "no check of a schedule is overdue by more than a minute",
        ),
        ("UPDATE schedules SET run_count = run_count + 1", numbered),
        (
            "UPDATE schedule_runs SET due_at = due_at + interval '9 days' WHERE number = 1",
            numbered,
        ),
        (
            "UPDATE schedule_runs
             SET state = 'FAILED', failure_reason = 'WALLET_FROZEN', failure_message = 'it is'
             WHERE state = 'COMPLETED'",
            moved,
        ),
        (
            "UPDATE schedule_runs
             SET state = 'COMPLETED', transaction_ids = ARRAY[gen_random_uuid()],
                 started_at = now()
             WHERE state = 'SKIPPED'",
            moved,
        ),
        (
            "UPDATE schedule_runs SET transaction_ids = transaction_ids || transaction_ids",
            moved,
        ),
        (
            "UPDATE schedules SET amount_minor = amount_minor + 1",
            "a run's transactions are its schedule's transfer, and nobody else's",
        ),
    ];
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let request = by_rule(MissedRunRule::RunOnce, daily(&from, &to, 10));
    let plan = plan(&mesh, &alice, request).await;
    put_back(&mesh, &plan.schedule_id, 3).await;
    until_ended(&mesh, &alice, &plan.schedule_id, 3).await;
    mesh.verify().await;
    let rules = bursar_transaction::definition().invariants;
    for (statement, rule) in breaks {
        // Rolled back at the end; the job of the running service never sees it.
        let mut planted = mesh.database.owner.begin().await.expect("a connection");
        sqlx::query(statement)
            .execute(&mut *planted)
            .await
            .expect("the break is planted");
        let known = rules.iter().find(|known| known.name == rule);
        let found = sqlx::query(known.expect("a rule").sql)
            .fetch_all(&mut *planted)
            .await
            .expect("a query");
        assert!(!found.is_empty(), "{rule}: {statement}");
        planted.rollback().await.expect("nothing stays");
    }
    mesh.verify().await;
}
