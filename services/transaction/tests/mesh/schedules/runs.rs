//! Runs: when they are made, how often, and what becomes of them.

use bursar_contracts::transaction::v1::{LimitedMovement, PutLimitRuleRequest};

use super::*;
use crate::explain::{explain, operator};
use crate::limits::{of_tier, put, rule};

/// One planned transfer is made when it is due, once, for its user, with the note; then
/// the schedule has ended.
#[tokio::test]
async fn a_planned_transfer_is_made_once() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let plan = plan(&mesh, &alice, once(&from, &to, 300)).await;
    assert_eq!(plan.state(), ScheduleState::Active);

    let ended = until_state(&mesh, &alice, &plan.schedule_id, ScheduleState::Ended).await;
    assert_eq!((ended.run_count, ended.next_run_at), (1, None));
    let runs = until_runs(&mesh, &alice, &plan.schedule_id, |runs| runs.len() == 1).await;
    assert_eq!(runs[0].state(), ScheduleRunState::Completed);
    assert_eq!(runs[0].due_at, plan.start_at);
    let [id] = runs[0].transaction_ids.as_slice() else {
        panic!("one attempt: {runs:?}");
    };
    let transaction = alice.get(id).await.expect("it is the user's own");
    assert_eq!(transaction.state(), TransactionState::Completed);
    assert_eq!(transaction.initiator_user_id, alice.id.to_string());
    assert_eq!(transaction.description, "rent");
    assert_eq!(alice.balance(&from).await, (700, 0));
    assert_eq!(bob.balance(&to).await, (300, 0));
    let checks = "SELECT count(*) FROM schedule_checks";
    mesh.until(checks, 0).await;
    mesh.verify().await;
}

/// A transfer that a schedule made is explained with the schedule and the number of
/// its run, to its user and to an operator.
#[tokio::test]
async fn a_transfer_names_the_run_that_made_it() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let every_day = by_rule(MissedRunRule::RunAll, daily(&from, &to, 10));
    let id = plan(&mesh, &alice, every_day).await.schedule_id;
    put_back(&mesh, &id, 2).await;
    until_ended(&mesh, &alice, &id, 2).await;
    for run in until_runs(&mesh, &alice, &id, |runs| runs.len() == 2).await {
        for token in [&alice.token, &operator(&mesh)] {
            let told = explain(&mesh, token, &run.transaction_ids[0]).await;
            let told = told.expect("they may see it");
            assert_eq!(
                (&told.schedule_id, told.schedule_run_number),
                (&id, run.number)
            );
            assert_eq!(told.bulk_transfer_id, "");
        }
    }
}

/// After three days without a look, each rule does what it says with the two runs that
/// were missed, and the one that is due now is made under all of them.
#[tokio::test]
async fn missed_runs_follow_their_rule() {
    use ScheduleRunState::{Completed, Skipped};
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(10_000).await, bob.wallet().await);
    let mut paid = 0;
    for (rule, expected) in [
        (MissedRunRule::Unspecified, [Skipped, Skipped, Completed]),
        (MissedRunRule::Skip, [Skipped, Skipped, Completed]),
        (MissedRunRule::RunOnce, [Skipped, Completed, Completed]),
        (MissedRunRule::RunAll, [Completed, Completed, Completed]),
    ] {
        let plan = plan(&mesh, &alice, by_rule(rule, daily(&from, &to, 10))).await;
        put_back(&mesh, &plan.schedule_id, 3).await;
        let states = until_ended(&mesh, &alice, &plan.schedule_id, 3).await;
        assert_eq!(states, expected, "{rule:?}");
        paid += 10 * states.iter().filter(|state| **state == Completed).count();
        let after = found(&mesh, &alice, &plan.schedule_id).await;
        assert_eq!((after.state(), after.run_count), (ScheduleState::Active, 3));
        let next = after.next_run_at.expect("tomorrow's").seconds;
        assert!(next > now().unix_timestamp());
    }
    let paid = i64::try_from(paid).expect("small");
    assert_eq!(bob.balance(&to).await, (paid, 0));
    mesh.verify().await;
}

/// However many instances look, each run is made once.
#[tokio::test]
async fn two_instances_make_each_run_once() {
    let mesh = Mesh::start().await;
    let settings = [
        ("BURSAR_WALLET_ADDRESS", mesh.to_wallet.url.as_str()),
        ("BURSAR_SANDBOX_URL", mesh.to_sandbox.url.as_str()),
        ("BURSAR_SANDBOX_API_KEY", API_KEY),
        ("BURSAR_SANDBOX_CALLBACK_SECRET", CALLBACK_SECRET),
        ("BURSAR_RECOVERY_INTERVAL_MS", "20"),
    ];
    let definition = bursar_transaction::definition();
    let other = TestService::start(definition, &mesh.database, &mesh.tokens, &settings).await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let mut ids = Vec::new();
    for _ in 0..12 {
        let request = by_rule(MissedRunRule::RunAll, daily(&from, &to, 5));
        ids.push(plan(&mesh, &alice, request).await.schedule_id);
    }
    futures::future::join_all(ids.iter().map(|id| put_back(&mesh, id, 3))).await;
    for id in &ids {
        let states = until_ended(&mesh, &alice, id, 3).await;
        assert_eq!(states, [ScheduleRunState::Completed; 3]);
    }
    assert_eq!(bob.balance(&to).await, (12 * 3 * 5, 0));
    mesh.verify().await;
    other.stop().await;
}

/// A run that is refused for want of money is tried again, each time by a transaction of
/// its own, and completes when the money is there.
#[tokio::test]
async fn a_refused_run_is_tried_again() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.wallet().await, bob.wallet().await);
    let request = CreateScheduleRequest {
        failures: Some(ScheduleFailurePolicy {
            max_retries: 10,
            retry_interval_seconds: 3,
            pause_after_failures: 0,
        }),
        ..once(&from, &to, 300)
    };
    let plan = plan(&mesh, &alice, request).await;
    let runs = until_runs(&mesh, &alice, &plan.schedule_id, |runs| {
        runs.iter()
            .any(|run| run.state() == ScheduleRunState::Retrying)
    });
    let runs = runs.await;
    let failure = runs[0].failure.as_ref().expect("it was refused");
    assert_eq!(failure.reason, "INSUFFICIENT_FUNDS");
    assert!(runs[0].retry_at.is_some());
    alice
        .deposit(deposit(&from, 500))
        .await
        .expect("the provider takes the money");
    let states = until_ended(&mesh, &alice, &plan.schedule_id, 1).await;
    assert_eq!(states, [ScheduleRunState::Completed]);
    let runs = until_runs(&mesh, &alice, &plan.schedule_id, |runs| !runs.is_empty()).await;
    let (last, before) = runs[0].transaction_ids.split_last().expect("it was made");
    assert!(!before.is_empty());
    for id in before {
        let failed = alice
            .get(id)
            .await
            .expect("a refusal of the ledger is recorded");
        assert_eq!(failed.state(), TransactionState::Failed);
    }
    let done = alice.get(last).await.expect("it is the user's own");
    assert_eq!(done.state(), TransactionState::Completed);
    assert_eq!(bob.balance(&to).await, (300, 0));
    mesh.verify().await;
}

/// A frozen wallet makes the run fail with its reason; after as many failures as agreed
/// the schedule is paused, and its owner may let it go on.
#[tokio::test]
async fn failed_runs_pause_a_schedule() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let request = CreateScheduleRequest {
        failures: Some(ScheduleFailurePolicy {
            pause_after_failures: 1,
            ..ScheduleFailurePolicy::default()
        }),
        ..daily(&from, &to, 10)
    };
    let plan = plan(&mesh, &alice, request).await;
    mesh.set_status(&from, "frozen").await;
    put_back(&mesh, &plan.schedule_id, 1).await;
    let paused = until_state(&mesh, &alice, &plan.schedule_id, ScheduleState::Paused).await;
    assert_eq!(paused.pause_cause(), SchedulePauseCause::FailedRuns);
    assert_eq!((paused.failures_in_a_row, paused.next_run_at), (1, None));
    let runs = until_runs(&mesh, &alice, &plan.schedule_id, |runs| runs.len() == 1).await;
    assert_eq!(runs[0].state(), ScheduleRunState::Failed);
    let failure = runs[0].failure.as_ref().expect("it was refused");
    assert_eq!(failure.reason, "WALLET_FROZEN");

    let resumed = resume(&mesh, &alice.token, &plan.schedule_id).await;
    let resumed = resumed.expect("its owner may");
    assert_eq!(resumed.state(), ScheduleState::Active);
    assert_eq!(resumed.failures_in_a_row, 0);
    assert!(resumed.next_run_at.is_some());
    assert_eq!(bob.balance(&to).await, (0, 0));
    mesh.verify().await;
}

/// The limits of the user's tier hold for runs, though no token tells it then; what they
/// refuse is no transaction, and the run says why.
#[tokio::test]
async fn limits_hold_for_runs() {
    let mesh = Mesh::start().await;
    put(
        &mesh,
        PutLimitRuleRequest {
            tier: Some(2),
            movement: LimitedMovement::Transfer.into(),
            single_minor: Some(100),
            ..rule()
        },
    )
    .await;
    let (alice, bob) = (of_tier(&mesh, 2), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let within = plan(&mesh, &alice, once(&from, &to, 100)).await;
    let above = plan(&mesh, &alice, once(&from, &to, 101)).await;
    let states = until_ended(&mesh, &alice, &within.schedule_id, 1).await;
    assert_eq!(states, [ScheduleRunState::Completed]);
    let states = until_ended(&mesh, &alice, &above.schedule_id, 1).await;
    assert_eq!(states, [ScheduleRunState::Failed]);
    let runs = until_runs(&mesh, &alice, &above.schedule_id, |runs| runs.len() == 1).await;
    let failure = runs[0].failure.as_ref().expect("it was refused");
    assert_eq!(failure.reason, "TIER_SINGLE_LIMIT_EXCEEDED");
    let status = alice.get(&runs[0].transaction_ids[0]).await;
    let status = status.expect_err("nothing was recorded");
    assert_eq!(refusal(&status).1, "TRANSACTION_NOT_FOUND");
    assert_eq!(bob.balance(&to).await, (100, 0));
    mesh.verify().await;
}

/// While the ledger does not answer a run waits; when it does, the run is made once, also
/// when its key is no longer kept.
#[tokio::test]
async fn a_run_outlives_its_key() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let only_once = CreateScheduleRequest {
        max_runs: 1,
        ..daily(&from, &to, 300)
    };
    let plan = plan(&mesh, &alice, only_once).await;
    mesh.to_wallet.set(Mode::LosesAnswers);
    put_back(&mesh, &plan.schedule_id, 1).await;
    let started = until_runs(&mesh, &alice, &plan.schedule_id, |runs| runs.len() == 1).await;
    assert_eq!(started[0].state(), ScheduleRunState::Started);
    mesh.until(
        "SELECT count(*) FROM transactions WHERE state = 'PENDING'",
        1,
    )
    .await;
    forget_keys(&mesh).await;
    mesh.to_wallet.set(Mode::Whole);
    let states = until_ended(&mesh, &alice, &plan.schedule_id, 1).await;
    assert_eq!(states, [ScheduleRunState::Completed]);
    assert_eq!(bob.balance(&to).await, (300, 0));

    // The job has died before it wrote that, and nobody looked for more than a day.
    mesh.until("SELECT count(*) FROM schedule_checks", 0).await;
    forget_keys(&mesh).await;
    for sql in [
        "UPDATE schedule_runs SET state = 'STARTED', ended_at = NULL",
        "UPDATE schedules SET state = 'ACTIVE'",
        "INSERT INTO schedule_checks
             (schedule_id, tenant_id, next_check_at, lease_holder, lease_epoch, lease_until)
         SELECT schedule_id, tenant_id, now(), gen_random_uuid(), 1, now() FROM schedules",
    ] {
        let tampered = sqlx::query(sql).execute(&mesh.database.owner).await;
        tampered.expect("the owner may change everything");
    }
    until_state(&mesh, &alice, &plan.schedule_id, ScheduleState::Ended).await;
    let states = until_ended(&mesh, &alice, &plan.schedule_id, 1).await;
    assert_eq!(states, [ScheduleRunState::Completed]);
    assert_eq!(bob.balance(&to).await, (300, 0));
    mesh.verify().await;
}

async fn forget_keys(mesh: &Mesh) {
    sqlx::query("DELETE FROM idempotency_keys")
        .execute(&mesh.database.owner)
        .await
        .expect("the owner may delete keys");
}
