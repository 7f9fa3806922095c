//! The SQL of tickets and of the audit trail. Functions take a connection, so
//! that the caller decides what is one transaction.

pub mod audit_events;
pub mod tickets;

use sqlx::PgConnection;

/// Has PostgreSQL plan the transaction's statements for the values they are
/// called with. The lists have conditions of the form `$1 IS NULL OR column =
/// $1`, for which a plan that holds for all values could use no index.
async fn plan_for_values(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!("SELECT set_config('plan_cache_mode', 'force_custom_plan', true)")
        .fetch_one(connection)
        .await?;
    Ok(())
}
