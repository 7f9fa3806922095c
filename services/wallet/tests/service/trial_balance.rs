//! The trial balance.

use bursar_aip::id::{HoldId, UserId};
use bursar_contracts::wallet::v1::{
    AccountClass, BatchMode, GetTrialBalanceRequest, PostingKind, RejectionReason, TrialBalance,
    TrialBalanceLine,
};
use bursar_testkit::with_token;
use sqlx::AssertSqlSafe;
use tonic::Code;

use crate::bookkeeper::Bookkeeper;
use crate::random_books::{Deed, Teller, When};
use crate::support::{
    Fixture, applied, deposit, leg, liquidity, place, posting, reason, rejected, transfer,
};

async fn trial_balances(books: &Bookkeeper, currency: &str) -> Vec<TrialBalance> {
    let request = GetTrialBalanceRequest {
        currency_code: currency.to_owned(),
    };
    let mut client = books.projections.clone();
    let answer = client.get_trial_balance(books.call(request)).await;
    let answer = answer.expect("trial balances").into_inner();
    assert!(answer.read_at.is_some());
    answer.trial_balances
}

fn line(account: AccountClass, wallets: i64, debit: i64, credit: i64) -> TrialBalanceLine {
    TrialBalanceLine {
        account: account.into(),
        wallets,
        debit_minor: debit,
        credit_minor: credit,
    }
}

/// Every class of accounts is in its column, currency by currency, and both
/// columns are equal.
#[tokio::test]
async fn the_columns_are_equal() {
    let fixture = Fixture::start().await;
    let books = Bookkeeper::of(&fixture);
    let alice = fixture.funded("EUR", 500).await;
    let bob = fixture.funded("EUR", 1).await;
    fixture.funded("USD", 30).await;
    let mut ledger = fixture.ledger();
    applied(&ledger.post_one(transfer(&alice, &bob, 120)).await);
    applied(&ledger.post_one(place(HoldId::generate(), &alice, 80)).await);
    let eur = TrialBalance {
        currency_code: "EUR".to_owned(),
        lines: vec![
            line(AccountClass::UsersAvailable, 2, 0, 421),
            line(AccountClass::UsersHeld, 2, 0, 80),
            line(AccountClass::UsersBonus, 2, 0, 0),
            line(AccountClass::Settlement, 1, 501, 0),
        ],
        debit_minor: 501,
        credit_minor: 501,
        balanced: true,
    };
    let all = trial_balances(&books, "").await;
    assert_eq!(all[0], eur);
    assert_eq!(all[1].currency_code, "USD");
    assert_eq!((all[1].debit_minor, all[1].credit_minor), (30, 30));
    assert_eq!(all.len(), 2);
    assert_eq!(trial_balances(&books, "EUR").await, [eur]);
    assert_eq!(trial_balances(&books, "GBP").await, []);
}

/// An exchange is one posting with a balanced pair in each currency, and the
/// platform's liquidity shows what it has taken and given.
#[tokio::test]
async fn an_exchange_balances_in_both_currencies() {
    let fixture = Fixture::start().await;
    let books = Bookkeeper::of(&fixture);
    let alice = fixture.funded("EUR", 500).await;
    let bob = fixture.open(UserId::generate(), "USD").await;
    let mut ledger = fixture.ledger();
    let exchange = |taken: i64, given: i64| {
        let legs = vec![
            leg(&alice, -100),
            liquidity("EUR", taken),
            liquidity("USD", -given),
            leg(&bob, 108),
        ];
        posting(PostingKind::Transfer, legs)
    };
    applied(&ledger.post_one(exchange(100, 108)).await);
    // The sum over both currencies is no balance.
    let crossed = ledger.post_one(exchange(101, 109)).await;
    assert_eq!(rejected(&crossed).0, RejectionReason::Unbalanced);
    let all = trial_balances(&books, "").await;
    assert!(
        all[0]
            .lines
            .contains(&line(AccountClass::Liquidity, 1, 0, 100))
    );
    assert!(
        all[1]
            .lines
            .contains(&line(AccountClass::Liquidity, 1, 108, 0))
    );
    assert!(all.iter().all(|balance| balance.balanced));
}

/// Whatever is posted meanwhile, each reading is of one moment and balances.
#[tokio::test]
async fn it_balances_beside_postings() {
    let fixture = Fixture::start().await;
    let books = Bookkeeper::of(&fixture);
    let wallet = fixture.open(UserId::generate(), "EUR").await;
    let posting = async {
        let mut ledger = fixture.ledger();
        let mut teller = Teller::start(&fixture).await;
        for round in 1..40 {
            let batch = (0..10).map(|_| deposit(&wallet, round)).collect();
            ledger.post(batch, BatchMode::Independent).await;
            let deeds = [
                (Deed::Deposit(round), When::Now),
                (Deed::Place(round), When::Now),
            ];
            teller.tell(&deeds).await;
        }
    };
    let reading = async {
        for _ in 0..40 {
            for balance in trial_balances(&books, "").await {
                assert!(balance.balanced, "{balance:?}");
                assert_eq!(balance.debit_minor, balance.credit_minor);
            }
        }
    };
    tokio::join!(posting, reading);
}

/// Books that do not balance are told, and only those who may read reports.
#[tokio::test]
async fn what_does_not_balance_is_told() {
    let fixture = Fixture::start().await;
    let books = Bookkeeper::of(&fixture);
    fixture.funded("EUR", 500).await;
    let superuser = fixture.database.superuser().await;
    let statement = "UPDATE wallets SET available = available - 1 WHERE owner_user_id IS NOT NULL";
    sqlx::query(AssertSqlSafe(statement))
        .execute(&superuser)
        .await
        .expect("a superuser may");
    superuser.close().await;
    let balances = trial_balances(&books, "EUR").await;
    assert!(!balances[0].balanced);
    assert_eq!(
        (balances[0].debit_minor, balances[0].credit_minor),
        (500, 499)
    );
    let mut client = books.projections.clone();
    for token in [
        fixture.tokens.user(UserId::generate()),
        fixture.tokens.service("transaction"),
    ] {
        let request = with_token(GetTrialBalanceRequest::default(), &token);
        let denied = client
            .get_trial_balance(request)
            .await
            .expect_err("not theirs");
        assert_eq!(denied.code(), Code::PermissionDenied);
    }
    let request = books.call(GetTrialBalanceRequest {
        currency_code: "XXQ".to_owned(),
    });
    let refused = client
        .get_trial_balance(request)
        .await
        .expect_err("none such");
    assert_eq!(reason(&refused), "CURRENCY_UNSUPPORTED");
}
