//! Roles and what they grant.

use std::collections::BTreeSet;

/// The role that every registered user has.
pub const USER: &str = "user";

/// The operators' role.
pub const ADMIN: &str = "admin";

/// A role of a user, with one of its permissions: a row of the join of both tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolePermission {
    /// The role's name.
    pub role: String,
    /// What it grants, as `resource:action:target`; `None` for a role that
    /// grants nothing.
    pub permission: Option<String>,
}

/// What a subject is and may do: the part of a token that authorises.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted {
    /// The roles' names, sorted, each once.
    pub roles: Vec<String>,
    /// All that the roles grant together, sorted, each once.
    pub permissions: Vec<String>,
}

/// Folds a user's roles into what they grant together. Grants only ever add:
/// no role takes away what another gives.
pub fn granted(rows: impl IntoIterator<Item = RolePermission>) -> Granted {
    let mut roles = BTreeSet::new();
    let mut permissions = BTreeSet::new();
    for row in rows {
        roles.insert(row.role);
        permissions.extend(row.permission);
    }
    Granted {
        roles: roles.into_iter().collect(),
        permissions: permissions.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(role: &str, permission: Option<&str>) -> RolePermission {
        RolePermission {
            role: role.to_owned(),
            permission: permission.map(str::to_owned),
        }
    }

    /// The union of all roles, whatever the order of the rows.
    #[test]
    fn roles_add_up() {
        let rows = [
            row(USER, Some("wallet:*:own")),
            row(ADMIN, Some("*:read:any")),
            row(ADMIN, Some("wallet:*:own")),
            row("bare", None),
        ];
        let forward = granted(rows.clone());
        let backward = granted(rows.into_iter().rev());
        assert_eq!(forward, backward);
        assert_eq!(forward.roles, ["admin", "bare", "user"]);
        assert_eq!(forward.permissions, ["*:read:any", "wallet:*:own"]);
    }
}
