//! What people and operators ask for besides movements, and what each must leave
//! behind exactly once.

use bursar_aip::id::UserId;
use bursar_contracts::transaction::v1::explain_service_client::ExplainServiceClient;
use bursar_contracts::transaction::v1::fee_service_client::FeeServiceClient;
use bursar_contracts::transaction::v1::fraud_service_client::FraudServiceClient;
use bursar_contracts::transaction::v1::fx_service_client::FxServiceClient;
use bursar_contracts::transaction::v1::limit_service_client::LimitServiceClient;
use bursar_contracts::transaction::v1::quote_service_client::QuoteServiceClient;
use bursar_contracts::transaction::v1::reconciliation_service_client::ReconciliationServiceClient;
use bursar_contracts::transaction::v1::review_service_client::ReviewServiceClient;
use bursar_contracts::transaction::v1::watch_service_client::WatchServiceClient;
use bursar_contracts::transaction::v1::{
    ArchiveFeeRuleRequest, ArchiveLimitRuleRequest, BreakResolution, CreateFeeRuleRequest,
    CreateQuoteRequest, DecideFraudCaseRequest, DeleteFraudRuleRequest, ExplainTransactionRequest,
    FeePayer, FeeRounding, FraudDecision, FraudOutcome, FraudRuleDraft, FraudRuleMode, FraudStage,
    GetReconciliationSettingsRequest, LimitedMovement, PutExchangeRateRequest, PutFraudRuleRequest,
    PutLimitRuleRequest, ReconciliationSettings, ResolveBreakRequest, ResolveReviewRequest,
    ReviewResolution, SetReconciliationSettingsRequest, Transaction, TransactionType,
    WatchAccountRequest,
};
use bursar_testkit::TestProcess;
use tonic::Status;
use uuid::Uuid;

use crate::flow::{Flow, ORDERS};
use crate::house::House;
use crate::settlement::Statement;
use crate::traffic::{Answer, Order, Told, Wish, euros, reason};

/// What operators give as their reason.
const REASON: &str = "seen in the provider's console";

/// More than anybody here moves.
const OUT_OF_REACH: i64 = 1_000_000_000_000;

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    Quote(CreateQuoteRequest),
    /// How a transaction came about.
    Explanation(String),
    /// What there is of one's own.
    Watch,
    FeeRule(CreateFeeRuleRequest),
    FeeRuleEnd(String),
    Rate(PutExchangeRateRequest),
    LimitRule(PutLimitRuleRequest),
    LimitRuleEnd(String),
    FraudRule(PutFraudRuleRequest),
    FraudRuleEnd(String),
    FraudDecision(String),
    Decision(String),
    Import(Statement),
    BreakEnd(String),
    /// The provider's settlement form, with this word for a payout.
    SettlementForm(String),
}

/// A row that must be there once: a count that is 1 for this text.
pub(crate) struct Mark {
    pub(crate) sql: &'static str,
    pub(crate) text: String,
}

/// A number that no other order has.
fn number() -> i64 {
    rand::random_range(1..1_000_000_000)
}

/// The orders of a flow whose wishes are these.
pub(crate) fn orders(flow: Flow, house: &House, scene: &[String]) -> Vec<Order> {
    let operator = &house.operator;
    let order = |task| Order::new(operator, Wish::Task(task));
    let each = |task: &dyn Fn() -> Task| (0..ORDERS).map(|_| order(task())).collect();
    let of_each = |task: fn(String) -> Task| {
        let about = scene.iter().cloned();
        about.map(|id| order(task(id))).collect()
    };
    match flow {
        Flow::Quote => {
            let [payer, payee] = &house.people;
            let quotes = (0..ORDERS).map(|_| {
                let quote = Task::Quote(CreateQuoteRequest {
                    r#type: TransactionType::Transfer.into(),
                    amount: euros(number()),
                    from_wallet_id: payer.wallet.clone(),
                    to_wallet_id: payee.wallet.clone(),
                    to_currency_code: String::new(),
                });
                Order::new(&payer.token, Wish::Task(quote))
            });
            quotes.collect()
        }
        Flow::FeeRule => each(&|| {
            // Of a currency in which nobody here has anything.
            Task::FeeRule(CreateFeeRuleRequest {
                r#type: TransactionType::Transfer.into(),
                currency_code: "USD".to_owned(),
                fixed_minor: number(),
                payer: FeePayer::Sender.into(),
                rounding: FeeRounding::HalfUp.into(),
                ..CreateFeeRuleRequest::default()
            })
        }),
        Flow::Explanation => of_each(Task::Explanation),
        Flow::Watch => {
            let [payer, _] = &house.people;
            let watches = (0..ORDERS).map(|_| Order::new(&payer.token, Wish::Task(Task::Watch)));
            watches.collect()
        }
        Flow::FeeRuleEnd => of_each(Task::FeeRuleEnd),
        Flow::Rate => each(&|| {
            Task::Rate(PutExchangeRateRequest {
                from_currency_code: "EUR".to_owned(),
                to_currency_code: "USD".to_owned(),
                rate: "1.25".to_owned(),
                source: format!("source-{}", number()),
                ..PutExchangeRateRequest::default()
            })
        }),
        Flow::LimitRule => each(&|| Task::LimitRule(limit(UserId::generate(), number()))),
        Flow::WalletLimitRule => {
            let [_, payee] = &house.people;
            let movements = [
                LimitedMovement::Any,
                LimitedMovement::Transfer,
                LimitedMovement::Deposit,
                LimitedMovement::Withdrawal,
            ];
            let rules = movements.map(|movement| wallet_limit(&payee.wallet, movement));
            rules.map(|rule| order(Task::LimitRule(rule))).into()
        }
        Flow::LimitRuleEnd => of_each(Task::LimitRuleEnd),
        Flow::FraudRule => each(&|| Task::FraudRule(harmless())),
        Flow::FraudRuleEnd => of_each(Task::FraudRuleEnd),
        Flow::FraudDecision => of_each(Task::FraudDecision),
        Flow::Decision => of_each(Task::Decision),
        Flow::Settlement => vec![order(Task::Import(Statement::of(scene)))],
        Flow::BrokenSettlement => {
            let broken = order(Task::Import(Statement::broken()));
            vec![broken.refused("SETTLEMENT_FILE_INVALID")]
        }
        Flow::BreakEnd => of_each(Task::BreakEnd),
        Flow::SettlementForm => {
            let word = format!("payout_{}", number());
            vec![order(Task::SettlementForm(word))]
        }
        other => unreachable!("{other:?} is no task"),
    }
}

/// A limit on what a user moves at once.
pub(crate) fn limit(user: UserId, single_minor: i64) -> PutLimitRuleRequest {
    PutLimitRuleRequest {
        user_id: user.to_string(),
        movement: LimitedMovement::Any.into(),
        currency_code: "EUR".to_owned(),
        single_minor: Some(single_minor),
        note: REASON.to_owned(),
        ..PutLimitRuleRequest::default()
    }
}

/// A limit of a wallet that nobody here comes near to. Of each movement a wallet has one.
fn wallet_limit(wallet: &str, movement: LimitedMovement) -> PutLimitRuleRequest {
    PutLimitRuleRequest {
        wallet_id: wallet.to_owned(),
        movement: movement.into(),
        currency_code: "EUR".to_owned(),
        single_minor: Some(OUT_OF_REACH + number()),
        note: REASON.to_owned(),
        ..PutLimitRuleRequest::default()
    }
}

/// A rule that stops nothing.
fn harmless() -> PutFraudRuleRequest {
    let name = format!("rule_{}", Uuid::now_v7().simple());
    rule(&name, "transaction.amount_minor < 0", FraudOutcome::Review)
}

pub(crate) fn rule(name: &str, expression: &str, outcome: FraudOutcome) -> PutFraudRuleRequest {
    PutFraudRuleRequest {
        name: name.to_owned(),
        rule: Some(FraudRuleDraft {
            expression: expression.to_owned(),
            outcome: outcome.into(),
            mode: FraudRuleMode::Active.into(),
            stage: FraudStage::Before.into(),
            priority: 100,
            description: REASON.to_owned(),
        }),
        version: 0,
    }
}

impl Task {
    /// Asks for it in an order's name.
    pub(crate) async fn carry_out(
        &self,
        process: &TestProcess,
        order: &Order,
    ) -> Result<Answer, Status> {
        match self {
            Self::Quote(wish) => {
                let mut client = QuoteServiceClient::new(process.channel());
                let response = client.create_quote(order.request(wish)).await?;
                let quote = response.into_inner().quote;
                Ok(Answer::saying(quote.expect("a response has it").quote_id))
            }
            Self::Explanation(id) => {
                let mut client = ExplainServiceClient::new(process.channel());
                let request = order.plain(ExplainTransactionRequest {
                    transaction_id: id.clone(),
                });
                client.explain_transaction(request).await?;
                Ok(Answer::saying(id))
            }
            Self::Watch => {
                let mut client = WatchServiceClient::new(process.channel());
                let request = order.plain(WatchAccountRequest::default());
                let mut watch = client.watch_account(request).await?.into_inner();
                let first = watch.message().await?;
                let first = first.ok_or_else(|| Status::unavailable("it ended"))?;
                Ok(Answer::saying(format!("{}", first.cursor.is_empty())))
            }
            Self::FeeRule(wish) => {
                let mut client = FeeServiceClient::new(process.channel());
                let response = client.create_fee_rule(order.request(wish)).await?;
                let rule = response.into_inner().fee_rule;
                Ok(Answer::saying(rule.expect("a response has it").fee_rule_id))
            }
            Self::FeeRuleEnd(id) => {
                let mut client = FeeServiceClient::new(process.channel());
                let request = order.plain(ArchiveFeeRuleRequest {
                    fee_rule_id: id.clone(),
                });
                let response = client.archive_fee_rule(request).await?;
                Ok(Answer::saying(format!("{:?}", response.into_inner())))
            }
            Self::Rate(wish) => {
                let mut client = FxServiceClient::new(process.channel());
                let response = client.put_exchange_rate(order.request(wish)).await?;
                let rate = response.into_inner().exchange_rate;
                let rate = rate.expect("a response has it");
                Ok(Answer::saying(rate.exchange_rate_id))
            }
            Self::LimitRule(wish) => {
                let mut client = LimitServiceClient::new(process.channel());
                let response = client.put_limit_rule(order.plain(wish.clone())).await?;
                let rule = response.into_inner().rule;
                Ok(Answer::saying(
                    rule.expect("a response has it").limit_rule_id,
                ))
            }
            Self::LimitRuleEnd(id) => {
                let mut client = LimitServiceClient::new(process.channel());
                let request = order.plain(ArchiveLimitRuleRequest {
                    limit_rule_id: id.clone(),
                });
                let response = client.archive_limit_rule(request).await?;
                Ok(Answer::saying(format!("{:?}", response.into_inner())))
            }
            Self::FraudRule(wish) => put_fraud_rule(wish, process, order).await,
            Self::FraudRuleEnd(name) => {
                let mut client = FraudServiceClient::new(process.channel());
                let request = order.plain(DeleteFraudRuleRequest { name: name.clone() });
                client.delete_fraud_rule(request).await?;
                Ok(Answer::saying(name))
            }
            Self::FraudDecision(id) => {
                let mut client = FraudServiceClient::new(process.channel());
                let wish = DecideFraudCaseRequest {
                    case_id: id.clone(),
                    decision: FraudDecision::Approve.into(),
                    reason: REASON.to_owned(),
                };
                let response = client.decide_fraud_case(order.request(&wish)).await?;
                Ok(decided(response.into_inner().transaction))
            }
            Self::Decision(id) => {
                let mut client = ReviewServiceClient::new(process.channel());
                let wish = ResolveReviewRequest {
                    transaction_id: id.clone(),
                    resolution: ReviewResolution::Fail.into(),
                    reason: REASON.to_owned(),
                };
                let response = client.resolve_review(order.request(&wish)).await?;
                Ok(decided(response.into_inner().transaction))
            }
            Self::Import(statement) => statement.import(process, order).await,
            Self::BreakEnd(id) => {
                let mut client = ReconciliationServiceClient::new(process.channel());
                let request = order.plain(ResolveBreakRequest {
                    break_id: id.clone(),
                    resolution: BreakResolution::WrittenOff.into(),
                    note: REASON.to_owned(),
                });
                let response = client.resolve_break(request).await?;
                Ok(Answer::saying(format!("{:?}", response.into_inner())))
            }
            Self::SettlementForm(word) => set_form(word, process, order).await,
        }
    }

    /// What it must have left behind.
    pub(crate) fn marks(&self) -> Vec<Mark> {
        let mark = |sql, text: String| vec![Mark { sql, text }];
        match self {
            Self::Quote(wish) => {
                let minor = wish.amount.as_ref().map_or(0, |amount| amount.minor_units);
                mark(
                    "SELECT count(*) FROM quotes WHERE amount_minor::text = $1",
                    minor.to_string(),
                )
            }
            Self::Explanation(_) | Self::Watch => Vec::new(),
            Self::FeeRule(wish) => mark(
                "SELECT count(*) FROM fee_rules WHERE fixed_minor::text = $1",
                wish.fixed_minor.to_string(),
            ),
            Self::FeeRuleEnd(id) => mark(
                "SELECT count(archived_at) FROM fee_rules WHERE fee_rule_id::text = right($1, 36)",
                id.clone(),
            ),
            Self::Rate(wish) => mark(
                "SELECT count(*) FROM exchange_rates WHERE source = $1",
                wish.source.clone(),
            ),
            Self::LimitRule(wish) => mark(
                "SELECT count(*) FROM limit_rules
                 WHERE single_minor::text = $1 AND archived_at IS NULL",
                wish.single_minor.unwrap_or_default().to_string(),
            ),
            Self::LimitRuleEnd(id) => mark(
                "SELECT count(archived_at) FROM limit_rules
                 WHERE limit_rule_id::text = right($1, 36)",
                id.clone(),
            ),
            Self::FraudRule(wish) => mark(
                "SELECT count(*) FROM fraud_rules WHERE name = $1 AND version = 1",
                wish.name.clone(),
            ),
            Self::FraudRuleEnd(name) => mark(
                "SELECT 1 - count(*) FROM fraud_rules WHERE name = $1",
                name.clone(),
            ),
            Self::FraudDecision(id) => mark(
                "SELECT count(*) FROM fraud_cases JOIN transactions USING (transaction_id)
                 WHERE case_id::text = right($1, 36) AND fraud_cases.state = 'APPROVED'
                     AND transactions.state = 'COMPLETED'",
                id.clone(),
            ),
            Self::Decision(id) => mark(
                "SELECT count(*) FROM transactions
                 WHERE transaction_id::text = right($1, 36) AND state = 'FAILED'",
                id.clone(),
            ),
            Self::Import(statement) => statement.marks(),
            Self::BreakEnd(id) => mark(
                "SELECT count(*) FROM settlement_breaks
                 WHERE break_id::text = right($1, 36) AND resolution = 'WRITTEN_OFF'",
                id.clone(),
            ),
            Self::SettlementForm(word) => mark(
                "SELECT count(*) FROM reconciliation_settings AS settings
                 WHERE to_jsonb(settings)::text LIKE '%' || $1 || '%'",
                word.clone(),
            ),
        }
    }
}

fn decided(transaction: Option<Transaction>) -> Answer {
    let transaction = transaction.expect("a response has its transaction");
    Answer::of(Told::of(&transaction))
}

/// Whoever lost the answer looks whether the rule is as it was to be.
async fn put_fraud_rule(
    wish: &PutFraudRuleRequest,
    process: &TestProcess,
    order: &Order,
) -> Result<Answer, Status> {
    let mut client = FraudServiceClient::new(process.channel());
    match client.put_fraud_rule(order.plain(wish.clone())).await {
        Ok(_) => Ok(Answer::saying(&wish.name)),
        Err(status) if reason(&status).as_deref() == Some("FRAUD_RULE_CHANGED") => {
            Ok(Answer::saying(&wish.name))
        }
        Err(status) => Err(status),
    }
}

/// The same for the provider's settlement form.
async fn set_form(word: &str, process: &TestProcess, order: &Order) -> Result<Answer, Status> {
    let mut client = ReconciliationServiceClient::new(process.channel());
    let request = GetReconciliationSettingsRequest {
        provider: "sandbox".to_owned(),
    };
    let found = client
        .get_reconciliation_settings(order.plain(request))
        .await?;
    let found = found.into_inner().settings.expect("a response has them");
    let ReconciliationSettings {
        provider,
        format,
        rules,
        version,
        ..
    } = found;
    let mut format = format.expect("settings have a form");
    if format.type_words.iter().any(|known| known.word == word) {
        return Ok(Answer::saying(word));
    }
    let payout = format
        .type_words
        .iter()
        .find(|known| known.word == "payout");
    let mut added = payout.expect("the sandbox has a word for it").clone();
    added.word = word.to_owned();
    format.type_words.push(added);
    let wanted = SetReconciliationSettingsRequest {
        provider,
        format: Some(format),
        rules,
        version,
    };
    client
        .set_reconciliation_settings(order.plain(wanted))
        .await?;
    Ok(Answer::saying(word))
}
