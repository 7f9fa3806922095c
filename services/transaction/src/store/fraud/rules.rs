//! Rules.

use bursar_aip::id::TenantId;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::fraud::{Mode, Outcome, Rule, Stage};
use crate::store::unreadable;

/// The most rules of a tenant.
pub(crate) const MAX_RULES: i64 = 100;

/// A rule with what only operators see of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredRule {
    pub(crate) rule: Rule,
    pub(crate) description: String,
    pub(crate) updated_by: String,
    pub(crate) updated_at: OffsetDateTime,
}

struct Row {
    rule_id: Uuid,
    name: String,
    version: i64,
    expression: String,
    outcome: String,
    mode: String,
    stage: String,
    priority: i32,
    description: String,
    updated_by: String,
    updated_at: OffsetDateTime,
}

impl TryFrom<Row> for StoredRule {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            rule: Rule {
                id: row.rule_id,
                name: row.name,
                version: row.version,
                expression: row.expression,
                outcome: Outcome::parse(&row.outcome).ok_or_else(|| unreadable("outcome"))?,
                mode: Mode::parse(&row.mode).ok_or_else(|| unreadable("mode"))?,
                stage: Stage::parse(&row.stage).ok_or_else(|| unreadable("stage"))?,
                priority: row.priority,
            },
            description: row.description,
            updated_by: row.updated_by,
            updated_at: row.updated_at,
        })
    }
}

/// The revision of each of these tenants' rules. A tenant that never had one is not
/// among them.
#[tracing::instrument(name = "store.fraud.revisions", skip_all)]
pub(crate) async fn revisions(
    conn: &mut PgConnection,
    tenants: &[&str],
) -> Result<Vec<(TenantId, i64)>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT tenant_id, revision FROM fraud_rule_sets WHERE tenant_id = ANY($1)",
        tenants as &[&str],
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let tenant = row.tenant_id.parse();
            Ok((tenant.map_err(|_| unreadable("tenant_id"))?, row.revision))
        })
        .collect()
}

/// A tenant's rules with their revision, as they are at one moment; the revision is 0
/// for a tenant that never had one.
#[tracing::instrument(name = "store.fraud.load_rules", skip_all)]
pub(crate) async fn load(
    conn: &mut PgConnection,
    tenant: &TenantId,
) -> Result<(i64, Vec<Rule>), sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT sets.revision, rule_id AS "rule_id?", name AS "name?", version AS "version?",
             expression AS "expression?", outcome AS "outcome?", mode AS "mode?",
             stage AS "stage?", priority AS "priority?", description AS "description?",
             updated_by AS "updated_by?", updated_at AS "updated_at?"
         FROM fraud_rule_sets AS sets
         LEFT JOIN fraud_rules USING (tenant_id)
         WHERE tenant_id = $1"#,
        tenant.as_str(),
    )
    .fetch_all(conn)
    .await?;
    let revision = rows.first().map_or(0, |row| row.revision);
    let rules = rows
        .into_iter()
        .filter_map(|row| {
            Some(Row {
                rule_id: row.rule_id?,
                name: row.name?,
                version: row.version?,
                expression: row.expression?,
                outcome: row.outcome?,
                mode: row.mode?,
                stage: row.stage?,
                priority: row.priority?,
                description: row.description?,
                updated_by: row.updated_by?,
                updated_at: row.updated_at?,
            })
        })
        .map(|row| StoredRule::try_from(row).map(|stored| stored.rule))
        .collect::<Result<_, _>>()?;
    Ok((revision, rules))
}

/// A tenant's rules, or the one of a name, in the order in which they are heard.
#[tracing::instrument(name = "store.fraud.list_rules", skip_all)]
pub(crate) async fn list(
    conn: &mut PgConnection,
    tenant: &TenantId,
    name: Option<&str>,
) -> Result<Vec<StoredRule>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT rule_id, name, version, expression, outcome, mode, stage, priority, description,
             updated_by, updated_at
         FROM fraud_rules
         WHERE tenant_id = $1 AND ($2::text IS NULL OR name = $2)
         LIMIT $3",
        tenant.as_str(),
        name,
        MAX_RULES,
    )
    .fetch_all(conn)
    .await?;
    let mut rules = rows
        .into_iter()
        .map(StoredRule::try_from)
        .collect::<Result<Vec<_>, _>>()?;
    rules.sort_by(|left, right| left.rule.place().cmp(&right.rule.place()));
    Ok(rules)
}

/// Lets nobody else change the tenant's rules until this database transaction ends, and
/// makes every screening from its end on read them anew.
#[tracing::instrument(name = "store.fraud.begin_change", skip_all)]
pub(crate) async fn begin_change(
    conn: &mut PgConnection,
    tenant: &TenantId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO fraud_rule_sets AS sets (tenant_id, revision) VALUES ($1, 1)
         ON CONFLICT (tenant_id) DO UPDATE SET revision = sets.revision + 1",
        tenant.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How many rules the tenant has.
pub(crate) async fn count(conn: &mut PgConnection, tenant: &TenantId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "rules!" FROM fraud_rules WHERE tenant_id = $1"#,
        tenant.as_str(),
    )
    .fetch_one(conn)
    .await
}

/// Writes a rule, new or changed. Only after [`begin_change`].
#[tracing::instrument(name = "store.fraud.put_rule", skip_all)]
pub(crate) async fn put(
    conn: &mut PgConnection,
    tenant: &TenantId,
    stored: &StoredRule,
) -> Result<(), sqlx::Error> {
    let rule = &stored.rule;
    sqlx::query!(
        "INSERT INTO fraud_rules (
             tenant_id, name, rule_id, version, expression, outcome, mode, stage, priority,
             description, updated_by, updated_at
         )
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (tenant_id, name) DO UPDATE
         SET version = excluded.version, expression = excluded.expression,
             outcome = excluded.outcome, mode = excluded.mode, stage = excluded.stage,
             priority = excluded.priority, description = excluded.description,
             updated_by = excluded.updated_by, updated_at = excluded.updated_at",
        tenant.as_str(),
        rule.name,
        rule.id,
        rule.version,
        rule.expression,
        rule.outcome.name(),
        rule.mode.name(),
        rule.stage.name(),
        rule.priority,
        stored.description,
        stored.updated_by,
        stored.updated_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes a rule. Only after [`begin_change`].
#[tracing::instrument(name = "store.fraud.delete_rule", skip_all)]
pub(crate) async fn delete(
    conn: &mut PgConnection,
    tenant: &TenantId,
    name: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM fraud_rules WHERE tenant_id = $1 AND name = $2",
        tenant.as_str(),
        name,
    )
    .execute(conn)
    .await?;
    Ok(())
}
