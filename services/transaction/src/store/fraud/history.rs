//! What subjects' users did before, for many subjects at once.

use std::collections::HashMap;

use bursar_aip::id::UserId;
use sqlx::PgConnection;
use time::{Date, Duration, OffsetDateTime};
use uuid::Uuid;

use crate::fraud::{History, Subject};
use crate::store::id_time;

/// As of when a history is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Now, with everything that is recorded. Only under the users' locks.
    Present,
    /// When each subject was asked for.
    OfSubject,
}

/// Makes every other screening of these users wait until this database transaction
/// ends, so that what they ask for at once is counted one by one.
#[tracing::instrument(name = "store.fraud.lock_users", skip_all)]
pub(crate) async fn lock_users(
    conn: &mut PgConnection,
    users: &[UserId],
) -> Result<(), sqlx::Error> {
    let users: Vec<Uuid> = users.iter().map(|user| user.uuid()).collect();
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(lock)
         FROM (
             SELECT DISTINCT hashtextextended('fraud/' || user_id::text, 8) AS lock
             FROM UNNEST($1::uuid[]) AS user_id
             ORDER BY lock
         ) AS locks",
        &users,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The columns that the statement about users takes. Ids bound what it looks at, and
/// times tell what counts; see [`id_time`].
#[derive(Default)]
struct Columns {
    tenants: Vec<String>,
    users: Vec<Uuid>,
    transactions: Vec<Uuid>,
    currencies: Vec<String>,
    ats: Vec<OffsetDateTime>,
    /// Those of the last day are not below.
    floors: Vec<Uuid>,
    /// Those from before the last day are below.
    day_ends: Vec<Uuid>,
    /// What is later is not looked at.
    ceilings: Vec<Uuid>,
    todays: Vec<Date>,
}

impl Columns {
    fn of(subjects: &[&Subject], moment: Moment) -> Self {
        let mut columns = Self::default();
        for subject in subjects {
            let at = subject.at.to_offset(time::UtcOffset::UTC);
            columns.tenants.push(subject.tenant.to_string());
            columns.users.push(subject.user.uuid());
            columns.transactions.push(subject.transaction.uuid());
            let currency = subject.amount.currency().code();
            columns.currencies.push(currency.to_owned());
            columns.ats.push(at);
            columns.floors.push(id_time::first(at - Duration::DAY));
            columns.day_ends.push(id_time::end(at - Duration::DAY));
            columns.ceilings.push(match moment {
                Moment::Present => Uuid::max(),
                Moment::OfSubject => id_time::end(at),
            });
            columns.todays.push(at.date());
        }
        columns
    }
}

/// The history of each subject's user, in the order of the subjects. A subject is no
/// part of its own history.
#[tracing::instrument(name = "store.fraud.history", skip_all)]
pub(crate) async fn read(
    conn: &mut PgConnection,
    subjects: &[Subject],
    moment: Moment,
) -> Result<Vec<History>, sqlx::Error> {
    let mut of_user = Vec::with_capacity(subjects.len());
    let mut asked: Vec<&Subject> = Vec::new();
    let mut places = HashMap::new();
    for subject in subjects {
        // At present none of them is recorded yet, so those of one user, currency and
        // time have the same before them, and it is read once.
        let currency = subject.amount.currency();
        let key = (&subject.tenant, subject.user, currency, subject.at);
        let place = match moment {
            Moment::Present => *places.entry(key).or_insert(asked.len()),
            Moment::OfSubject => asked.len(),
        };
        if place == asked.len() {
            asked.push(subject);
        }
        of_user.push(place);
    }
    let found = users(conn, &Columns::of(&asked, moment), moment).await?;
    let known = payees(conn, subjects).await?;
    let histories = of_user.into_iter().zip(known);
    histories
        .map(|(place, payee_known_since)| {
            let found = found.get(place).ok_or(sqlx::Error::RowNotFound)?;
            Ok(History {
                payee_known_since,
                ..found.clone()
            })
        })
        .collect()
}

/// Since when each subject's payee is known, in the order of the subjects.
async fn payees(
    conn: &mut PgConnection,
    subjects: &[Subject],
) -> Result<Vec<Option<OffsetDateTime>>, sqlx::Error> {
    if subjects.iter().all(|subject| subject.payee.is_none()) {
        return Ok(vec![None; subjects.len()]);
    }
    let each = subjects.iter();
    let tenants: Vec<String> = each.clone().map(|it| it.tenant.to_string()).collect();
    let users: Vec<Uuid> = each.clone().map(|it| it.user.uuid()).collect();
    let payees = each.clone().map(|it| it.payee.map(|payee| payee.uuid()));
    let payees: Vec<Option<Uuid>> = payees.collect();
    let ats: Vec<OffsetDateTime> = each.map(|it| it.at).collect();
    sqlx::query_scalar!(
        r#"SELECT known.first_completed_at AS "first_completed_at?"
           FROM UNNEST($1::text[], $2::uuid[], $3::uuid[], $4::timestamptz[])
               WITH ORDINALITY AS subject (tenant_id, user_id, payee_id, at, position)
           LEFT JOIN fraud_payees AS known
               ON known.user_id = subject.user_id
              AND known.wallet_id = subject.payee_id
              AND known.tenant_id = subject.tenant_id
              AND known.first_completed_at <= subject.at
           ORDER BY subject.position"#,
        &tenants,
        &users,
        &payees as &[Option<Uuid>],
        &ats,
    )
    .fetch_all(conn)
    .await
}

/// What the users did, in the order of the columns; of their payees it says nothing.
async fn users(
    conn: &mut PgConnection,
    columns: &Columns,
    moment: Moment,
) -> Result<Vec<History>, sqlx::Error> {
    sqlx::query_as!(
        History,
        r#"SELECT
             recent.withdrawals_last_hour AS "withdrawals_last_hour!",
             recent.withdrawals_last_day AS "withdrawals_last_day!",
             recent.withdrawals_minor_last_hour AS "withdrawals_minor_last_hour!",
             recent.withdrawals_minor_last_day AS "withdrawals_minor_last_day!",
             recent.transfers_last_10_minutes AS "transfers_last_10_minutes!",
             recent.transfers_last_hour AS "transfers_last_hour!",
             recent.transfers_minor_last_hour AS "transfers_minor_last_hour!",
             recent.small_transfers_last_hour AS "small_transfers_last_hour!",
             recent.small_transfers_last_day AS "small_transfers_last_day!",
             recent.first_of_last_day,
             recent.last_of_last_day,
             (
                 SELECT created_at FROM transactions
                 WHERE initiator_user_id = subject.user_id AND tenant_id = subject.tenant_id
                   AND transaction_id <> subject.transaction_id
                   AND transaction_id < subject.day_end
                   AND created_at < subject.at - interval '24 hours'
                 ORDER BY transaction_id DESC
                 LIMIT 1
             ) AS before_last_day,
             (
                 SELECT created_at FROM transactions
                 WHERE initiator_user_id = subject.user_id AND tenant_id = subject.tenant_id
                   AND transaction_id <> subject.transaction_id
                   AND transaction_id <= subject.ceiling
                   AND ($10 OR created_at <= subject.at)
                 ORDER BY transaction_id
                 LIMIT 1
             ) AS first_of_all,
             NULL::timestamptz AS payee_known_since,
             paid.payments AS "paid_30_days!",
             paid.average_minor AS "average_minor_30_days!",
             paid.max_minor AS "max_minor_30_days!"
         FROM UNNEST(
             $1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[], $6::uuid[],
             $7::uuid[], $8::uuid[], $9::date[]
         ) WITH ORDINALITY AS subject (
             tenant_id, user_id, transaction_id, currency_code, at, floor, day_end, ceiling,
             today, position
         )
         CROSS JOIN LATERAL (
             SELECT
                 count(*) FILTER (WHERE kind = 'withdrawal' AND is_last_hour)
                     AS withdrawals_last_hour,
                 count(*) FILTER (WHERE kind = 'withdrawal') AS withdrawals_last_day,
                 least(9223372036854775807, coalesce(sum(minor)
                     FILTER (WHERE kind = 'withdrawal' AND is_last_hour), 0))::bigint
                     AS withdrawals_minor_last_hour,
                 least(9223372036854775807, coalesce(sum(minor)
                     FILTER (WHERE kind = 'withdrawal'), 0))::bigint
                     AS withdrawals_minor_last_day,
                 count(*) FILTER (
                     WHERE kind = 'transfer' AND created_at > subject.at - interval '10 minutes'
                 ) AS transfers_last_10_minutes,
                 count(*) FILTER (WHERE kind = 'transfer' AND is_last_hour)
                     AS transfers_last_hour,
                 least(9223372036854775807, coalesce(sum(minor)
                     FILTER (WHERE kind = 'transfer' AND is_last_hour), 0))::bigint
                     AS transfers_minor_last_hour,
                 count(*) FILTER (WHERE is_small AND is_last_hour) AS small_transfers_last_hour,
                 count(*) FILTER (WHERE is_small) AS small_transfers_last_day,
                 min(created_at) AS first_of_last_day,
                 max(created_at) AS last_of_last_day
             FROM (
                 SELECT kind, created_at,
                     created_at > subject.at - interval '1 hour' AS is_last_hour,
                     CASE WHEN currency_code = subject.currency_code THEN amount_minor ELSE 0 END
                         AS minor,
                     kind = 'transfer' AND currency_code = subject.currency_code
                         AND amount_minor <= $11 AS is_small
                 FROM transactions
                 WHERE initiator_user_id = subject.user_id AND tenant_id = subject.tenant_id
                   AND transaction_id BETWEEN subject.floor AND subject.ceiling
                   AND created_at >= subject.at - interval '24 hours'
                   AND transaction_id <> subject.transaction_id
                   AND ($10 OR created_at <= subject.at)
             ) AS of_last_day
         ) AS recent
         CROSS JOIN LATERAL (
             SELECT
                 coalesce(sum(payments), 0)::bigint AS payments,
                 coalesce(trunc(sum(sum_minor) / sum(payments)), 0)::bigint AS average_minor,
                 coalesce(max(max_minor), 0) AS max_minor
             FROM fraud_profile_days
             WHERE user_id = subject.user_id AND currency_code = subject.currency_code
               AND tenant_id = subject.tenant_id
               AND day BETWEEN subject.today - 30 AND subject.today - 1
         ) AS paid
         ORDER BY subject.position"#,
        &columns.tenants,
        &columns.users,
        &columns.transactions,
        &columns.currencies,
        &columns.ats,
        &columns.floors,
        &columns.day_ends,
        &columns.ceilings,
        &columns.todays,
        moment == Moment::Present,
        crate::fraud::SMALL_MINOR,
    )
    .fetch_all(conn)
    .await
}
