//! Users' roles and what those grant.

use bursar_aip::id::{TenantId, UserId};
use sqlx::{PgConnection, query, query_as};

use crate::domain::role::{Granted, RolePermission, granted};

/// Gives a user roles; those the user has are left.
#[tracing::instrument(name = "store.roles.add", skip_all, fields(user = %user))]
pub(crate) async fn add(
    conn: &mut PgConnection,
    tenant: &TenantId,
    user: UserId,
    roles: &[&str],
) -> Result<(), sqlx::Error> {
    query!(
        "INSERT INTO user_roles (tenant_id, user_id, role)
         SELECT $1, $2, role
         FROM unnest($3::text[]) AS role
         ON CONFLICT (user_id, role) DO NOTHING",
        tenant.as_str(),
        user.uuid(),
        roles as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A user's roles, and all that they grant together.
#[tracing::instrument(name = "store.roles.granted_to", skip_all, fields(user = %user))]
pub(crate) async fn granted_to(
    conn: &mut PgConnection,
    user: UserId,
) -> Result<Granted, sqlx::Error> {
    let rows = query_as!(
        RolePermission,
        r#"SELECT user_roles.role AS "role!", role_permissions.permission AS "permission?"
         FROM user_roles
         LEFT JOIN role_permissions
             ON role_permissions.tenant_id = user_roles.tenant_id
             AND role_permissions.role = user_roles.role
         WHERE user_roles.user_id = $1"#,
        user.uuid(),
    )
    .fetch_all(conn)
    .await?;
    Ok(granted(rows))
}
