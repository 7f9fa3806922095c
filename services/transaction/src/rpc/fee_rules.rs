//! The operators' service for fee rules.

use bursar_aip::id::FeeRuleId;
use bursar_aip::page;
use bursar_contracts::transaction::v1::fee_service_server::FeeService;
use bursar_contracts::transaction::v1::{
    ArchiveFeeRuleRequest, ArchiveFeeRuleResponse, CreateFeeRuleRequest, CreateFeeRuleResponse,
    ListFeeRulesRequest, ListFeeRulesResponse,
};
use bursar_money::Currency;
use bursar_server::{Context, crash_point, database, detached, now};
use sqlx::PgPool;
use tonic::{Request, Response, Status};

use super::once::{Begun, Once};
use crate::contract;
use crate::domain::FeeRule;
use crate::error::Error;
use crate::pricing::PricingError;
use crate::store::fees::{self, StoredRule};

/// The name of the list in page tokens.
const LIST: &str = "fee-rules";

/// The service's handlers.
pub(crate) struct FeeRules {
    pool: PgPool,
}

impl FeeRules {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

#[tonic::async_trait]
impl FeeService for FeeRules {
    async fn create_fee_rule(
        &self,
        request: Request<CreateFeeRuleRequest>,
    ) -> Result<Response<CreateFeeRuleResponse>, Status> {
        let context = Context::of(&request)?;
        let message = request.into_inner();
        let once = Once::of(&context, &message);
        let stored = StoredRule {
            rule: rule(&message)?,
            tenant: context.caller.tenant.clone(),
            created_by: context.caller.actor(),
            created_at: now(),
            archived: None,
        };
        let pool = self.pool.clone();
        detached(create(pool, once, stored)).await
    }

    async fn list_fee_rules(
        &self,
        request: Request<ListFeeRulesRequest>,
    ) -> Result<Response<ListFeeRulesResponse>, Status> {
        let context = Context::of(&request)?;
        let message = request.into_inner();
        let size = page::size(message.page_size);
        let filter = [if message.include_archived {
            "all"
        } else {
            "active"
        }];
        let before: Option<FeeRuleId> = page::decode(LIST, &filter, &message.page_token)?;
        let mut conn = self.pool.acquire().await.map_err(Error::from)?;
        let tenant = &context.caller.tenant;
        // One more than asked for tells whether there is a next page.
        let mut rules = fees::list(
            &mut conn,
            tenant,
            message.include_archived,
            before,
            size + 1,
        )
        .await
        .map_err(Error::from)?;
        let next_page_token = page::cut(&mut rules, size)
            .map(|last| page::encode(LIST, &filter, &last.rule.id))
            .unwrap_or_default();
        Ok(Response::new(ListFeeRulesResponse {
            fee_rules: rules.iter().map(contract::fee_rule).collect(),
            next_page_token,
        }))
    }

    async fn archive_fee_rule(
        &self,
        request: Request<ArchiveFeeRuleRequest>,
    ) -> Result<Response<ArchiveFeeRuleResponse>, Status> {
        let context = Context::of(&request)?;
        let field = "fee_rule_id";
        let id = request.get_ref().fee_rule_id.parse();
        let id = id.map_err(|_| Error::FieldInvalid { field })?;
        let pool = self.pool.clone();
        detached(archive(pool, context, id)).await
    }
}

async fn create(
    pool: PgPool,
    once: Once,
    stored: StoredRule,
) -> Result<Response<CreateFeeRuleResponse>, Status> {
    let mut open = match once.begin(&pool).await? {
        Begun::First(open) => open,
        Begun::Before(answer) => return answer.into_result(),
    };
    fees::insert(&mut open.database, &stored)
        .await
        .map_err(Error::from)?;
    let fee_rule = Some(contract::fee_rule(&stored));
    let response = open.finish(CreateFeeRuleResponse { fee_rule }).await?;
    tracing::warn!(
        fee_rule_id = %stored.rule.id,
        operator = stored.created_by,
        "an operator has made a fee rule"
    );
    Ok(response)
}

async fn archive(
    pool: PgPool,
    context: Context,
    id: FeeRuleId,
) -> Result<Response<ArchiveFeeRuleResponse>, Status> {
    let (tenant, actor) = (&context.caller.tenant, context.caller.actor());
    let mut database = database::begin(&pool).await.map_err(Error::from)?;
    let archived = fees::archive(&mut database, tenant, id, &actor, now())
        .await
        .map_err(Error::from)?;
    let archived = archived.ok_or(PricingError::RuleNotFound)?;
    crash_point!("fees.before_archive_commit");
    database.commit().await.map_err(Error::from)?;
    crash_point!("fees.after_archive_commit");
    tracing::warn!(fee_rule_id = %id, operator = actor, "an operator has archived a fee rule");
    Ok(Response::new(ArchiveFeeRuleResponse {
        fee_rule: Some(contract::fee_rule(&archived)),
    }))
}

/// The rule of a request, which makes sense. The contract's bounds were checked
/// before.
fn rule(message: &CreateFeeRuleRequest) -> Result<FeeRule, Error> {
    let invalid = |field| Error::FieldInvalid { field };
    let some = |minor: i64| (minor > 0).then_some(minor);
    let rule = FeeRule {
        id: FeeRuleId::generate(),
        kind: contract::movement_kind(message.r#type()).ok_or(invalid("type"))?,
        currency: Currency::parse(&message.currency_code).map_err(|_| Error::CurrencyUnknown {
            field: "currency_code",
        })?,
        from_minor: message.from_amount_minor,
        to_minor: some(message.to_amount_minor),
        fixed_minor: message.fixed_minor,
        basis_points: message.basis_points,
        min_fee_minor: message.min_fee_minor,
        max_fee_minor: some(message.max_fee_minor),
        payer: contract::fee_payer_of(message.payer()).ok_or(invalid("payer"))?,
        rounding: contract::rounding_of(message.rounding()).ok_or(invalid("rounding"))?,
        priority: message.priority,
    };
    rule.validate().map_err(PricingError::from)?;
    Ok(rule)
}
