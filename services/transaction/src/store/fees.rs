//! The fee rules.

use bursar_aip::id::{FeeRuleId, TenantId};
use bursar_money::Currency;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::unreadable;
use crate::domain::{FeePayer, FeeRule, MovementKind, Rounding};

/// A rule with what does not matter to the arithmetic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredRule {
    /// The rule.
    pub(crate) rule: FeeRule,
    /// The tenant it belongs to.
    pub(crate) tenant: TenantId,
    /// Who made it.
    pub(crate) created_by: String,
    /// When it was made.
    pub(crate) created_at: OffsetDateTime,
    /// Who archived it, and when; `None` while it counts.
    pub(crate) archived: Option<(String, OffsetDateTime)>,
}

struct Row {
    fee_rule_id: Uuid,
    tenant_id: String,
    kind: String,
    currency_code: String,
    from_amount_minor: i64,
    to_amount_minor: Option<i64>,
    fixed_minor: i64,
    basis_points: i32,
    min_fee_minor: i64,
    max_fee_minor: Option<i64>,
    payer: String,
    rounding: String,
    priority: i32,
    created_by: String,
    created_at: OffsetDateTime,
    archived_by: Option<String>,
    archived_at: Option<OffsetDateTime>,
}

impl TryFrom<Row> for StoredRule {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            rule: FeeRule {
                id: FeeRuleId::from_uuid(row.fee_rule_id),
                kind: MovementKind::parse(&row.kind).ok_or_else(|| unreadable("kind"))?,
                currency: Currency::parse(&row.currency_code)
                    .map_err(|_| unreadable("currency_code"))?,
                from_minor: row.from_amount_minor,
                to_minor: row.to_amount_minor,
                fixed_minor: row.fixed_minor,
                basis_points: row.basis_points,
                min_fee_minor: row.min_fee_minor,
                max_fee_minor: row.max_fee_minor,
                payer: FeePayer::parse(&row.payer).ok_or_else(|| unreadable("payer"))?,
                rounding: Rounding::parse(&row.rounding).ok_or_else(|| unreadable("rounding"))?,
                priority: row.priority,
            },
            tenant: row.tenant_id.parse().map_err(|_| unreadable("tenant_id"))?,
            created_by: row.created_by,
            created_at: row.created_at,
            archived: row.archived_by.zip(row.archived_at),
        })
    }
}

/// Records a new rule.
#[tracing::instrument(name = "store.fees.insert", skip_all)]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    stored: &StoredRule,
) -> Result<(), sqlx::Error> {
    let rule = &stored.rule;
    sqlx::query!(
        "INSERT INTO fee_rules (
             fee_rule_id, tenant_id, kind, currency_code, from_amount_minor, to_amount_minor,
             fixed_minor, basis_points, min_fee_minor, max_fee_minor, payer, rounding, priority,
             created_by, created_at
         )
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        rule.id.uuid(),
        stored.tenant.as_str(),
        rule.kind.name(),
        rule.currency.code(),
        rule.from_minor,
        rule.to_minor,
        rule.fixed_minor,
        rule.basis_points,
        rule.min_fee_minor,
        rule.max_fee_minor,
        rule.payer.name(),
        rule.rounding.name(),
        rule.priority,
        stored.created_by,
        stored.created_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The rules that count for transactions of these tenants, kinds and currencies,
/// which come in the same order. One statement, however many they are.
#[tracing::instrument(name = "store.fees.active", skip_all)]
pub(crate) async fn active(
    conn: &mut PgConnection,
    tenants: &[&str],
    kinds: &[&str],
    currencies: &[&str],
) -> Result<Vec<StoredRule>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT fee_rule_id, tenant_id, kind, currency_code, from_amount_minor, to_amount_minor,
             fixed_minor, basis_points, min_fee_minor, max_fee_minor, payer, rounding, priority,
             created_by, created_at, archived_by, archived_at
         FROM fee_rules
         WHERE archived_at IS NULL
           AND (tenant_id, kind, currency_code) IN (
               SELECT tenant_id, kind, currency_code
               FROM UNNEST($1::text[], $2::text[], $3::text[])
                   AS wanted (tenant_id, kind, currency_code)
           )",
        tenants as &[&str],
        kinds as &[&str],
        currencies as &[&str],
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(StoredRule::try_from)
    .collect()
}

/// A page of a tenant's rules, newest first, behind an id.
#[tracing::instrument(name = "store.fees.list", skip_all)]
pub(crate) async fn list(
    conn: &mut PgConnection,
    tenant: &TenantId,
    include_archived: bool,
    before: Option<FeeRuleId>,
    limit: i64,
) -> Result<Vec<StoredRule>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT fee_rule_id, tenant_id, kind, currency_code, from_amount_minor, to_amount_minor,
             fixed_minor, basis_points, min_fee_minor, max_fee_minor, payer, rounding, priority,
             created_by, created_at, archived_by, archived_at
         FROM fee_rules
         WHERE tenant_id = $1
           AND ($2 OR archived_at IS NULL)
           AND ($3::uuid IS NULL OR fee_rule_id < $3)
         ORDER BY fee_rule_id DESC
         LIMIT $4",
        tenant.as_str(),
        include_archived,
        before.map(FeeRuleId::uuid),
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(StoredRule::try_from)
    .collect()
}

/// Archives a rule, unless it is archived; returns it as it is then.
#[tracing::instrument(name = "store.fees.archive", skip_all)]
pub(crate) async fn archive(
    conn: &mut PgConnection,
    tenant: &TenantId,
    id: FeeRuleId,
    actor: &str,
    at: OffsetDateTime,
) -> Result<Option<StoredRule>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "UPDATE fee_rules
         SET archived_by = coalesce(archived_by, $3), archived_at = coalesce(archived_at, $4)
         WHERE fee_rule_id = $1 AND tenant_id = $2
         RETURNING fee_rule_id, tenant_id, kind, currency_code, from_amount_minor,
             to_amount_minor, fixed_minor, basis_points, min_fee_minor, max_fee_minor, payer,
             rounding, priority, created_by, created_at, archived_by, archived_at",
        id.uuid(),
        tenant.as_str(),
        actor,
        at,
    )
    .fetch_optional(conn)
    .await?
    .map(StoredRule::try_from)
    .transpose()
}
