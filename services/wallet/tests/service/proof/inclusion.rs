//! Proofs of single postings by RPC.

use bursar_aip::id::UserId;
use bursar_contracts::policy;
use bursar_contracts::wallet::v1::{GetInclusionProofRequest, GetInclusionProofResponse, Posting};
use bursar_proof::InclusionProof;
use bursar_testkit::with_token;
use prost::Message;
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::Value;
use tonic::{Code, Status};
use uuid::Uuid;

use super::{Operator, QUICK, blocked, pair_of, signed, traffic};
use crate::support::{Fixture, applied, reason, transfer};

async fn prove(
    operator: &Operator<'_>,
    token: &str,
    posting_id: &str,
) -> Result<GetInclusionProofResponse, Status> {
    let request = GetInclusionProofRequest {
        posting_id: posting_id.to_owned(),
    };
    let response = operator
        .client()
        .get_inclusion_proof(with_token(request, token))
        .await?;
    Ok(response.into_inner())
}

/// The answer as the gateway writes it, and then as the verifier reads it.
fn read(answer: &GetInclusionProofResponse) -> InclusionProof {
    let descriptor = policy::pool()
        .get_message_by_name("bursar.wallet.v1.GetInclusionProofResponse")
        .expect("the message");
    let message = DynamicMessage::decode(descriptor, answer.encode_to_vec().as_slice());
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .skip_default_fields(false);
    let json = message
        .expect("the message")
        .serialize_with_options(serde_json::value::Serializer, &options)
        .expect("JSON");
    let Value::Object(mut fields) = json else {
        panic!("no object: {json}");
    };
    let proof = fields.remove("proof").expect("a proof");
    serde_json::from_value(proof).expect("the verifier reads it")
}

/// The proof of every posting verifies with the public key, also of those whose
/// block is not itself signed.
#[tokio::test]
async fn every_posting_has_a_proof() {
    let fixture = Fixture::start_with(&QUICK).await;
    let wallets = pair_of(&fixture, UserId::generate()).await;
    traffic(&fixture, &wallets, 6).await;
    signed(&fixture.database.pool).await;
    traffic(&fixture, &wallets, 6).await;
    signed(&fixture.database.pool).await;
    let operator = Operator::of(&fixture);
    let keys = operator.options().await.keys;
    let ids: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM postings")
        .fetch_all(&fixture.database.pool)
        .await
        .expect("postings");
    assert_eq!(ids.len(), 25);
    for id in ids {
        let answer = prove(&operator, &operator.token, &id.to_string()).await;
        let proof = read(&answer.expect("a proof"));
        assert_eq!(proof.posting.posting_id, id);
        assert_eq!(proof.check(&keys), Ok(()));
    }
}

/// A user gets the proof of a posting between their own wallets. One that shows
/// another wallet's balance is as if it were not there, like one that is not.
#[tokio::test]
async fn a_proof_shows_no_balance_of_others() {
    let fixture = Fixture::start_with(&QUICK).await;
    let (alice, bob) = (UserId::generate(), UserId::generate());
    let [one, other] = pair_of(&fixture, alice).await;
    let bobs = fixture.open(bob, "EUR").await;
    let post = async |posting: Posting| {
        let id = posting.posting_id.clone();
        applied(&fixture.ledger().post_one(posting).await);
        id
    };
    let own = post(transfer(&one, &other, 3)).await;
    let shared = post(transfer(&one, &bobs, 3)).await;
    signed(&fixture.database.pool).await;
    let operator = Operator::of(&fixture);
    let keys = operator.options().await.keys;
    let (alices_token, bobs_token) = (fixture.tokens.user(alice), fixture.tokens.user(bob));
    let answer = prove(&operator, &alices_token, &own).await;
    assert_eq!(read(&answer.expect("her own")).check(&keys), Ok(()));
    let nothing = Uuid::now_v7().to_string();
    for (token, posting) in [
        (&alices_token, &shared),
        (&bobs_token, &shared),
        (&bobs_token, &own),
        (&operator.token, &nothing),
    ] {
        let refused = prove(&operator, token, posting).await.expect_err("refused");
        assert_eq!(refused.code(), Code::NotFound);
        assert_eq!(reason(&refused), "POSTING_NOT_FOUND");
    }
}

/// Before a signature vouches for a posting there is no proof of it, and the
/// answer says when to ask again.
#[tokio::test]
async fn there_is_no_proof_before_the_signature() {
    use bursar_status::StatusExt;
    let fixture = Fixture::start_with(&QUICK).await;
    let lock = blocked(&fixture.database.owner).await;
    let [one, other] = pair_of(&fixture, UserId::generate()).await;
    let posting = transfer(&one, &other, 3);
    applied(&fixture.ledger().post_one(posting.clone()).await);
    let operator = Operator::of(&fixture);
    let refused = prove(&operator, &operator.token, &posting.posting_id).await;
    let refused = refused.expect_err("too early");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason(&refused), "POSTING_NOT_SIGNED_YET");
    assert!(refused.get_error_details().retry_info().is_some());
    lock.rollback().await.expect("sealing may go on");
    signed(&fixture.database.pool).await;
    prove(&operator, &operator.token, &posting.posting_id)
        .await
        .expect("a proof");
}
