//! Every row of the interface over gRPC.

use bursar_contracts::admin::v1::admin_service_client::AdminServiceClient;
use bursar_contracts::admin::v1::{
    CreateTicketRequest, GetMeshStatusRequest, GetTicketRequest, ListAuditEventsRequest,
    ListTicketsRequest, ResolveTicketRequest,
};
use bursar_contracts::identity::v1::identity_service_client::IdentityServiceClient;
use bursar_contracts::identity::v1::{
    GetMeRequest, ListSessionsRequest, LoginRequest, LogoutRequest, RefreshRequest,
    RegisterRequest, RevokeSessionRequest,
};
use bursar_contracts::transaction::v1::transaction_service_client::TransactionServiceClient;
use bursar_contracts::transaction::v1::{
    CreateDepositRequest, CreateTransferRequest, CreateWithdrawalRequest, GetTransactionRequest,
    ListTransactionsRequest, TransactionState,
};
use bursar_contracts::r#type::v1::Money;
use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use bursar_contracts::wallet::v1::{
    CreateWalletRequest, GetWalletRequest, ListEntriesRequest, ListWalletsRequest,
};
use bursar_status::StatusExt;
use tonic::{Code, Request};
use uuid::Uuid;

use crate::support::{Edge, PASSWORD, new_key};

/// A request with a token.
pub(crate) fn with<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().expect("visible ASCII");
    request.metadata_mut().insert("authorization", value);
    request
}

/// A request with a token and an idempotency key.
pub(crate) fn paying<T>(message: T, token: &str, key: &str) -> Request<T> {
    let mut request = with(message, token);
    request
        .metadata_mut()
        .insert("idempotency-key", key.parse().expect("visible ASCII"));
    request
}

pub(crate) fn eur(minor_units: i64) -> Option<Money> {
    Some(Money {
        currency_code: "EUR".to_owned(),
        minor_units,
    })
}

/// Accounts and sessions.
#[tokio::test]
async fn identity_answers_over_grpc() {
    let edge = Edge::shared();
    let mut identity = IdentityServiceClient::new(edge.channel());
    let email = format!("{}@example.com", Uuid::now_v7().simple());
    let registered = identity
        .register(RegisterRequest {
            email: email.clone(),
            password: PASSWORD.to_owned(),
            display_name: "Ada".to_owned(),
        })
        .await
        .expect("registered")
        .into_inner();
    let login = LoginRequest {
        email,
        password: PASSWORD.to_owned(),
    };
    let session = identity.login(login).await.expect("logged in").into_inner();
    let refresh = RefreshRequest {
        refresh_token: session.refresh_token,
    };
    let renewed = identity
        .refresh(refresh)
        .await
        .expect("refreshed")
        .into_inner();
    let token = renewed.access_token;
    let me = identity
        .get_me(with(GetMeRequest {}, &token))
        .await
        .expect("read")
        .into_inner();
    assert_eq!(me.user, registered.user);
    let sessions = identity
        .list_sessions(with(ListSessionsRequest::default(), &token))
        .await
        .expect("listed")
        .into_inner();
    assert_eq!(sessions.sessions.len(), 1);
    let unknown = RevokeSessionRequest {
        session_id: format!("ses_{}", Uuid::now_v7()),
    };
    let refused = identity
        .revoke_session(with(unknown, &token))
        .await
        .expect_err("unknown");
    assert_eq!(refused.code(), Code::NotFound);
    identity
        .logout(with(LogoutRequest {}, &token))
        .await
        .expect("logged out");
    let ended = identity
        .get_me(with(GetMeRequest {}, &token))
        .await
        .expect_err("ended");
    assert_eq!(ended.code(), Code::Unauthenticated);
}

/// Wallets and movements of money.
#[tokio::test]
async fn money_moves_over_grpc() {
    let edge = Edge::shared();
    let (ada, bob) = (edge.person().await, edge.person().await);
    let mut wallets = WalletServiceClient::new(edge.channel());
    let mut transactions = TransactionServiceClient::new(edge.channel());
    let open = CreateWalletRequest {
        currency_code: "EUR".to_owned(),
    };
    let from = wallets
        .create_wallet(with(open.clone(), &ada.token))
        .await
        .expect("opened")
        .into_inner()
        .wallet
        .expect("a wallet");
    let to = wallets
        .create_wallet(with(open, &bob.token))
        .await
        .expect("opened")
        .into_inner()
        .wallet
        .expect("a wallet");

    let deposit = CreateDepositRequest {
        wallet_id: from.wallet_id.clone(),
        amount: eur(5_000),
        provider: "sandbox".to_owned(),
        description: String::new(),
        quote_id: String::new(),
        payment_method: String::new(),
    };
    transactions
        .create_deposit(paying(deposit, &ada.token, &new_key()))
        .await
        .expect("deposited");
    let transfer = CreateTransferRequest {
        from_wallet_id: from.wallet_id.clone(),
        to_wallet_id: to.wallet_id.clone(),
        amount: eur(2_000),
        description: "lunch".to_owned(),
        quote_id: String::new(),
    };
    let sent = transactions
        .create_transfer(paying(transfer, &ada.token, &new_key()))
        .await
        .expect("sent")
        .into_inner()
        .transaction
        .expect("a transaction");
    assert_eq!(sent.state(), TransactionState::Completed);
    let withdrawal = CreateWithdrawalRequest {
        wallet_id: from.wallet_id.clone(),
        amount: eur(500),
        provider: "sandbox".to_owned(),
        description: String::new(),
        quote_id: String::new(),
        payout_account_id: String::new(),
    };
    transactions
        .create_withdrawal(paying(withdrawal, &ada.token, &new_key()))
        .await
        .expect("withdrawn");

    let get = GetWalletRequest {
        wallet_id: from.wallet_id.clone(),
        ..GetWalletRequest::default()
    };
    let now = wallets
        .get_wallet(with(get, &ada.token))
        .await
        .expect("read")
        .into_inner();
    assert_eq!(
        now.wallet
            .and_then(|wallet| wallet.balance)
            .map(|balance| balance.available_minor),
        Some(2_500)
    );
    let list = with(ListWalletsRequest::default(), &ada.token);
    assert!(
        !wallets
            .list_wallets(list)
            .await
            .expect("listed")
            .into_inner()
            .wallets
            .is_empty()
    );
    let entries = ListEntriesRequest {
        wallet_id: from.wallet_id.clone(),
        ..Default::default()
    };
    let entries = wallets
        .list_entries(with(entries, &ada.token))
        .await
        .expect("listed")
        .into_inner();
    assert_eq!(
        entries
            .entries
            .iter()
            .map(|entry| entry.amount_minor)
            .sum::<i64>(),
        2_500
    );
    let get = GetTransactionRequest {
        transaction_id: sent.transaction_id.clone(),
    };
    let found = transactions
        .get_transaction(with(get, &bob.token))
        .await
        .expect("read")
        .into_inner();
    assert_eq!(
        found.transaction.map(|found| found.transaction_id),
        Some(sent.transaction_id)
    );
    let list = ListTransactionsRequest {
        wallet_id: from.wallet_id,
        ..Default::default()
    };
    let listed = transactions
        .list_transactions(with(list, &ada.token))
        .await
        .expect("listed");
    assert_eq!(listed.into_inner().transactions.len(), 3);
}

/// An overdraft is refused with its reason, its details and the failed transaction's id.
#[tokio::test]
async fn an_overdraft_carries_its_details_over_grpc() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let (from, to) = (edge.funded(&ada, 100).await, edge.wallet(&ada, "EUR").await);
    let mut transactions = TransactionServiceClient::new(edge.channel());
    let transfer = CreateTransferRequest {
        from_wallet_id: from,
        to_wallet_id: to,
        amount: eur(101),
        description: String::new(),
        quote_id: String::new(),
    };
    let refused = transactions
        .create_transfer(paying(transfer, &ada.token, &new_key()))
        .await
        .expect_err("too much");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let details = refused.get_error_details();
    let info = details.error_info().expect("ErrorInfo");
    assert_eq!(
        (info.reason.as_str(), info.domain.as_str()),
        ("INSUFFICIENT_FUNDS", "bursar.transaction.v1")
    );
    let id = info.metadata["transaction_id"].clone();
    let get = GetTransactionRequest { transaction_id: id };
    let failed = transactions
        .get_transaction(with(get, &ada.token))
        .await
        .expect("recorded");
    let failed = failed.into_inner().transaction.expect("a transaction");
    assert_eq!(failed.state(), TransactionState::Failed);
    assert_eq!(
        failed.failure.map(|failure| failure.reason).as_deref(),
        Some("INSUFFICIENT_FUNDS")
    );
}

/// Tickets, the audit trail and the state of the mesh.
#[tokio::test]
async fn admin_answers_over_grpc() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let operator = edge.admin().await;
    let mut admin = AdminServiceClient::new(edge.channel());
    let write = CreateTicketRequest {
        subject: "Help".to_owned(),
        ..Default::default()
    };
    let ticket = admin
        .create_ticket(with(write, &ada.token))
        .await
        .expect("written")
        .into_inner()
        .ticket
        .expect("a ticket");
    let get = GetTicketRequest {
        ticket_id: ticket.ticket_id.clone(),
    };
    admin.get_ticket(with(get, &ada.token)).await.expect("read");
    let list = with(ListTicketsRequest::default(), &ada.token);
    assert_eq!(
        admin
            .list_tickets(list)
            .await
            .expect("listed")
            .into_inner()
            .tickets
            .len(),
        1
    );
    let resolve = ResolveTicketRequest {
        ticket_id: ticket.ticket_id,
        resolution: "Done".to_owned(),
    };
    admin
        .resolve_ticket(with(resolve.clone(), &operator))
        .await
        .expect("resolved");
    let again = admin
        .resolve_ticket(with(resolve, &operator))
        .await
        .expect_err("resolved before");
    assert_eq!(again.code(), Code::FailedPrecondition);
    admin
        .list_audit_events(with(ListAuditEventsRequest::default(), &operator))
        .await
        .expect("listed");
    let status = admin
        .get_mesh_status(with(GetMeshStatusRequest {}, &operator))
        .await
        .expect("asked");
    assert!(status.into_inner().healthy);
}
