//! What happens because time passes: pending movements and authorisations are
//! answered, authorisations expire.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::Status;
use crate::error::ApiError;
use crate::notices;
use crate::store;

/// How many of each are finished at once.
const BATCH: i64 = 50;

/// Finishes some of what is due by the provider's clock; true when there may be
/// more. Sources are counted before notices are written: a request locks in this
/// order as well.
pub(crate) async fn finish(
    conn: &mut PgConnection,
    clock: OffsetDateTime,
    tells: bool,
) -> Result<bool, ApiError> {
    store::clock::finish_alone(conn).await?;
    let movements = store::movements::settle_due(conn, clock, BATCH).await?;
    for movement in &movements {
        if let Some(source) = &movement.source
            && movement.status == Status::Declined
        {
            store::sources::count(conn, source, -movement.amount_minor).await?;
        }
    }
    let answered = store::authorizations::settle_due(conn, clock, BATCH).await?;
    let expired = store::authorizations::expire_due(conn, clock, BATCH).await?;
    if tells {
        for movement in &movements {
            notices::of_movement(conn, movement, clock).await?;
        }
        for reference in answered.iter().chain(&expired) {
            if let Some(known) = store::authorizations::find(conn, reference).await? {
                notices::of_authorization(conn, &known, clock).await?;
            }
        }
    }
    Ok(!(movements.is_empty() && answered.is_empty() && expired.is_empty()))
}
