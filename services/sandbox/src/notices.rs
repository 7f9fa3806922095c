//! Writes notices to the customer into the outbox, in the transaction of what
//! they tell. This is where faults of notices are used up.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::api::form::{AuthorizationForm, MovementForm, callback_body};
use crate::domain::{Authorization, AuthorizationStatus, Movement, Status};
use crate::error::ApiError;
use crate::store;
use crate::store::callbacks::New;

/// Tells that a movement is finished; nothing while it is pending.
pub(crate) async fn of_movement(
    conn: &mut PgConnection,
    movement: &Movement,
    clock: OffsetDateTime,
) -> Result<(), ApiError> {
    if movement.status == Status::Pending {
        return Ok(());
    }
    let kind = movement.kind.name();
    let (id, event) = (Uuid::now_v7(), format!("{kind}.{}", movement.outcome()));
    let form = MovementForm::from(movement);
    let body = callback_body(id, &event, &movement.reference, form)?;
    let about = About {
        id,
        kind,
        reference: &movement.reference,
        amount_minor: movement.amount_minor,
        event: &event,
    };
    put(conn, about, &body, clock).await
}

/// Tells how far an authorisation is; nothing while it is pending.
pub(crate) async fn of_authorization(
    conn: &mut PgConnection,
    authorization: &Authorization,
    clock: OffsetDateTime,
) -> Result<(), ApiError> {
    if authorization.status == AuthorizationStatus::Pending {
        return Ok(());
    }
    let id = Uuid::now_v7();
    let event = format!("authorization.{}", authorization.status.name());
    let form = AuthorizationForm::from(authorization);
    let body = callback_body(id, &event, &authorization.reference, form)?;
    let about = About {
        id,
        kind: "authorization",
        reference: &authorization.reference,
        amount_minor: authorization.amount_minor,
        event: &event,
    };
    put(conn, about, &body, clock).await
}

/// What a notice is about.
struct About<'a> {
    id: Uuid,
    kind: &'a str,
    reference: &'a str,
    amount_minor: i64,
    event: &'a str,
}

async fn put(
    conn: &mut PgConnection,
    about: About<'_>,
    body: &str,
    clock: OffsetDateTime,
) -> Result<(), ApiError> {
    let About {
        reference,
        amount_minor,
        event,
        ..
    } = about;
    let fault = store::faults::take_for_notice(conn, reference, amount_minor, event).await?;
    let new = New {
        id: about.id,
        kind: about.kind,
        reference,
        body,
        fault,
    };
    store::callbacks::insert(conn, new, bursar_server::now(), clock).await?;
    Ok(())
}
