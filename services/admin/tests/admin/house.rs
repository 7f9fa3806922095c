//! An admin service of a test's own, and people who call it.

use bursar_admin::definition;
use bursar_aip::id::UserId;
use bursar_contracts::admin::v1::admin_service_client::AdminServiceClient;
use bursar_contracts::admin::v1::{
    CreateTicketRequest, CreateTicketResponse, GetTicketRequest, ResolveTicketRequest, Ticket,
};
use bursar_status::StatusExt;
use bursar_testkit::{TestDatabase, TestService, Tokens, with_token};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

/// An address at which nothing answers.
pub(crate) const NOBODY: &str = "http://127.0.0.1:1";

/// The reason of a second answer to a ticket.
pub(crate) const ALREADY_RESOLVED: &str = "bursar.admin.v1/TICKET_ALREADY_RESOLVED";

/// A running admin service with a database of its own.
pub(crate) struct House {
    _service: TestService,
    pub(crate) database: TestDatabase,
    pub(crate) tokens: Tokens,
    pub(crate) client: AdminServiceClient<Channel>,
}

/// Somebody with a token.
pub(crate) struct Person {
    pub(crate) id: UserId,
    pub(crate) token: String,
}

impl House {
    /// A service that has no events and no neighbours.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A service with further settings.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        let database = TestDatabase::create(&definition().migrations).await;
        Self::start_on(database, Tokens::start().await, settings).await
    }

    /// A service on a database and with an issuer that the test has made.
    pub(crate) async fn start_on(
        database: TestDatabase,
        tokens: Tokens,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut all = vec![
            ("BURSAR_WALLET_ADDRESS", NOBODY),
            ("BURSAR_TRANSACTION_ADDRESS", NOBODY),
            ("BURSAR_ADMIN_ADDRESS", NOBODY),
        ];
        all.extend_from_slice(settings);
        let service = TestService::start(definition(), &database, &tokens, &all).await;
        let client = AdminServiceClient::new(service.channel());
        Self {
            _service: service,
            database,
            tokens,
            client,
        }
    }

    /// A new user.
    pub(crate) fn user(&self) -> Person {
        let id = UserId::generate();
        Person {
            id,
            token: self.tokens.user(id),
        }
    }

    /// A new operator.
    pub(crate) fn admin(&self) -> Person {
        let id = UserId::generate();
        Person {
            id,
            token: self.tokens.admin(id),
        }
    }

    /// Writes a ticket.
    pub(crate) async fn create(&self, author: &Person, subject: &str) -> Ticket {
        self.create_response(with_token(question(subject), &author.token))
            .await
            .expect("a user may write a ticket")
            .into_inner()
            .ticket
            .expect("the answer has the ticket")
    }

    /// Sends a `CreateTicket`.
    pub(crate) async fn create_response(
        &self,
        request: Request<CreateTicketRequest>,
    ) -> Result<Response<CreateTicketResponse>, Status> {
        self.client.clone().create_ticket(request).await
    }

    /// Sends a `GetTicket`.
    pub(crate) async fn get(&self, caller: &Person, ticket_id: &str) -> Result<Ticket, Status> {
        let message = GetTicketRequest {
            ticket_id: ticket_id.to_owned(),
        };
        let response = self
            .client
            .clone()
            .get_ticket(with_token(message, &caller.token))
            .await?;
        Ok(response
            .into_inner()
            .ticket
            .expect("the answer has the ticket"))
    }

    /// Sends a `ResolveTicket`.
    pub(crate) async fn resolve(
        &self,
        operator: &Person,
        ticket_id: &str,
        resolution: &str,
    ) -> Result<Ticket, Status> {
        let message = answer(ticket_id, resolution);
        let request = with_token(message, &operator.token);
        let response = self.client.clone().resolve_ticket(request).await?;
        Ok(response
            .into_inner()
            .ticket
            .expect("the answer has the ticket"))
    }

    /// How many events of this kind admin's log has.
    pub(crate) async fn events_of(&self, kind: &str) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM events WHERE kind = $1")
            .bind(kind)
            .fetch_one(&self.database.pool)
            .await
            .expect("the log can be read")
    }
}

/// A ticket to write.
pub(crate) fn question(subject: &str) -> CreateTicketRequest {
    CreateTicketRequest {
        subject: subject.to_owned(),
        ..CreateTicketRequest::default()
    }
}

/// An answer to a ticket.
pub(crate) fn answer(ticket_id: &str, resolution: &str) -> ResolveTicketRequest {
    ResolveTicketRequest {
        ticket_id: ticket_id.to_owned(),
        resolution: resolution.to_owned(),
    }
}

/// Adds an idempotency key to a request.
pub(crate) fn with_key<T>(mut request: Request<T>, key: &str) -> Request<T> {
    let value = key.parse().expect("the test's key is visible ASCII");
    request.metadata_mut().insert("idempotency-key", value);
    request
}

/// True when an answer is marked as given before.
pub(crate) fn is_replayed(metadata: &tonic::metadata::MetadataMap) -> bool {
    metadata
        .get("idempotency-replayed")
        .is_some_and(|value| value == "true")
}

/// The code and the reason of an error.
pub(crate) fn refusal(status: &Status) -> (Code, String) {
    let details = status.get_error_details();
    let info = details.error_info().expect("every error has an ErrorInfo");
    (status.code(), format!("{}/{}", info.domain, info.reason))
}

/// Asserts the code and the reason of an error.
#[track_caller]
pub(crate) fn assert_refused<T: std::fmt::Debug>(
    outcome: Result<T, Status>,
    code: Code,
    reason: &str,
) {
    let status = outcome.expect_err("the call must be refused");
    assert_eq!(refusal(&status), (code, reason.to_owned()), "{status:?}");
}
