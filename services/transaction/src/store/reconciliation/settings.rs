//! How a provider's settlement is read and matched.

use std::collections::BTreeMap;

use bursar_aip::id::TenantId;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::ProviderName;
use crate::reconciliation::{Cardinality, Format, Key, LineType, Rule};
use crate::store::unreadable;

/// Settings as they are stored, or as everybody begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) format: Format,
    pub(crate) rules: Vec<Rule>,
    /// 0 while nobody changed them.
    pub(crate) version: i64,
    pub(crate) updated_by: String,
    pub(crate) updated_at: Option<OffsetDateTime>,
}

/// The settings of a provider.
#[tracing::instrument(name = "store.reconciliation_settings.find", skip_all)]
pub(crate) async fn find(
    conn: &mut PgConnection,
    tenant: &TenantId,
    provider: &ProviderName,
) -> Result<Settings, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT version, delimiter, reference_column, provider_reference_column,
             batch_reference_column, type_column, currency_column, gross_column, fee_column,
             net_column, occurred_at_column, trailer_marker, end_marker, type_words, line_types,
             updated_by, updated_at
         FROM reconciliation_settings
         WHERE tenant_id = $1 AND provider = $2",
        tenant.as_str(),
        provider.as_str(),
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else {
        return Ok(Settings {
            format: Format::initial(),
            rules: Rule::initial(),
            version: 0,
            updated_by: String::new(),
            updated_at: None,
        });
    };
    let words: Option<BTreeMap<_, _>> = row
        .type_words
        .into_iter()
        .zip(&row.line_types)
        .map(|(word, kind)| Some((word, LineType::parse(kind)?)))
        .collect();
    let some = |text: String| (!text.is_empty()).then_some(text);
    let delimiter = row.delimiter.bytes().next();
    Ok(Settings {
        format: Format {
            delimiter: delimiter.ok_or_else(|| unreadable("delimiter"))?,
            reference: row.reference_column,
            provider_reference: row.provider_reference_column,
            batch_reference: some(row.batch_reference_column),
            kind: row.type_column,
            currency: row.currency_column,
            gross: row.gross_column,
            fee: some(row.fee_column),
            net: some(row.net_column),
            occurred_at: row.occurred_at_column,
            trailer: row.trailer_marker,
            end: row.end_marker,
            words: words.ok_or_else(|| unreadable("line_types"))?,
        },
        rules: rules(conn, tenant, provider).await?,
        version: row.version,
        updated_by: row.updated_by,
        updated_at: Some(row.updated_at),
    })
}

async fn rules(
    conn: &mut PgConnection,
    tenant: &TenantId,
    provider: &ProviderName,
) -> Result<Vec<Rule>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT name, match_key, cardinality, amount_tolerance_minor, date_window_days
         FROM reconciliation_rules
         WHERE tenant_id = $1 AND provider = $2
         ORDER BY position",
        tenant.as_str(),
        provider.as_str(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Rule {
                name: row.name,
                key: Key::parse(&row.match_key).ok_or_else(|| unreadable("match_key"))?,
                cardinality: Cardinality::parse(&row.cardinality)
                    .ok_or_else(|| unreadable("cardinality"))?,
                tolerance_minor: row.amount_tolerance_minor,
                window_days: u32::try_from(row.date_window_days)
                    .map_err(|_| unreadable("date_window_days"))?,
            })
        })
        .collect()
}

/// Replaces the settings, if they are still at `version`; false when they are not.
#[tracing::instrument(name = "store.reconciliation_settings.replace", skip_all)]
pub(crate) async fn replace(
    conn: &mut PgConnection,
    tenant: &TenantId,
    provider: &ProviderName,
    settings: &Settings,
    version: i64,
) -> Result<bool, sqlx::Error> {
    let format = &settings.format;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let words: Vec<String> = format.words.keys().cloned().collect();
    let types: Vec<String> = format
        .words
        .values()
        .map(|kind| kind.name().to_owned())
        .collect();
    let replaced = sqlx::query!(
        "INSERT INTO reconciliation_settings AS settings
             (tenant_id, provider, version, delimiter, reference_column,
              provider_reference_column, batch_reference_column, type_column, currency_column,
              gross_column, fee_column, net_column, occurred_at_column, trailer_marker, end_marker,
              type_words, line_types, updated_by, updated_at)
         SELECT $1, $2, $3::bigint + 1, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
             $17, $18, clock_timestamp()
         WHERE $3 = 0 OR EXISTS (
             SELECT FROM reconciliation_settings WHERE tenant_id = $1 AND provider = $2
         )
         ON CONFLICT (tenant_id, provider) DO UPDATE
         SET version = EXCLUDED.version, delimiter = EXCLUDED.delimiter,
             reference_column = EXCLUDED.reference_column,
             provider_reference_column = EXCLUDED.provider_reference_column,
             batch_reference_column = EXCLUDED.batch_reference_column,
             type_column = EXCLUDED.type_column, currency_column = EXCLUDED.currency_column,
             gross_column = EXCLUDED.gross_column, fee_column = EXCLUDED.fee_column,
             net_column = EXCLUDED.net_column, occurred_at_column = EXCLUDED.occurred_at_column,
             trailer_marker = EXCLUDED.trailer_marker, end_marker = EXCLUDED.end_marker,
             type_words = EXCLUDED.type_words, line_types = EXCLUDED.line_types,
             updated_by = EXCLUDED.updated_by, updated_at = EXCLUDED.updated_at
         WHERE settings.version = $3",
        tenant.as_str(),
        provider.as_str(),
        version,
        char::from(format.delimiter).to_string(),
        format.reference,
        format.provider_reference,
        text(&format.batch_reference),
        format.kind,
        format.currency,
        format.gross,
        text(&format.fee),
        text(&format.net),
        format.occurred_at,
        format.trailer,
        format.end,
        &words,
        &types,
        settings.updated_by,
    )
    .execute(&mut *conn)
    .await?;
    if replaced.rows_affected() == 0 {
        return Ok(false);
    }
    replace_rules(conn, tenant, provider, &settings.rules).await?;
    Ok(true)
}

async fn replace_rules(
    conn: &mut PgConnection,
    tenant: &TenantId,
    provider: &ProviderName,
    rules: &[Rule],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM reconciliation_rules WHERE tenant_id = $1 AND provider = $2",
        tenant.as_str(),
        provider.as_str(),
    )
    .execute(&mut *conn)
    .await?;
    for (position, rule) in (1..).zip(rules) {
        sqlx::query!(
            "INSERT INTO reconciliation_rules
                 (tenant_id, provider, position, name, match_key, cardinality,
                  amount_tolerance_minor, date_window_days)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            tenant.as_str(),
            provider.as_str(),
            position,
            rule.name,
            rule.key.name(),
            rule.cardinality.name(),
            rule.tolerance_minor,
            i32::try_from(rule.window_days).unwrap_or(i32::MAX),
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}
