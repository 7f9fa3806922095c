//! Tickets through the generated client: writing, seeing, listing, resolving.

use std::collections::HashSet;

use bursar_aip::id::{TicketId, TransactionId};
use bursar_contracts::admin::v1::{
    CreateTicketRequest, GetTicketRequest, ListTicketsRequest, Ticket, TicketStatus,
};
use bursar_testkit::with_token;
use tonic::{Code, Request};

use crate::house::{ALREADY_RESOLVED, House, Person, assert_refused, question, refusal};

const NOT_FOUND: &str = "bursar.admin.v1/TICKET_NOT_FOUND";
const INVALID_FIELD: &str = "bursar.type.v1/INVALID_FIELD";
const PAGE_TOKEN_INVALID: &str = "bursar.type.v1/PAGE_TOKEN_INVALID";

/// Lists all pages and returns the tickets and how many pages there were.
async fn list_all(
    house: &House,
    caller: &Person,
    status: TicketStatus,
    size: i32,
) -> (Vec<Ticket>, usize) {
    let (mut tickets, mut pages, mut page_token) = (Vec::new(), 0, String::new());
    loop {
        let message = ListTicketsRequest {
            status: status.into(),
            page_size: size,
            page_token,
        };
        let response = house
            .client
            .clone()
            .list_tickets(with_token(message, &caller.token))
            .await
            .expect("a list is answered")
            .into_inner();
        tickets.extend(response.tickets);
        pages += 1;
        page_token = response.next_page_token;
        if page_token.is_empty() {
            return (tickets, pages);
        }
    }
}

fn ids(tickets: &[Ticket]) -> Vec<&str> {
    tickets
        .iter()
        .map(|ticket| ticket.ticket_id.as_str())
        .collect()
}

/// A new ticket is open, its author's, and has what was written; its event is
/// in the log.
#[tokio::test]
async fn a_user_writes_a_ticket() {
    let house = House::start().await;
    let author = house.user();
    let transaction = TransactionId::generate();
    let message = CreateTicketRequest {
        subject: "Where is my money?".to_owned(),
        description: "It left on Monday.\nIt is not there. \u{1f4b8}".to_owned(),
        transaction_id: transaction.to_string(),
    };
    let created = house
        .create_response(with_token(message, &author.token))
        .await
        .expect("a user may write a ticket")
        .into_inner()
        .ticket
        .expect("the answer has the ticket");
    assert_eq!(created.subject, "Where is my money?");
    assert_eq!(
        created.description,
        "It left on Monday.\nIt is not there. \u{1f4b8}"
    );
    assert_eq!(created.author_user_id, author.id.to_string());
    assert_eq!(created.transaction_id, transaction.to_string());
    assert_eq!(created.status(), TicketStatus::Open);
    assert_eq!(created.resolution, "");
    assert_eq!(created.resolved_at, None);
    assert!(created.ticket_id.parse::<TicketId>().is_ok());
    assert_eq!(
        house
            .get(&author, &created.ticket_id)
            .await
            .expect("its author sees it"),
        created
    );
    assert_eq!(house.events_of("admin.ticket.created").await, 1);
}

/// An operator's answer ends a ticket; the author reads it.
#[tokio::test]
async fn an_operator_resolves_a_ticket() {
    let house = House::start().await;
    let (author, operator) = (house.user(), house.admin());
    let ticket = house.create(&author, "Help").await;
    let resolved = house
        .resolve(&operator, &ticket.ticket_id, "It has arrived.")
        .await
        .expect("an operator may resolve");
    assert_eq!(resolved.status(), TicketStatus::Resolved);
    assert_eq!(resolved.resolution, "It has arrived.");
    assert_eq!(resolved.resolved_by_user_id, operator.id.to_string());
    assert!(resolved.resolved_at.is_some());
    assert_eq!(
        house
            .get(&author, &ticket.ticket_id)
            .await
            .expect("its author sees it"),
        resolved
    );
    assert_eq!(house.events_of("admin.ticket.resolved").await, 1);
}

/// A ticket is there for its author and for operators, and for nobody else.
#[tokio::test]
async fn another_users_ticket_is_not_there() {
    let house = House::start().await;
    let (author, other, operator) = (house.user(), house.user(), house.admin());
    let ticket = house.create(&author, "Mine").await;
    assert!(house.get(&author, &ticket.ticket_id).await.is_ok());
    assert!(house.get(&operator, &ticket.ticket_id).await.is_ok());
    let hidden = house
        .get(&other, &ticket.ticket_id)
        .await
        .expect_err("it is another user's");
    let absent = house
        .get(&other, &TicketId::generate().to_string())
        .await
        .expect_err("there is none");
    assert_eq!(refusal(&hidden), (Code::NotFound, NOT_FOUND.to_owned()));
    assert_eq!(refusal(&hidden), refusal(&absent));

    let own = list_all(&house, &other, TicketStatus::Unspecified, 0).await;
    assert_eq!(ids(&own.0), Vec::<&str>::new());
    let all = list_all(&house, &operator, TicketStatus::Unspecified, 0).await;
    assert_eq!(ids(&all.0), [ticket.ticket_id.as_str()]);
}

/// A tenant's operator does not see another tenant's tickets.
#[tokio::test]
async fn another_tenants_ticket_is_not_there() {
    let house = House::start().await;
    let ticket = house.create(&house.user(), "Here").await;
    let elsewhere = house.admin();
    let mut claims = bursar_testkit::Tokens::user_claims(elsewhere.id);
    claims.tenant = "elsewhere".to_owned();
    claims.permissions = vec!["*:*:any".to_owned()];
    let elsewhere = Person {
        token: house.tokens.mint(claims),
        ..elsewhere
    };
    assert_refused(
        house.get(&elsewhere, &ticket.ticket_id).await,
        Code::NotFound,
        NOT_FOUND,
    );
    assert_refused(
        house.resolve(&elsewhere, &ticket.ticket_id, "No.").await,
        Code::NotFound,
        NOT_FOUND,
    );
    let (listed, _) = list_all(&house, &elsewhere, TicketStatus::Unspecified, 0).await;
    assert_eq!(ids(&listed), Vec::<&str>::new());
}

/// Without a token nothing is answered, and users resolve nothing, not even
/// their own.
#[tokio::test]
async fn callers_without_the_permission_are_refused() {
    let house = House::start().await;
    let author = house.user();
    let ticket = house.create(&author, "Mine").await;
    assert_refused(
        house
            .create_response(Request::new(question("Anonymous")))
            .await,
        Code::Unauthenticated,
        "bursar.type.v1/UNAUTHENTICATED",
    );
    let message = GetTicketRequest {
        ticket_id: ticket.ticket_id.clone(),
    };
    assert_refused(
        house.client.clone().get_ticket(Request::new(message)).await,
        Code::Unauthenticated,
        "bursar.type.v1/UNAUTHENTICATED",
    );
    assert_refused(
        house.resolve(&author, &ticket.ticket_id, "Done.").await,
        Code::PermissionDenied,
        "bursar.type.v1/PERMISSION_DENIED",
    );
}

/// Lists are newest first, page by page without a gap or a repetition, and
/// keep to their status.
#[tokio::test]
async fn lists_are_paged_newest_first() {
    let house = House::start().await;
    let (author, operator) = (house.user(), house.admin());
    let mut written = Vec::new();
    for number in 0..7 {
        written.push(
            house
                .create(&author, &format!("Ticket {number}"))
                .await
                .ticket_id,
        );
        house.create(&house.user(), "Noise").await;
    }
    house
        .resolve(&operator, &written[2], "Done.")
        .await
        .expect("it is open");
    house
        .resolve(&operator, &written[5], "Done.")
        .await
        .expect("it is open");
    written.reverse();

    let (own, pages) = list_all(&house, &author, TicketStatus::Unspecified, 3).await;
    assert_eq!(
        (ids(&own), pages),
        (written.iter().map(String::as_str).collect(), 3)
    );
    let (all, pages) = list_all(&house, &operator, TicketStatus::Unspecified, 14).await;
    assert_eq!(
        (all.len(), pages),
        (14, 1),
        "a full last page has no next page"
    );
    assert_eq!(ids(&all).into_iter().collect::<HashSet<_>>().len(), 14);
    let (resolved, _) = list_all(&house, &operator, TicketStatus::Resolved, 1).await;
    assert_eq!(ids(&resolved), [written[1].as_str(), written[4].as_str()]);
    let (open, _) = list_all(&house, &author, TicketStatus::Open, 2).await;
    assert_eq!(open.len(), 5);
}

/// A page token continues its own list only.
#[tokio::test]
async fn a_page_token_of_another_list_is_refused() {
    let house = House::start().await;
    let author = house.user();
    house.create(&author, "One").await;
    house.create(&author, "Two").await;
    let list = |status: TicketStatus, page_token: &str| {
        let message = ListTicketsRequest {
            status: status.into(),
            page_size: 1,
            page_token: page_token.to_owned(),
        };
        let mut client = house.client.clone();
        let request = with_token(message, &author.token);
        async move { client.list_tickets(request).await }
    };
    let first = list(TicketStatus::Open, "")
        .await
        .expect("a list is answered")
        .into_inner();
    assert!(
        list(TicketStatus::Open, &first.next_page_token)
            .await
            .is_ok()
    );
    for (status, token) in [
        (TicketStatus::Resolved, first.next_page_token.as_str()),
        (TicketStatus::Open, "nonsense"),
        (TicketStatus::Open, "eyJ2IjoxfQ"),
    ] {
        assert_refused(
            list(status, token).await,
            Code::InvalidArgument,
            PAGE_TOKEN_INVALID,
        );
    }
}

/// What breaks the contract's bounds is refused with the field's name, and
/// never reaches the database.
#[tokio::test]
async fn requests_out_of_bounds_are_refused() {
    let house = House::start().await;
    let author = house.user();
    let long_subject = "x".repeat(201);
    let cases = [
        ("subject", question("")),
        ("subject", question(&long_subject)),
        ("subject", question("a\0b")),
        (
            "description",
            CreateTicketRequest {
                description: "x".repeat(10_001),
                ..question("Hi")
            },
        ),
        (
            "transaction_id",
            CreateTicketRequest {
                transaction_id: "txn_1".to_owned(),
                ..question("Hi")
            },
        ),
    ];
    for (field, message) in cases {
        let status = house
            .create_response(with_token(message, &author.token))
            .await
            .expect_err("out of bounds");
        assert_eq!(
            refusal(&status),
            (Code::InvalidArgument, INVALID_FIELD.to_owned())
        );
        let details = bursar_status::StatusExt::get_error_details(&status);
        let bad = details.bad_request().expect("the fields are named");
        assert_eq!(bad.field_violations[0].field, field);
    }
    for ticket_id in ["", "tkt_1", "usr_00000000-0000-0000-0000-000000000000"] {
        assert_refused(
            house.get(&author, ticket_id).await,
            Code::InvalidArgument,
            INVALID_FIELD,
        );
    }
    assert!(
        house
            .create_response(with_token(question(&"ä".repeat(200)), &author.token))
            .await
            .is_ok()
    );
}

/// A ticket is resolved once; the second operator is told so.
#[tokio::test]
async fn a_resolved_ticket_is_final() {
    let house = House::start().await;
    let operator = house.admin();
    let ticket = house.create(&house.user(), "Help").await;
    house
        .resolve(&operator, &ticket.ticket_id, "First.")
        .await
        .expect("it is open");
    assert_refused(
        house.resolve(&operator, &ticket.ticket_id, "Second.").await,
        Code::FailedPrecondition,
        ALREADY_RESOLVED,
    );
    let after = house
        .get(&operator, &ticket.ticket_id)
        .await
        .expect("it is there");
    assert_eq!(after.resolution, "First.");
    assert_refused(
        house
            .resolve(&operator, &TicketId::generate().to_string(), "Nothing.")
            .await,
        Code::NotFound,
        NOT_FOUND,
    );
}

/// Of twenty operators who resolve at once, one does.
#[tokio::test(flavor = "multi_thread")]
async fn of_concurrent_resolutions_one_wins() {
    let house = House::start().await;
    let operator = house.admin();
    let ticket = house.create(&house.user(), "Race").await;
    let attempts = (0..20).map(|number| {
        let text = format!("Answer {number}.");
        let (house, operator, ticket) = (&house, &operator, &ticket);
        async move { house.resolve(operator, &ticket.ticket_id, &text).await }
    });
    let outcomes = futures::future::join_all(attempts).await;
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for outcome in lost {
        assert_refused(outcome, Code::FailedPrecondition, ALREADY_RESOLVED);
    }
    assert_eq!(house.events_of("admin.ticket.resolved").await, 1);
}
