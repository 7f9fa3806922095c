//! Cases: what a person decides.

use bursar_aip::id::{FraudCaseId, TenantId, TransactionId, UserId};
use bursar_contracts::transaction::v1::{
    FraudCaseDecided, FraudCaseOpened, FraudDecision, FraudStage,
};
use bursar_events::{Aggregate, Event, EventData};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::fraud::{Decision, Screening, Stage, Subject};
use crate::store::unreadable;

/// How far a case is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CaseState {
    /// It waits for a person.
    Open,
    /// A person found nothing wrong.
    Approved,
    /// A person found fraud.
    Rejected,
}

impl CaseState {
    const ALL: [Self; 3] = [Self::Open, Self::Approved, Self::Rejected];

    /// The name in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Approved => "APPROVED",
            Self::Rejected => "REJECTED",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// How a case was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) is_approved: bool,
    pub(crate) reason: String,
    pub(crate) by: String,
    pub(crate) at: OffsetDateTime,
}

/// A case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) id: FraudCaseId,
    pub(crate) stage: Stage,
    pub(crate) transaction: TransactionId,
    pub(crate) user: UserId,
    pub(crate) decision: Decision,
    /// What the rules saw: names and values.
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) opened_at: OffsetDateTime,
    /// How it ended; `None` while it is open.
    pub(crate) end: Option<End>,
}

impl Case {
    /// How far it is.
    pub(crate) fn state(&self) -> CaseState {
        match &self.end {
            None => CaseState::Open,
            Some(end) if end.is_approved => CaseState::Approved,
            Some(_) => CaseState::Rejected,
        }
    }

    /// The case of a subject about which a person is to decide; `None` for any other.
    pub(crate) fn of(
        stage: Stage,
        subject: &Subject,
        screening: &Screening,
        opened_at: OffsetDateTime,
    ) -> Option<Self> {
        Some(Self {
            id: FraudCaseId::generate(),
            stage,
            transaction: subject.transaction,
            user: subject.user,
            decision: screening.decision.clone()?,
            variables: screening.variables.as_ref()?.told().collect(),
            opened_at,
            end: None,
        })
    }
}

/// Opens cases of a tenant, and tells of each. One that is there already stays as it
/// is. Returns those that are new.
#[tracing::instrument(name = "store.fraud.open_cases", skip_all)]
pub(crate) async fn open(
    conn: &mut PgConnection,
    tenant: &TenantId,
    cases: &[Case],
    actor: &str,
) -> Result<Vec<FraudCaseId>, sqlx::Error> {
    let mut opened = Vec::new();
    let mut told = Vec::new();
    // One at a time: each has an array of its own, and a database transaction has few.
    for case in cases {
        let (names, values): (Vec<String>, Vec<String>) = case.variables.iter().cloned().unzip();
        let inserted = sqlx::query!(
            "INSERT INTO fraud_cases (
                 case_id, tenant_id, stage, transaction_id, user_id, rule_name, rule_version,
                 is_rule_error, variable_names, variable_values, opened_at
             )
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             ON CONFLICT (transaction_id, stage) DO NOTHING",
            case.id.uuid(),
            tenant.as_str(),
            case.stage.name(),
            case.transaction.uuid(),
            case.user.uuid(),
            case.decision.rule_name,
            case.decision.rule_version,
            case.decision.is_error,
            &names,
            &values,
            case.opened_at,
        )
        .execute(&mut *conn)
        .await?;
        if inserted.rows_affected() == 1 {
            opened.push(case.id);
            let data = FraudCaseOpened {
                transaction_id: case.transaction.to_string(),
                stage: told_stage(case.stage).into(),
                rule_name: case.decision.rule_name.clone(),
                rule_version: case.decision.rule_version,
            };
            let kind = "transaction.fraud_case.opened";
            let at = case.opened_at;
            told.push(event(case.id, kind, 1, &data, actor, tenant, at));
        }
    }
    bursar_events::append(conn, &told).await?;
    Ok(opened)
}

fn told_stage(stage: Stage) -> FraudStage {
    match stage {
        Stage::Before => FraudStage::Before,
        Stage::After => FraudStage::After,
    }
}

fn event(
    case: FraudCaseId,
    kind: &'static str,
    version: i64,
    data: &impl EventData,
    actor: &str,
    tenant: &TenantId,
    at: OffsetDateTime,
) -> Event {
    let aggregate = Aggregate {
        kind: "fraud_case",
        id: case.uuid(),
        subject: case.to_string(),
    };
    Event::new(
        kind,
        aggregate,
        version,
        data,
        actor.to_owned(),
        tenant.clone(),
        at,
    )
}

/// Decides a case that is open, and tells of it; false when it is not. Whoever comes
/// second waits for the first, and is told so.
#[tracing::instrument(name = "store.fraud.decide_case", skip_all)]
pub(crate) async fn decide(
    conn: &mut PgConnection,
    tenant: &TenantId,
    case: &Case,
    end: &End,
) -> Result<bool, sqlx::Error> {
    let (state, decision) = if end.is_approved {
        (CaseState::Approved, FraudDecision::Approve)
    } else {
        (CaseState::Rejected, FraudDecision::Reject)
    };
    let decided = sqlx::query!(
        "UPDATE fraud_cases
         SET state = $3, decided_by = $4, decided_at = $5, reason = $6
         WHERE case_id = $1 AND tenant_id = $2 AND state = 'OPEN'",
        case.id.uuid(),
        tenant.as_str(),
        state.name(),
        end.by,
        end.at,
        end.reason,
    )
    .execute(&mut *conn)
    .await?;
    if decided.rows_affected() == 0 {
        return Ok(false);
    }
    let data = FraudCaseDecided {
        transaction_id: case.transaction.to_string(),
        decision: decision.into(),
        reason: end.reason.clone(),
    };
    let kind = "transaction.fraud_case.decided";
    let told = event(case.id, kind, 2, &data, &end.by, tenant, end.at);
    bursar_events::append(conn, &[told]).await?;
    Ok(true)
}

struct Row {
    case_id: Uuid,
    state: String,
    stage: String,
    transaction_id: Uuid,
    user_id: Uuid,
    rule_name: String,
    rule_version: i64,
    is_rule_error: bool,
    variable_names: Vec<String>,
    variable_values: Vec<String>,
    opened_at: OffsetDateTime,
    decided_by: Option<String>,
    decided_at: Option<OffsetDateTime>,
    reason: Option<String>,
}

impl TryFrom<Row> for Case {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let state = CaseState::parse(&row.state).ok_or_else(|| unreadable("state"))?;
        let end = match (row.decided_by, row.decided_at, row.reason) {
            (Some(by), Some(at), Some(reason)) => Some(End {
                is_approved: state == CaseState::Approved,
                reason,
                by,
                at,
            }),
            _ => None,
        };
        Ok(Self {
            id: FraudCaseId::from_uuid(row.case_id),
            stage: Stage::parse(&row.stage).ok_or_else(|| unreadable("stage"))?,
            transaction: TransactionId::from_uuid(row.transaction_id),
            user: UserId::from_uuid(row.user_id),
            decision: Decision {
                rule_name: row.rule_name,
                rule_version: row.rule_version,
                is_error: row.is_rule_error,
            },
            variables: row
                .variable_names
                .into_iter()
                .zip(row.variable_values)
                .collect(),
            opened_at: row.opened_at,
            end,
        })
    }
}

/// The case of an id.
#[tracing::instrument(name = "store.fraud.find_case", skip_all)]
pub(crate) async fn find(
    conn: &mut PgConnection,
    tenant: &TenantId,
    id: FraudCaseId,
) -> Result<Option<Case>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT case_id, state, stage, transaction_id, user_id, rule_name, rule_version,
             is_rule_error, variable_names, variable_values, opened_at, decided_by, decided_at,
             reason
         FROM fraud_cases
         WHERE case_id = $1 AND tenant_id = $2",
        id.uuid(),
        tenant.as_str(),
    )
    .fetch_optional(conn)
    .await?
    .map(Case::try_from)
    .transpose()
}

/// Which cases a list has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) state: Option<CaseState>,
    pub(crate) user: Option<UserId>,
    /// The last one of the page before.
    pub(crate) after: Option<FraudCaseId>,
    pub(crate) limit: i64,
}

/// A page of cases, the oldest first.
#[tracing::instrument(name = "store.fraud.list_cases", skip_all)]
pub(crate) async fn list(
    conn: &mut PgConnection,
    wanted: Wanted<'_>,
) -> Result<Vec<Case>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT case_id, state, stage, transaction_id, user_id, rule_name, rule_version,
             is_rule_error, variable_names, variable_values, opened_at, decided_by, decided_at,
             reason
         FROM fraud_cases
         WHERE tenant_id = $1
           AND ($2::text IS NULL OR state = $2)
           AND ($3::uuid IS NULL OR user_id = $3)
           AND ($4::uuid IS NULL OR case_id > $4)
         ORDER BY case_id
         LIMIT $5",
        wanted.tenant.as_str(),
        wanted.state.map(CaseState::name),
        wanted.user.map(UserId::uuid),
        wanted.after.map(FraudCaseId::uuid),
        wanted.limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(Case::try_from)
    .collect()
}

/// How many cases are open, of all tenants, and since when the oldest is.
pub(crate) async fn waiting(
    conn: &mut PgConnection,
) -> Result<(i64, Option<OffsetDateTime>), sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT count(*) AS "cases!", min(opened_at) AS oldest
         FROM fraud_cases
         WHERE state = 'OPEN'"#,
    )
    .fetch_one(conn)
    .await?;
    Ok((row.cases, row.oldest))
}
