//! What subjects' users did before, for many subjects by one statement.

use std::time::Duration;

use bursar_aip::id::UserId;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::fraud::{History, Subject};

/// How long the counts reach back.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// By how much an id may be younger than the time of its transaction.
const SLACK: Duration = Duration::from_secs(60);

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

/// The least id of a time, by which the index of a user's transactions is cut.
pub(super) fn least_id(at: OffsetDateTime) -> Uuid {
    let milliseconds = (at.unix_timestamp_nanos() / 1_000_000).max(0);
    let milliseconds = u128::try_from(milliseconds).unwrap_or(0);
    Uuid::from_u128(milliseconds << 80)
}

/// The columns that the statement takes.
#[derive(Default)]
struct Columns {
    tenants: Vec<String>,
    users: Vec<Uuid>,
    transactions: Vec<Uuid>,
    currencies: Vec<String>,
    payees: Vec<Option<Uuid>>,
    ats: Vec<OffsetDateTime>,
    floors: Vec<Uuid>,
    ceilings: Vec<Uuid>,
    todays: Vec<Date>,
}

impl Columns {
    fn of(subjects: &[Subject], moment: Moment) -> Self {
        let mut columns = Self::default();
        for subject in subjects {
            let at = subject.at.to_offset(time::UtcOffset::UTC);
            columns.tenants.push(subject.tenant.to_string());
            columns.users.push(subject.user.uuid());
            columns.transactions.push(subject.transaction.uuid());
            let currency = subject.amount.currency().code();
            columns.currencies.push(currency.to_owned());
            columns.payees.push(subject.payee.map(|payee| payee.uuid()));
            columns.ats.push(at);
            columns.floors.push(least_id(at - DAY));
            columns.ceilings.push(match moment {
                Moment::Present => Uuid::max(),
                Moment::OfSubject => least_id(at + SLACK),
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
    let columns = Columns::of(subjects, moment);
    // The ids are the axis of time: the index has them, and a row's own time never
    // differs from its id's by more than the moment between the two.
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
                   AND transaction_id < subject.floor
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
             (
                 SELECT first_completed_at FROM fraud_payees
                 WHERE user_id = subject.user_id AND wallet_id = subject.payee_id
                   AND tenant_id = subject.tenant_id AND first_completed_at <= subject.at
             ) AS payee_known_since,
             paid.payments AS "paid_30_days!",
             paid.average_minor AS "average_minor_30_days!",
             paid.max_minor AS "max_minor_30_days!"
         FROM UNNEST(
             $1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::uuid[], $6::timestamptz[],
             $7::uuid[], $8::uuid[], $9::date[]
         ) WITH ORDINALITY AS subject (
             tenant_id, user_id, transaction_id, currency_code, payee_id, at, floor, ceiling,
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
        &columns.payees as &[Option<Uuid>],
        &columns.ats,
        &columns.floors,
        &columns.ceilings,
        &columns.todays,
        moment == Moment::Present,
        crate::fraud::SMALL_MINOR,
    )
    .fetch_all(conn)
    .await
}
