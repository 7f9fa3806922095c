//! The rules and the rows of demands, in one statement.

use std::collections::HashMap;

use sqlx::PgConnection;
use time::Date;

use super::keys::{Columns, KeyRow};
use super::rules::RuleRow;
use crate::domain::limit::{Demand, LimitRule, UsageKey, Used, usage_keys};
use crate::store::unreadable;

/// What was read for some demands.
pub(super) struct Seen {
    pub(super) rules: Vec<LimitRule>,
    /// What is used under each key that is counted; nothing when some are missing.
    pub(super) used: HashMap<UsageKey, Used>,
    /// The keys that are counted and have no row.
    pub(super) missing: Vec<UsageKey>,
}

/// Reads the rules and locks the rows of some demands, unless a row is missing:
/// then nothing is locked.
#[tracing::instrument(name = "store.limits.lock", skip_all)]
pub(super) async fn lock(conn: &mut PgConnection, demands: &[Demand]) -> Result<Seen, sqlx::Error> {
    let keys: Vec<[UsageKey; 2]> = demands.iter().map(usage_keys).collect();
    let columns = Columns::of(keys.iter().map(|[day, _]| day));
    let months: Vec<Date> = keys.iter().map(|[_, month]| month.starts_on).collect();
    // Rules and rows in one answer: the columns of the other kind are null.
    let rows = sqlx::query!(
        r#"WITH demands AS (
               SELECT DISTINCT tenant_id, user_id, movement, currency_code, day, month
               FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::text[], $5::date[], $6::date[])
                   AS demand (tenant_id, user_id, movement, currency_code, day, month)
           ),
           needed AS (
               SELECT DISTINCT tenant_id, user_id, movement, currency_code, period, starts_on
               FROM demands
               -- Any one will do, however many there are; the order makes it the index's.
               CROSS JOIN LATERAL (
                   SELECT
                   FROM limit_rules
                   WHERE limit_rules.tenant_id = demands.tenant_id
                     AND limit_rules.currency_code = demands.currency_code
                     AND limit_rules.movement IN (demands.movement, 'any')
                   ORDER BY limit_rules.movement
                   LIMIT 1
               ) AS counted
               CROSS JOIN LATERAL (VALUES ('day', day), ('month', month))
                   AS span (period, starts_on)
           ),
           locked AS (
               SELECT user_id, movement, currency_code, period, starts_on, used_minor,
                   movements
               FROM limit_usage
               JOIN needed USING (user_id, movement, currency_code, period, starts_on)
               WHERE NOT EXISTS (
                   SELECT FROM needed AS missing
                   WHERE NOT EXISTS (
                       SELECT FROM limit_usage AS present
                       WHERE present.user_id = missing.user_id
                         AND present.movement = missing.movement
                         AND present.currency_code = missing.currency_code
                         AND present.period = missing.period
                         AND present.starts_on = missing.starts_on
                   )
               )
               ORDER BY user_id, movement, currency_code, period, starts_on
               FOR NO KEY UPDATE OF limit_usage
           ),
           rules AS (
               SELECT rule.limit_rule_id, rule.tenant_id, rule.tier, rule.user_id,
                   rule.wallet_id, rule.movement, rule.currency_code, rule.single_minor,
                   rule.daily_minor, rule.monthly_minor, rule.velocity_count,
                   rule.velocity_window_seconds
               FROM (SELECT DISTINCT tenant_id, currency_code FROM demands) AS place
               JOIN limit_rules AS rule USING (tenant_id, currency_code)
               WHERE rule.user_id IS NULL AND rule.archived_at IS NULL
               UNION ALL
               SELECT rule.limit_rule_id, rule.tenant_id, rule.tier, rule.user_id,
                   rule.wallet_id, rule.movement, rule.currency_code, rule.single_minor,
                   rule.daily_minor, rule.monthly_minor, rule.velocity_count,
                   rule.velocity_window_seconds
               FROM (SELECT DISTINCT tenant_id, currency_code, user_id FROM demands) AS place
               JOIN limit_rules AS rule USING (tenant_id, currency_code, user_id)
               WHERE rule.archived_at IS NULL
           )
           SELECT limit_rule_id AS "limit_rule_id?", tenant_id AS "tenant_id!",
               tier AS "tier?", user_id AS "user_id?", wallet_id AS "wallet_id?",
               movement AS "movement!", currency_code AS "currency_code!",
               single_minor AS "single_minor?", daily_minor AS "daily_minor?",
               monthly_minor AS "monthly_minor?", velocity_count AS "velocity_count?",
               velocity_window_seconds AS "velocity_window_seconds?",
               NULL::text AS "period?", NULL::date AS "starts_on?",
               NULL::text AS "used_minor?", NULL::bigint AS "movements?",
               false AS "is_missing!"
           FROM rules
           UNION ALL
           SELECT NULL, needed.tenant_id, NULL, needed.user_id, NULL, needed.movement,
               needed.currency_code, NULL, NULL, NULL, NULL, NULL, needed.period,
               needed.starts_on, locked.used_minor::text, locked.movements,
               present.user_id IS NULL
           FROM needed
           LEFT JOIN locked USING (user_id, movement, currency_code, period, starts_on)
           LEFT JOIN limit_usage AS present
               USING (user_id, movement, currency_code, period, starts_on)"#,
        &columns.tenants,
        &columns.users,
        &columns.movements as &[&str],
        &columns.currencies as &[&str],
        &columns.starts,
        &months,
    )
    .fetch_all(conn)
    .await?;

    let mut seen = Seen {
        rules: Vec::new(),
        used: HashMap::new(),
        missing: Vec::new(),
    };
    let mut unlocked = Vec::new();
    for row in rows {
        if let Some(limit_rule_id) = row.limit_rule_id {
            let rule = RuleRow {
                limit_rule_id,
                tenant_id: row.tenant_id,
                tier: row.tier,
                user_id: row.user_id,
                wallet_id: row.wallet_id,
                movement: row.movement,
                currency_code: row.currency_code,
                single_minor: row.single_minor,
                daily_minor: row.daily_minor,
                monthly_minor: row.monthly_minor,
                velocity_count: row.velocity_count,
                velocity_window_seconds: row.velocity_window_seconds,
            };
            seen.rules.push(rule.read()?);
            continue;
        }
        let key = KeyRow {
            tenant_id: row.tenant_id,
            user_id: row.user_id.ok_or_else(|| unreadable("user_id"))?,
            movement: row.movement,
            currency_code: row.currency_code,
            period: row.period.ok_or_else(|| unreadable("period"))?,
            starts_on: row.starts_on.ok_or_else(|| unreadable("starts_on"))?,
        };
        let key = key.read()?;
        match (row.used_minor, row.movements) {
            (Some(minor), Some(movements)) => {
                let minor = minor.parse().map_err(|_| unreadable("used_minor"))?;
                seen.used.insert(key, Used { minor, movements });
            }
            _ if row.is_missing => seen.missing.push(key),
            _ => unlocked.push(key),
        }
    }
    // A row that went while it was waited for is missing, too.
    if seen.missing.is_empty() {
        seen.missing = unlocked;
    }
    Ok(seen)
}
