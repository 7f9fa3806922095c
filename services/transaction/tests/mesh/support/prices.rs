//! Fee rules, exchange rates and quotes in a test's mesh, and the platform's side
//! of the books.

use bursar_aip::id::UserId;
use bursar_contracts::transaction::v1::fee_service_client::FeeServiceClient;
use bursar_contracts::transaction::v1::fx_service_client::FxServiceClient;
use bursar_contracts::transaction::v1::quote_service_client::QuoteServiceClient;
use bursar_contracts::transaction::v1::{
    ArchiveFeeRuleRequest, CreateFeeRuleRequest, CreateQuoteRequest, ExchangeRate, FeePayer,
    FeeRounding, FeeRule, ListFeeRulesRequest, PutExchangeRateRequest, Quote, TransactionType,
};
use bursar_testkit::with_token;
use tonic::transport::Channel;
use tonic::{Request, Status};
use uuid::Uuid;

use super::Mesh;
use super::calls::{euros, keyed};
use super::person::Person;

/// A rule of 25 cents and 1 %, of any amount in euros.
pub(crate) fn rule(kind: TransactionType, payer: FeePayer) -> CreateFeeRuleRequest {
    CreateFeeRuleRequest {
        r#type: kind.into(),
        currency_code: "EUR".to_owned(),
        fixed_minor: 25,
        basis_points: 100,
        payer: payer.into(),
        rounding: FeeRounding::HalfUp.into(),
        ..CreateFeeRuleRequest::default()
    }
}

/// A rate from euros to dollars.
pub(crate) fn dollars_for_a_euro(rate: &str) -> PutExchangeRateRequest {
    PutExchangeRateRequest {
        from_currency_code: "EUR".to_owned(),
        to_currency_code: "USD".to_owned(),
        rate: rate.to_owned(),
        source: "ecb".to_owned(),
        ..PutExchangeRateRequest::default()
    }
}

/// What a transfer between these wallets would cost.
pub(crate) fn transfer_quote(from: &str, to: &str, minor_units: i64) -> CreateQuoteRequest {
    CreateQuoteRequest {
        r#type: TransactionType::Transfer.into(),
        amount: euros(minor_units),
        from_wallet_id: from.to_owned(),
        to_wallet_id: to.to_owned(),
        to_currency_code: String::new(),
    }
}

impl Mesh {
    pub(crate) fn fee_client(&self) -> FeeServiceClient<Channel> {
        FeeServiceClient::new(self.service.channel())
    }

    pub(crate) fn fx_client(&self) -> FxServiceClient<Channel> {
        FxServiceClient::new(self.service.channel())
    }

    pub(crate) fn quote_client(&self) -> QuoteServiceClient<Channel> {
        QuoteServiceClient::new(self.service.channel())
    }

    /// A request of an operator's with a key of its own.
    pub(crate) fn operators<T>(&self, message: T) -> Request<T> {
        let token = self.tokens.admin(UserId::generate());
        keyed(with_token(message, &token), &Uuid::now_v7().to_string())
    }

    pub(crate) async fn make_rule(&self, rule: CreateFeeRuleRequest) -> Result<FeeRule, Status> {
        let response = self
            .fee_client()
            .create_fee_rule(self.operators(rule))
            .await?;
        Ok(response
            .into_inner()
            .fee_rule
            .expect("a response has its rule"))
    }

    pub(crate) async fn archive_rule(&self, id: &str) -> Result<FeeRule, Status> {
        let request = self.operators(ArchiveFeeRuleRequest {
            fee_rule_id: id.to_owned(),
        });
        let response = self.fee_client().archive_fee_rule(request).await?;
        Ok(response
            .into_inner()
            .fee_rule
            .expect("a response has its rule"))
    }

    /// The ids of the rules, newest first, a page of two at a time.
    pub(crate) async fn rules(&self, include_archived: bool) -> Vec<String> {
        let mut ids = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = self.operators(ListFeeRulesRequest {
                include_archived,
                page_size: 2,
                page_token,
            });
            let page = self.fee_client().list_fee_rules(request).await;
            let page = page.expect("an operator lists rules").into_inner();
            ids.extend(page.fee_rules.into_iter().map(|rule| rule.fee_rule_id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return ids;
            }
        }
    }

    pub(crate) async fn put_rate(
        &self,
        rate: PutExchangeRateRequest,
    ) -> Result<ExchangeRate, Status> {
        let response = self
            .fx_client()
            .put_exchange_rate(self.operators(rate))
            .await?;
        let rate = response.into_inner().exchange_rate;
        Ok(rate.expect("a response has its rate"))
    }

    /// What the platform's wallets for a purpose have of a currency.
    pub(crate) async fn platform(&self, purpose: &str, currency_code: &str) -> i64 {
        sqlx::query_scalar(
            "SELECT coalesce(sum(available), 0)::bigint
             FROM wallets
             WHERE system_purpose = $1 AND currency = $2",
        )
        .bind(purpose)
        .bind(currency_code)
        .fetch_one(&self.wallet_database.pool)
        .await
        .expect("the books are read")
    }
}

impl Person<'_> {
    pub(crate) async fn quote(&self, message: CreateQuoteRequest) -> Result<Quote, Status> {
        let request = self.request(message);
        let response = self.mesh.quote_client().create_quote(request).await?;
        Ok(response
            .into_inner()
            .quote
            .expect("a response has its quote"))
    }
}
