//! Settlement files and books of a test's own.

use bursar_aip::id::{TransactionId, UserId, WalletId};
use bursar_contracts::google::api::HttpBody;
use bursar_contracts::transaction::v1::reconciliation_service_client::ReconciliationServiceClient;
use bursar_contracts::transaction::v1::{
    Break, GetSettlementFileRequest, ImportSettlementFileRequest, ImportSettlementFileResponse,
    ListBreaksRequest, SettlementFile, SettlementFileState,
};
use bursar_testkit::{Tokens, with_token};
use std::time::Instant;
use tonic::transport::Channel;
use tonic::{Response, Status};
use uuid::Uuid;

use super::{LOOK_AGAIN, Mesh, PATIENCE};

/// The day that the tests' files settle.
pub(crate) const DAY: &str = "2026-03-02";
const HEADER: &str =
    "our_reference,provider_reference,type,currency,gross_minor,fee_minor,net_minor,occurred_at\n";

/// A transaction that a test puts into the books.
#[derive(Clone, Debug)]
pub(crate) struct Booked {
    pub(crate) id: TransactionId,
    pub(crate) kind: &'static str,
    pub(crate) state: &'static str,
    pub(crate) amount_minor: i64,
}

impl Booked {
    /// A completed deposit of the day.
    pub(crate) fn deposit(amount_minor: i64) -> Self {
        Self {
            id: TransactionId::generate(),
            kind: "deposit",
            state: "COMPLETED",
            amount_minor,
        }
    }

    /// A completed withdrawal of the day.
    pub(crate) fn withdrawal(amount_minor: i64) -> Self {
        Self {
            kind: "withdrawal",
            ..Self::deposit(amount_minor)
        }
    }

    /// The line that agrees with it.
    pub(crate) fn line(&self) -> FileLine {
        let is_in = self.kind == "deposit";
        FileLine {
            reference: self.id.to_string(),
            provider_reference: self.provider_reference(),
            kind: if is_in { "charge" } else { "payout" },
            currency: "EUR",
            gross_minor: if is_in {
                self.amount_minor
            } else {
                -self.amount_minor
            },
            occurred_at: format!("{DAY}T12:00:00Z"),
        }
    }

    fn provider_reference(&self) -> String {
        format!("pr_{}", self.id.uuid().simple())
    }
}

/// A line of a file.
#[derive(Clone, Debug)]
pub(crate) struct FileLine {
    pub(crate) reference: String,
    pub(crate) provider_reference: String,
    pub(crate) kind: &'static str,
    pub(crate) currency: &'static str,
    pub(crate) gross_minor: i64,
    pub(crate) occurred_at: String,
}

/// The file of these lines, in the sandbox's form, each with a fee of one.
pub(crate) fn settlement(lines: &[FileLine]) -> String {
    let mut text = HEADER.to_owned();
    let mut sums = std::collections::BTreeMap::<&str, (usize, i64)>::new();
    for line in lines {
        let (count, gross) = sums.entry(line.currency).or_default();
        *count += 1;
        *gross += line.gross_minor;
        text.push_str(&format!(
            "{},{},{},{},{},1,{},{}\n",
            line.reference,
            line.provider_reference,
            line.kind,
            line.currency,
            line.gross_minor,
            line.gross_minor - 1,
            line.occurred_at,
        ));
    }
    for (currency, (count, gross)) in sums {
        let net = gross - i64::try_from(count).expect("a small number");
        text.push_str(&format!(
            "trailer,{count},total,{currency},{gross},{count},{net},{DAY}\n"
        ));
    }
    text.push_str(&format!("end,{},end,,,,,{DAY}\n", lines.len()));
    text
}

/// The parts of a file as they are sent.
pub(crate) fn parts(text: &str, date: &str) -> Vec<ImportSettlementFileRequest> {
    let chunks = text.as_bytes().chunks(64 * 1024);
    let mut parts: Vec<_> = chunks
        .map(|chunk| ImportSettlementFileRequest {
            content: Some(HttpBody {
                content_type: "text/csv".to_owned(),
                data: chunk.to_vec(),
                extensions: Vec::new(),
            }),
            ..ImportSettlementFileRequest::default()
        })
        .collect();
    if let Some(first) = parts.first_mut() {
        first.provider = "sandbox".to_owned();
        first.settlement_date = date.to_owned();
        first.file_name = "settlement.csv".to_owned();
    }
    parts
}

impl Mesh {
    /// The token of an operator who reconciles.
    pub(crate) fn operator(&self) -> String {
        let mut claims = Tokens::user_claims(UserId::generate());
        claims.permissions.push("reconciliation:*:any".to_owned());
        self.tokens.mint(claims)
    }

    pub(crate) fn reconciliation(&self) -> ReconciliationServiceClient<Channel> {
        ReconciliationServiceClient::new(self.service.channel())
    }

    /// Puts transactions of the day into the books as their owner may: the books
    /// of many a day, without the calls that made them.
    pub(crate) async fn book(&self, booked: &[Booked]) {
        fn column<T>(booked: &[Booked], of: impl Fn(&Booked) -> T) -> Vec<T> {
            booked.iter().map(of).collect()
        }
        sqlx::query(
            "INSERT INTO transactions (
                 transaction_id, tenant_id, kind, state, currency_code, amount_minor,
                 from_wallet_id, to_wallet_id, provider, initiator_user_id, description,
                 provider_reference, unknown_since, failure_reason, failure_message, posted_at,
                 created_at, updated_at, version
             )
             SELECT id, 'default', kind, state, 'EUR', amount_minor,
                 CASE WHEN kind = 'withdrawal' THEN $5 END,
                 CASE WHEN kind = 'deposit' THEN $5 END,
                 'sandbox', $5, '', reference,
                 CASE WHEN state = 'UNKNOWN' THEN $7 END,
                 CASE WHEN state = 'FAILED' THEN 'PROVIDER_DECLINED' END,
                 CASE WHEN state = 'FAILED' THEN 'declined' END,
                 CASE WHEN state = 'COMPLETED' THEN $7 END, $7, $7, 1
             FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $6::text[])
                 AS given (id, kind, state, amount_minor, reference)",
        )
        .bind(column(booked, |one| one.id.uuid()))
        .bind(column(booked, |one| one.kind))
        .bind(column(booked, |one| one.state))
        .bind(column(booked, |one| one.amount_minor))
        .bind(WalletId::generate().uuid())
        .bind(column(booked, Booked::provider_reference))
        .bind(time::macros::datetime!(2026-03-02 12:00 UTC))
        .execute(&self.database.owner)
        .await
        .expect("the owner may write transactions");
    }

    /// Gives a transaction under way its check, which is not due for long.
    pub(crate) async fn check(&self, id: TransactionId) {
        sqlx::query(
            "INSERT INTO transaction_checks (
                 transaction_id, tenant_id, next_check_at, lease_holder, lease_until,
                 correlation_id
             )
             VALUES ($1, 'default', now() + interval '1 day', $2, now() + interval '1 day', 'test')",
        )
        .bind(id.uuid())
        .bind(Uuid::now_v7())
        .execute(&self.database.owner)
        .await
        .expect("the owner may write checks");
    }

    pub(crate) async fn import(
        &self,
        text: &str,
        date: &str,
    ) -> Result<Response<ImportSettlementFileResponse>, Status> {
        self.import_of("sandbox", text, date).await
    }

    /// The same of another provider.
    pub(crate) async fn import_of(
        &self,
        provider: &str,
        text: &str,
        date: &str,
    ) -> Result<Response<ImportSettlementFileResponse>, Status> {
        let mut parts = parts(text, date);
        if let Some(first) = parts.first_mut() {
            first.provider = provider.to_owned();
        }
        let parts = futures::stream::iter(parts);
        let request = with_token(parts, &self.operator());
        self.reconciliation().import_settlement_file(request).await
    }

    /// Imports a file and waits until it is reconciled.
    pub(crate) async fn reconcile(&self, text: &str, date: &str) -> SettlementFile {
        let imported = self.import(text, date).await.expect("the file is whole");
        let file = imported.into_inner().file.expect("a response has its file");
        self.reconciled(&file.settlement_file_id).await
    }

    /// Waits until a file is reconciled.
    pub(crate) async fn reconciled(&self, id: &str) -> SettlementFile {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let file = self.settlement_file(id).await;
            if file.state() == SettlementFileState::Reconciled {
                return file;
            }
            assert!(Instant::now() < give_up, "{file:?}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    pub(crate) async fn settlement_file(&self, id: &str) -> SettlementFile {
        let request = GetSettlementFileRequest {
            settlement_file_id: id.to_owned(),
        };
        let request = with_token(request, &self.operator());
        let response = self.reconciliation().get_settlement_file(request).await;
        let file = response.expect("the file is there").into_inner().file;
        file.expect("a response has its file")
    }

    /// Every rule about reconciliation holds. The others need the events of the
    /// transactions, which [`Mesh::book`] leaves out.
    pub(crate) async fn verify_reconciliation(&self) {
        let mut rules = bursar_transaction::definition().invariants;
        rules.retain(|rule| rule.number == 16);
        assert!(!rules.is_empty());
        let verdicts = bursar_server::verify(&self.database.pool, &rules).await;
        for verdict in verdicts.expect("the rules can be checked") {
            assert_eq!(verdict.offending_rows, 0, "{}", verdict.invariant.name);
        }
    }

    /// All breaks of a kind, page by page.
    pub(crate) async fn breaks(&self, wanted: ListBreaksRequest) -> Vec<Break> {
        let mut breaks = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListBreaksRequest {
                page_size: 10,
                page_token,
                ..wanted.clone()
            };
            let request = with_token(request, &self.operator());
            let response = self.reconciliation().list_breaks(request).await;
            let page = response.expect("breaks are listed").into_inner();
            breaks.extend(page.breaks);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return breaks;
            }
        }
    }
}
