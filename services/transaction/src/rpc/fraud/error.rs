//! What can go wrong with the operators' calls, and what the caller is told.

use bursar_aip::id::{FraudCaseId, TransactionId};
use bursar_contracts::transaction::v1::ErrorReason;
use bursar_contracts::r#type::v1::ErrorReason as CommonReason;
use bursar_server::database;
use bursar_status::StatusBuilder;
use thiserror::Error;
use tonic::{Code, Status};

use crate::domain::ResolveError;
use crate::error::Error;
use crate::fraud::Problem;
use crate::store::fraud::rules::MAX_RULES;

/// Why a call is not answered with what it asked for.
#[derive(Debug, Error)]
pub(super) enum FraudError {
    /// The expression is malformed.
    #[error("{problem}")]
    ExpressionInvalid {
        /// The field that has it.
        field: &'static str,
        problem: Problem,
    },
    /// The rule has another version by now.
    #[error("the rule was changed meanwhile")]
    RuleChanged { version: i64 },
    /// There are as many rules as may be.
    #[error("there are {MAX_RULES} rules, which is as many as may be")]
    RulesExceeded,
    /// No such rule.
    #[error("no such rule")]
    RuleNotFound,
    /// No such case.
    #[error("no such case")]
    CaseNotFound,
    /// The case is about what the operator did as a user.
    #[error("nobody decides a case about a transaction of one's own")]
    CaseOwn,
    /// The case was decided before.
    #[error("the case was decided before")]
    CaseDecided { id: FraudCaseId },
    /// The time range is empty or too long.
    #[error("the time range is not more than 0 and at most 31 days")]
    RangeInvalid,
    /// A field is not what the contract says.
    #[error("{field} is missing or malformed")]
    FieldInvalid { field: &'static str },
    /// The transaction is not what its case says, or is being worked on.
    #[error(transparent)]
    Transaction(#[from] Error),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl FraudError {
    /// The service works on the transaction at this moment.
    pub(super) fn busy(transaction: TransactionId) -> Self {
        Self::Transaction(Error::Busy { transaction })
    }
}

impl From<ResolveError> for FraudError {
    fn from(error: ResolveError) -> Self {
        Self::Transaction(error.into())
    }
}

impl From<FraudError> for Status {
    fn from(error: FraudError) -> Self {
        let message = error.to_string();
        let invalid = |field: &str, message: String| {
            StatusBuilder::new(Code::InvalidArgument, CommonReason::InvalidField, &*message)
                .field(field, message)
                .into()
        };
        match error {
            FraudError::ExpressionInvalid { field, .. } => {
                let reason = ErrorReason::FraudExpressionInvalid;
                StatusBuilder::new(Code::InvalidArgument, reason, &*message)
                    .field(field, message)
                    .into()
            }
            FraudError::RuleChanged { version } => {
                StatusBuilder::new(Code::Aborted, ErrorReason::FraudRuleChanged, message)
                    .metadata("version", version.to_string())
                    .into()
            }
            FraudError::RulesExceeded => {
                let reason = ErrorReason::FraudRulesExceeded;
                StatusBuilder::new(Code::ResourceExhausted, reason, message).into()
            }
            FraudError::RuleNotFound => {
                StatusBuilder::new(Code::NotFound, ErrorReason::FraudRuleNotFound, message).into()
            }
            FraudError::CaseNotFound => {
                StatusBuilder::new(Code::NotFound, ErrorReason::FraudCaseNotFound, message).into()
            }
            FraudError::CaseOwn => {
                StatusBuilder::new(Code::PermissionDenied, ErrorReason::FraudCaseOwn, message)
                    .into()
            }
            FraudError::CaseDecided { id } => {
                let reason = ErrorReason::FraudCaseDecided;
                StatusBuilder::new(Code::FailedPrecondition, reason, &*message)
                    .precondition(bursar_status::Reason::name(reason), id.to_string(), message)
                    .into()
            }
            FraudError::RangeInvalid => invalid("end_time", message),
            FraudError::FieldInvalid { field } => invalid(field, message),
            FraudError::Transaction(error) => error.into(),
            FraudError::Database(error) => database::status(&error),
        }
    }
}
