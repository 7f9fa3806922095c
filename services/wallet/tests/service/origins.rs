//! Postings of several requests in one call: each in the name of whoever is behind it.

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::{
    BatchMode, PostBatchRequest, PostBatchResponse, Posting, PostingOrigin, RejectionReason,
};
use bursar_status::StatusExt;
use bursar_testkit::with_token;
use tonic::{Code, Status};

use crate::support::{Fixture, applied, rejected, transfer};

fn origin(actor: UserId, correlation_id: &str) -> PostingOrigin {
    PostingOrigin {
        actor: actor.to_string(),
        correlation_id: correlation_id.to_owned(),
    }
}

async fn post(
    fixture: &Fixture,
    postings: Vec<Posting>,
    mode: BatchMode,
    origins: Vec<PostingOrigin>,
) -> Result<PostBatchResponse, Status> {
    let request = PostBatchRequest {
        postings,
        mode: mode.into(),
        origins,
    };
    let mut ledger = fixture.ledger();
    let request = with_token(request, &ledger.token);
    let response = ledger.client.post_batch(request).await?;
    Ok(response.into_inner())
}

/// The events of each posting have the actor and the correlation id of its own
/// origin; a refusal of one leaves the others, and a repetition from another
/// origin is a repetition.
#[tokio::test]
async fn each_posting_has_its_own_origin() {
    let fixture = Fixture::start().await;
    let payers = [
        fixture.funded("EUR", 100).await,
        fixture.funded("EUR", 100).await,
        fixture.funded("EUR", 100).await,
    ];
    let payee = fixture.open(UserId::generate(), "EUR").await;
    let amounts = [10, 101, 30];
    let postings: Vec<Posting> = payers
        .iter()
        .zip(amounts)
        .map(|(payer, amount)| transfer(payer, &payee, amount))
        .collect();
    let actors = [(); 3].map(|()| UserId::generate());
    let origins: Vec<PostingOrigin> = actors
        .iter()
        .zip(["one", "two", "three"])
        .map(|(actor, correlation)| origin(*actor, correlation))
        .collect();
    let independent = BatchMode::Independent;
    let answer = post(&fixture, postings.clone(), independent, origins)
        .await
        .expect("the batch is answered");
    applied(&answer.results[0]);
    assert_eq!(
        rejected(&answer.results[1]).0,
        RejectionReason::InsufficientFunds
    );
    applied(&answer.results[2]);
    let told: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT subject, actor, correlation_id FROM event_log
         WHERE kind = 'wallet.debited' ORDER BY correlation_id",
    )
    .fetch_all(&fixture.database.pool)
    .await
    .expect("events");
    let expected = [(0, "one"), (2, "three")].map(|(index, correlation): (usize, &str)| {
        (
            payers[index].wallet_id.clone(),
            actors[index].to_string(),
            correlation.to_owned(),
        )
    });
    assert_eq!(told, expected);
    let other = vec![origin(UserId::generate(), "four")];
    let again = post(&fixture, postings[..1].to_vec(), independent, other)
        .await
        .expect("the batch is answered");
    assert!(again.results[0].replayed);
    assert_eq!(again.results[0].outcome, answer.results[0].outcome);
    fixture.verify().await;
}

/// A posting that the database refuses is left without an outcome, and its neighbours get
/// theirs; when there is nothing else, the call fails.
#[tokio::test]
async fn an_undecided_posting_leaves_its_neighbours_theirs() {
    let fixture = Fixture::start().await;
    sqlx::query("ALTER TABLE entries ADD CONSTRAINT poison CHECK (amount <> 66)")
        .execute(&fixture.database.owner)
        .await
        .expect("the owner may");
    let payer = fixture.funded("EUR", 100).await;
    let payee = fixture.open(UserId::generate(), "EUR").await;
    let postings: Vec<Posting> = [10, 66, 20]
        .map(|amount| transfer(&payer, &payee, amount))
        .to_vec();
    let origins = || vec![origin(UserId::generate(), "one"); 3];
    let independent = BatchMode::Independent;
    let answer = post(&fixture, postings.clone(), independent, origins())
        .await
        .expect("the batch is answered");
    applied(&answer.results[0]);
    assert_eq!(answer.results[1].outcome, None);
    assert_eq!(answer.results[1].posting_id, postings[1].posting_id);
    applied(&answer.results[2]);
    assert_eq!(fixture.balance(&payee).await.available_minor, 30);
    let poisoned = postings[1..2].to_vec();
    let alone = post(&fixture, poisoned, independent, origins()[..1].to_vec()).await;
    assert_eq!(
        alone.expect_err("nothing is decided").code(),
        Code::Internal
    );
    fixture.verify().await;
}

/// Origins that do not fit the postings are refused by name, and nothing is posted.
#[tokio::test]
async fn origins_must_fit_the_postings() {
    let fixture = Fixture::start().await;
    let payer = fixture.funded("EUR", 100).await;
    let payee = fixture.open(UserId::generate(), "EUR").await;
    let paid = || transfer(&payer, &payee, 1);
    let good = || origin(UserId::generate(), "one");
    let bad = PostingOrigin {
        correlation_id: "a b".to_owned(),
        ..good()
    };
    let independent = BatchMode::Independent;
    for (postings, mode, origins, field) in [
        (vec![paid(), paid()], independent, vec![good()], "origins"),
        (vec![paid()], BatchMode::Atomic, vec![good()], "origins"),
        (
            vec![paid()],
            independent,
            vec![bad],
            "origins[0].correlation_id",
        ),
    ] {
        let refused = post(&fixture, postings, mode, origins).await;
        let status = refused.expect_err("it does not fit");
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        let violations = details.bad_request().expect("it names the field");
        assert_eq!(violations.field_violations[0].field, field);
    }
    assert_eq!(fixture.current(&payee).await.version, 0);
}
