//! `ListLimitRules`.

use bursar_aip::id::{LimitRuleId, UserId, parse_field};
use bursar_aip::page;
use bursar_contracts::transaction::v1::{ListLimitRulesRequest, ListLimitRulesResponse};
use bursar_money::Currency;
use bursar_server::Context;
use serde::{Deserialize, Serialize};
use tonic::{Request, Response, Status};

use super::contract;
use super::error::RuleError;
use crate::advance::Engine;
use crate::store::limits::rules::{self, Filter};

/// The name of the list in page tokens.
const LIST: &str = "limit_rules";

/// Where a page ends.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    before: LimitRuleId,
}

pub(super) async fn handle(
    engine: &Engine,
    request: Request<ListLimitRulesRequest>,
) -> Result<Response<ListLimitRulesResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let with_archived = message.include_archived.to_string();
    let filter = [
        message.user_id.as_str(),
        message.currency_code.as_str(),
        with_archived.as_str(),
    ];
    let cursor: Option<Cursor> = page::decode(LIST, &filter, &message.page_token)?;
    let size = page::size(message.page_size);
    let user: Option<UserId> = match message.user_id.as_str() {
        "" => None,
        text => Some(parse_field("user_id", text)?),
    };
    let wanted = Filter {
        tenant: &context.caller.tenant,
        user,
        currency: currency(&message.currency_code)?,
        with_archived: message.include_archived,
        before: cursor.map(|cursor| cursor.before),
        // One more than asked for tells whether there is a next page.
        limit: size + 1,
    };
    let mut conn = engine.pool.acquire().await.map_err(RuleError::from)?;
    let mut records = rules::list(&mut conn, wanted)
        .await
        .map_err(RuleError::from)?;
    let next_page_token = page::cut(&mut records, size)
        .map(|last| {
            let before = last.rule.id;
            page::encode(LIST, &filter, &Cursor { before })
        })
        .unwrap_or_default();
    Ok(Response::new(ListLimitRulesResponse {
        rules: records.iter().map(contract::rule).collect(),
        next_page_token,
    }))
}

/// The currency of a request; `None` for all.
pub(super) fn currency(code: &str) -> Result<Option<Currency>, RuleError> {
    match code {
        "" => Ok(None),
        code => {
            let currency = Currency::parse(code);
            currency
                .map(Some)
                .map_err(|_| RuleError::CurrencyUnsupported)
        }
    }
}
