//! Registering where one is paid out.

use bursar_contracts::transaction::v1::{
    DeletePayoutAccountRequest, ListPayoutAccountsRequest, PayoutAccount, PayoutAccountArchived,
    PayoutAccountRegistered, TransactionState,
};
use bursar_testkit::with_token;
use bursar_testkit::xpress::{BANK, Fault};
use prost::Message;
use tonic::Code;

use super::house::{House, NUMBER, payout, request};
use crate::support::calls::{is_replayed, refusal, told};
use crate::support::person::Person;

impl House {
    pub(super) async fn archive(&self, person: &Person<'_>, id: &str) -> PayoutAccount {
        let request = person.request(DeletePayoutAccountRequest {
            payout_account_id: id.to_owned(),
        });
        let response = self.accounts().delete_payout_account(request).await;
        let account = response.expect("it is hers").into_inner().payout_account;
        account.expect("a response has its account")
    }

    async fn listed(&self, token: &str) -> Vec<PayoutAccount> {
        let mut listed = Vec::new();
        let mut page_token = String::new();
        loop {
            let message = ListPayoutAccountsRequest {
                page_size: 2,
                page_token,
            };
            let response = self
                .accounts()
                .list_payout_accounts(with_token(message, token))
                .await;
            let page = response.expect("a page").into_inner();
            listed.extend(page.payout_accounts);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return listed;
            }
        }
    }

    /// All that a dump of the transaction database shows.
    async fn dump(&self) -> String {
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT quote_ident(table_schema) || '.' || quote_ident(table_name)
             FROM information_schema.tables
             WHERE table_type = 'BASE TABLE'
               AND table_schema NOT IN ('pg_catalog', 'information_schema')",
        )
        .fetch_all(&self.database.owner)
        .await
        .expect("the tables");
        assert!(tables.len() > 10, "{tables:?}");
        let mut dump = String::new();
        for table in tables {
            let sql = format!(
                "SELECT coalesce(string_agg(row_to_json(rows)::text, E'\\n'), '') FROM {table} AS rows"
            );
            let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                .fetch_one(&self.database.owner)
                .await
                .expect("the rows");
            dump.push_str(&rows);
        }
        dump
    }
}

/// An account is registered with the name that the bank gave; its number is masked, and
/// it can be seen, listed and archived by its owner.
#[tokio::test]
async fn an_account_is_registered() {
    let house = House::start().await;
    let alice = house.person();
    let account = house.registered(&alice).await;
    assert!(account.payout_account_id.starts_with("poa_"));
    assert_eq!(account.user_id, alice.id.to_string());
    assert_eq!(account.account_name, "OBIORAH ADAEZE");
    assert_eq!(account.account_number_last4, "1242");
    assert_eq!(account.archived_at, None);
    let id = account.payout_account_id.clone();
    assert_eq!(house.seen(&alice, &id).await.expect("hers"), account);
    let second = house.registered(&alice).await;
    let third = house.registered(&alice).await;
    let expected = [third, second, account.clone()];
    assert_eq!(house.listed(&alice.token).await, expected);
    let archived = house.archive(&alice, &id).await;
    assert!(archived.archived_at.is_some());
    assert_eq!(house.archive(&alice, &id).await, archived, "once");
    assert_eq!(house.seen(&alice, &id).await.expect("hers"), archived);
    assert_eq!(house.listed(&alice.token).await, expected[..2]);
}

/// Nobody sees, archives or is paid to another user's account; operators may look.
#[tokio::test]
async fn accounts_are_their_owners() {
    let house = House::start().await;
    let (alice, bob) = (house.person(), house.person());
    let account = house.registered(&alice).await;
    let id = account.payout_account_id.clone();
    let not_found = (Code::NotFound, "PAYOUT_ACCOUNT_NOT_FOUND".to_owned());
    let seen = house.seen(&bob, &id).await.expect_err("alice's");
    assert_eq!(refusal(&seen), not_found);
    let archiving = bob.request(DeletePayoutAccountRequest {
        payout_account_id: id.clone(),
    });
    let archived = house.accounts().delete_payout_account(archiving).await;
    assert_eq!(refusal(&archived.expect_err("alice's")), not_found);
    assert_eq!(house.listed(&bob.token).await, []);
    let wallet = bob.wallet_in("NGN").await;
    let paid = bob.withdraw(payout(&wallet, &id, 100)).await;
    assert_eq!(refusal(&paid.expect_err("alice's")), not_found);
    let operator = house.tokens.admin(bob.id);
    assert_eq!(house.listed(&operator).await, [account]);
}

/// What cannot be registered is refused, and nothing is left of it: an account that the
/// bank does not know, another provider or currency, and one too many. A bank that says
/// nothing is asked again with the same key.
#[tokio::test]
async fn impossible_accounts_are_refused() {
    let house = House::start().await;
    let alice = house.person();
    let with = |change: fn(&mut _)| {
        let mut message = request(NUMBER);
        change(&mut message);
        message
    };
    type Message = bursar_contracts::transaction::v1::CreatePayoutAccountRequest;
    let cases: [(Message, Code, &str); 5] = [
        (
            with(|message: &mut Message| message.sort_code = "000999".to_owned()),
            Code::FailedPrecondition,
            "BANK_ACCOUNT_NOT_FOUND",
        ),
        (
            with(|message: &mut Message| message.provider = "acme".to_owned()),
            Code::InvalidArgument,
            "PROVIDER_UNKNOWN",
        ),
        (
            with(|message: &mut Message| message.provider = "sandbox".to_owned()),
            Code::InvalidArgument,
            "PAYOUT_ACCOUNT_MISMATCH",
        ),
        (
            with(|message: &mut Message| message.currency_code = "EUR".to_owned()),
            Code::InvalidArgument,
            "PAYOUT_ACCOUNT_MISMATCH",
        ),
        (
            with(|message: &mut Message| message.currency_code = "XQQ".to_owned()),
            Code::InvalidArgument,
            "CURRENCY_UNSUPPORTED",
        ),
    ];
    for (message, code, reason) in cases {
        let refused = house.register(&alice, message, "k").await;
        assert_eq!(
            refusal(&refused.expect_err(reason)),
            (code, reason.to_owned())
        );
    }
    house.xpress.books().enquiries_fail = true;
    let silent = house.register(&alice, request(NUMBER), "k").await;
    let silent = told(&silent.expect_err("no answer"));
    assert_eq!(
        (silent.code, &*silent.reason),
        (Code::Unavailable, "PROVIDER_UNAVAILABLE")
    );
    assert!(silent.retries);
    assert_eq!(house.listed(&alice.token).await, []);
    house.xpress.books().enquiries_fail = false;
    for number in 0..20 {
        let key = format!("k{number}");
        house
            .register(&alice, request(NUMBER), &key)
            .await
            .expect("room");
    }
    let asked = house.xpress.calls("details");
    let one_more = house.register(&alice, request(NUMBER), "k").await;
    assert_eq!(
        refusal(&one_more.expect_err("no room")),
        (
            Code::ResourceExhausted,
            "PAYOUT_ACCOUNTS_EXCEEDED".to_owned()
        )
    );
    assert_eq!(
        house.xpress.calls("details"),
        asked,
        "the bank is not asked"
    );
}

/// The same key registers once and answers the same, its number and name included; with
/// another number it is a key that was used before, although the number is no part of
/// what is kept of the request.
#[tokio::test]
async fn a_key_registers_once() {
    let house = House::start().await;
    let alice = house.person();
    let first = house
        .register(&alice, request(NUMBER), "k")
        .await
        .expect("known");
    assert!(!is_replayed(first.metadata()));
    let again = house
        .register(&alice, request(NUMBER), "k")
        .await
        .expect("as before");
    assert!(is_replayed(again.metadata()));
    let account = first.into_inner().payout_account.expect("set");
    assert_eq!(again.into_inner().payout_account.as_ref(), Some(&account));
    let other = house.register(&alice, request("0167421243"), "k").await;
    assert_eq!(
        refusal(&other.expect_err("another number")),
        (Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED".to_owned())
    );
    assert_eq!(house.xpress.calls("details"), 1, "the bank was asked once");
    // Many at once are one.
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mut client = house.accounts();
        let call = alice.request_with(request(NUMBER), "together");
        calls.spawn(async move { client.create_payout_account(call).await });
    }
    let mut ids = std::collections::BTreeSet::new();
    while let Some(call) = calls.join_next().await {
        match call.expect("no call panics") {
            Ok(response) => {
                let account = response.into_inner().payout_account.expect("set");
                ids.insert(account.payout_account_id);
            }
            Err(status) => assert_eq!(status.code(), Code::Aborted, "{status:?}"),
        }
    }
    assert_eq!(ids.len(), 1);
    assert_eq!(house.listed(&alice.token).await.len(), 2);
}

/// Neither the database nor its events show the number or the name of an account, also
/// after payouts to it that ended in every way.
#[tokio::test]
async fn a_dump_shows_no_account() {
    let house = House::start().await;
    let (payee, wallet, account) = house.payee(100_000).await;
    let to_account = || payout(&wallet, &account.payout_account_id, 1_000);
    let paid = payee.withdraw(to_account()).await.expect("enough");
    assert_eq!(paid.state(), TransactionState::Completed);
    house.xpress.fault(Fault::Decline);
    let refused = payee.withdraw(to_account()).await.expect_err("refused");
    assert_eq!(told(&refused).reason, "PROVIDER_DECLINED");
    house.xpress.fault(Fault::SilentAfter);
    let lost = payee.withdraw(to_account()).await.expect("it is recorded");
    assert_eq!(lost.state(), TransactionState::Unknown);
    let dump = house.dump().await;
    assert!(dump.contains(&account.sort_code), "the dump shows the rows");
    for (what, text) in [("number", NUMBER), ("name", "OBIORAH")] {
        assert!(!dump.contains(text), "the {what} is in the clear");
        let in_hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(
            !dump.contains(&in_hex),
            "the {what} is in the clear, in bytes"
        );
    }
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM payout_accounts")
        .fetch_one(&house.database.pool)
        .await
        .expect("the application may read");
    assert_eq!(kept, 1);
    for sql in [
        "UPDATE payout_accounts SET sealed = ''",
        "UPDATE payout_accounts SET user_id = gen_random_uuid()",
        "DELETE FROM payout_accounts",
    ] {
        let denied = sqlx::query(sql).execute(&house.database.pool).await;
        let denied = denied.expect_err("the application may not");
        let code = denied.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("42501"), "{sql}: {denied}");
    }
}

/// Registering and archiving an account are an event each, which tells who did what and
/// nothing personal; neither the same key nor archiving once more adds another.
#[tokio::test]
async fn each_change_of_an_account_is_one_event() {
    let house = House::start().await;
    let alice = house.person();
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let registered = house.register(&alice, request(NUMBER), "k").await;
        let account = registered.expect("known").into_inner().payout_account;
        ids.insert(account.expect("set").payout_account_id);
    }
    let id = ids.pop_first().expect("it is registered");
    assert_eq!(ids.len(), 0);
    let archiving = futures::future::join_all((0..4).map(|_| house.archive(&alice, &id))).await;
    assert!(archiving.iter().all(|account| *account == archiving[0]));
    type Row = (String, i64, String, String, Vec<u8>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT kind, version, subject, actor, data FROM events
         WHERE aggregate_kind = 'payout_account' ORDER BY version",
    )
    .fetch_all(&house.database.pool)
    .await
    .expect("events are read");
    let user_id = alice.id.to_string();
    let registered = PayoutAccountRegistered {
        user_id: user_id.clone(),
        provider: "providus".to_owned(),
        currency_code: "NGN".to_owned(),
        sort_code: BANK.to_owned(),
    };
    let archived = PayoutAccountArchived {
        user_id: user_id.clone(),
    };
    let row = |kind: &str, version, data| {
        let kind = format!("transaction.payout_account.{kind}");
        (kind, version, id.clone(), user_id.clone(), data)
    };
    let expected = [
        row("registered", 1, registered.encode_to_vec()),
        row("archived", 2, archived.encode_to_vec()),
    ];
    assert_eq!(rows, expected);
    house.verify().await;
}

/// What is sealed is opened for whoever sees it, and for nobody else: of an account that
/// cannot be opened, others are told what they are always told, and so is the owner who is
/// refused a payout to it.
#[tokio::test]
async fn only_what_is_shown_is_opened() {
    let house = House::start().await;
    let (alice, wallet, account) = house.payee(1_000).await;
    let id = account.payout_account_id.as_str();
    let bob = house.person();
    let damaged = sqlx::query("UPDATE payout_accounts SET sealed = decode('00', 'hex')")
        .execute(&house.database.owner)
        .await
        .expect("the owner may");
    assert_eq!(damaged.rows_affected(), 1);
    let hers = house.seen(&alice, id).await.expect_err("it is damaged");
    assert_eq!(hers.code(), Code::Internal);
    let not_found = (Code::NotFound, "PAYOUT_ACCOUNT_NOT_FOUND".to_owned());
    let seen = house.seen(&bob, id).await.expect_err("alice's");
    assert_eq!(refusal(&seen), not_found);
    let archiving = bob.request(DeletePayoutAccountRequest {
        payout_account_id: id.to_owned(),
    });
    let archived = house.accounts().delete_payout_account(archiving).await;
    assert_eq!(refusal(&archived.expect_err("alice's")), not_found);
    assert_eq!(house.listed(&bob.token).await, []);
    let his = bob.wallet_in("NGN").await;
    let paid = bob.withdraw(payout(&his, id, 100)).await;
    assert_eq!(refusal(&paid.expect_err("alice's")), not_found);
    let mut elsewhere = payout(&wallet, id, 100);
    elsewhere.provider = "sandbox".to_owned();
    let refused = alice.withdraw(elsewhere).await.expect_err("elsewhere");
    assert_eq!(refusal(&refused).1, "PAYOUT_ACCOUNT_MISMATCH");
}
