//! The cards that were shown, without their numbers.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::unreadable;
use crate::domain::{Behaviour, Card};

/// Keeps a card. One that is known already stays as it is: a token always means
/// the same number.
pub(crate) async fn keep(
    conn: &mut PgConnection,
    card: &Card,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO card_tokens (token, last4, brand, behaviour, created_at)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (token) DO NOTHING",
        card.token,
        card.last4,
        card.brand,
        card.behaviour.map(Behaviour::name),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The card of a token.
pub(crate) async fn find(
    conn: &mut PgConnection,
    token: &str,
) -> Result<Option<Card>, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT token, last4, brand, behaviour FROM card_tokens WHERE token = $1",
        token,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(Card {
            token: row.token,
            last4: row.last4,
            brand: row.brand,
            behaviour: behaviour(row.behaviour)?,
        })
    })
    .transpose()
}

/// The behaviour of a name in the database.
pub(super) fn behaviour(name: Option<String>) -> Result<Option<Behaviour>, sqlx::Error> {
    name.map(|name| Behaviour::parse(&name).ok_or_else(|| unreadable("behaviour")))
        .transpose()
}
