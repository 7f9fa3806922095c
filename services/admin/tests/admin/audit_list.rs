//! `ListAuditEvents`: who may read the trail, its filters and its pages.

use bursar_admin::domain::audit::Line;
use bursar_aip::id::TenantId;
use bursar_contracts::admin::v1::{AuditEvent, ListAuditEventsRequest, ListAuditEventsResponse};
use bursar_testkit::with_token;
use tonic::{Code, Status};

use crate::audit_chain::{append, line};
use crate::house::{House, Person, assert_refused};

impl House {
    /// Sends a `ListAuditEvents`.
    pub(crate) async fn audit(
        &self,
        caller: &Person,
        message: ListAuditEventsRequest,
    ) -> Result<ListAuditEventsResponse, Status> {
        let request = with_token(message, &caller.token);
        Ok(self
            .client
            .clone()
            .list_audit_events(request)
            .await?
            .into_inner())
    }
}

fn subjects(events: &[AuditEvent]) -> Vec<(&str, i64)> {
    events
        .iter()
        .map(|event| (event.subject.as_str(), event.subject_version))
        .collect()
}

/// A line comes out as it went in.
#[tokio::test]
async fn lines_are_told_whole() {
    let house = House::start().await;
    let line = line("txn_1", 1);
    append(&house.database.pool, &line).await;
    let listed = house
        .audit(&house.admin(), ListAuditEventsRequest::default())
        .await
        .expect("an operator may read");
    assert_eq!(listed.next_page_token, "");
    let [event] = listed.audit_events.as_slice() else {
        panic!("there is one line: {listed:?}");
    };
    assert_eq!(event.event_id, line.event_id.to_string());
    assert_eq!(event.source, line.source);
    assert_eq!(event.r#type, line.kind);
    assert_eq!(event.subject, line.subject);
    assert_eq!(event.subject_version, 1);
    assert_eq!(event.actor, line.actor);
    assert_eq!(event.correlation_id, line.correlation_id);
    assert_eq!(event.data_json, line.data);
    let occurred_at = event.occurred_at.expect("a line has its time");
    assert_eq!(occurred_at.seconds, line.occurred_at.unix_timestamp());
    assert_eq!(
        u32::try_from(occurred_at.nanos),
        Ok(line.occurred_at.nanosecond())
    );
    assert!(event.recorded_at.is_some());
}

/// Each filter keeps to itself, and together they narrow.
#[tokio::test]
async fn filters_choose_lines() {
    let house = House::start().await;
    let operator = house.admin();
    let pool = &house.database.pool;
    append(pool, &line("txn_1", 1)).await;
    append(
        pool,
        &Line {
            kind: "transaction.failed".to_owned(),
            ..line("txn_2", 1)
        },
    )
    .await;
    append(
        pool,
        &Line {
            actor: "usr_2".to_owned(),
            ..line("txn_1", 2)
        },
    )
    .await;
    append(
        pool,
        &Line {
            correlation_id: "request-2".to_owned(),
            ..line("txn_3", 1)
        },
    )
    .await;
    let elsewhere = TenantId::parse("elsewhere").expect("a tenant");
    append(
        pool,
        &Line {
            tenant: elsewhere,
            ..line("txn_9", 1)
        },
    )
    .await;

    let none = ListAuditEventsRequest::default;
    let text = str::to_owned;
    let cases = [
        (
            none(),
            vec![("txn_3", 1), ("txn_1", 2), ("txn_2", 1), ("txn_1", 1)],
        ),
        (
            ListAuditEventsRequest {
                r#type: text("transaction.failed"),
                ..none()
            },
            vec![("txn_2", 1)],
        ),
        (
            ListAuditEventsRequest {
                subject: text("txn_1"),
                ..none()
            },
            vec![("txn_1", 2), ("txn_1", 1)],
        ),
        (
            ListAuditEventsRequest {
                correlation_id: text("request-2"),
                ..none()
            },
            vec![("txn_3", 1)],
        ),
        (
            ListAuditEventsRequest {
                actor: text("usr_2"),
                ..none()
            },
            vec![("txn_1", 2)],
        ),
        (
            ListAuditEventsRequest {
                subject: text("txn_1"),
                actor: text("usr_1"),
                ..none()
            },
            vec![("txn_1", 1)],
        ),
        (
            ListAuditEventsRequest {
                subject: text("txn_9"),
                ..none()
            },
            vec![],
        ),
    ];
    for (message, expected) in cases {
        let listed = house
            .audit(&operator, message.clone())
            .await
            .expect("an operator may read");
        assert_eq!(subjects(&listed.audit_events), expected, "{message:?}");
    }
}

/// Pages follow one another, newest first, though lines are added meanwhile.
#[tokio::test]
async fn pages_are_stable_while_the_trail_grows() {
    let house = House::start().await;
    let operator = house.admin();
    for version in 1..=5 {
        append(&house.database.pool, &line("txn_1", version)).await;
    }
    let page = async |page_token: String| {
        let subject = "txn_1".to_owned();
        let message = ListAuditEventsRequest {
            subject,
            page_size: 2,
            page_token,
            ..ListAuditEventsRequest::default()
        };
        house
            .audit(&operator, message)
            .await
            .expect("an operator may read")
    };
    let first = page(String::new()).await;
    append(&house.database.pool, &line("txn_1", 6)).await;
    let second = page(first.next_page_token).await;
    let third = page(second.next_page_token).await;
    assert_eq!(subjects(&first.audit_events), [("txn_1", 5), ("txn_1", 4)]);
    assert_eq!(subjects(&second.audit_events), [("txn_1", 3), ("txn_1", 2)]);
    assert_eq!(subjects(&third.audit_events), [("txn_1", 1)]);
    assert_eq!(third.next_page_token, "");
}

/// Users do not read the trail; tokens and sizes out of bounds are refused.
#[tokio::test]
async fn bad_requests_are_refused() {
    let house = House::start().await;
    let operator = house.admin();
    for subject in ["txn_1", "txn_2"] {
        append(&house.database.pool, &line(subject, 1)).await;
    }
    let all = ListAuditEventsRequest {
        page_size: 1,
        ..ListAuditEventsRequest::default()
    };
    assert_refused(
        house.audit(&house.user(), all.clone()).await,
        Code::PermissionDenied,
        "bursar.type.v1/PERMISSION_DENIED",
    );
    let first = house
        .audit(&operator, all.clone())
        .await
        .expect("an operator may read");
    let other_filter = ListAuditEventsRequest {
        actor: "usr_1".to_owned(),
        page_token: first.next_page_token,
        ..all.clone()
    };
    let garbage = ListAuditEventsRequest {
        page_token: "nonsense".to_owned(),
        ..all.clone()
    };
    for message in [other_filter, garbage] {
        assert_refused(
            house.audit(&operator, message).await,
            Code::InvalidArgument,
            "bursar.type.v1/PAGE_TOKEN_INVALID",
        );
    }
    let negative = ListAuditEventsRequest {
        page_size: -1,
        ..all.clone()
    };
    let huge = ListAuditEventsRequest {
        page_size: i32::MAX,
        ..all.clone()
    };
    let nul = ListAuditEventsRequest {
        actor: "a\0b".to_owned(),
        ..all
    };
    for message in [negative, huge, nul] {
        assert_refused(
            house.audit(&operator, message).await,
            Code::InvalidArgument,
            "bursar.type.v1/INVALID_FIELD",
        );
    }
}
