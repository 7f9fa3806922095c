//! Payouts to bank accounts, over the real ledger and a server of the provider's
//! documented shapes.

mod accounts;
mod house;

use bursar_contracts::transaction::v1::review_service_client::ReviewServiceClient;
use bursar_contracts::transaction::v1::{
    ResolveReviewRequest, ReviewResolution, Transaction, TransactionState,
};
use bursar_testkit::with_token;
use bursar_testkit::xpress::{BANK, Fault};
use serde_json::json;
use tonic::Code;

use crate::support::calls::{refusal, told, withdrawal};
use crate::support::settlement::{DAY, FileLine, settlement};
use house::{House, NUMBER, naira, payout};

/// A payout whose answer was lost one way or another, once its request has ended.
async fn lost(house: &House, fault: Fault) -> (Transaction, String) {
    let (payee, wallet, account) = house.payee(100_000).await;
    house.xpress.fault(fault);
    let paid = payee
        .withdraw(payout(&wallet, &account.payout_account_id, 40_050))
        .await
        .expect("it is recorded");
    assert_eq!(paid.state(), TransactionState::Unknown, "{fault:?}");
    assert_eq!(payee.balance(&wallet).await, (59_950, 40_050));
    (paid, wallet)
}

/// The money is set aside, paid to the account in naira with our reference in what is
/// attached and in what the payee reads, and gone.
#[tokio::test]
async fn a_payout_pays_to_a_bank_account() {
    let house = House::start().await;
    let (payee, wallet, account) = house.payee(100_000).await;
    let paid = payee
        .withdraw(payout(&wallet, &account.payout_account_id, 40_050))
        .await
        .expect("enough");
    assert_eq!(paid.state(), TransactionState::Completed);
    assert_eq!(paid.provider, "providus");
    assert_eq!(paid.provider_reference, "XPW000000001");
    assert_eq!(paid.payout_account_id, account.payout_account_id);
    assert_eq!(payee.balance(&wallet).await, (59_950, 0));
    let sent = house.xpress.books().paid[0].clone();
    assert!(sent.contains("\"amount\":400.50"), "{sent}");
    let sent: serde_json::Value = serde_json::from_str(&sent).expect("JSON");
    let expected = json!({
        "amount": 400.50, "sortCode": BANK, "accountNumber": NUMBER,
        "accountName": "OBIORAH ADAEZE", "narration": format!("Payout {}", paid.transaction_id),
        "metadata": {"reference": paid.transaction_id},
    });
    assert_eq!(sent, expected);
    assert_eq!(house.xpress.calls("login"), 1, "one session for all calls");
    house.verify().await;
}

/// An answer that is lost leaves the payout UNKNOWN for good: it is sent once, however
/// often recovery or another instance takes it up, and the money stays set aside.
#[tokio::test]
async fn a_lost_answer_stays_unknown_and_nothing_is_sent_again() {
    let faults = [
        Fault::SilentAfter,
        Fault::ErrorAfter,
        Fault::Malformed,
        Fault::ErrorBefore,
        Fault::Foreign,
    ];
    for fault in faults {
        let mut house = House::start().await;
        let (paid, _) = lost(&house, fault).await;
        for _ in 0..3 {
            house.let_leases_lapse().await;
            let checked = "SELECT count(*) FROM transaction_checks WHERE next_check_at > now()";
            house.until(checked, 1).await;
        }
        // Nobody pretends to ask: a question would take a place and the breaker's word.
        let metrics = format!("http://{}/metrics", house.service.http_address);
        let metrics = house.http.get(metrics).send().await.expect("it answers");
        let metrics = metrics.text().await.expect("text");
        let is_call = |line: &&str| {
            line.starts_with("bursar_provider_call_seconds") && line.contains("\"providus\"")
        };
        let calls: Vec<&str> = metrics.lines().filter(is_call).collect();
        let made = |operation: &str| calls.iter().any(|line| line.contains(operation));
        assert!(made("operation=\"payout\""), "{fault:?}: {calls:?}");
        assert!(!made("operation=\"payout_status\""), "{fault:?}: {calls:?}");
        house.mesh.restart_service().await;
        house.let_leases_lapse().await;
        let checked = "SELECT count(*) FROM transaction_checks WHERE next_check_at > now()";
        house.until(checked, 1).await;
        let now = house.transaction(&paid.transaction_id).await;
        assert_eq!(now.state(), TransactionState::Unknown, "{fault:?}");
        assert_eq!(house.xpress.books().asked.len(), 1, "{fault:?}");
        house.verify().await;
    }
}

/// Tokens that have run out are renewed, or got by signing in again, before a payout is
/// sent: it is made once.
#[tokio::test]
async fn tokens_that_ran_out_are_renewed() {
    let house = House::start().await;
    let (payee, wallet, account) = house.payee(100_000).await;
    for cannot_renew in [false, true] {
        house.xpress.expire();
        house.xpress.books().cannot_renew = cannot_renew;
        let paid = payee
            .withdraw(payout(&wallet, &account.payout_account_id, 10_000))
            .await
            .expect("enough");
        assert_eq!(paid.state(), TransactionState::Completed);
        assert_eq!(house.xpress.paid(&paid.transaction_id), 1);
    }
    assert_eq!(house.xpress.calls("refresh"), 2);
    assert_eq!(house.xpress.calls("login"), 2);
    assert_eq!(payee.balance(&wallet).await, (80_000, 0));
    house.verify().await;
}

/// The provider's own refusal gives the money back.
#[tokio::test]
async fn a_refusal_releases_the_hold() {
    let house = House::start().await;
    let (payee, wallet, account) = house.payee(100_000).await;
    house.xpress.fault(Fault::Decline);
    let refused = payee
        .withdraw(payout(&wallet, &account.payout_account_id, 10_000))
        .await
        .expect_err("refused");
    let told = told(&refused);
    assert_eq!(told.reason, "PROVIDER_DECLINED");
    assert_eq!(told.decline_code.as_deref(), Some("http_400"));
    assert_eq!(payee.balance(&wallet).await, (100_000, 0));
    house.verify().await;
}

/// What was turned away at the door is sent again, and made once.
#[tokio::test]
async fn what_was_turned_away_is_sent_again() {
    let house = House::start().await;
    let (payee, wallet, account) = house.payee(100_000).await;
    house.xpress.fault(Fault::Busy);
    let paid = payee
        .withdraw(payout(&wallet, &account.payout_account_id, 10_000))
        .await
        .expect("it is recorded");
    assert_eq!(paid.state(), TransactionState::Processing);
    house
        .reaches(&paid.transaction_id, TransactionState::Completed)
        .await;
    assert_eq!(house.xpress.paid(&paid.transaction_id), 1);
    house.verify().await;
}

/// A provider that paid another amount than it was asked for is a person's matter.
#[tokio::test]
async fn another_amount_needs_a_person() {
    let house = House::start().await;
    let (payee, wallet, account) = house.payee(100_000).await;
    house.xpress.fault(Fault::OtherAmount);
    let paid = payee
        .withdraw(payout(&wallet, &account.payout_account_id, 100))
        .await
        .expect("it is recorded");
    assert_eq!(paid.state(), TransactionState::ManualReview);
    assert_eq!(payee.balance(&wallet).await, (99_900, 100));
    house.verify().await;
}

/// An operator who has found out says what became of a lost payout: either end is
/// reached, and nothing is sent.
#[tokio::test]
async fn an_operator_settles_a_lost_payout() {
    for (resolution, ends) in [
        (ReviewResolution::Complete, TransactionState::Completed),
        (ReviewResolution::Fail, TransactionState::Failed),
    ] {
        let house = House::start().await;
        let (paid, _) = lost(&house, Fault::SilentAfter).await;
        let request = ResolveReviewRequest {
            transaction_id: paid.transaction_id.clone(),
            resolution: resolution.into(),
            reason: "the provider's desk says so".to_owned(),
        };
        let token = house.tokens.admin(bursar_aip::id::UserId::generate());
        let mut client = ReviewServiceClient::new(house.service.channel());
        let give_up = std::time::Instant::now() + crate::support::PATIENCE;
        // FAIL is possible once the provider's window has closed.
        while let Err(refused) = client
            .resolve_review(crate::support::calls::keyed(
                with_token(request.clone(), &token),
                &uuid::Uuid::now_v7().to_string(),
            ))
            .await
        {
            assert!(std::time::Instant::now() < give_up, "{refused:?}");
            tokio::time::sleep(crate::support::LOOK_AGAIN).await;
        }
        house.reaches(&paid.transaction_id, ends).await;
        assert_eq!(house.xpress.books().asked.len(), 1);
        house.verify().await;
    }
}

/// A line of a settlement file that says that a lost payout was made ends it as
/// completed; a line of another amount leaves it to a person.
#[tokio::test]
async fn a_settlement_line_ends_a_lost_payout() {
    for (gross_minor, ends) in [
        (-40_050, TransactionState::Completed),
        (-40_051, TransactionState::ManualReview),
    ] {
        let house = House::start().await;
        let (paid, wallet) = lost(&house, Fault::SilentAfter).await;
        let line = FileLine {
            reference: paid.transaction_id.clone(),
            provider_reference: "XPW000000001".to_owned(),
            kind: "payout",
            currency: "NGN",
            gross_minor,
            occurred_at: format!("{DAY}T12:00:00Z"),
        };
        house
            .import_of("providus", &settlement(&[line]), DAY)
            .await
            .expect("the file is whole");
        let ended = house.reaches(&paid.transaction_id, ends).await;
        if ends == TransactionState::Completed {
            assert_eq!(ended.provider_reference, "XPW000000001");
        }
        assert_eq!(
            (ended.from_wallet_id, house.xpress.books().asked.len()),
            (wallet, 1)
        );
        house.verify().await;
    }
}

/// A payout needs an account where its provider pays to accounts, and only there; it
/// must be at that provider, of the amount's currency, the caller's own and not archived.
#[tokio::test]
async fn a_payout_needs_its_account() {
    let house = House::start().await;
    let (payee, wallet, account) = house.payee(100_000).await;
    let (_, _, foreign) = house.payee(1_000).await;
    let named = |provider: &str, account: &str| {
        let mut request = payout(&wallet, account, 10_000);
        request.provider = provider.to_owned();
        request
    };
    let own = account.payout_account_id.as_str();
    let cases = [
        (
            named("providus", ""),
            Code::InvalidArgument,
            "PAYOUT_ACCOUNT_REQUIRED",
        ),
        (
            named("sandbox", own),
            Code::InvalidArgument,
            "PAYOUT_ACCOUNT_MISMATCH",
        ),
        (
            named("acme", own),
            Code::InvalidArgument,
            "PROVIDER_UNKNOWN",
        ),
        (
            named("", &foreign.payout_account_id),
            Code::NotFound,
            "PAYOUT_ACCOUNT_NOT_FOUND",
        ),
    ];
    for (request, code, reason) in cases {
        let refused = payee.withdraw(request).await.expect_err(reason);
        assert_eq!(refusal(&refused), (code, reason.to_owned()));
        let fields = told(&refused).fields;
        let expected: &[&str] = match reason {
            "PAYOUT_ACCOUNT_REQUIRED" | "PAYOUT_ACCOUNT_MISMATCH" => &["payout_account_id"],
            "PROVIDER_UNKNOWN" => &["provider"],
            _ => &[],
        };
        assert_eq!(fields, expected, "{reason}");
    }
    let euros = payee.funded(1_000).await;
    let mut mixed = withdrawal(&euros, 100);
    mixed.provider = String::new();
    mixed.payout_account_id = own.to_owned();
    let mixed = payee.withdraw(mixed).await.expect_err("other money");
    assert_eq!(refusal(&mixed).1, "PAYOUT_ACCOUNT_MISMATCH");
    let mut deposit = crate::support::calls::deposit(&wallet, 100);
    (deposit.provider, deposit.amount) = ("providus".to_owned(), Some(naira(100)));
    let deposit = payee.deposit(deposit).await.expect_err("it only pays out");
    assert_eq!(refusal(&deposit).1, "PROVIDER_UNAVAILABLE");
    house.archive(&payee, own).await;
    let archived = payee.withdraw(named("", own)).await.expect_err("archived");
    assert_eq!(refusal(&archived).1, "PAYOUT_ACCOUNT_NOT_FOUND");
    assert_eq!(house.xpress.books().asked.len(), 0);
    house.verify().await;
}

/// What is under way is paid to its account, also when that is archived meanwhile, and
/// by whoever takes it up.
#[tokio::test]
async fn what_is_under_way_is_paid_all_the_same() {
    let mut house = House::start().await;
    let (payee, wallet, account) = house.payee(100_000).await;
    for _ in 0..3 {
        house.xpress.fault(Fault::Busy);
    }
    let paid = payee
        .withdraw(payout(&wallet, &account.payout_account_id, 10_000))
        .await
        .expect("it is recorded");
    assert_eq!(paid.state(), TransactionState::Processing);
    house.archive(&payee, &account.payout_account_id).await;
    house.mesh.restart_service().await;
    house
        .reaches(&paid.transaction_id, TransactionState::Completed)
        .await;
    assert_eq!(house.xpress.paid(&paid.transaction_id), 1);
    house.verify().await;
}
