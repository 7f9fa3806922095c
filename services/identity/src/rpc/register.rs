//! `Register`: creates a user with a password and the role of every user.
//!
//! Its callers have no token, so all of them share one scope of idempotency
//! keys: clients must draw their keys, not count them. A replay tells nothing
//! but the user that whoever knew key, address and name registered.

use std::sync::Arc;

use bursar_aip::id::{TenantId, UserId};
use bursar_contracts::identity::v1::{RegisterRequest, RegisterResponse, User};
use bursar_contracts::instant::timestamp;
use bursar_server::{Context, detached, now};
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgConnection;
use time::OffsetDateTime;
use tonic::{Request, Response, Status};

use crate::domain::password;
use crate::domain::role;
use crate::domain::user::{DisplayName, EmailAddress, UserError};
use crate::error::Error;
use crate::event::{self, Circumstances};
use crate::rpc::idempotent::{Keyed, Turn};
use crate::rpc::{Shared, retried};
use crate::store::{credentials, roles, users};

/// The roles of whoever registers.
const ROLES: [&str; 1] = [role::USER];

/// A request whose fields are what they should be.
struct Registration {
    email: EmailAddress,
    display_name: DisplayName,
    password_hash: SecretString,
}

pub(crate) async fn handle(
    shared: &Arc<Shared>,
    request: Request<RegisterRequest>,
) -> Result<Response<RegisterResponse>, Status> {
    let context = Context::of(&request)?;
    let mut message = request.into_inner();
    let password = SecretString::from(std::mem::take(&mut message.password));
    let keyed = Keyed::new(&context, &message);
    let registration = prepare(shared, &message, password).await?;

    let shared = Arc::clone(shared);
    detached(async move {
        let register = || register(&shared, &keyed, &context.caller.tenant, &registration);
        retried(register).await.map_err(Status::from)
    })
    .await
}

/// Checks the fields and hashes the password, before any connection is taken.
async fn prepare(
    shared: &Shared,
    message: &RegisterRequest,
    password: SecretString,
) -> Result<Registration, Error> {
    let email = EmailAddress::parse(&message.email)?;
    let display_name = DisplayName::parse(&message.display_name)?;
    password::check(password.expose_secret(), &email)?;
    Ok(Registration {
        email,
        display_name,
        password_hash: shared.hasher.hash(password).await?,
    })
}

async fn register(
    shared: &Shared,
    keyed: &Keyed,
    tenant: &TenantId,
    registration: &Registration,
) -> Result<Response<RegisterResponse>, Error> {
    let now = now();
    let mut claimed = match keyed.begin(&shared.pool, now).await? {
        Turn::Do(claimed) => claimed,
        Turn::Done(answer) => return Ok(answer?),
    };
    let outcome = insert(&mut claimed.transaction, tenant, registration, now).await;
    claimed.finish(outcome).await
}

/// Writes the user and the event that tells of it. A taken address writes
/// nothing and leaves the transaction usable.
async fn insert(
    conn: &mut PgConnection,
    tenant: &TenantId,
    registration: &Registration,
    now: OffsetDateTime,
) -> Result<RegisterResponse, Error> {
    let id = UserId::generate();
    let user = users::NewUser {
        id,
        tenant,
        email: &registration.email,
        display_name: &registration.display_name,
        created_at: now,
    };
    if !users::insert(conn, &user).await? {
        return Err(UserError::EmailTaken.into());
    }
    credentials::insert(conn, tenant, id, &registration.password_hash, now).await?;
    roles::add(conn, tenant, id, &ROLES).await?;
    let circumstances = Circumstances {
        tenant,
        actor: &id.to_string(),
        at: now,
    };
    let registered = event::user_registered(id, &ROLES, circumstances);
    bursar_events::append(conn, &[registered]).await?;
    Ok(RegisterResponse {
        user: Some(User {
            user_id: id.to_string(),
            email: registration.email.as_str().to_owned(),
            display_name: registration.display_name.as_str().to_owned(),
            roles: ROLES.map(str::to_owned).to_vec(),
            created_at: Some(timestamp(now)),
        }),
    })
}
