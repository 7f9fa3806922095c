//! Account numbers.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::unreadable;
use crate::domain::{Account, NewAccount, Opening};

struct Row {
    reference: String,
    account_id: Uuid,
    currency: String,
    holder_name: String,
    account_number: Option<String>,
    decline_code: Option<String>,
    created_at: OffsetDateTime,
}

impl TryFrom<Row> for Account {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let opening = match (row.account_number, row.decline_code) {
            (Some(number), None) => Opening::Open(number),
            (None, Some(code)) => Opening::Declined(code),
            (Some(_), Some(_)) | (None, None) => return Err(unreadable("account_number")),
        };
        Ok(Self {
            id: row.account_id,
            asked: NewAccount {
                reference: row.reference,
                currency: row.currency,
                holder_name: row.holder_name,
            },
            opening,
            created_at: row.created_at,
        })
    }
}

/// Records an account under a new id; `None` when the reference or the number is
/// taken. Waits while another transaction is recording the same one.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    asked: &NewAccount,
    opening: &Opening,
    id: Uuid,
    now: OffsetDateTime,
) -> Result<Option<Account>, sqlx::Error> {
    let (number, code) = match opening {
        Opening::Open(number) => (Some(number.as_str()), None),
        Opening::Declined(code) => (None, Some(code.as_str())),
    };
    sqlx::query_as!(
        Row,
        "INSERT INTO accounts
             (reference, account_id, currency, holder_name, account_number, decline_code,
              created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT DO NOTHING
         RETURNING reference, account_id, currency, holder_name, account_number, decline_code,
             created_at",
        asked.reference,
        id,
        asked.currency,
        asked.holder_name,
        number,
        code,
        now,
    )
    .fetch_optional(conn)
    .await?
    .map(Account::try_from)
    .transpose()
}

/// The account of a reference.
pub(crate) async fn find(
    conn: &mut PgConnection,
    reference: &str,
) -> Result<Option<Account>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT reference, account_id, currency, holder_name, account_number, decline_code,
             created_at
         FROM accounts
         WHERE reference = $1",
        reference,
    )
    .fetch_optional(conn)
    .await?
    .map(Account::try_from)
    .transpose()
}
