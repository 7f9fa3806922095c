//! Wallet's history, played: it says back what it was asked, and its file is
//! larger than any answer that the gateway would hold back.

use std::pin::Pin;

use bursar_contracts::google::api::HttpBody;
use bursar_contracts::wallet::v1::history_service_server::HistoryService;
use bursar_contracts::wallet::v1::{
    ExportStatementRequest, ExportStatementResponse, GetBalanceAtRequest, GetBalanceAtResponse,
    GetStatementRequest, GetStatementResponse, ListWalletDaysRequest, ListWalletDaysResponse,
    ListWalletMonthsRequest, ListWalletMonthsResponse,
};
use tokio_stream::Stream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::Played;

/// How many parts the file has.
pub(crate) const FILE_PARTS: usize = 6;
/// How long each part is.
pub(crate) const PART_BYTES: usize = 1024 * 1024;
/// The file's type.
pub(crate) const FILE_TYPE: &str = "text/csv; charset=utf-8; header=present";

type Parts = Pin<Box<dyn Stream<Item = Result<ExportStatementResponse, Status>> + Send>>;

/// A part of the file: its number, again and again.
pub(crate) fn part(number: usize) -> Vec<u8> {
    let mut text = format!("{number},").repeat(PART_BYTES / 2).into_bytes();
    text.truncate(PART_BYTES - 2);
    text.extend(b"\r\n");
    text
}

/// After how many parts the file is to break, if it is.
fn parts_before_fault(metadata: &MetadataMap) -> Option<usize> {
    let told = metadata.get("x-fault-after")?;
    Some(told.to_str().unwrap().parse().unwrap())
}

#[tonic::async_trait]
impl HistoryService for Played {
    type ExportStatementStream = Parts;

    async fn get_balance_at(
        &self,
        request: Request<GetBalanceAtRequest>,
    ) -> Result<Response<GetBalanceAtResponse>, Status> {
        let asked = request.get_ref();
        let answer = GetBalanceAtResponse {
            at: asked.at,
            basis: asked.basis,
            ..GetBalanceAtResponse::default()
        };
        self.answer(request.metadata(), answer).await
    }

    async fn get_statement(
        &self,
        request: Request<GetStatementRequest>,
    ) -> Result<Response<GetStatementResponse>, Status> {
        self.answer(request.metadata(), GetStatementResponse::default())
            .await
    }

    async fn export_statement(
        &self,
        request: Request<ExportStatementRequest>,
    ) -> Result<Response<Parts>, Status> {
        let parts = (0..FILE_PARTS).map(|number| {
            let file = HttpBody {
                content_type: FILE_TYPE.to_owned(),
                data: part(number),
                extensions: Vec::new(),
            };
            Ok(ExportStatementResponse { file: Some(file) })
        });
        let parts: Parts = match parts_before_fault(request.metadata()) {
            None => Box::pin(tokio_stream::iter(parts)),
            Some(whole) => {
                let fault = std::iter::once_with(|| Err(super::refusal()));
                Box::pin(tokio_stream::iter(parts.take(whole).chain(fault)))
            }
        };
        self.answer(request.metadata(), parts).await
    }

    async fn list_wallet_days(
        &self,
        request: Request<ListWalletDaysRequest>,
    ) -> Result<Response<ListWalletDaysResponse>, Status> {
        self.answer(request.metadata(), ListWalletDaysResponse::default())
            .await
    }

    async fn list_wallet_months(
        &self,
        request: Request<ListWalletMonthsRequest>,
    ) -> Result<Response<ListWalletMonthsResponse>, Status> {
        self.answer(request.metadata(), ListWalletMonthsResponse::default())
            .await
    }
}
