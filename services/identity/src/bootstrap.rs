//! What a start makes sure of: the first administrator and the service
//! accounts. Started again with the same environment it changes nothing;
//! several processes that start at once take turns.

use bursar_aip::id::{TenantId, UserId};
use bursar_server::{database, now};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use crate::config::{Admin, Config};
use crate::domain::bootstrap::{Action, Holder, decide};
use crate::domain::role;
use crate::domain::session::EndReason;
use crate::domain::user::{DisplayName, UserError};
use crate::error::Error;
use crate::event::{self, Circumstances, SERVICE_ACTOR};
use crate::hasher::Hasher;
use crate::secret;
use crate::store::{self, credentials, roles, service_accounts, sessions, users};

/// The name that the administrator is shown by.
const ADMIN_NAME: &str = "Administrator";

/// The administrator's roles.
const ADMIN_ROLES: [&str; 2] = [role::USER, role::ADMIN];

/// How many sessions are ended by one statement.
const SESSIONS_A_STATEMENT: i64 = 500;

/// Makes sure of the administrator and the service accounts.
pub(crate) async fn run(pool: &PgPool, config: &Config, hasher: &Hasher) -> Result<(), Error> {
    let tenant = TenantId::default();
    let mut transaction = database::begin(pool).await?;
    store::lock_start(&mut transaction).await?;
    let now = now();
    for (client_id, secret) in &config.service_accounts {
        let hash = secret::hash(secret);
        service_accounts::upsert(&mut transaction, &tenant, client_id.as_str(), &hash, now).await?;
    }
    let drawn = match &config.admin {
        Some(admin) => ensure_admin(&mut transaction, &tenant, admin, hasher, now).await?,
        None => None,
    };
    transaction.commit().await?;
    if let (Some(admin), Some(password)) = (&config.admin, drawn) {
        print_password(admin, &password);
    }
    Ok(())
}

/// Makes sure of the administrator. Returns the password that was drawn, when
/// one was.
async fn ensure_admin(
    conn: &mut PgConnection,
    tenant: &TenantId,
    admin: &Admin,
    hasher: &Hasher,
    now: OffsetDateTime,
) -> Result<Option<SecretString>, Error> {
    let Some(user) = users::lock_by_email(conn, tenant, &admin.email).await? else {
        let drawn = admin.password.is_none().then(draw_password);
        let password = admin.password.as_ref().or(drawn.as_ref());
        let password = password.expect("a password is drawn where none is configured");
        let hash = hasher.hash(password.clone()).await?;
        create(conn, tenant, admin, &hash, now).await?;
        tracing::info!("the administrator is registered");
        return Ok(drawn);
    };
    let holder = holder(conn, user, admin, hasher).await?;
    match decide(holder, admin.password.clone()) {
        Action::TakeOver(password) => {
            let hash = hasher.hash(password).await?;
            credentials::set_bootstrap_password(conn, user, &hash, now).await?;
            end_sessions(conn, tenant, user, now).await?;
            roles::add(conn, tenant, user, &ADMIN_ROLES).await?;
            tracing::info!(%user, "the administrator has the configured password");
        }
        Action::Keep => roles::add(conn, tenant, user, &ADMIN_ROLES).await?,
        Action::LeaveAlone => tracing::warn!(
            %user,
            "the administrator's address belongs to a user who registered; set \
             BURSAR_BOOTSTRAP_ADMIN_PASSWORD to take the account over"
        ),
    }
    Ok(None)
}

/// What is known of the user who has the administrator's address.
async fn holder(
    conn: &mut PgConnection,
    user: UserId,
    admin: &Admin,
    hasher: &Hasher,
) -> Result<Holder, Error> {
    let Some(hash) = credentials::bootstrap_hash(conn, user).await? else {
        return Ok(Holder::Registered);
    };
    let password_unchanged = match &admin.password {
        Some(password) => hasher.verify(password.clone(), Some(hash)).await?,
        None => true,
    };
    Ok(Holder::Bootstrapped { password_unchanged })
}

/// Registers the administrator: a user like any other, with one role more.
async fn create(
    conn: &mut PgConnection,
    tenant: &TenantId,
    admin: &Admin,
    password_hash: &SecretString,
    now: OffsetDateTime,
) -> Result<(), Error> {
    let id = UserId::generate();
    let display_name = DisplayName::parse(ADMIN_NAME)?;
    let user = users::NewUser {
        id,
        tenant,
        email: &admin.email,
        display_name: &display_name,
        created_at: now,
    };
    // Somebody may register the address at this very moment.
    if !users::insert(conn, &user).await? {
        return Err(UserError::EmailTaken.into());
    }
    credentials::insert(conn, tenant, id, password_hash, now).await?;
    credentials::set_bootstrap_password(conn, id, password_hash, now).await?;
    roles::add(conn, tenant, id, &ADMIN_ROLES).await?;
    let circumstances = Circumstances {
        tenant,
        actor: SERVICE_ACTOR,
        at: now,
    };
    let registered = event::user_registered(id, &ADMIN_ROLES, circumstances);
    bursar_events::append(conn, &[registered]).await?;
    Ok(())
}

/// Ends all sessions of a user.
async fn end_sessions(
    conn: &mut PgConnection,
    tenant: &TenantId,
    user: UserId,
    now: OffsetDateTime,
) -> Result<(), Error> {
    let reason = EndReason::Revoked;
    let circumstances = Circumstances {
        tenant,
        actor: SERVICE_ACTOR,
        at: now,
    };
    loop {
        let ended = sessions::end_some(conn, user, reason, now, SESSIONS_A_STATEMENT).await?;
        if ended.is_empty() {
            return Ok(());
        }
        let events: Vec<_> = ended
            .iter()
            .map(|ended| event::session_ended(user, ended, reason, circumstances))
            .collect();
        bursar_events::append(conn, &events).await?;
    }
}

/// A password of 128 random bits.
fn draw_password() -> SecretString {
    let bits: [u8; 16] = rand::random();
    SecretString::from(hex::encode(bits))
}

#[expect(
    clippy::print_stderr,
    reason = "the one time that the drawn password is shown, to the engineer who started the process"
)]
fn print_password(admin: &Admin, password: &SecretString) {
    eprintln!(
        "administrator: {} with the password {} (drawn for development, shown this once)",
        admin.email.as_str(),
        password.expose_secret()
    );
}
