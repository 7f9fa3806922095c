//! What may be planned, and who may do what with a plan.

use super::*;

/// The answer of a creation shows the next three runs; asked again with the same key it
/// is the same, and nothing is planned twice.
#[tokio::test]
async fn a_creation_shows_what_is_to_come() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let (from, to) = (alice.funded(1_000).await, alice.wallet().await);
    let request = CreateScheduleRequest {
        start_at: Some(stamp(now() + time::Duration::days(1))),
        recurrence: Some(ScheduleRecurrence {
            unit: ScheduleUnit::Month.into(),
            interval: 1,
            time_of_day: "09:30".to_owned(),
            day_of_month: 31,
            time_zone: "europe/berlin".to_owned(),
        }),
        max_runs: 2,
        ..once(&from, &to, 300)
    };
    let response = create(&mesh, &alice, request.clone(), "k").await;
    let first = response.expect("the plan is sound").into_inner();
    let schedule = first.schedule.clone().expect("it is told");
    let recurrence = schedule.recurrence.as_ref().expect("it recurs");
    assert_eq!(recurrence.time_zone, "Europe/Berlin");
    assert_eq!(first.next_runs_at.len(), 2, "of two runs");
    assert_eq!(Some(&first.next_runs_at[0]), schedule.next_run_at.as_ref());
    assert!(first.next_runs_at[0].seconds < first.next_runs_at[1].seconds);

    let again = create(&mesh, &alice, request.clone(), "k").await;
    let again = again.expect("it is answered again");
    assert!(is_replayed(again.metadata()));
    assert_eq!(again.into_inner(), first);
    let other = CreateScheduleRequest {
        max_runs: 3,
        ..request.clone()
    };
    let reused = create(&mesh, &alice, other, "k")
        .await
        .expect_err("another body");
    assert_eq!(refusal(&reused).1, "IDEMPOTENCY_KEY_REUSED");
    let listed = list(&mesh, &alice.token, 0, "").await.expect("one's own");
    assert_eq!(listed.schedules, std::slice::from_ref(&schedule));
    let got = get(&mesh, &alice.token, &schedule.schedule_id).await;
    assert_eq!(got.expect("one's own").next_runs_at, first.next_runs_at);
}

/// What cannot work is refused at once, with its reason, and nothing is planned.
#[tokio::test]
async fn unsound_plans_are_refused() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let dollars = alice.wallet_in("USD").await;
    let nobodys = format!("wal_{}", Uuid::now_v7());
    let sound = daily(&from, &to, 10);
    let recurring = |change: &dyn Fn(&mut ScheduleRecurrence)| {
        let mut request = sound.clone();
        change(request.recurrence.as_mut().expect("it recurs"));
        request
    };
    let start_at = Some(stamp(now() - time::Duration::hours(1)));
    let end_at = Some(stamp(now() + time::Duration::hours(1)));
    let invalid = Code::InvalidArgument;
    for (request, code, reason) in [
        (once(&from, &from, 10), invalid, "SAME_WALLET"),
        (once(&to, &from, 10), Code::NotFound, "WALLET_NOT_FOUND"),
        (
            once(&from, &nobodys, 10),
            Code::NotFound,
            "WALLET_NOT_FOUND",
        ),
        (once(&dollars, &to, 10), invalid, "CURRENCY_MISMATCH"),
        (once(&from, &dollars, 10), invalid, "CURRENCY_MISMATCH"),
        (
            recurring(&|recurrence| recurrence.time_zone = "Europe/Atlantis".to_owned()),
            invalid,
            "TIME_ZONE_UNKNOWN",
        ),
        (
            recurring(&|recurrence| recurrence.day_of_month = 3),
            invalid,
            "INVALID_FIELD",
        ),
        (
            recurring(&|recurrence| recurrence.set_unit(ScheduleUnit::Month)),
            invalid,
            "INVALID_FIELD",
        ),
        (
            CreateScheduleRequest {
                start_at,
                ..once(&from, &to, 10)
            },
            invalid,
            "SCHEDULE_START_PASSED",
        ),
        (
            CreateScheduleRequest {
                start_at: None,
                ..once(&from, &to, 10)
            },
            invalid,
            "INVALID_FIELD",
        ),
        (
            CreateScheduleRequest {
                end_at,
                ..sound.clone()
            },
            invalid,
            "SCHEDULE_WITHOUT_RUNS",
        ),
    ] {
        let status = create(&mesh, &alice, request.clone(), &Uuid::now_v7().to_string())
            .await
            .expect_err(reason);
        assert_eq!(refusal(&status), (code, reason.to_owned()), "{request:?}");
    }
    assert_eq!(mesh.count("SELECT count(*) FROM schedules").await, 0);
}

/// A user has so many schedules at most that are not over.
#[tokio::test]
async fn schedules_are_bounded() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let (from, to) = (alice.funded(1_000).await, alice.wallet().await);
    let plan = plan(&mesh, &alice, daily(&from, &to, 10)).await;
    sqlx::query(
        "INSERT INTO schedules
         SELECT (jsonb_populate_record(
             schedules, jsonb_build_object('schedule_id', gen_random_uuid())
         )).*
         FROM schedules, generate_series(1, 99)",
    )
    .execute(&mesh.database.owner)
    .await
    .expect("the owner may add schedules");
    let status = create(&mesh, &alice, daily(&from, &to, 10), "k").await;
    let status = status.expect_err("one too many");
    let exceeded = (Code::ResourceExhausted, "SCHEDULES_EXCEEDED".to_owned());
    assert_eq!(refusal(&status), exceeded);
    cancel(&mesh, &alice.token, &plan.schedule_id)
        .await
        .expect("one's own");
    let created = create(&mesh, &alice, daily(&from, &to, 10), "k").await;
    created.expect("there is room again");
}

/// A paused schedule makes no run, and what was due meanwhile is not made up for; a
/// cancelled one makes none ever again.
#[tokio::test]
async fn schedules_are_paused_resumed_and_cancelled() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let request = by_rule(MissedRunRule::RunAll, daily(&from, &to, 10));
    let schedule = plan(&mesh, &alice, request).await;
    let (id, token) = (schedule.schedule_id.as_str(), alice.token.as_str());

    let paused = pause(&mesh, token, id, schedule.version)
        .await
        .expect("one's own");
    assert_eq!(paused.state(), ScheduleState::Paused);
    assert_eq!(paused.pause_cause(), SchedulePauseCause::Owner);
    assert_eq!(paused.version, schedule.version + 1);
    let stale = pause(&mesh, token, id, schedule.version).await;
    let stale = stale.expect_err("it has another version by now");
    assert_eq!(
        refusal(&stale),
        (Code::Aborted, "SCHEDULE_CHANGED".to_owned())
    );
    assert_eq!(
        pause(&mesh, token, id, 0).await.expect("it is so already"),
        paused
    );

    // Its check goes, and three days pass.
    mesh.until("SELECT count(*) FROM schedule_checks", 0).await;
    let passed = sqlx::query(
        "UPDATE schedules
         SET start_at = start_at - interval '3 days', anchor_date = anchor_date - 3,
             next_run_at = next_run_at - interval '3 days'",
    );
    let passed = passed.execute(&mesh.database.owner).await;
    passed.expect("the owner may change schedules");
    let resumed = resume(&mesh, token, id).await.expect("one's own");
    assert_eq!(resumed.state(), ScheduleState::Active);
    assert_eq!(resumed.next_run_at, schedule.next_run_at);
    assert_eq!(
        resume(&mesh, token, id).await.expect("it is so already"),
        resumed
    );
    mesh.until(
        "SELECT count(*) FROM schedule_checks WHERE next_check_at > now()",
        1,
    )
    .await;
    assert_eq!(found(&mesh, &alice, id).await.run_count, 0);

    let cancelled = cancel(&mesh, token, id).await.expect("one's own");
    assert_eq!(cancelled.state(), ScheduleState::Cancelled);
    assert_eq!(
        cancel(&mesh, token, id).await.expect("it is so already"),
        cancelled
    );
    for status in [
        pause(&mesh, token, id, 0).await.expect_err("it is over"),
        resume(&mesh, token, id).await.expect_err("it is over"),
    ] {
        assert_eq!(
            refusal(&status),
            (Code::FailedPrecondition, "SCHEDULE_OVER".to_owned())
        );
    }
    mesh.until("SELECT count(*) FROM schedule_checks", 0).await;
    assert_eq!(bob.balance(&to).await, (0, 0));
    mesh.verify().await;
}

/// A key is honoured where it is sent: the same pause is answered as it first was, though
/// the schedule has been resumed meanwhile.
#[tokio::test]
async fn a_pause_is_replayed() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let (from, to) = (alice.funded(1_000).await, alice.wallet().await);
    let id = plan(&mesh, &alice, daily(&from, &to, 10)).await.schedule_id;
    let request = PauseScheduleRequest {
        schedule_id: id.clone(),
        version: 0,
    };
    let asked = || alice.request_with(request.clone(), "k");
    let first = client(&mesh)
        .pause_schedule(asked())
        .await
        .expect("one's own");
    resume(&mesh, &alice.token, &id).await.expect("one's own");
    let again = client(&mesh)
        .pause_schedule(asked())
        .await
        .expect("it is answered");
    assert!(is_replayed(again.metadata()));
    assert_eq!(again.into_inner(), first.into_inner());
    assert_eq!(
        found(&mesh, &alice, &id).await.state(),
        ScheduleState::Active
    );
}

/// Nobody sees or touches another's schedule; an operator sees everybody's, and what an
/// operator has paused stays so until an operator resumes it.
#[tokio::test]
async fn schedules_are_their_owners() {
    let mesh = Mesh::start().await;
    let (alice, eve) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, eve.wallet().await);
    let id = plan(&mesh, &alice, daily(&from, &to, 10)).await.schedule_id;
    let nobodys = format!("sch_{}", Uuid::now_v7());
    for id in [&id, &nobodys] {
        for status in [
            get(&mesh, &eve.token, id).await.expect_err("another's"),
            list_runs(&mesh, &eve.token, id, 0, "")
                .await
                .expect_err("another's"),
            pause(&mesh, &eve.token, id, 0)
                .await
                .expect_err("another's"),
            resume(&mesh, &eve.token, id).await.expect_err("another's"),
            cancel(&mesh, &eve.token, id).await.expect_err("another's"),
        ] {
            let not_found = (Code::NotFound, "SCHEDULE_NOT_FOUND".to_owned());
            assert_eq!(refusal(&status), not_found);
        }
    }
    let of_eve = list(&mesh, &eve.token, 0, "").await.expect("one's own");
    assert!(of_eve.schedules.is_empty());

    let operator = mesh.tokens.admin(bursar_aip::id::UserId::generate());
    let all = list(&mesh, &operator, 0, "")
        .await
        .expect("an operator sees all");
    assert_eq!(all.schedules.len(), 1);
    let paused = pause(&mesh, &operator, &id, 0)
        .await
        .expect("an operator may");
    assert_eq!(paused.pause_cause(), SchedulePauseCause::Operator);
    let status = resume(&mesh, &alice.token, &id).await;
    let status = status.expect_err("an operator has paused it");
    let denied = (
        Code::PermissionDenied,
        "SCHEDULE_RESUME_NOT_PERMITTED".to_owned(),
    );
    assert_eq!(refusal(&status), denied);
    let resumed = resume(&mesh, &operator, &id)
        .await
        .expect("an operator may");
    assert_eq!(resumed.state(), ScheduleState::Active);
    mesh.verify().await;
}

/// Pages of schedules and of runs have everything once, newest first, and a token is good
/// for its own list only.
#[tokio::test]
async fn lists_have_pages() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(plan(&mesh, &alice, daily(&from, &to, 10)).await.schedule_id);
    }
    ids.reverse();
    let first = list(&mesh, &alice.token, 2, "").await.expect("one's own");
    let second = list(&mesh, &alice.token, 2, &first.next_page_token).await;
    let second = second.expect("the token is ours");
    let listed = first.schedules.iter().chain(&second.schedules);
    let listed: Vec<_> = listed
        .map(|schedule| schedule.schedule_id.clone())
        .collect();
    assert_eq!((listed, second.next_page_token.as_str()), (ids.clone(), ""));
    let stolen = list(&mesh, &bob.token, 2, &first.next_page_token).await;
    let stolen = stolen.expect_err("it is another's list");
    assert_eq!(refusal(&stolen).1, "PAGE_TOKEN_INVALID");

    put_back(&mesh, &ids[0], 3).await;
    until_ended(&mesh, &alice, &ids[0], 3).await;
    let first = list_runs(&mesh, &alice.token, &ids[0], 2, "")
        .await
        .expect("one's own");
    let second = list_runs(&mesh, &alice.token, &ids[0], 2, &first.next_page_token).await;
    let second = second.expect("the token is ours");
    let listed = first.runs.iter().chain(&second.runs);
    let numbers: Vec<_> = listed.map(|run| run.number).collect();
    assert_eq!(
        (numbers, second.next_page_token.as_str()),
        (vec![3, 2, 1], "")
    );
    let elsewhere = list_runs(&mesh, &alice.token, &ids[1], 2, &first.next_page_token).await;
    let elsewhere = elsewhere.expect_err("it is another schedule's list");
    assert_eq!(refusal(&elsewhere).1, "PAGE_TOKEN_INVALID");
}
