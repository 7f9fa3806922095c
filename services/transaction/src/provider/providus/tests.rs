use axum::http;
use bursar_aip::id::TransactionId;
use bursar_money::PositiveMoney;
use bursar_server::now;
use serde_json::{Value, json};

use super::*;

/// What nothing in time shows, told apart from everything else.
const SILENCE: Sign = Sign::Nothing;

fn order() -> Order {
    Order {
        reference: TransactionId::generate(),
        direction: Direction::Payout,
        original: None,
        amount: PositiveMoney::new(currency(), 40_050).expect("positive"),
        valid_until: now() + Duration::from_secs(30),
        wanted_until: now() + Duration::from_secs(60),
        payment_method: None,
        payee: None,
    }
}

fn response(status: u16, body: impl Into<String>) -> Response {
    let response = http::Response::builder().status(status);
    response.body(body.into()).expect("a response").into()
}

async fn heard(status: u16, body: impl Into<String>) -> Heard<Asked> {
    let order = order();
    let ours = order.reference.to_string();
    answer(response(status, body), &order, &ours, SILENCE).await
}

fn made(amount: Value) -> String {
    let transfer = json!({"amount": amount, "reference": "XPW1", "metadata": {}});
    json!({"status": true, "transfer": transfer}).to_string()
}

fn refusal() -> String {
    json!({"status": false, "message": "Insufficient balance"}).to_string()
}

/// A transfer that was made is told with its amount, whether or not that is the order's.
#[tokio::test]
async fn what_was_made_is_told() {
    for status in [200, 201] {
        for (amount, minor) in [(json!(400.5), 40_050), (json!(1), 100)] {
            let expected = Heard::answered(Answer::Succeeded {
                reference: "XPW1".to_owned(),
                amount: Money::new(currency(), minor),
            });
            assert_eq!(heard(status, made(amount)).await, expected);
        }
    }
}

/// Only the provider's own refusal of a request is a refusal.
#[tokio::test]
async fn only_its_own_refusal_counts() {
    for status in [400, 422] {
        let declined = Heard::answered(Answer::Declined {
            reference: None,
            decline_code: format!("http_{status}"),
        });
        assert_eq!(heard(status, refusal()).await, declined);
        for body in ["", "<html>no</html>", "{}", "{\"status\": true}"] {
            let outcome = heard(status, body).await.outcome;
            assert!(matches!(outcome, Asked::Lost { .. }), "{status} {body}");
        }
    }
}

/// What was turned away at the door was not looked at.
#[tokio::test]
async fn what_is_turned_away_is_unsent() {
    for status in [403, 429] {
        assert_eq!(
            heard(status, refusal()).await,
            Heard::not_sent(Sign::Nothing)
        );
    }
}

/// Every other answer may stand for a transfer that was made, whatever it says.
#[tokio::test]
async fn every_other_answer_is_lost() {
    let unreadable = ["", "ok", "{}", "{\"status\": true}", &refusal()];
    for body in unreadable.map(str::to_owned) {
        let heard = heard(200, body).await;
        assert!(matches!(heard.outcome, Asked::Lost { .. }));
        assert_eq!(heard.sign, SILENCE);
    }
    for status in (202..600).filter(|status| ![400, 403, 422, 429].contains(status)) {
        for body in [refusal(), made(json!(400.5))] {
            let heard = heard(status, body).await;
            assert!(matches!(heard.outcome, Asked::Lost { .. }), "{status}");
            let is_its_fault = heard.sign == Sign::Failing;
            assert_eq!(is_its_fault, status >= 500, "{status}");
        }
    }
}

/// Whose an account is, is what the bank says and nothing else.
#[tokio::test]
async fn names_are_sorted() {
    let number = "0167421242";
    let account = json!({"accountName": "ADA OBI", "accountNumber": number});
    let body = json!({"status": true, "account": account}).to_string();
    let (outcome, sign) = named(response(200, body), number, SILENCE).await;
    assert!(outcome == Enquired::Named("ADA OBI".to_owned()) && sign == Sign::Well);
    for status in [400, 404, 422] {
        let (outcome, _) = named(response(status, refusal()), number, SILENCE).await;
        assert!(outcome == Enquired::NoSuchAccount, "{status}");
        let (outcome, _) = named(response(status, ""), number, SILENCE).await;
        assert!(outcome == Enquired::Unanswered, "{status}");
    }
    for status in [200, 401, 403, 429, 500, 503] {
        let (outcome, _) = named(response(status, refusal()), number, SILENCE).await;
        assert!(outcome == Enquired::Unanswered, "{status}");
    }
}

/// Failures before the request was sent are told apart from those after it.
#[test]
fn failures_show_what_they_show() {
    use Failure::{
        ConnectionLost, NoConnection, SignInRefused, SignInUnanswered, SignInWithoutTokens,
        Timeout, TurnedAway,
    };
    let refused = |status| SignInRefused(StatusCode::from_u16(status).expect("a status"));
    for (failure, is_unsent, sign) in [
        (NoConnection, true, Sign::Failing),
        (SignInUnanswered, true, SILENCE),
        (refused(400), true, Sign::Nothing),
        (refused(503), true, Sign::Failing),
        (SignInWithoutTokens, true, Sign::Nothing),
        (TurnedAway, true, Sign::Nothing),
        (Timeout, false, SILENCE),
        (ConnectionLost, false, Sign::Failing),
    ] {
        assert_eq!(failure.is_unsent(), is_unsent, "{failure}");
        assert_eq!(sign_of(failure, SILENCE), sign, "{failure}");
    }
}
