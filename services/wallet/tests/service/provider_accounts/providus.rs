//! The `providus` provider against a server of its documented shapes.

use std::sync::Arc;
use std::time::Duration;

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::{
    AccountHolder, ProviderAccount, ProviderAccountFailure, ProviderAccountStatus, Wallet,
};
use bursar_outbound::xpress::XpressSettings;
use bursar_status::StatusExt;
use bursar_testkit::xpress::{EMAIL, Fault, PASSWORD, Xpress};
use bursar_wallet::domain::provider_account::ProviderName;
use bursar_wallet::jobs::provider_accounts as job;
use bursar_wallet::providers::AccountProvider;
use bursar_wallet::providers::providus::{Providus, ProvidusSettings};
use secrecy::SecretString;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::stage::{
    KEY, asked, create, desk, events, holder, let_time_pass, nowhere, recorded, requests, row,
    settled,
};
use crate::support::{Fixture, eventually, reason};

/// A wallet service with the server beside it.
struct House {
    fixture: Fixture,
    xpress: Xpress,
    user: UserId,
    wallet: Wallet,
}

impl House {
    async fn start() -> Self {
        let (xpress, url) = Xpress::start().await;
        let fixture = Fixture::start_with(&[
            ("BURSAR_PROVIDER_ACCOUNTS", "providus"),
            ("BURSAR_KEY_ENCRYPTION_KEY", KEY),
            ("BURSAR_PROVIDUS_URL", &url),
            ("BURSAR_PROVIDUS_EMAIL", EMAIL),
            ("BURSAR_PROVIDUS_PASSWORD", PASSWORD),
            ("BURSAR_PROVIDER_ACCOUNTS_DEADLINE_MS", "500"),
        ])
        .await;
        let user = UserId::generate();
        let wallet = fixture.open(user, "NGN").await;
        Self {
            fixture,
            xpress,
            user,
            wallet,
        }
    }

    /// Asks for an account, and what becomes of it.
    async fn opened(&self) -> ProviderAccount {
        let account = create(&self.fixture, self.user, asked(&self.wallet)).await;
        let id = account.expect("taken").provider_account_id;
        settled(&self.fixture, self.user, &id).await
    }

    /// Asserts that the account is the one that the server has.
    fn is_the_one(&self, account: &ProviderAccount) {
        assert_eq!(account.status(), ProviderAccountStatus::Active);
        assert_eq!(account.account_number, "9900000000");
        assert_eq!(self.xpress.books().customers.len(), 1);
    }
}

fn provider(url: &str) -> Arc<dyn AccountProvider> {
    let settings = ProvidusSettings {
        xpress: XpressSettings {
            url: url.parse().expect("an address"),
            email: EMAIL.to_owned(),
            password: SecretString::from(PASSWORD),
            deadline: Duration::from_secs(5),
        },
        give_up_after: Duration::from_secs(3600),
    };
    Arc::new(Providus::new(settings).expect("a client"))
}

/// An account is opened with all that the provider documents, our reference in
/// the metadata; nothing of it stays in the clear.
#[tokio::test]
async fn an_account_is_opened() {
    let house = House::start().await;
    let account = house.opened().await;
    house.is_the_one(&account);
    assert_eq!(account.account_name, "OBIORAH ADAEZE");
    assert_eq!(
        (account.bank_name.as_str(), account.bank_code.as_str()),
        ("Providus Bank", "101")
    );
    let sent = house.xpress.books().customers[0].clone();
    let expected = json!({
        "bvn": "22212345678", "firstName": "Adaeze", "lastName": "Obiorah",
        "dateOfBirth": "1990-02-28", "phoneNumber": "08031234567",
        "email": "adaeze@example.com", "address": "1 Marina, Lagos",
        "metadata": {
            "reference": account.provider_account_id, "wallet_id": house.wallet.wallet_id,
        },
    });
    assert_eq!(sent, expected);
    assert_eq!(house.xpress.calls("login"), 1);
    let said = holder();
    let personal = [
        "9900000000",
        "OBIORAH",
        &said.bvn,
        &said.phone_number,
        &said.email,
    ];
    nowhere(&house.fixture, &personal).await;
    house.fixture.verify().await;
}

/// Whatever becomes of the answer, the customer who was opened is found by the
/// phone number, and nothing is sent again.
#[tokio::test]
async fn lost_answers_are_found_by_phone() {
    for fault in [Fault::SilentAfter, Fault::ErrorAfter, Fault::Malformed] {
        let house = House::start().await;
        house.xpress.fault(fault);
        let account = house.opened().await;
        house.is_the_one(&account);
        assert_eq!(house.xpress.calls("open"), 1, "{fault:?}");
        assert_eq!(house.xpress.calls("by_phone"), 1, "{fault:?}");
        house.fixture.verify().await;
    }
}

/// A customer without metadata is taken after a lost answer when the e-mail
/// address is the one that was sent.
#[tokio::test]
async fn without_metadata_the_address_decides() {
    let house = House::start().await;
    house.xpress.books().hides_metadata = true;
    house.xpress.fault(Fault::SilentAfter);
    let account = house.opened().await;
    house.is_the_one(&account);
}

/// An error before anything was opened is unknown to us: the request is sent
/// again only after the provider said, after the window, that it has nothing.
#[tokio::test]
async fn errors_are_settled_before_sending_again() {
    let house = House::start().await;
    house.xpress.fault(Fault::ErrorBefore);
    let account = create(&house.fixture, house.user, asked(&house.wallet)).await;
    let id = account.expect("taken").provider_account_id;
    eventually("the provider was asked about it", async || {
        house.xpress.calls("by_phone") >= 1
    })
    .await;
    assert_eq!(house.xpress.calls("open"), 1, "the window is open");
    eventually("it is sent again after the window", async || {
        let_time_pass(&house.fixture, &id).await;
        house.xpress.calls("open") == 2
    })
    .await;
    let account = settled(&house.fixture, house.user, &id).await;
    house.is_the_one(&account);
    assert_eq!(requests(&house.fixture, &id).await, 2);
}

/// A decline is final, and tells no more than its code.
#[tokio::test]
async fn a_decline_is_final() {
    let house = House::start().await;
    house.xpress.fault(Fault::Decline);
    let account = house.opened().await;
    assert_eq!(account.status(), ProviderAccountStatus::Failed);
    assert_eq!(account.failure(), ProviderAccountFailure::Declined);
    assert_eq!(account.decline_code, "http_400");
    assert_eq!(house.xpress.calls("open"), 1);
    let kinds = events(&house.fixture, &house.wallet).await;
    assert_eq!(kinds, ["wallet.created", "wallet.provider_account.failed"]);
    assert!(house.xpress.books().customers.is_empty());
}

/// Somebody else's account is not taken, although its phone number and address
/// are the ones that are said: neither of another wallet's, nor of a customer
/// without metadata.
#[tokio::test]
async fn anothers_account_is_not_taken() {
    for hides_metadata in [false, true] {
        let house = House::start().await;
        house.xpress.books().hides_metadata = hides_metadata;
        let account = house.opened().await;
        house.is_the_one(&account);
        let thief = UserId::generate();
        let wallet = house.fixture.open(thief, "NGN").await;
        let stolen = create(&house.fixture, thief, asked(&wallet)).await;
        let id = stolen.expect("taken").provider_account_id;
        let stolen = settled(&house.fixture, thief, &id).await;
        assert_eq!(stolen.status(), ProviderAccountStatus::Failed);
        assert_eq!(stolen.failure(), ProviderAccountFailure::AlreadyRegistered);
        assert_eq!(stolen.account_number, "");
        assert!(row(&house.fixture, &id).await["holder_sealed"].is_null());
    }
}

/// Even after a lost answer an account number never belongs to two wallets.
#[tokio::test]
async fn a_number_belongs_to_one_wallet() {
    let house = House::start().await;
    house.xpress.books().hides_metadata = true;
    let account = house.opened().await;
    house.is_the_one(&account);
    let thief = UserId::generate();
    let wallet = house.fixture.open(thief, "NGN").await;
    house.xpress.fault(Fault::ErrorBefore);
    let stolen = create(&house.fixture, thief, asked(&wallet)).await;
    let id = stolen.expect("taken").provider_account_id;
    let stolen = settled(&house.fixture, thief, &id).await;
    assert_eq!(stolen.failure(), ProviderAccountFailure::AlreadyRegistered);
    house.fixture.verify().await;
}

/// Tokens that ran out are renewed, by signing in again where that is refused,
/// and the request is sent once more.
#[tokio::test]
async fn tokens_are_renewed() {
    for cannot_renew in [false, true] {
        let house = House::start().await;
        let first = house.opened().await;
        house.is_the_one(&first);
        house.xpress.expire();
        house.xpress.books().cannot_renew = cannot_renew;
        let other = UserId::generate();
        let wallet = house.fixture.open(other, "NGN").await;
        let mut request = asked(&wallet);
        let said = request.account_holder.as_mut().expect("there");
        said.phone_number = "08039999999".to_owned();
        let account = create(&house.fixture, other, request).await.expect("taken");
        let account = settled(&house.fixture, other, &account.provider_account_id).await;
        assert_eq!(account.account_number, "9900000001");
        assert_eq!(house.xpress.calls("refresh"), 1);
        let logins = 1 + u32::from(cannot_renew);
        assert_eq!(house.xpress.calls("login"), logins);
        assert_eq!(house.xpress.calls("open"), 3, "one was refused at the door");
        assert_eq!(
            requests(&house.fixture, &account.provider_account_id).await,
            1
        );
    }
}

/// Two replicas that work on the same accounts at once send each of them once,
/// and each signs in once for all its calls.
#[tokio::test]
async fn two_replicas_send_each_account_once() {
    const ACCOUNTS: usize = 16;
    let (xpress, url) = Xpress::start().await;
    let fixture = Fixture::start_with(&[("BURSAR_KEY_ENCRYPTION_KEY", KEY)]).await;
    for number in 0..ACCOUNTS {
        let wallet = fixture.open(UserId::generate(), "NGN").await;
        let phone = format!("0803{number:07}");
        recorded(&fixture, &wallet, ProviderName::Providus, &phone).await;
    }
    let shutdown = CancellationToken::new();
    let replicas: Vec<_> = (0..2)
        .map(|_| tokio::spawn(job::run(desk(&fixture, provider(&url)), shutdown.clone())))
        .collect();
    eventually("all are open", async || {
        let active: i64 =
            sqlx::query_scalar("SELECT count(*) FROM provider_accounts WHERE status = 'active'")
                .fetch_one(&fixture.database.pool)
                .await
                .expect("counted");
        active == ACCOUNTS as i64
    })
    .await;
    shutdown.cancel();
    for replica in replicas {
        replica.await.expect("no panic").expect("it ends");
    }
    assert_eq!(xpress.calls("open") as usize, ACCOUNTS);
    assert_eq!(xpress.calls("by_phone"), 0);
    assert!(xpress.calls("login") <= 2, "one sign-in a replica");
    assert_eq!(xpress.books().customers.len(), ACCOUNTS);
    fixture.verify().await;
}

/// What the provider needs of a holder is named, and its one currency is kept to.
#[tokio::test]
async fn what_the_provider_needs_is_named() {
    let house = House::start().await;
    let mut request = asked(&house.wallet);
    request.account_holder = Some(AccountHolder {
        email: String::new(),
        date_of_birth: String::new(),
        address: String::new(),
        bvn: String::new(),
        ..holder()
    });
    let refused = create(&house.fixture, house.user, request).await;
    let refused = refused.expect_err("incomplete");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let details = refused.get_error_details();
    let bad = details.bad_request().expect("the fields are named");
    let fields: Vec<&str> = bad
        .field_violations
        .iter()
        .map(|violation| violation.field.as_str())
        .collect();
    let named = ["email", "date_of_birth", "address", "bvn"];
    assert_eq!(fields, named.map(|name| format!("account_holder.{name}")));
    let euros = house.fixture.open(house.user, "EUR").await;
    let refused = create(&house.fixture, house.user, asked(&euros)).await;
    let refused = refused.expect_err("naira only");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason(&refused), "PROVIDER_CURRENCY_UNSUPPORTED");
    assert_eq!(house.xpress.calls("open"), 0);
}
