//! The balances of all wallets of a tenant, summed up by class of account.

use bursar_aip::id::TenantId;
use bursar_money::Currency;
use sqlx::{PgConnection, query};

use super::names::{Named, unreadable};
use super::wallets::currency;
use crate::domain::trial_balance::{AccountClass, Columns};
use crate::domain::wallet::{Bucket, SystemPurpose};

/// The purposes of the platform's wallets.
const PURPOSES: [SystemPurpose; 6] = [
    SystemPurpose::Settlement,
    SystemPurpose::Fees,
    SystemPurpose::BonusPool,
    SystemPurpose::Suspense,
    SystemPurpose::Receivable,
    SystemPurpose::Liquidity,
];

/// The classes of one currency or of all, in one reading of all wallets, which is
/// of one moment.
pub async fn classes(
    conn: &mut PgConnection,
    tenant: &TenantId,
    only: Option<Currency>,
) -> Result<Vec<(Currency, AccountClass, Columns)>, sqlx::Error> {
    // The platform's wallets are seen as a whole: only users' have buckets that
    // mean something of their own.
    let rows = query!(
        r#"SELECT wallets.currency AS "currency!", wallets.system_purpose, part.bucket AS "bucket!",
             count(*) AS "wallets!",
             coalesce(-sum(part.amount) FILTER (WHERE part.amount < 0), 0)::bigint AS "debit!",
             coalesce(sum(part.amount) FILTER (WHERE part.amount > 0), 0)::bigint AS "credit!"
         FROM wallets
         CROSS JOIN LATERAL (
             SELECT bucket, amount
             FROM (VALUES ('available', available), ('held', held), ('bonus', bonus))
                 AS part (bucket, amount)
             WHERE wallets.system_purpose IS NULL
             UNION ALL
             SELECT 'available', available + held + bonus
             WHERE wallets.system_purpose IS NOT NULL
         ) AS part
         WHERE wallets.tenant_id = $1 AND ($2::text IS NULL OR wallets.currency = $2)
         GROUP BY wallets.currency, wallets.system_purpose, part.bucket"#,
        tenant.as_str(),
        only.map(Currency::code),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let class = match &row.system_purpose {
                Some(purpose) => AccountClass::Platform(self::purpose(purpose)?),
                None => AccountClass::Users(Bucket::from_word(&row.bucket)?),
            };
            let columns = Columns {
                wallets: row.wallets,
                debit: row.debit,
                credit: row.credit,
            };
            Ok((currency(&row.currency)?, class, columns))
        })
        .collect()
}

fn purpose(name: &str) -> Result<SystemPurpose, sqlx::Error> {
    PURPOSES
        .into_iter()
        .find(|purpose| purpose.name() == name)
        .ok_or_else(|| unreadable(name))
}
