//! What rules found, kept one by one for a while and then as a number.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::fraud::{Screening, Subject};

/// How many hits are folded by one statement.
const FOLD_BATCH: i64 = 5_000;

/// How often a rule matched, by the mode that it was in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) active_last_day: i64,
    pub(crate) active_total: i64,
    pub(crate) shadow_last_day: i64,
    pub(crate) shadow_total: i64,
    pub(crate) errors_last_day: i64,
    pub(crate) errors_total: i64,
}

/// Records what was found about each of these subjects. A hit that is there already
/// counts once.
#[tracing::instrument(name = "store.fraud.record_hits", skip_all)]
pub(crate) async fn record(
    conn: &mut PgConnection,
    screened: &[(&Subject, &Screening)],
) -> Result<(), sqlx::Error> {
    let found: Vec<_> = screened
        .iter()
        .flat_map(|(subject, screening)| {
            let findings = screening.findings.iter();
            findings.map(move |finding| (subject, finding, screening.verdict.name()))
        })
        .collect();
    if found.is_empty() {
        return Ok(());
    }
    let rules: Vec<Uuid> = found
        .iter()
        .map(|(_, finding, _)| finding.rule.id)
        .collect();
    let transactions: Vec<Uuid> = found
        .iter()
        .map(|(subject, ..)| subject.transaction.uuid())
        .collect();
    let tenants: Vec<String> = found
        .iter()
        .map(|(subject, ..)| subject.tenant.to_string())
        .collect();
    let users: Vec<Uuid> = found
        .iter()
        .map(|(subject, ..)| subject.user.uuid())
        .collect();
    let versions: Vec<i64> = found
        .iter()
        .map(|(_, finding, _)| finding.rule.version)
        .collect();
    let modes: Vec<&str> = found
        .iter()
        .map(|(_, finding, _)| finding.rule.mode.name())
        .collect();
    let errors: Vec<bool> = found
        .iter()
        .map(|(_, finding, _)| finding.is_error)
        .collect();
    let verdicts: Vec<&str> = found.iter().map(|(.., verdict)| *verdict).collect();
    sqlx::query!(
        "INSERT INTO fraud_hits (
             rule_id, transaction_id, tenant_id, user_id, rule_version, mode, is_error, verdict
         )
         SELECT rule_id, transaction_id, tenant_id, user_id, rule_version, mode, is_error, verdict
         FROM UNNEST(
             $1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::bigint[], $6::text[], $7::bool[],
             $8::text[]
         ) AS hit (
             rule_id, transaction_id, tenant_id, user_id, rule_version, mode, is_error, verdict
         )
         ON CONFLICT DO NOTHING",
        &rules,
        &transactions,
        &tenants,
        &users,
        &versions,
        &modes as &[&str],
        &errors,
        &verdicts as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The counts of these rules.
#[tracing::instrument(name = "store.fraud.count_hits", skip_all)]
pub(crate) async fn count(
    conn: &mut PgConnection,
    rules: &[Uuid],
) -> Result<HashMap<Uuid, Counts>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT rule.rule_id,
             hits.active_last_day AS "active_last_day!",
             rule.folded_active + hits.active AS "active_total!",
             hits.shadow_last_day AS "shadow_last_day!",
             rule.folded_shadow + hits.shadow AS "shadow_total!",
             hits.errors_last_day AS "errors_last_day!",
             rule.folded_errors + hits.errors AS "errors_total!"
         FROM fraud_rules AS rule
         CROSS JOIN LATERAL (
             SELECT
                 count(*) FILTER (WHERE mode = 'ACTIVE' AND NOT is_error) AS active,
                 count(*) FILTER (WHERE mode = 'ACTIVE' AND NOT is_error AND is_new)
                     AS active_last_day,
                 count(*) FILTER (WHERE mode = 'SHADOW' AND NOT is_error) AS shadow,
                 count(*) FILTER (WHERE mode = 'SHADOW' AND NOT is_error AND is_new)
                     AS shadow_last_day,
                 count(*) FILTER (WHERE is_error) AS errors,
                 count(*) FILTER (WHERE is_error AND is_new) AS errors_last_day
             FROM (
                 SELECT mode, is_error, hit_at > clock_timestamp() - interval '1 day' AS is_new
                 FROM fraud_hits
                 WHERE fraud_hits.rule_id = rule.rule_id
             ) AS kept
         ) AS hits
         WHERE rule.rule_id = ANY($1)"#,
        rules,
    )
    .fetch_all(conn)
    .await?;
    let counts = rows.into_iter().map(|row| {
        let counts = Counts {
            active_last_day: row.active_last_day,
            active_total: row.active_total,
            shadow_last_day: row.shadow_last_day,
            shadow_total: row.shadow_total,
            errors_last_day: row.errors_last_day,
            errors_total: row.errors_total,
        };
        (row.rule_id, counts)
    });
    Ok(counts.collect())
}

/// Turns hits that are older than 30 days into numbers of their rules, at most some
/// thousands, and deletes as many of rules that are gone; returns how many.
#[tracing::instrument(name = "store.fraud.fold_hits", skip_all)]
pub(crate) async fn fold(conn: &mut PgConnection) -> Result<u64, sqlx::Error> {
    // An index is cut by the time of the statement, not by a clock that goes on. Hits
    // never change, so their rows stay where they are.
    let folded = sqlx::query_scalar!(
        r#"WITH old AS (
             DELETE FROM fraud_hits
             WHERE ctid = ANY (ARRAY(
                 SELECT ctid
                 FROM fraud_hits
                 WHERE hit_at < statement_timestamp() - interval '30 days'
                 ORDER BY hit_at
                 LIMIT $1
             ))
             RETURNING rule_id, mode, is_error
         ),
         counted AS (
             SELECT rule_id,
                 count(*) FILTER (WHERE mode = 'ACTIVE' AND NOT is_error) AS active,
                 count(*) FILTER (WHERE mode = 'SHADOW' AND NOT is_error) AS shadow,
                 count(*) FILTER (WHERE is_error) AS errors
             FROM old
             GROUP BY rule_id
         ),
         added AS (
             UPDATE fraud_rules
             SET folded_active = folded_active + counted.active,
                 folded_shadow = folded_shadow + counted.shadow,
                 folded_errors = folded_errors + counted.errors
             FROM counted
             WHERE fraud_rules.rule_id = counted.rule_id
         )
         SELECT count(*) AS "folded!" FROM old"#,
        FOLD_BATCH,
    )
    .fetch_one(&mut *conn)
    .await?;
    Ok(u64::try_from(folded).unwrap_or(0) + forget(conn).await?)
}

/// Deletes hits of rules that are gone, a day after they were made: a payment may still
/// have met a rule that was being deleted.
async fn forget(conn: &mut PgConnection) -> Result<u64, sqlx::Error> {
    // From rule to rule along the index, so that the hits of those that are there are
    // not looked at.
    let deleted = sqlx::query!(
        r#"WITH RECURSIVE met AS (
             (SELECT rule_id FROM fraud_hits ORDER BY rule_id LIMIT 1)
             UNION ALL
             SELECT (
                 SELECT fraud_hits.rule_id
                 FROM fraud_hits
                 WHERE fraud_hits.rule_id > met.rule_id
                 ORDER BY fraud_hits.rule_id
                 LIMIT 1
             )
             FROM met
             WHERE met.rule_id IS NOT NULL
         ),
         gone AS (
             SELECT met.rule_id
             FROM met
             LEFT JOIN fraud_rules USING (rule_id)
             WHERE met.rule_id IS NOT NULL AND fraud_rules.rule_id IS NULL
         )
         DELETE FROM fraud_hits
         WHERE ctid = ANY (ARRAY(
             SELECT old.ctid
             FROM gone
             CROSS JOIN LATERAL (
                 SELECT fraud_hits.ctid
                 FROM fraud_hits
                 WHERE fraud_hits.rule_id = gone.rule_id
                   AND fraud_hits.hit_at < statement_timestamp() - interval '1 day'
                 ORDER BY fraud_hits.hit_at
                 LIMIT $1
             ) AS old
             LIMIT $1
         ))"#,
        FOLD_BATCH,
    )
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected())
}
