//! `BacktestFraudRule`: holds an expression against what happened.
//!
//! The range is read in pages, so that the call holds neither many rows nor a long
//! snapshot. The variables are read by the statement that live screening uses, as of
//! when each transaction was asked for.

use bursar_contracts::transaction::v1 as proto;
use bursar_server::Context;
use time::{Duration, OffsetDateTime};
use tonic::{Request, Response, Status};

use super::contract;
use super::error::FraudError;
use crate::advance::Engine;
use crate::contract::instant;
use crate::fraud::{Expression, Subject, screener};
use crate::store::fraud::past::{self, Past, Range};

/// The longest range.
const MAX_RANGE: Duration = Duration::days(31);
/// The most transactions that are looked at.
const MAX_TRANSACTIONS: i64 = 10_000;
/// How many are looked at by one statement.
const PAGE: i64 = 500;
/// How many matches are shown.
const MAX_EXAMPLES: usize = 20;

pub(super) async fn handle(
    engine: &Engine,
    request: Request<proto::BacktestFraudRuleRequest>,
) -> Result<Response<proto::BacktestFraudRuleResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let expression = Expression::compile(&message.expression);
    let expression = expression.map_err(|problem| FraudError::ExpressionInvalid {
        field: "expression",
        problem,
    })?;
    let (from, until) = range(&message)?;
    let tenant = &context.caller.tenant;
    let mut backtest = proto::FraudBacktest::default();
    let mut range = Range {
        tenant,
        from,
        until,
        after: None,
        limit: PAGE,
    };
    while backtest.transactions < MAX_TRANSACTIONS {
        let page = look_at(engine, &expression, range, &mut backtest).await?;
        match page.last() {
            Some(last) => range.after = Some(last.subject.transaction),
            None => break,
        }
    }
    if backtest.transactions >= MAX_TRANSACTIONS {
        let rest = Range { limit: 1, ..range };
        let mut conn = engine.pool.acquire().await.map_err(FraudError::from)?;
        let rest = past::read(&mut conn, rest)
            .await
            .map_err(FraudError::from)?;
        backtest.is_truncated = !rest.is_empty();
    }
    Ok(Response::new(proto::BacktestFraudRuleResponse {
        backtest: Some(backtest),
    }))
}

fn range(
    message: &proto::BacktestFraudRuleRequest,
) -> Result<(OffsetDateTime, OffsetDateTime), FraudError> {
    let read = |field, told: Option<_>| {
        let at = told.as_ref().and_then(instant);
        // Before it there was nothing, and the database does not reach as far back as
        // the contract's times do.
        at.filter(|at| *at >= OffsetDateTime::UNIX_EPOCH)
            .ok_or(FraudError::FieldInvalid { field })
    };
    let from = read("start_time", message.start_time)?;
    let until = read("end_time", message.end_time)?;
    let length = until - from;
    if length <= Duration::ZERO || length > MAX_RANGE {
        return Err(FraudError::RangeInvalid);
    }
    Ok((from, until))
}

/// Looks at one page and adds it to the result.
async fn look_at(
    engine: &Engine,
    expression: &Expression,
    range: Range<'_>,
    backtest: &mut proto::FraudBacktest,
) -> Result<Vec<Past>, FraudError> {
    let mut conn = engine.pool.acquire().await?;
    let page = past::read(&mut conn, range).await?;
    let subjects: Vec<Subject> = page.iter().map(|past| past.subject.clone()).collect();
    let variables = screener::past_variables(&mut conn, &subjects).await?;
    for (past, variables) in page.iter().zip(&variables) {
        backtest.transactions += 1;
        match expression.matches(variables) {
            Ok(false) => continue,
            Ok(true) => backtest.matches += 1,
            Err(_) => {
                backtest.errors += 1;
                continue;
            }
        }
        backtest.completed_matches += i64::from(past.is_completed);
        if backtest.examples.len() < MAX_EXAMPLES {
            backtest.examples.push(proto::FraudBacktestMatch {
                transaction_id: past.subject.transaction.to_string(),
                user_id: past.subject.user.to_string(),
                variables: contract::told_variables(variables.told()),
            });
        }
    }
    Ok(page)
}
