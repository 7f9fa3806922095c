//! PutFraudRule, GetFraudRule, ListFraudRules and DeleteFraudRule.

use bursar_aip::id::TenantId;
use bursar_contracts::transaction::v1 as proto;
use bursar_events::{Aggregate, Event};
use bursar_server::{Context, crash_point, database, detached, now};
use sqlx::{PgConnection, PgPool};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::contract;
use super::error::FraudError;
use crate::advance::Engine;
use crate::fraud::{Expression, Rule};
use crate::store::fraud::hits;
use crate::store::fraud::rules::{self, MAX_RULES, StoredRule};

/// A change of a rule.
struct Change {
    tenant: TenantId,
    actor: String,
    /// The rule to have, with the version that the change is based on.
    wanted: StoredRule,
}

pub(super) async fn put(
    engine: &Engine,
    request: Request<proto::PutFraudRuleRequest>,
) -> Result<Response<proto::PutFraudRuleResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let change = Change {
        tenant: context.caller.tenant.clone(),
        actor: context.caller.actor(),
        wanted: wanted(message, context.caller.actor())?,
    };
    let pool = engine.pool.clone();
    detached(async move {
        let stored = change.take_in(&pool).await?;
        tracing::warn!(
            rule = stored.rule.name,
            version = stored.rule.version,
            by = stored.updated_by,
            "a fraud rule was changed"
        );
        let rule = Some(told(&pool, &stored).await);
        Ok(Response::new(proto::PutFraudRuleResponse { rule }))
    })
    .await
}

/// A rule that was changed. Its hits are counted only now, because others wait for the
/// change and there may be many hits; when they cannot be counted, the rule has changed
/// all the same, and is told without them.
async fn told(pool: &PgPool, stored: &StoredRule) -> proto::FraudRule {
    let counting = async {
        let mut conn = pool.acquire().await?;
        hits::count(&mut conn, &[stored.rule.id]).await
    };
    let counts = match counting.await {
        Ok(counts) => Some(counts.get(&stored.rule.id).copied().unwrap_or_default()),
        Err(error) => {
            let rule = &stored.rule.name;
            tracing::warn!(rule, %error, "the hits of a changed fraud rule are not counted");
            None
        }
    };
    contract::told_rule(stored, counts)
}

/// The rule of a request, its expression checked.
fn wanted(message: proto::PutFraudRuleRequest, by: String) -> Result<StoredRule, FraudError> {
    let invalid = |field| FraudError::FieldInvalid { field };
    let draft = message.rule.ok_or(invalid("rule"))?;
    let compiled = Expression::compile(&draft.expression);
    compiled.map_err(|problem| FraudError::ExpressionInvalid {
        field: "rule.expression",
        problem,
    })?;
    Ok(StoredRule {
        rule: Rule {
            id: Uuid::now_v7(),
            name: message.name,
            version: message.version,
            outcome: contract::outcome(draft.outcome()).ok_or(invalid("rule.outcome"))?,
            mode: contract::mode(draft.mode()).ok_or(invalid("rule.mode"))?,
            stage: contract::stage(draft.stage()).ok_or(invalid("rule.stage"))?,
            priority: draft.priority,
            expression: draft.expression,
        },
        description: draft.description,
        updated_by: by,
        updated_at: now(),
    })
}

impl Change {
    /// One database transaction: the rule, the revision of all rules, the event.
    async fn take_in(self, pool: &PgPool) -> Result<StoredRule, FraudError> {
        let mut database = database::begin(pool).await?;
        rules::begin_change(&mut database, &self.tenant).await?;
        let name = &self.wanted.rule.name;
        let present = find(&mut database, &self.tenant, name).await?;
        let version = present.as_ref().map_or(0, |stored| stored.rule.version);
        if version != self.wanted.rule.version {
            return Err(FraudError::RuleChanged { version });
        }
        if present.is_none() && rules::count(&mut database, &self.tenant).await? >= MAX_RULES {
            return Err(FraudError::RulesExceeded);
        }
        let mut stored = self.wanted;
        stored.rule.version = version + 1;
        if let Some(present) = present {
            stored.rule.id = present.rule.id;
        }
        rules::put(&mut database, &self.tenant, &stored).await?;
        let rule = &stored.rule;
        let data = proto::FraudRuleChanged {
            name: rule.name.clone(),
            expression: rule.expression.clone(),
            outcome: contract::told_outcome(rule.outcome).into(),
            mode: contract::told_mode(rule.mode).into(),
            stage: contract::told_stage(rule.stage).into(),
            priority: rule.priority,
        };
        let changed = Event::new(
            "transaction.fraud_rule.changed",
            aggregate(rule),
            rule.version,
            &data,
            self.actor,
            self.tenant,
            stored.updated_at,
        );
        bursar_events::append(&mut database, &[changed]).await?;
        crash_point!("fraud.before_rule_commit");
        database.commit().await?;
        crash_point!("fraud.after_rule_commit");
        Ok(stored)
    }
}

fn aggregate(rule: &Rule) -> Aggregate {
    Aggregate {
        kind: "fraud_rule",
        id: rule.id,
        subject: format!("fraud_rules/{}", rule.name),
    }
}

async fn find(
    conn: &mut PgConnection,
    tenant: &TenantId,
    name: &str,
) -> Result<Option<StoredRule>, FraudError> {
    let found = rules::list(conn, tenant, Some(name)).await?;
    Ok(found.into_iter().next())
}

/// The rules with their counts.
async fn counted(
    conn: &mut PgConnection,
    stored: &[StoredRule],
) -> Result<Vec<proto::FraudRule>, FraudError> {
    let ids: Vec<Uuid> = stored.iter().map(|stored| stored.rule.id).collect();
    let counts = hits::count(conn, &ids).await?;
    let told = stored.iter().map(|stored| {
        let counts = counts.get(&stored.rule.id).copied().unwrap_or_default();
        contract::told_rule(stored, Some(counts))
    });
    Ok(told.collect())
}

pub(super) async fn get(
    engine: &Engine,
    request: Request<proto::GetFraudRuleRequest>,
) -> Result<Response<proto::GetFraudRuleResponse>, Status> {
    let context = Context::of(&request)?;
    let name = &request.get_ref().name;
    let mut found = read(engine, &context.caller.tenant, Some(name)).await?;
    let rule = found.pop().ok_or(FraudError::RuleNotFound)?;
    Ok(Response::new(proto::GetFraudRuleResponse {
        rule: Some(rule),
    }))
}

pub(super) async fn list(
    engine: &Engine,
    request: Request<proto::ListFraudRulesRequest>,
) -> Result<Response<proto::ListFraudRulesResponse>, Status> {
    let context = Context::of(&request)?;
    let rules = read(engine, &context.caller.tenant, None).await?;
    Ok(Response::new(proto::ListFraudRulesResponse { rules }))
}

async fn read(
    engine: &Engine,
    tenant: &TenantId,
    name: Option<&str>,
) -> Result<Vec<proto::FraudRule>, FraudError> {
    let mut conn = engine.pool.acquire().await?;
    let found = rules::list(&mut conn, tenant, name).await?;
    counted(&mut conn, &found).await
}

pub(super) async fn delete(
    engine: &Engine,
    request: Request<proto::DeleteFraudRuleRequest>,
) -> Result<Response<proto::DeleteFraudRuleResponse>, Status> {
    let context = Context::of(&request)?;
    let (tenant, actor) = (context.caller.tenant.clone(), context.caller.actor());
    let name = request.into_inner().name;
    let pool = engine.pool.clone();
    detached(async move {
        remove(&pool, tenant, &name, actor).await?;
        Ok(Response::new(proto::DeleteFraudRuleResponse {}))
    })
    .await
}

async fn remove(
    pool: &PgPool,
    tenant: TenantId,
    name: &str,
    actor: String,
) -> Result<(), FraudError> {
    let mut database = database::begin(pool).await?;
    rules::begin_change(&mut database, &tenant).await?;
    let Some(present) = find(&mut database, &tenant, name).await? else {
        database.rollback().await?;
        return Ok(());
    };
    rules::delete(&mut database, &tenant, name).await?;
    tracing::warn!(rule = name, by = actor, "a fraud rule was deleted");
    let data = proto::FraudRuleDeleted {
        name: name.to_owned(),
    };
    let deleted = Event::new(
        "transaction.fraud_rule.deleted",
        aggregate(&present.rule),
        present.rule.version + 1,
        &data,
        actor,
        tenant,
        now(),
    );
    bursar_events::append(&mut database, &[deleted]).await?;
    crash_point!("fraud.before_rule_deletion_commit");
    database.commit().await?;
    crash_point!("fraud.after_rule_deletion_commit");
    Ok(())
}
