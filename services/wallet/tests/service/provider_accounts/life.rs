//! The RPCs of provider accounts, with the sandbox provider.

use bursar_aip::id::{ProviderAccountId, UserId, WalletId};
use bursar_contracts::wallet::v1::{
    AccountHolder, CreateProviderAccountRequest, ListProviderAccountsRequest,
    ProviderAccountFailure, ProviderAccountStatus,
};
use bursar_status::StatusExt;
use bursar_testkit::with_token;
use tonic::{Code, Status};

use super::stage::{
    SandboxHouse, asked, client, create, events, get, holder, keyed, nowhere, requests, row,
    settled,
};
use crate::support::{Fixture, reason};

/// The fields that an error names.
fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let bad = details.bad_request().expect("the fields are named");
    bad.field_violations
        .iter()
        .map(|violation| violation.field.clone())
        .collect()
}

/// An account is pending at first and active in the end, with its number; the
/// event tells of it; who holds it is forgotten, and nothing personal is in the
/// database in the clear.
#[tokio::test]
async fn an_account_is_opened() {
    let house = SandboxHouse::start().await;
    let fixture = Fixture::start_with(&house.settings()).await;
    let user = UserId::generate();
    let wallet = fixture.open(user, "EUR").await;
    let first = create(&fixture, user, asked(&wallet)).await.expect("taken");
    assert_eq!(first.status(), ProviderAccountStatus::Pending);
    assert_eq!(
        (first.provider.as_str(), first.account_number.as_str()),
        ("sandbox", "")
    );
    assert_eq!(first.finished_at, None);
    let account = settled(&fixture, user, &first.provider_account_id).await;
    assert_eq!(account.status(), ProviderAccountStatus::Active);
    assert_eq!(account.account_number.len(), 10);
    assert_eq!(account.account_name, "Adaeze Obiorah");
    assert_eq!(account.bank_name, "Sandbox Bank");
    assert_eq!(account.bank_code, "999001");
    assert_eq!(account.currency_code, "EUR");
    assert_eq!(account.wallet_id, wallet.wallet_id);
    assert!(account.finished_at.is_some());
    let stored = row(&fixture, &account.provider_account_id).await;
    assert!(stored["holder_sealed"].is_null(), "the holder is forgotten");
    let kinds = events(&fixture, &wallet).await;
    assert_eq!(kinds, ["wallet.created", "wallet.provider_account.opened"]);
    let said = holder();
    nowhere(
        &fixture,
        &[
            &account.account_number,
            &said.last_name,
            &said.phone_number,
            &said.email,
            &said.bvn,
        ],
    )
    .await;
    fixture.verify().await;
}

/// A key asks for one account, and every repetition gets the first answer,
/// also after the account was opened; another body is refused.
#[tokio::test]
async fn a_key_asks_for_one_account() {
    let house = SandboxHouse::start().await;
    let fixture = Fixture::start_with(&house.settings()).await;
    let user = UserId::generate();
    let token = fixture.tokens.user(user);
    let wallet = fixture.open(user, "EUR").await;
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let mut client = client(&fixture);
            let request = keyed(asked(&wallet), &token, "k1");
            tokio::spawn(async move { client.create_provider_account(request).await })
        })
        .collect();
    let mut answers = Vec::new();
    for call in calls {
        let answer = call.await.expect("no panic").expect("answered");
        answers.push(answer.into_inner());
    }
    let first = answers[0].provider_account.clone().expect("an account");
    settled(&fixture, user, &first.provider_account_id).await;
    let again = client(&fixture)
        .create_provider_account(keyed(asked(&wallet), &token, "k1"))
        .await
        .expect("replayed");
    assert!(again.metadata().contains_key("idempotency-replayed"));
    answers.push(again.into_inner());
    answers.dedup();
    assert_eq!(answers.len(), 1, "one answer for all");
    assert_eq!(house.accounts().await, 1);
    let mut other = asked(&wallet);
    other.account_holder = Some(AccountHolder {
        first_name: "Another".to_owned(),
        ..holder()
    });
    let other = client(&fixture)
        .create_provider_account(keyed(other, &token, "k1"))
        .await
        .expect_err("another body");
    assert_eq!(reason(&other), "IDEMPOTENCY_KEY_REUSED");
}

/// A wallet has one account at a provider, however many are asked for at once;
/// the refusal says which.
#[tokio::test]
async fn a_wallet_has_one_account() {
    let house = SandboxHouse::start().await;
    let fixture = Fixture::start_with(&house.settings()).await;
    let user = UserId::generate();
    let token = fixture.tokens.user(user);
    let wallet = fixture.open(user, "EUR").await;
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let mut client = client(&fixture);
            let request = with_token(asked(&wallet), &token);
            tokio::spawn(async move { client.create_provider_account(request).await })
        })
        .collect();
    let mut taken = Vec::new();
    let mut refused = Vec::new();
    for call in calls {
        match call.await.expect("no panic") {
            Ok(response) => taken.push(response.into_inner().provider_account.expect("one")),
            Err(status) => refused.push(status),
        }
    }
    assert_eq!((taken.len(), refused.len()), (1, 7));
    for status in &refused {
        assert_eq!(status.code(), Code::AlreadyExists);
        let details = status.get_error_details();
        let info = details.error_info().expect("set");
        assert_eq!(info.reason, "PROVIDER_ACCOUNT_EXISTS");
        let existing = &info.metadata["provider_account_id"];
        assert_eq!(existing, &taken[0].provider_account_id);
    }
    settled(&fixture, user, &taken[0].provider_account_id).await;
    let again = create(&fixture, user, asked(&wallet)).await;
    assert_eq!(
        reason(&again.expect_err("it has one")),
        "PROVIDER_ACCOUNT_EXISTS"
    );
    assert_eq!(house.accounts().await, 1);
}

/// Another user's wallets and accounts are not there: for asking, reading and
/// listing alike.
#[tokio::test]
async fn accounts_are_their_owners() {
    let house = SandboxHouse::start().await;
    let fixture = Fixture::start_with(&house.settings()).await;
    let (owner, stranger) = (UserId::generate(), UserId::generate());
    let wallet = fixture.open(owner, "EUR").await;
    let account = create(&fixture, owner, asked(&wallet))
        .await
        .expect("taken");
    let refused = create(&fixture, stranger, asked(&wallet)).await;
    let refused = refused.expect_err("not the stranger's");
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::NotFound, "WALLET_NOT_FOUND")
    );
    let refused = get(&fixture, stranger, &account.provider_account_id).await;
    let refused = refused.expect_err("not the stranger's");
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::NotFound, "PROVIDER_ACCOUNT_NOT_FOUND")
    );
    let unknown = ProviderAccountId::generate().to_string();
    let same = get(&fixture, stranger, &unknown).await.expect_err("none");
    assert_eq!(same.message(), refused.message());
    let list = ListProviderAccountsRequest {
        wallet_id: wallet.wallet_id.clone(),
        ..ListProviderAccountsRequest::default()
    };
    let refused = client(&fixture)
        .list_provider_accounts(with_token(list, &fixture.tokens.user(stranger)))
        .await
        .expect_err("not the stranger's");
    assert_eq!(reason(&refused), "WALLET_NOT_FOUND");
    let mut nowhere = asked(&wallet);
    nowhere.wallet_id = WalletId::generate().to_string();
    let refused = create(&fixture, owner, nowhere).await.expect_err("none");
    assert_eq!(reason(&refused), "WALLET_NOT_FOUND");
}

/// Frozen and closed wallets get no account.
#[tokio::test]
async fn only_active_wallets_get_one() {
    let house = SandboxHouse::start().await;
    let fixture = Fixture::start_with(&house.settings()).await;
    let user = UserId::generate();
    for (status, expected) in [("frozen", "WALLET_FROZEN"), ("closed", "WALLET_CLOSED")] {
        let wallet = fixture.open(user, "EUR").await;
        fixture.set_status(&wallet, status).await;
        let refused = create(&fixture, user, asked(&wallet)).await;
        let refused = refused.expect_err("not active");
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(reason(&refused), expected);
    }
    assert_eq!(house.accounts().await, 0);
}

/// What is wrong about a holder is named by its field.
#[tokio::test]
async fn wrong_fields_are_named() {
    let house = SandboxHouse::start().await;
    let fixture = Fixture::start_with(&house.settings()).await;
    let user = UserId::generate();
    let wallet = fixture.open(user, "EUR").await;
    let with = |change: fn(&mut AccountHolder)| {
        let mut request = asked(&wallet);
        change(request.account_holder.as_mut().expect("there"));
        request
    };
    let none = CreateProviderAccountRequest {
        account_holder: None,
        ..asked(&wallet)
    };
    for (request, field) in [
        (none, "account_holder"),
        (with(|h| h.first_name.clear()), "account_holder.first_name"),
        (
            with(|h| h.phone_number = "0803-1".into()),
            "account_holder.phone_number",
        ),
        (with(|h| h.email = "adaeze".into()), "account_holder.email"),
        (with(|h| h.bvn = "123".into()), "account_holder.bvn"),
        (
            with(|h| h.date_of_birth = "1990-2-1".into()),
            "account_holder.date_of_birth",
        ),
        (
            with(|h| h.date_of_birth = "1990-02-30".into()),
            "account_holder.date_of_birth",
        ),
        (
            with(|h| h.date_of_birth = "2999-01-01".into()),
            "account_holder.date_of_birth",
        ),
    ] {
        let refused = create(&fixture, user, request).await.expect_err(field);
        assert_eq!(refused.code(), Code::InvalidArgument, "{field}");
        assert_eq!(fields(&refused), [field]);
        assert_eq!(reason(&refused), "INVALID_FIELD");
        assert!(
            !refused.message().contains("adaeze"),
            "values are not repeated"
        );
    }
}

/// The sandbox needs no more than names and a phone number.
#[tokio::test]
async fn the_sandbox_needs_little() {
    let house = SandboxHouse::start().await;
    let fixture = Fixture::start_with(&house.settings()).await;
    let user = UserId::generate();
    let wallet = fixture.open(user, "JPY").await;
    let request = CreateProviderAccountRequest {
        wallet_id: wallet.wallet_id.clone(),
        account_holder: Some(AccountHolder {
            first_name: "Jo".to_owned(),
            last_name: "Li".to_owned(),
            phone_number: "+4930123456".to_owned(),
            ..AccountHolder::default()
        }),
    };
    let account = create(&fixture, user, request).await.expect("taken");
    let account = settled(&fixture, user, &account.provider_account_id).await;
    assert_eq!(account.status(), ProviderAccountStatus::Active);
}

/// A declined account has failed with the provider's code, and another one may
/// be asked for; the list has both, newest first, a page at a time.
#[tokio::test]
async fn declined_accounts_have_failed() {
    let house = SandboxHouse::start().await;
    let fixture = Fixture::start_with(&house.settings()).await;
    let user = UserId::generate();
    let wallet = fixture.open(user, "EUR").await;
    house.fault("account", "decline", 0).await;
    let declined = create(&fixture, user, asked(&wallet)).await.expect("taken");
    let declined = settled(&fixture, user, &declined.provider_account_id).await;
    assert_eq!(declined.status(), ProviderAccountStatus::Failed);
    assert_eq!(declined.failure(), ProviderAccountFailure::Declined);
    assert_eq!(declined.decline_code, "holder_unknown");
    assert_eq!(declined.account_number, "");
    let stored = row(&fixture, &declined.provider_account_id).await;
    assert!(stored["holder_sealed"].is_null(), "the holder is forgotten");
    let kinds = events(&fixture, &wallet).await;
    assert_eq!(kinds, ["wallet.created", "wallet.provider_account.failed"]);
    let second = create(&fixture, user, asked(&wallet)).await.expect("taken");
    let second = settled(&fixture, user, &second.provider_account_id).await;
    assert_eq!(second.status(), ProviderAccountStatus::Active);
    assert_eq!(requests(&fixture, &second.provider_account_id).await, 1);
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = ListProviderAccountsRequest {
            wallet_id: wallet.wallet_id.clone(),
            page_size: 1,
            page_token,
        };
        let page = client(&fixture)
            .list_provider_accounts(with_token(page, &fixture.tokens.user(user)))
            .await
            .expect("listed")
            .into_inner();
        listed.extend(page.provider_accounts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, [second, declined]);
    fixture.verify().await;
}
