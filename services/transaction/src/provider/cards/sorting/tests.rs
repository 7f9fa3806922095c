use std::time::Duration;

use bursar_aip::id::TransactionId;
use bursar_money::{Currency, PositiveMoney};
use bursar_server::now;
use serde_json::{Value, json};

use super::super::super::wire::Refused;
use super::super::super::{Direction, Heard};
use super::*;
use crate::domain::Asked;

fn order() -> Order {
    let euro = Currency::parse("EUR").expect("a currency");
    Order {
        reference: TransactionId::generate(),
        direction: Direction::Charge,
        original: None,
        amount: PositiveMoney::new(euro, 700).expect("positive"),
        valid_until: now() + Duration::from_secs(30),
        wanted_until: now() + Duration::from_secs(60),
        payment_method: None,
        payee: None,
    }
}

fn told<T: for<'de> Deserialize<'de>>(order: &Order, status: &str, more: Value) -> T {
    let mut form = json!({
        "id": "xx_1", "reference": order.reference.to_string(), "amount_minor": 700,
        "currency": "EUR", "status": status, "decline_code": null,
    });
    if let (Some(form), Value::Object(more)) = (form.as_object_mut(), more) {
        form.extend(more);
    }
    serde_json::from_value(form).expect("the form is whole")
}

fn authorization(order: &Order, status: &str, more: Value) -> AuthorizationForm {
    told(order, status, more)
}

fn declined(code: &str) -> Declined {
    Declined {
        reference: Some("xx_1".to_owned()),
        decline_code: code.to_owned(),
    }
}

fn cause(lost: Lost) -> String {
    match lost.heard() {
        Heard {
            outcome: Asked::Lost { cause },
            ..
        } => cause,
        other => panic!("it is not lost: {other:?}"),
    }
}

/// Money is captured only where it is authorised for the right amount and still
/// wanted; what is authorised otherwise is given up, and nothing that might have been
/// captured is declined without the capture being asked.
#[test]
fn an_authorization_leads_on() {
    let order = order();
    let next = |status: &str, more: Value, is_wanted: bool| {
        authorization(&order, status, more).next(&order, is_wanted)
    };
    let accepted = Next::Tell(Answer::Accepted {
        reference: "xx_1".to_owned(),
    });
    let expired_card = json!({"decline_code": "expired_card"});
    for is_wanted in [true, false] {
        assert_eq!(
            next("pending", json!({}), is_wanted).as_ref(),
            Some(&accepted)
        );
        assert_eq!(
            next("declined", expired_card.clone(), is_wanted),
            Some(Next::Tell(declined("expired_card").into()))
        );
        for amiss in [json!({"amount_minor": 699}), json!({"currency": "USD"})] {
            let void = Some(Next::Void(declined(OTHER_AMOUNT)));
            assert_eq!(next("authorized", amiss, is_wanted), void);
        }
        for (status, code) in [
            ("captured", OTHER_AMOUNT),
            ("voided", "authorization_voided"),
            ("expired", "authorization_expired"),
        ] {
            let asked = Some(Next::AskCapture(declined(code)));
            assert_eq!(next(status, json!({}), is_wanted), asked);
        }
        assert_eq!(next("reversed", json!({}), is_wanted), None);
        let other = json!({"reference": "txn_other"});
        assert_eq!(next("authorized", other, is_wanted), None);
    }
    assert_eq!(next("authorized", json!({}), true), Some(Next::Capture));
    let void = Some(Next::Void(declined(NOT_CAPTURED)));
    assert_eq!(next("authorized", json!({}), false), void);
}

/// A capture that succeeded is a success, and one that is refused for good leads to a
/// void before anything is declined. Whatever else comes back leaves it unknown: money
/// may have been taken.
#[test]
fn a_capture_is_believed_only_by_its_own_word() {
    let order = order();
    let captured = |sent| captured(&order, sent, Sign::Failing);
    let answer = |sent| match captured(sent) {
        Captured::Tell(answer) => answer,
        Captured::Void(declined) => panic!("given up: {declined:?}"),
        Captured::Lost(lost) => panic!("lost: {}", cause(lost)),
    };
    let succeeded = Answer::Succeeded {
        reference: "xx_1".to_owned(),
        amount: order.amount.money(),
    };
    assert_eq!(
        answer(Sent::Told(told(&order, "succeeded", json!({})))),
        succeeded
    );
    let accepted = Answer::Accepted {
        reference: "xx_1".to_owned(),
    };
    assert_eq!(
        answer(Sent::Told(told(&order, "pending", json!({})))),
        accepted
    );
    for code in ["authorization_voided", "authorization_expired"] {
        let refused = answer(Sent::Refused(Refused::conflict(code)));
        assert_eq!(refused, Declined::by(code).into());
    }
    let given_up = |sent| match captured(sent) {
        Captured::Void(declined) => declined,
        Captured::Tell(answer) => panic!("told: {answer:?}"),
        Captured::Lost(lost) => panic!("lost: {}", cause(lost)),
    };
    let honor = json!({"decline_code": "do_not_honor"});
    let refused = given_up(Sent::Told(told(&order, "declined", honor)));
    assert_eq!(refused, declined("do_not_honor"));
    assert_eq!(given_up(Sent::Rejected), Declined::by(REJECTED));
    let other = json!({"reference": "txn_other"});
    for (sent, seen) in [
        (
            Sent::Told(told(&order, "succeeded", other)),
            "an answer that cannot be read",
        ),
        (
            Sent::Told(told(&order, "reversed", json!({}))),
            "an answer that cannot be read",
        ),
        (Sent::Late, "the capture came too late"),
        (Sent::TurnedAway, "the capture was turned away"),
        (
            Sent::NoConnection(Sign::Failing),
            "the capture was not sent",
        ),
        (
            Sent::Refused(Refused::conflict("reference_reused")),
            "http 409",
        ),
        (
            Sent::Refused(Refused::conflict("authorization_not_open")),
            "http 409",
        ),
        (Sent::Lost(Lost::seen("timeout", Sign::Failing)), "timeout"),
    ] {
        match captured(sent) {
            Captured::Lost(lost) => assert_eq!(cause(lost), seen),
            Captured::Tell(answer) => panic!("{seen}: {answer:?}"),
            Captured::Void(declined) => panic!("{seen}: {declined:?}"),
        }
    }
}

/// It is declined once the acquirer says that nothing can be captured any more, and
/// unknown until then.
#[test]
fn a_void_ends_it_only_when_it_is_answered() {
    let order = order();
    let why = declined("lost_card");
    let void = |sent| voided(&order, why.clone(), sent, Sign::Failing);
    for status in ["voided", "expired"] {
        let sent = Sent::Told(authorization(&order, status, json!({})));
        assert_eq!(void(sent).ok(), Some(why.clone().into()), "{status}");
    }
    let over = Sent::Refused(Refused::conflict("authorization_expired"));
    assert_eq!(void(over).ok(), Some(why.clone().into()));
    for sent in [
        Sent::Told(authorization(&order, "authorized", json!({}))),
        Sent::Told(authorization(
            &order,
            "voided",
            json!({"reference": "txn_other"}),
        )),
        Sent::Refused(Refused::conflict("authorization_captured")),
        Sent::Refused(Refused::conflict("authorization_not_open")),
        Sent::Late,
        Sent::TurnedAway,
        Sent::Rejected,
        Sent::NoConnection(Sign::Failing),
        Sent::Lost(Lost::seen("timeout", Sign::Failing)),
    ] {
        assert!(void(sent).is_err());
    }
}
