//! Bulk transfers through the whole mesh: results, atomicity, keys, lost answers.

use std::time::{Duration, Instant};

use bursar_contracts::transaction::v1::bulk_service_client::BulkServiceClient;
use bursar_contracts::transaction::v1::{
    BulkTransfer, BulkTransferMode, BulkTransferOrder, BulkTransferState,
    CreateBulkTransferRequest, CreateBulkTransferResponse, GetBulkTransferRequest,
    ListBulkTransferItemsRequest, TransactionState, WatchBulkTransferRequest,
};
use bursar_status::StatusExt;
use bursar_testkit::{Tokens, with_token};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::support::Mesh;
use crate::support::calls::{euros, is_replayed, refusal, told};
use crate::support::person::Person;
use crate::support::wire::Mode;

/// A deadline that a test can wait for.
const SHORT: Duration = Duration::from_millis(2_000);
/// How long a test waits for what recovery brings.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A new user who may make bulk transfers.
pub(crate) fn banker(mesh: &Mesh) -> Person<'_> {
    let mut person = mesh.person();
    let mut claims = Tokens::user_claims(person.id);
    claims.permissions.push("bulk_transfer:*:own".to_owned());
    person.token = mesh.tokens.mint(claims);
    person
}

fn client(mesh: &Mesh) -> BulkServiceClient<Channel> {
    BulkServiceClient::new(mesh.service.channel())
}

pub(crate) fn bulk(
    mode: BulkTransferMode,
    from: &str,
    to: &str,
    amounts: &[i64],
) -> CreateBulkTransferRequest {
    let order = |(index, amount): (usize, &i64)| BulkTransferOrder {
        item_key: format!("item-{index}"),
        from_wallet_id: from.to_owned(),
        to_wallet_id: to.to_owned(),
        amount: euros(*amount),
        description: "wages".to_owned(),
    };
    CreateBulkTransferRequest {
        mode: mode.into(),
        transfers: amounts.iter().enumerate().map(order).collect(),
    }
}

pub(crate) async fn create(
    mesh: &Mesh,
    person: &Person<'_>,
    request: CreateBulkTransferRequest,
    key: &str,
    deadline: Option<Duration>,
) -> Result<Response<CreateBulkTransferResponse>, Status> {
    let mut request = person.request_with(request, key);
    if let Some(deadline) = deadline {
        request.set_timeout(deadline);
    }
    client(mesh).create_bulk_transfer(request).await
}

/// Tries a key again for as long as it is told to.
async fn until_answered(
    mesh: &Mesh,
    person: &Person<'_>,
    request: &CreateBulkTransferRequest,
    key: &str,
) -> Result<CreateBulkTransferResponse, Status> {
    loop {
        match create(mesh, person, request.clone(), key, None).await {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) if told(&status).retries => tokio::time::sleep(LOOK_AGAIN).await,
            Err(status) => return Err(status),
        }
    }
}

async fn get(mesh: &Mesh, person: &Person<'_>, id: &str) -> Result<BulkTransfer, Status> {
    let request = GetBulkTransferRequest {
        bulk_transfer_id: id.to_owned(),
    };
    let response = client(mesh)
        .get_bulk_transfer(with_token(request, &person.token))
        .await?;
    Ok(response
        .into_inner()
        .bulk_transfer
        .expect("a response has its bulk transfer"))
}

/// Waits until a bulk transfer is no longer running.
async fn ends(mesh: &Mesh, person: &Person<'_>, id: &str) -> BulkTransfer {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let found = get(mesh, person, id).await.expect("it is the caller's");
        if found.state() != BulkTransferState::Running {
            return found;
        }
        assert!(Instant::now() < give_up, "{id} never ends");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn id_in(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info().expect("every error has an ErrorInfo");
    let id = info.metadata.get("bulk_transfer_id");
    id.expect("the bulk transfer is named").clone()
}

/// Each independent transfer has its own result, in order, and is a transaction
/// like any other; money moves for those that completed, and for no other.
#[tokio::test]
async fn independent_transfers_have_their_own_results() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (banker(&mesh), banker(&mesh));
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let request = bulk(
        BulkTransferMode::Independent,
        &from,
        &to,
        &[300, 5_000, 200],
    );
    let response = create(&mesh, &alice, request, "k", None)
        .await
        .expect("an independent call is answered")
        .into_inner();
    let told = response.bulk_transfer.expect("it is told");
    assert_eq!(told.state(), BulkTransferState::PartlyCompleted);
    assert_eq!((told.completed_count, told.failed_count), (2, 1));
    let results: Vec<_> = response
        .items
        .iter()
        .map(|item| (item.position, &*item.item_key, item.state()))
        .collect();
    assert_eq!(
        results,
        [
            (0, "item-0", TransactionState::Completed),
            (1, "item-1", TransactionState::Failed),
            (2, "item-2", TransactionState::Completed),
        ]
    );
    let failure = response.items[1].failure.as_ref().expect("it failed");
    assert_eq!(failure.reason, "INSUFFICIENT_FUNDS");
    for item in &response.items {
        let transaction = alice.get(&item.transaction_id).await.expect("her own");
        assert_eq!(transaction.state(), item.state());
        assert_eq!(transaction.version, 2);
    }
    assert_eq!(alice.balance(&from).await, (500, 0));
    assert_eq!(bob.balance(&to).await, (500, 0));
    mesh.verify().await;
}

/// A thousand transfers go through one call.
#[tokio::test]
async fn a_thousand_transfers_are_one_call() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (banker(&mesh), banker(&mesh));
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let request = bulk(BulkTransferMode::Atomic, &from, &to, &[1; 1_000]);
    let response = create(&mesh, &alice, request, "k", None)
        .await
        .expect("there is money for all")
        .into_inner();
    let told = response.bulk_transfer.expect("it is told");
    assert_eq!(told.state(), BulkTransferState::Completed);
    assert_eq!((told.transfer_count, told.completed_count), (1_000, 1_000));
    assert_eq!(bob.balance(&to).await, (1_000, 0));
    mesh.verify().await;
}

/// One refused transfer refuses a whole atomic bulk transfer: the error names it,
/// no money moves, every transaction is FAILED, and the answer is kept.
#[tokio::test]
async fn an_atomic_bulk_transfer_is_all_or_nothing() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (banker(&mesh), banker(&mesh));
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let request = bulk(BulkTransferMode::Atomic, &from, &to, &[300, 5_000, 200]);
    let first = create(&mesh, &alice, request.clone(), "k", None)
        .await
        .expect_err("one cannot be paid");
    assert_eq!(
        refusal(&first),
        (Code::FailedPrecondition, "BULK_TRANSFER_REFUSED".to_owned())
    );
    let details = first.get_error_details();
    let failure = details
        .precondition_failure()
        .expect("the transfer is named");
    let named: Vec<_> = failure
        .violations
        .iter()
        .map(|violation| (&*violation.r#type, &*violation.subject))
        .collect();
    assert_eq!(named, [("INSUFFICIENT_FUNDS", "transfers[1]")]);
    assert_eq!(alice.balance(&from).await, (1_000, 0));
    assert_eq!(bob.balance(&to).await, (0, 0));

    let id = id_in(&first);
    let found = get(&mesh, &alice, &id).await.expect("it is recorded");
    assert_eq!(found.state(), BulkTransferState::Failed);
    assert_eq!(found.failed_count, 3);
    let again = create(&mesh, &alice, request, "k", None)
        .await
        .expect_err("the same answer");
    assert!(is_replayed(again.metadata()));
    assert_eq!(again.message(), first.message());
    assert_eq!(again.details(), first.details());
    mesh.verify().await;
}

/// However often and however many at once a key is sent, there is one bulk
/// transfer and one answer; another body is refused.
#[tokio::test]
async fn a_key_makes_one_bulk_transfer() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (banker(&mesh), banker(&mesh));
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let request = bulk(BulkTransferMode::Independent, &from, &to, &[10, 20, 30]);
    let calls = (0..8).map(|_| until_answered(&mesh, &alice, &request, "k"));
    let answers = futures::future::join_all(calls).await;
    let first = answers[0].as_ref().expect("answered");
    for answer in &answers {
        assert_eq!(answer.as_ref().expect("answered"), first);
    }
    assert_eq!(mesh.count("SELECT count(*) FROM bulk_transfers").await, 1);
    assert_eq!(bob.balance(&to).await, (60, 0));
    let replay = create(&mesh, &alice, request.clone(), "k", None)
        .await
        .expect("answered");
    assert!(is_replayed(replay.metadata()));
    assert_eq!(&replay.into_inner(), first);
    let other = bulk(BulkTransferMode::Independent, &from, &to, &[11]);
    let reused = create(&mesh, &alice, other, "k", None)
        .await
        .expect_err("another body");
    assert_eq!(
        refusal(&reused),
        (Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED".to_owned())
    );
    mesh.verify().await;
}

/// The ledger posted all and its answer was lost: the same ids are sent again, and
/// every transfer counts once.
#[tokio::test]
async fn a_lost_answer_counts_once() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (banker(&mesh), banker(&mesh));
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let request = bulk(BulkTransferMode::Atomic, &from, &to, &[100, 200, 300]);
    mesh.to_wallet.set(Mode::LosesAnswers);
    let lost = create(&mesh, &alice, request.clone(), "k", Some(SHORT))
        .await
        .expect_err("no answer");
    assert_eq!(lost.code(), Code::Unavailable);
    assert_eq!(bob.balance(&to).await, (600, 0));
    mesh.to_wallet.set(Mode::Whole);
    let done = until_answered(&mesh, &alice, &request, "k")
        .await
        .expect("the same key goes on");
    let told = done.bulk_transfer.expect("it is told");
    assert_eq!(told.bulk_transfer_id, id_in(&lost));
    assert_eq!(told.state(), BulkTransferState::Completed);
    assert_eq!(bob.balance(&to).await, (600, 0));
    mesh.verify().await;
}

/// A refusal beside an attempt that was never answered is made certain first, for
/// the whole of an atomic bulk transfer: money that comes later changes nothing.
#[tokio::test]
async fn an_uncertain_refusal_is_barred_as_a_whole() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (banker(&mesh), banker(&mesh));
    let (from, to) = (alice.funded(100).await, bob.wallet().await);
    let request = bulk(BulkTransferMode::Atomic, &from, &to, &[60, 70]);
    mesh.to_wallet.set(Mode::LosesAnswers);
    let lost = create(&mesh, &alice, request.clone(), "k", Some(SHORT))
        .await
        .expect_err("no answer");
    mesh.to_wallet.set(Mode::Whole);
    let refused = until_answered(&mesh, &alice, &request, "k")
        .await
        .expect_err("there is not enough for both");
    assert_eq!(
        refusal(&refused),
        (Code::FailedPrecondition, "BULK_TRANSFER_REFUSED".to_owned())
    );
    assert_eq!(id_in(&refused), id_in(&lost));
    let barred: i64 = sqlx::query_scalar("SELECT count(*) FROM postings WHERE kind = 'adjustment'")
        .fetch_one(&mesh.wallet_database.pool)
        .await
        .expect("wallet's postings can be counted");
    assert_eq!(barred, 2, "both ids are taken");
    assert_eq!(alice.balance(&from).await, (100, 0));
    mesh.verify().await;
}

/// The service stops between the intent and the posting: the next process sends
/// the same whole by itself, and nobody has to ask again.
#[tokio::test]
async fn a_restart_moves_an_atomic_bulk_transfer_on_as_a_whole() {
    let mut mesh = Mesh::start().await;
    let (from, to, id) = {
        let (alice, bob) = (banker(&mesh), banker(&mesh));
        let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
        let request = bulk(BulkTransferMode::Atomic, &from, &to, &[100, 200, 300]);
        mesh.to_wallet.set(Mode::Cut);
        let away = create(&mesh, &alice, request, "k", Some(SHORT))
            .await
            .expect_err("the ledger is away");
        (from, to, id_in(&away))
    };
    assert_eq!(
        mesh.count("SELECT count(*) FROM transaction_checks").await,
        0
    );
    assert_eq!(
        mesh.count("SELECT count(*) FROM bulk_transfer_checks")
            .await,
        1
    );
    mesh.restart_service().await;
    mesh.to_wallet.set(Mode::Whole);
    mesh.until("SELECT count(*) FROM bulk_transfer_checks", 0)
        .await;
    let completed = mesh
        .count("SELECT count(*) FROM transactions WHERE kind = 'transfer' AND state = 'COMPLETED'")
        .await;
    assert_eq!(completed, 3);
    let moved: i64 = sqlx::query_scalar("SELECT available FROM wallets WHERE id = $1::uuid")
        .bind(to.trim_start_matches("wal_").to_owned())
        .fetch_one(&mesh.wallet_database.pool)
        .await
        .expect("wallet has it");
    assert_eq!(moved, 600, "{from} paid {id} once");
    mesh.verify().await;
}

/// What is wrong with a request is named with its transfer, and nothing is recorded.
#[tokio::test]
async fn faults_are_named_with_their_transfer() {
    let mesh = Mesh::start().await;
    let alice = banker(&mesh);
    let (from, to) = (alice.wallet().await, alice.wallet_in("USD").await);
    let good = bulk(BulkTransferMode::Independent, &from, &to, &[1, 2, 3]);
    let with = |change: &dyn Fn(&mut BulkTransferOrder)| {
        let mut request = good.clone();
        change(&mut request.transfers[2]);
        request
    };
    let cases = [
        (
            with(&|order| order.item_key = "item-0".to_owned()),
            "ITEM_KEY_REPEATED",
            "transfers[2].item_key",
        ),
        (
            with(&|order| order.to_wallet_id.clone_from(&order.from_wallet_id)),
            "SAME_WALLET",
            "transfers[2].to_wallet_id",
        ),
        (
            with(&|order| order.amount = None),
            "INVALID_FIELD",
            "transfers[2].amount",
        ),
        (
            with(&|order| {
                if let Some(amount) = &mut order.amount {
                    amount.currency_code = "XXQ".to_owned();
                }
            }),
            "CURRENCY_UNSUPPORTED",
            "transfers[2].amount.currency_code",
        ),
        (
            bulk(BulkTransferMode::Independent, &from, &to, &[]),
            "INVALID_FIELD",
            "transfers",
        ),
        (
            bulk(BulkTransferMode::Independent, &from, &to, &[1; 1_001]),
            "INVALID_FIELD",
            "transfers",
        ),
        (
            bulk(BulkTransferMode::Unspecified, &from, &to, &[1]),
            "INVALID_FIELD",
            "mode",
        ),
    ];
    for (request, reason, field) in cases {
        let status = create(&mesh, &alice, request, "k", None)
            .await
            .expect_err(reason);
        let told = told(&status);
        assert_eq!((told.code, &*told.reason), (Code::InvalidArgument, reason));
        assert_eq!(told.fields, [field]);
    }
    assert_eq!(mesh.count("SELECT count(*) FROM bulk_transfers").await, 0);
}

/// Another user's bulk transfer is not there; the list is paged and ends.
#[tokio::test]
async fn reads_are_the_owners_and_paged() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (banker(&mesh), banker(&mesh));
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let request = bulk(BulkTransferMode::Independent, &from, &to, &[1; 5]);
    let response = create(&mesh, &alice, request, "k", None)
        .await
        .expect("answered")
        .into_inner();
    let id = response.bulk_transfer.expect("it is told").bulk_transfer_id;
    let hidden = get(&mesh, &bob, &id).await.expect_err("not his");
    assert_eq!(
        refusal(&hidden),
        (Code::NotFound, "BULK_TRANSFER_NOT_FOUND".to_owned())
    );
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListBulkTransferItemsRequest {
            bulk_transfer_id: id.clone(),
            page_size: 2,
            page_token,
        };
        let page = client(&mesh)
            .list_bulk_transfer_items(with_token(request, &alice.token))
            .await
            .expect("a page")
            .into_inner();
        listed.extend(page.items);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, response.items);
}

/// A watch tells the progress at once and ends with the end, which recovery brings.
#[tokio::test]
async fn a_watch_ends_with_the_end() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (banker(&mesh), banker(&mesh));
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    mesh.to_wallet.set(Mode::Cut);
    let request = bulk(BulkTransferMode::Atomic, &from, &to, &[1, 2]);
    let away = create(&mesh, &alice, request, "k", Some(SHORT))
        .await
        .expect_err("the ledger is away");
    let id = id_in(&away);
    let request = WatchBulkTransferRequest {
        bulk_transfer_id: id.clone(),
    };
    let mut progress = client(&mesh)
        .watch_bulk_transfer(with_token(request, &alice.token))
        .await
        .expect("her own")
        .into_inner();
    let mut states = Vec::new();
    mesh.to_wallet.set(Mode::Whole);
    while let Some(told) = progress.message().await.expect("it ends by itself") {
        states.push(told.bulk_transfer.expect("it is told").state());
    }
    assert_eq!(states.first(), Some(&BulkTransferState::Running));
    assert_eq!(states.last(), Some(&BulkTransferState::Completed));
    let ended = ends(&mesh, &alice, &id).await;
    assert_eq!(ended.completed_count, 2);
}
