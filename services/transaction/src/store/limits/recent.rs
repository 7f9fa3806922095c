//! The movements of windows.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::limit::{LimitKind, Recent, Subject, Window};
use crate::store::{id_time, unreadable};

/// The newest movements of windows, one answer for each in their order. Who wants
/// to rely on it holds the user's row.
#[tracing::instrument(name = "store.limits.recent", skip_all)]
pub(crate) async fn recent(
    conn: &mut PgConnection,
    windows: &[(Subject<'_>, Window)],
) -> Result<Vec<Recent>, sqlx::Error> {
    if windows.is_empty() {
        return Ok(Vec::new());
    }
    let users: Vec<Uuid> = windows
        .iter()
        .map(|(subject, _)| subject.user.uuid())
        .collect();
    let movements: Vec<&str> = windows
        .iter()
        .map(|(subject, _)| subject.movement.name())
        .collect();
    let currencies: Vec<&str> = windows
        .iter()
        .map(|(subject, _)| subject.currency.code())
        .collect();
    let since: Vec<OffsetDateTime> = windows.iter().map(|(_, window)| window.since).collect();
    let first: Vec<Uuid> = since.iter().map(|since| id_time::first(*since)).collect();
    let most: Vec<i64> = windows
        .iter()
        .map(|(_, window)| i64::from(window.max_count))
        .collect();
    // What a limit refused in a bulk transfer is recorded, and was no movement.
    let rows = sqlx::query!(
        r#"SELECT place AS "place!", count(created_at) AS "count!", min(created_at) AS oldest
           FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::uuid[],
                   $6::bigint[])
               WITH ORDINALITY AS asked (user_id, movement, currency_code, since, first_id, most,
                   place)
           LEFT JOIN LATERAL (
               SELECT created_at
               FROM transactions
               WHERE initiator_user_id = asked.user_id
                 AND transaction_id >= asked.first_id
                 AND kind = asked.movement
                 AND currency_code = asked.currency_code
                 AND created_at > asked.since
                 AND (failure_reason IS NULL OR failure_reason <> ALL ($7))
               ORDER BY transaction_id DESC
               LIMIT asked.most
           ) AS moved ON true
           GROUP BY place
           ORDER BY place"#,
        &users,
        &movements as &[&str],
        &currencies as &[&str],
        &since,
        &first,
        &most,
        &LimitKind::ALL.map(LimitKind::name) as &[&str],
    )
    .fetch_all(conn)
    .await?;
    if rows.len() != windows.len() {
        return Err(sqlx::Error::RowNotFound);
    }
    rows.into_iter()
        .map(|row| {
            Ok(Recent {
                count: u32::try_from(row.count).map_err(|_| unreadable("count"))?,
                oldest: row.oldest,
            })
        })
        .collect()
}
