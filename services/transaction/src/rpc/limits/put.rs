//! `PutLimitRule` and `ArchiveLimitRule`.
//!
//! Both are idempotent by their nature: the rule that holds, or has ended, is the
//! answer however often it is asked for.

use bursar_aip::id::{LimitRuleId, WalletId, parse_field};
use bursar_contracts::transaction::v1 as proto;
use bursar_money::Currency;
use bursar_server::{Context, crash_point, database, detached, now};
use tonic::{Request, Response, Status};

use super::contract;
use super::error::RuleError;
use crate::advance::Engine;
use crate::domain::limit::{LimitRule, Scope};
use crate::rpc::wallet_look::{half_way_to, look};
use crate::store::limits::rules::{self, Record};

pub(super) async fn put(
    engine: &Engine,
    request: Request<proto::PutLimitRuleRequest>,
) -> Result<Response<proto::PutLimitRuleResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let new = Record {
        rule: rule(engine, &context, &message).await?,
        note: message.note,
        created_by: context.caller.actor(),
        created_at: now(),
        archived: None,
    };
    let pool = engine.pool.clone();
    detached(async move {
        let put = async {
            let mut database = database::begin(&pool).await?;
            rules::lock(&mut database).await?;
            let present = rules::put(&mut database, &new).await?;
            crash_point!("limits.before_put_commit");
            database.commit().await?;
            crash_point!("limits.after_put_commit");
            Ok::<_, sqlx::Error>(present)
        };
        let present = put.await.map_err(RuleError::from)?;
        if present.rule.id == new.rule.id {
            tracing::warn!(rule = %new.rule.id, operator = new.created_by, "a limit rule was put");
        }
        Ok(Response::new(proto::PutLimitRuleResponse {
            rule: Some(contract::rule(&present)),
        }))
    })
    .await
}

pub(super) async fn archive(
    engine: &Engine,
    request: Request<proto::ArchiveLimitRuleRequest>,
) -> Result<Response<proto::ArchiveLimitRuleResponse>, Status> {
    let context = Context::of(&request)?;
    let id: LimitRuleId = parse_field("limit_rule_id", &request.get_ref().limit_rule_id)?;
    let tenant = context.caller.tenant.clone();
    let actor = context.caller.actor();
    let pool = engine.pool.clone();
    detached(async move {
        let archived = async {
            let mut database = database::begin(&pool).await?;
            rules::lock(&mut database).await?;
            let archived = rules::archive(&mut database, &tenant, id, &actor, now()).await?;
            crash_point!("limits.before_archive_commit");
            database.commit().await?;
            crash_point!("limits.after_archive_commit");
            Ok::<_, sqlx::Error>(archived)
        };
        let archived = archived.await.map_err(RuleError::from)?;
        let archived = archived.ok_or(RuleError::NotFound)?;
        tracing::warn!(rule = %id, operator = actor, "a limit rule was archived");
        Ok(Response::new(proto::ArchiveLimitRuleResponse {
            rule: Some(contract::rule(&archived)),
        }))
    })
    .await
}

async fn rule(
    engine: &Engine,
    context: &Context,
    message: &proto::PutLimitRuleRequest,
) -> Result<LimitRule, Status> {
    let invalid = |field, problem| RuleError::FieldInvalid { field, problem };
    let currency =
        Currency::parse(&message.currency_code).map_err(|_| RuleError::CurrencyUnsupported)?;
    let movement = contract::movement_of(message.movement());
    let velocity = message.velocity.map(|velocity| {
        let velocity = contract::velocity_of(velocity);
        velocity.ok_or(invalid(
            "velocity",
            "a count or a time is out of its bounds",
        ))
    });
    let amounts = [
        message.single_minor,
        message.daily_minor,
        message.monthly_minor,
    ];
    if amounts.iter().all(Option::is_none) && velocity.is_none() {
        return Err(invalid("single_minor", "the rule limits nothing").into());
    }
    Ok(LimitRule {
        id: LimitRuleId::generate(),
        tenant: context.caller.tenant.clone(),
        scope: scope(engine, context, message, currency).await?,
        movement: movement.ok_or(invalid("movement", "movement is not known"))?,
        currency,
        single_minor: message.single_minor,
        daily_minor: message.daily_minor,
        monthly_minor: message.monthly_minor,
        velocity: velocity.transpose()?,
    })
}

async fn scope(
    engine: &Engine,
    context: &Context,
    message: &proto::PutLimitRuleRequest,
    currency: Currency,
) -> Result<Scope, Status> {
    let (user, wallet) = (message.user_id.as_str(), message.wallet_id.as_str());
    match (message.tier, user, wallet) {
        (None, "", "") => Ok(Scope::Everybody),
        (Some(tier), "", "") => {
            let problem = "tier is not between 0 and 9";
            let invalid = |_| RuleError::FieldInvalid {
                field: "tier",
                problem,
            };
            Ok(Scope::Tier(u8::try_from(tier).map_err(invalid)?))
        }
        (None, user, "") => Ok(Scope::User(parse_field("user_id", user)?)),
        (None, "", wallet) => {
            let wallet: WalletId = parse_field("wallet_id", wallet)?;
            of_wallet(engine, context, wallet, currency).await
        }
        (_, _, _) => Err(RuleError::FieldInvalid {
            field: "tier",
            problem: "a rule holds for a tier, a user or a wallet, not for several of them",
        }
        .into()),
    }
}

/// A wallet's rule is told to its owner alone, so the ledger must know one.
async fn of_wallet(
    engine: &Engine,
    context: &Context,
    wallet: WalletId,
    currency: Currency,
) -> Result<Scope, Status> {
    let found = look(&engine.ledger, wallet, half_way_to(context.deadline)).await?;
    let found = found.ok_or(RuleError::WalletNotFound)?;
    let owner = found.owner.ok_or(RuleError::WalletNotFound)?;
    if found.currency_code != currency.code() {
        return Err(RuleError::CurrencyMismatch.into());
    }
    Ok(Scope::Wallet { wallet, owner })
}
