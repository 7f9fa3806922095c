//! What happens when something around the tickets is broken.

use bursar_testkit::with_token;
use tonic::Code;

use crate::house::{House, question, refusal};

/// A ticket whose versions and events differ is named by `verify`.
#[tokio::test]
async fn a_ticket_without_its_event_is_named() {
    let house = House::start().await;
    let ticket = house.create(&house.user(), "Help").await;
    let sound = house.create(&house.user(), "Help too").await;
    house
        .resolve(&house.admin(), &sound.ticket_id, "Done.")
        .await
        .expect("it is open");
    let broken = async || {
        let rules = bursar_admin::definition().invariants;
        let verdicts = bursar_server::verify(&house.database.pool, &rules)
            .await
            .expect("the rules can be asked");
        let broken = verdicts
            .into_iter()
            .filter(|verdict| verdict.offending_rows > 0);
        broken
            .map(|verdict| (verdict.invariant.number, verdict.shown))
            .collect::<Vec<_>>()
    };
    assert_eq!(broken().await, []);
    let uuid = ticket.ticket_id.trim_start_matches("tkt_");
    sqlx::query("UPDATE tickets SET version = 2 WHERE ticket_id = $1::text::uuid")
        .bind(uuid)
        .execute(&house.database.pool)
        .await
        .expect("the application may change tickets");
    let found = broken().await;
    let [(12, rows)] = found.as_slice() else {
        panic!("one rule is broken: {found:?}");
    };
    assert!(rows.len() == 1 && rows[0].contains(uuid), "{rows:?}");
}

/// A database that goes away makes calls UNAVAILABLE, with a time to try again.
#[tokio::test]
async fn without_a_database_calls_are_unavailable() {
    let house = House::start().await;
    let author = house.user();
    house.create(&author, "Before").await;
    let superuser = house.database.superuser().await;
    let name: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&house.database.pool)
        .await
        .expect("the database answers");
    house.database.pool.close().await;
    for statement in [
        format!("ALTER DATABASE {name} CONNECTION LIMIT 0"),
        format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = '{name}' AND pid <> pg_backend_pid()"
        ),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&superuser)
            .await
            .expect("a superuser may");
    }
    let status = house
        .create_response(with_token(question("After"), &author.token))
        .await
        .expect_err("there is no database");
    assert_eq!(
        refusal(&status),
        (Code::Unavailable, "bursar.type.v1/UNAVAILABLE".to_owned())
    );
    let details = bursar_status::StatusExt::get_error_details(&status);
    assert!(details.retry_info().is_some());
}
