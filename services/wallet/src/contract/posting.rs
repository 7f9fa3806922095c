//! Postings as they come, and what became of them as it goes back.

use std::num::NonZeroI64;

use bursar_aip::id::{Kind, TenantId, parse_field};
use bursar_aip::idempotency;
use bursar_contracts::r#type::v1::ErrorReason;
use bursar_contracts::wallet::v1 as proto;
use bursar_contracts::wallet::v1::posting_result::Outcome as ProtoOutcome;
use bursar_money::Currency;
use bursar_server::canary;
use bursar_status::StatusBuilder;
use bursar_status::correlation::CorrelationId;
use prost_types::Timestamp;
use time::OffsetDateTime;
use tonic::{Code, Status};
use uuid::Uuid;

use super::{enums, timestamp};
use crate::domain::batch::{Mode, Outcome};
use crate::domain::hold::HoldAction;
use crate::domain::posting::{Account, HoldStep, Leg, Posting, PostingId, Recorded, Rejected};
use crate::domain::wallet::SystemAccount;
use crate::error::Error;

const ONLY_WHEN_PLACED: &str = "may be set only when the hold is placed";

/// Whether the postings of a request stand or fall together.
pub(crate) fn mode(request: &proto::PostBatchRequest) -> Mode {
    enums::mode_of(request.mode())
}

/// The postings of a request, for a tenant. Fails with INVALID_ARGUMENT, the
/// field named, for what validation lets pass.
pub(crate) fn postings(
    request: &proto::PostBatchRequest,
    tenant: &TenantId,
) -> Result<Vec<Posting>, Status> {
    let convert = |(index, posting)| self::posting(posting, tenant, &format!("postings[{index}]"));
    request.postings.iter().enumerate().map(convert).collect()
}

/// Who is behind a posting.
#[derive(Debug)]
pub(crate) struct Origin {
    /// Who caused it.
    pub(crate) actor: String,
    /// What joins it with the request that began it.
    pub(crate) correlation: CorrelationId,
}

/// Who is behind each posting of a request; `None` when the caller is behind all.
pub(crate) fn origins(request: &proto::PostBatchRequest) -> Result<Option<Vec<Origin>>, Status> {
    if request.origins.is_empty() {
        return Ok(None);
    }
    if mode(request) == Mode::Atomic {
        return Err(invalid(
            "origins",
            "may be given only with independent postings",
        ));
    }
    if request.origins.len() != request.postings.len() {
        return Err(invalid("origins", "must be as many as the postings"));
    }
    let convert = |(index, origin)| self::origin(origin, &format!("origins[{index}]"));
    let origins = request.origins.iter().enumerate().map(convert);
    origins.collect::<Result<_, _>>().map(Some)
}

/// Who is behind a posting.
pub(crate) fn origin(origin: &proto::PostingOrigin, path: &str) -> Result<Origin, Status> {
    let correlation = CorrelationId::parse(&origin.correlation_id).ok_or_else(|| {
        invalid(
            &format!("{path}.correlation_id"),
            "must be 1 to 64 characters",
        )
    })?;
    Ok(Origin {
        actor: origin.actor.clone(),
        correlation,
    })
}

fn posting(posting: &proto::Posting, tenant: &TenantId, path: &str) -> Result<Posting, Status> {
    let field = |name: &str| format!("{path}.{name}");
    let id = Uuid::try_parse(&posting.posting_id)
        .map_err(|_| invalid(&field("posting_id"), "must be a UUID"))?;
    let id = if canary!("ledger.replay_posted") {
        Uuid::now_v7()
    } else {
        id
    };
    let kind = enums::posting_kind_of(posting.kind())
        .ok_or_else(|| invalid(&field("kind"), "must be given"))?;
    let legs = posting
        .legs
        .iter()
        .enumerate()
        .map(|(index, leg)| self::leg(leg, tenant, &field(&format!("legs[{index}]"))))
        .collect::<Result<_, _>>()?;
    Ok(Posting {
        id: PostingId::from_uuid(id),
        tenant: tenant.clone(),
        transaction: Some(parse_field(
            &field("transaction_id"),
            &posting.transaction_id,
        )?),
        kind,
        legs,
        effective_at: posting
            .effective_at
            .as_ref()
            .map(|at| instant(at, &field("effective_at")))
            .transpose()?,
        hold: posting
            .hold
            .as_ref()
            .map(|hold| hold_step(hold, &field("hold")))
            .transpose()?,
        bonus: None,
        // The messages have no maps, so equal postings have equal encodings.
        fingerprint: idempotency::fingerprint(posting),
    })
}

fn leg(leg: &proto::Leg, tenant: &TenantId, path: &str) -> Result<Leg, Status> {
    let field = |name: &str| format!("{path}.{name}");
    let account = match &leg.system {
        Some(system) => Account::system(system_account(system, &field("system"))?, tenant),
        None => Account::User(parse_field(&field("wallet_id"), &leg.wallet_id)?),
    };
    Ok(Leg {
        account,
        bucket: enums::leg_bucket_of(leg.bucket())
            .ok_or_else(|| invalid(&field("bucket"), "must be given"))?,
        amount: NonZeroI64::new(leg.amount_minor)
            .ok_or_else(|| invalid(&field("amount_minor"), "must not be 0"))?,
        currency: currency(&leg.currency_code, field("currency_code"))?,
        required_owner: optional_id(
            &field("required_owner_user_id"),
            &leg.required_owner_user_id,
        )?,
    })
}

pub(crate) fn system_account(
    system: &proto::SystemAccount,
    path: &str,
) -> Result<SystemAccount, Status> {
    let field = |name: &str| format!("{path}.{name}");
    Ok(SystemAccount {
        purpose: enums::system_purpose_of(system.purpose())
            .ok_or_else(|| invalid(&field("purpose"), "must be given"))?,
        name: system.name.clone(),
        currency: currency(&system.currency_code, field("currency_code"))?,
    })
}

fn hold_step(hold: &proto::HoldReference, path: &str) -> Result<HoldStep, Status> {
    let field = |name: &str| format!("{path}.{name}");
    let action = enums::hold_action_of(hold.action())
        .ok_or_else(|| invalid(&field("action"), "must be given"))?;
    if action != HoldAction::Place {
        if hold.expires_at.is_some() {
            return Err(invalid(&field("expires_at"), ONLY_WHEN_PLACED));
        }
        if !hold.description.is_empty() {
            return Err(invalid(&field("description"), ONLY_WHEN_PLACED));
        }
    }
    Ok(HoldStep {
        hold: parse_field(&field("hold_id"), &hold.hold_id)?,
        action,
        expires_at: hold
            .expires_at
            .as_ref()
            .map(|at| instant(at, &field("expires_at")))
            .transpose()?,
        description: hold.description.clone(),
    })
}

/// An instant of the field at `path`.
pub(crate) fn instant(at: &Timestamp, path: &str) -> Result<OffsetDateTime, Status> {
    super::instant(at).ok_or_else(|| invalid(path, "must be an instant of the years 1 to 9999"))
}

/// A currency that the platform knows. `path` is the field that names it.
pub(crate) fn currency(code: &str, path: String) -> Result<Currency, Status> {
    Currency::parse(code).map_err(|_| Error::CurrencyUnsupported { field: path }.into())
}

pub(crate) fn optional_id<K: Kind>(
    path: &str,
    text: &str,
) -> Result<Option<bursar_aip::id::Id<K>>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    parse_field(path, text).map(Some)
}

pub(crate) fn invalid(path: &str, description: &str) -> Status {
    StatusBuilder::new(
        Code::InvalidArgument,
        ErrorReason::InvalidField,
        format!("{path}: {description}"),
    )
    .field(path, description)
    .into()
}

/// What became of a posting.
pub(crate) fn result(id: PostingId, outcome: &Outcome) -> proto::PostingResult {
    let (replayed, outcome) = match outcome {
        Outcome::Applied(recorded) => (false, ProtoOutcome::Applied(applied(recorded))),
        Outcome::Replayed(recorded) => (true, ProtoOutcome::Applied(applied(recorded))),
        Outcome::Rejected(rejected) => (false, ProtoOutcome::Rejected(self::rejected(*rejected))),
    };
    proto::PostingResult {
        posting_id: id.to_string(),
        replayed,
        outcome: Some(outcome),
    }
}

fn applied(recorded: &Recorded) -> proto::PostingApplied {
    proto::PostingApplied {
        recorded_at: Some(timestamp(recorded.recorded_at)),
        legs: recorded
            .legs
            .iter()
            .map(|leg| proto::AppliedLeg {
                wallet_id: leg.wallet.to_string(),
                owner_user_id: leg.owner.map(|owner| owner.to_string()).unwrap_or_default(),
                version: leg.version,
                balance_after_minor: leg.balance_after,
                bucket: enums::bucket(leg.bucket).into(),
                amount_minor: leg.amount,
            })
            .collect(),
    }
}

fn rejected(rejected: Rejected) -> proto::PostingRejected {
    proto::PostingRejected {
        reason: enums::rejection_reason(rejected.reason).into(),
        // A posting has at most 32 legs.
        leg_index: rejected
            .leg
            .and_then(|leg| i32::try_from(leg).ok())
            .unwrap_or(-1),
    }
}
