//! GetReconciliationSettings and SetReconciliationSettings.

use bursar_contracts::transaction::v1 as proto;
use bursar_server::{Context, crash_point, database, detached};
use tonic::{Request, Response, Status};

use super::error::ReconciliationError;
use super::{Reconciliation, contract};
use crate::contract::timestamp;
use crate::domain::ProviderName;
use crate::reconciliation::{Cardinality, Format, Key, LineType, Rule};
use crate::store::reconciliation::settings::{self, Settings};

pub(super) async fn get(
    service: &Reconciliation,
    request: Request<proto::GetReconciliationSettingsRequest>,
) -> Result<Response<proto::GetReconciliationSettingsResponse>, Status> {
    let context = Context::of(&request)?;
    let provider = service.provider(&request.get_ref().provider)?;
    let mut conn = service
        .pool()
        .acquire()
        .await
        .map_err(ReconciliationError::from)?;
    let found = settings::find(&mut conn, &context.caller.tenant, &provider)
        .await
        .map_err(ReconciliationError::from)?;
    Ok(Response::new(proto::GetReconciliationSettingsResponse {
        settings: Some(told(&provider, &found)),
    }))
}

pub(super) async fn set(
    service: &Reconciliation,
    request: Request<proto::SetReconciliationSettingsRequest>,
) -> Result<Response<proto::SetReconciliationSettingsResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let provider = service.provider(&message.provider)?;
    let format = message
        .format
        .ok_or(ReconciliationError::FieldInvalid { field: "format" })?;
    let wanted = Settings {
        format: read_format(format)?,
        rules: message
            .rules
            .iter()
            .map(read_rule)
            .collect::<Result<_, _>>()?,
        version: message.version,
        updated_by: context.caller.actor(),
        updated_at: None,
    };
    wanted
        .format
        .validate()
        .map_err(ReconciliationError::from)?;
    Rule::validate(&wanted.rules).map_err(ReconciliationError::from)?;
    let pool = service.pool().clone();
    let tenant = context.caller.tenant.clone();
    detached(async move {
        let version = wanted.version;
        let replaced = async {
            let mut transaction = database::begin(&pool).await?;
            let is_ours =
                settings::replace(&mut transaction, &tenant, &provider, &wanted, version).await?;
            let now = settings::find(&mut transaction, &tenant, &provider).await?;
            crash_point!("reconciliation.before_settings_commit");
            transaction.commit().await?;
            crash_point!("reconciliation.after_settings_commit");
            Ok::<_, sqlx::Error>((is_ours, now))
        };
        let (is_ours, now) = replaced.await.map_err(ReconciliationError::from)?;
        if !is_ours {
            let version = now.version;
            return Err(ReconciliationError::SettingsChanged { version }.into());
        }
        Ok(Response::new(proto::SetReconciliationSettingsResponse {
            settings: Some(told(&provider, &now)),
        }))
    })
    .await
}

fn told(provider: &ProviderName, settings: &Settings) -> proto::ReconciliationSettings {
    proto::ReconciliationSettings {
        provider: provider.to_string(),
        format: Some(told_format(&settings.format)),
        rules: settings.rules.iter().map(told_rule).collect(),
        version: settings.version,
        updated_by: settings.updated_by.clone(),
        updated_at: settings.updated_at.map(timestamp),
    }
}

fn told_format(format: &Format) -> proto::SettlementFormat {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    proto::SettlementFormat {
        delimiter: char::from(format.delimiter).to_string(),
        reference_column: format.reference.clone(),
        provider_reference_column: format.provider_reference.clone(),
        batch_reference_column: text(&format.batch_reference),
        type_column: format.kind.clone(),
        currency_column: format.currency.clone(),
        gross_column: format.gross.clone(),
        fee_column: text(&format.fee),
        net_column: text(&format.net),
        occurred_at_column: format.occurred_at.clone(),
        trailer_marker: format.trailer.clone(),
        type_words: format
            .words
            .iter()
            .map(|(word, kind)| proto::LineTypeWord {
                word: word.clone(),
                r#type: contract::line_type(*kind).into(),
            })
            .collect(),
        end_marker: format.end.clone(),
    }
}

fn read_format(format: proto::SettlementFormat) -> Result<Format, ReconciliationError> {
    let some = |text: String| (!text.is_empty()).then_some(text);
    let invalid = |field| ReconciliationError::FieldInvalid { field };
    let words: Result<_, ReconciliationError> = format
        .type_words
        .into_iter()
        .map(|word| {
            let kind = LineType::ALL
                .into_iter()
                .find(|kind| contract::line_type(*kind) == word.r#type());
            let kind = kind.ok_or(invalid("format.type_words.type"))?;
            Ok((word.word, kind))
        })
        .collect();
    Ok(Format {
        delimiter: match *format.delimiter.as_bytes() {
            [delimiter] => delimiter,
            _ => return Err(invalid("format.delimiter")),
        },
        reference: format.reference_column,
        provider_reference: format.provider_reference_column,
        batch_reference: some(format.batch_reference_column),
        kind: format.type_column,
        currency: format.currency_column,
        gross: format.gross_column,
        fee: some(format.fee_column),
        net: some(format.net_column),
        occurred_at: format.occurred_at_column,
        trailer: format.trailer_marker,
        end: format.end_marker,
        words: words?,
    })
}

fn told_rule(rule: &Rule) -> proto::MatchingRule {
    proto::MatchingRule {
        name: rule.name.clone(),
        key: told_key(rule.key).into(),
        cardinality: told_cardinality(rule.cardinality).into(),
        amount_tolerance_minor: rule.tolerance_minor,
        date_window_days: i32::try_from(rule.window_days).unwrap_or(i32::MAX),
    }
}

fn read_rule(rule: &proto::MatchingRule) -> Result<Rule, ReconciliationError> {
    let invalid = |field| ReconciliationError::FieldInvalid { field };
    let key = Key::ALL
        .into_iter()
        .find(|key| told_key(*key) == rule.key());
    let cardinality = Cardinality::ALL
        .into_iter()
        .find(|cardinality| told_cardinality(*cardinality) == rule.cardinality());
    Ok(Rule {
        name: rule.name.clone(),
        key: key.ok_or(invalid("rules.key"))?,
        cardinality: cardinality.ok_or(invalid("rules.cardinality"))?,
        tolerance_minor: rule.amount_tolerance_minor,
        window_days: u32::try_from(rule.date_window_days)
            .map_err(|_| invalid("rules.date_window_days"))?,
    })
}

fn told_key(key: Key) -> proto::MatchKey {
    match key {
        Key::Reference => proto::MatchKey::Reference,
        Key::ProviderReference => proto::MatchKey::ProviderReference,
        Key::BatchReference => proto::MatchKey::BatchReference,
    }
}

fn told_cardinality(cardinality: Cardinality) -> proto::MatchCardinality {
    match cardinality {
        Cardinality::OneToOne => proto::MatchCardinality::OneToOne,
        Cardinality::ManyToOne => proto::MatchCardinality::ManyToOne,
        Cardinality::OneToMany => proto::MatchCardinality::OneToMany,
    }
}
