//! What can go wrong about bonus campaigns and what they grant.

use bursar_contracts::wallet::v1::ErrorReason;
use bursar_status::{Reason, StatusBuilder};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tonic::{Code, Status};

use super::CONTENDED_RETRY_AFTER;
use crate::domain::bonus::GrantStatus;
use crate::domain::campaign::{NotConvertible, Stage};

/// Why a call about bonus money failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BonusError {
    /// There is no such campaign.
    #[error("no such bonus campaign")]
    CampaignNotFound,
    /// There is no such grant, or the caller may not know of it.
    #[error("no such grant of bonus money")]
    GrantNotFound,
    /// An amount or a wallet has another currency than the campaign.
    #[error("the campaign has another currency")]
    CurrencyMismatch {
        /// The path of the field that names it.
        field: &'static str,
    },
    /// An amount is absent or 0.
    #[error("must be given")]
    AmountMissing,
    /// The campaign would end before it starts.
    #[error("must be after the campaign's start")]
    WindowEmpty,
    /// A time that the database cannot keep.
    #[error("must be an instant of the years 1 to 9999")]
    InstantInvalid {
        /// The path of the field that has it.
        field: &'static str,
    },
    /// The campaign does not grant now.
    #[error("the campaign {}", sentence(*.stage))]
    CampaignNotActive {
        /// Why not.
        stage: Stage,
    },
    /// The user would be granted more than the cap.
    #[error("the user was granted {granted} of at most {cap} minor units")]
    CapExceeded {
        /// What the user was granted before, in minor units.
        granted: i64,
        /// The cap, in minor units.
        cap: i64,
    },
    /// The budget is smaller than the grant.
    #[error("the campaign's budget is too small")]
    BudgetExhausted,
    /// The grant may not be converted.
    #[error("the grant is not convertible: {}", missing(*.0))]
    NotConvertible(NotConvertible),
    /// The grant or the budget changed between reading and posting, as often as
    /// it was tried.
    #[error("other calls changed it meanwhile; try again")]
    Contended,
}

impl BonusError {
    /// Whether it is an answer for good.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::CampaignNotFound
            | Self::GrantNotFound
            | Self::CurrencyMismatch { .. }
            | Self::AmountMissing
            | Self::WindowEmpty
            | Self::InstantInvalid { .. }
            | Self::CampaignNotActive { .. }
            | Self::CapExceeded { .. }
            | Self::BudgetExhausted
            | Self::NotConvertible(_) => true,
            Self::Contended => false,
        }
    }
}

impl From<BonusError> for Status {
    fn from(error: BonusError) -> Self {
        let message = error.to_string();
        let absent = |reason| StatusBuilder::new(Code::NotFound, reason, message.clone());
        let unmet = |reason: ErrorReason, subject: &str| {
            StatusBuilder::new(Code::FailedPrecondition, reason, message.clone()).precondition(
                reason.name(),
                subject,
                message.clone(),
            )
        };
        let builder = match error {
            BonusError::CampaignNotFound => absent(ErrorReason::BonusCampaignNotFound),
            BonusError::GrantNotFound => absent(ErrorReason::BonusGrantNotFound),
            BonusError::CurrencyMismatch { field } => StatusBuilder::new(
                Code::InvalidArgument,
                ErrorReason::CurrencyMismatch,
                format!("{field}: {message}"),
            )
            .field(field, message),
            BonusError::AmountMissing => invalid("amount", &message),
            BonusError::WindowEmpty => invalid("ends_at", &message),
            BonusError::InstantInvalid { field } => invalid(field, &message),
            BonusError::CampaignNotActive { stage } => {
                unmet(ErrorReason::BonusCampaignNotActive, "campaign_id")
                    .metadata("status", stage_name(stage))
            }
            BonusError::CapExceeded { granted, cap } => {
                unmet(ErrorReason::BonusCapExceeded, "wallet_id")
                    .metadata("granted_minor", granted.to_string())
                    .metadata("cap_minor", cap.to_string())
            }
            BonusError::BudgetExhausted => unmet(ErrorReason::BonusBudgetExhausted, "campaign_id"),
            BonusError::NotConvertible(why) => match why {
                NotConvertible::Ended(status) => {
                    unmet(ErrorReason::BonusGrantNotActive, "grant_id")
                        .metadata("status", status_name(status))
                }
                NotConvertible::Expired => unmet(ErrorReason::BonusGrantNotActive, "grant_id")
                    .metadata("status", status_name(GrantStatus::Expired)),
                NotConvertible::NoRule => unmet(ErrorReason::BonusNotConvertible, "grant_id"),
                NotConvertible::TooYoung { from } => {
                    unmet(ErrorReason::BonusNotConvertible, "grant_id")
                        .metadata("convertible_from", rfc3339(from))
                }
                NotConvertible::SpentTooLittle { spent, required } => {
                    unmet(ErrorReason::BonusNotConvertible, "grant_id")
                        .metadata("spent_minor", spent.to_string())
                        .metadata("min_spend_minor", required.to_string())
                }
            },
            BonusError::Contended => {
                StatusBuilder::new(Code::Aborted, ErrorReason::BonusContended, message)
                    .retry_after(CONTENDED_RETRY_AFTER)
            }
        };
        builder.into()
    }
}

fn invalid(field: &'static str, description: &str) -> StatusBuilder {
    StatusBuilder::new(
        Code::InvalidArgument,
        bursar_contracts::r#type::v1::ErrorReason::InvalidField,
        format!("{field}: {description}"),
    )
    .field(field, description)
}

fn sentence(stage: Stage) -> &'static str {
    match stage {
        Stage::Scheduled => "has not begun",
        Stage::Active => "is open",
        Stage::Over => "is over",
        Stage::Ended => "was ended",
    }
}

/// The stage as the contract names it, without its enum's prefix.
fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Scheduled => "SCHEDULED",
        Stage::Active => "ACTIVE",
        Stage::Over => "OVER",
        Stage::Ended => "ENDED",
    }
}

/// The status as the contract names it, without its enum's prefix.
fn status_name(status: GrantStatus) -> &'static str {
    match status {
        GrantStatus::Active => "ACTIVE",
        GrantStatus::Spent => "SPENT",
        GrantStatus::Converted => "CONVERTED",
        GrantStatus::Expired => "EXPIRED",
    }
}

fn missing(why: NotConvertible) -> String {
    match why {
        NotConvertible::Ended(GrantStatus::Spent) => "all of it was spent".to_owned(),
        NotConvertible::Ended(GrantStatus::Converted) => "it was converted".to_owned(),
        NotConvertible::Ended(GrantStatus::Expired | GrantStatus::Active)
        | NotConvertible::Expired => "it has expired".to_owned(),
        NotConvertible::NoRule => "its campaign has no rule of conversion".to_owned(),
        NotConvertible::TooYoung { from } => format!("not before {}", rfc3339(from)),
        NotConvertible::SpentTooLittle { spent, required } => {
            format!("{spent} of {required} minor units were spent from the wallet")
        }
    }
}

/// An instant as the contract's JSON has it.
fn rfc3339(instant: OffsetDateTime) -> String {
    // Only a year beyond 9999 has no such form.
    instant.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bursar_status::StatusExt;
    use time::macros::datetime;

    use super::*;

    /// An error with its code, its reason and its metadata.
    type Case = (
        BonusError,
        Code,
        &'static str,
        &'static [(&'static str, &'static str)],
    );

    /// Every error has its code, its reason and what its caller needs to act on.
    #[test]
    fn errors_have_their_reasons() {
        use Code::{Aborted, FailedPrecondition as Unmet, InvalidArgument, NotFound};
        let from = datetime!(2026-03-01 12:00 UTC);
        let active = GrantStatus::Active;
        let cases: [Case; 15] = [
            (
                BonusError::CampaignNotFound,
                NotFound,
                "BONUS_CAMPAIGN_NOT_FOUND",
                &[],
            ),
            (
                BonusError::GrantNotFound,
                NotFound,
                "BONUS_GRANT_NOT_FOUND",
                &[],
            ),
            (
                BonusError::CurrencyMismatch { field: "wallet_id" },
                InvalidArgument,
                "CURRENCY_MISMATCH",
                &[],
            ),
            (
                BonusError::AmountMissing,
                InvalidArgument,
                "INVALID_FIELD",
                &[],
            ),
            (
                BonusError::WindowEmpty,
                InvalidArgument,
                "INVALID_FIELD",
                &[],
            ),
            (
                BonusError::InstantInvalid { field: "ends_at" },
                InvalidArgument,
                "INVALID_FIELD",
                &[],
            ),
            (
                BonusError::CampaignNotActive {
                    stage: Stage::Scheduled,
                },
                Unmet,
                "BONUS_CAMPAIGN_NOT_ACTIVE",
                &[("status", "SCHEDULED")],
            ),
            (
                BonusError::CapExceeded { granted: 7, cap: 9 },
                Unmet,
                "BONUS_CAP_EXCEEDED",
                &[("granted_minor", "7"), ("cap_minor", "9")],
            ),
            (
                BonusError::BudgetExhausted,
                Unmet,
                "BONUS_BUDGET_EXHAUSTED",
                &[],
            ),
            (
                BonusError::NotConvertible(NotConvertible::Ended(active)),
                Unmet,
                "BONUS_GRANT_NOT_ACTIVE",
                &[("status", "ACTIVE")],
            ),
            (
                BonusError::NotConvertible(NotConvertible::Expired),
                Unmet,
                "BONUS_GRANT_NOT_ACTIVE",
                &[("status", "EXPIRED")],
            ),
            (
                BonusError::NotConvertible(NotConvertible::NoRule),
                Unmet,
                "BONUS_NOT_CONVERTIBLE",
                &[],
            ),
            (
                BonusError::NotConvertible(NotConvertible::TooYoung { from }),
                Unmet,
                "BONUS_NOT_CONVERTIBLE",
                &[("convertible_from", "2026-03-01T12:00:00Z")],
            ),
            (
                BonusError::NotConvertible(NotConvertible::SpentTooLittle {
                    spent: 3,
                    required: 5,
                }),
                Unmet,
                "BONUS_NOT_CONVERTIBLE",
                &[("spent_minor", "3"), ("min_spend_minor", "5")],
            ),
            (BonusError::Contended, Aborted, "BONUS_CONTENDED", &[]),
        ];
        for (error, code, reason, metadata) in cases {
            assert_eq!(error.is_refusal(), code != Aborted, "{error}");
            let status = Status::from(error);
            assert_eq!(status.code(), code);
            let details = status.get_error_details();
            let info = details.error_info().expect("set");
            assert_eq!(info.reason, reason);
            assert_eq!(info.metadata.len(), metadata.len());
            for (key, value) in metadata {
                assert_eq!(info.metadata[*key], *value);
            }
            let bad = details.bad_request();
            assert_eq!(bad.is_some(), code == InvalidArgument);
            assert_eq!(details.precondition_failure().is_some(), code == Unmet);
            assert_eq!(details.retry_info().is_some(), code == Aborted);
        }
    }
}
