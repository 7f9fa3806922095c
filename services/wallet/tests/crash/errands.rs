//! The errands of a day, and how it must end.
//!
//! Every call has an idempotency key or ids of its own, and is repeated when its
//! answer was lost; the two without a key are said to be so.

use bursar_aip::id::UserId;
use bursar_contracts::r#type::v1::Money;
use bursar_contracts::wallet::v1 as proto;
use bursar_contracts::wallet::v1::bonus_service_client::BonusServiceClient;
use bursar_contracts::wallet::v1::hold_service_client::HoldServiceClient;
use bursar_contracts::wallet::v1::ledger_service_client::LedgerServiceClient;
use bursar_contracts::wallet::v1::projection_service_client::ProjectionServiceClient;
use bursar_contracts::wallet::v1::provider_account_service_client::ProviderAccountServiceClient;
use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use bursar_contracts::wallet::v1::{BatchMode, Posting, Wallet};
use bursar_server::{run_check, verify};
use bursar_testkit::with_token;
use bursar_wallet::invariants::{CHAIN, INVARIANTS};
use tonic::{Request, Status};

use crate::calls::{Call, deposit, transfer};
use crate::day::Day;

/// The first statement that opens wallets is refused, and no other.
const REFUSE_ONCE: &str = "CREATE SEQUENCE refusals;
    CREATE FUNCTION refuse_once() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        IF nextval('refusals') = 1 THEN
            RAISE EXCEPTION 'refused for once';
        END IF;
        RETURN NULL;
    END
    $$;
    CREATE TRIGGER refuse_once BEFORE INSERT ON wallets
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_once()";

/// What must be so when all is done, each by a query that says whether it is.
const END: [(&str, &str); 9] = [
    (
        "every posting is in the ledger once",
        "SELECT array_agg(kind || ' ' || times ORDER BY kind) = ARRAY['bonus_conversion 1',
             'bonus_expiry 1', 'bonus_funding 1', 'bonus_grant 2', 'deposit 2', 'hold 1',
             'hold_expiry 1', 'transfer 1']
         FROM (SELECT kind::text, count(*) AS times FROM postings GROUP BY kind) AS counted",
    ),
    (
        "balances are the sums of what was asked",
        "SELECT array_agg(available ORDER BY available) = ARRAY[0, 128, 1012]::bigint[]
             AND bool_and(held = 0 AND bonus = 0)
         FROM wallets WHERE owner_user_id IS NOT NULL AND currency = 'EUR'",
    ),
    (
        "what was not given is in the budget",
        "SELECT available = 460 FROM wallets
         WHERE system_purpose = 'bonus_pool' AND system_name <> ''",
    ),
    (
        "there is one campaign",
        "SELECT count(*) = 1 FROM bonus_campaigns",
    ),
    (
        "a call without a key opened one wallet at most",
        "SELECT count(*) <= 1 FROM wallets WHERE currency = 'USD' AND owner_user_id IS NOT NULL",
    ),
    (
        "a wallet was frozen and unfrozen once, and given limits once",
        "SELECT array_agg(kind ORDER BY kind)
             = ARRAY['wallet.frozen', 'wallet.limits_changed', 'wallet.unfrozen']
         FROM event_log
         WHERE kind IN ('wallet.frozen', 'wallet.limits_changed', 'wallet.unfrozen')",
    ),
    (
        "the provider's accounts are opened or refused, each told once",
        "SELECT array_agg(kind ORDER BY kind) = ARRAY['wallet.provider_account.failed',
             'wallet.provider_account.opened', 'wallet.provider_account.opened']
         FROM event_log WHERE kind LIKE 'wallet.provider_account.%'",
    ),
    (
        "one rebuild was asked for and is done",
        "SELECT array_agg(status::text) = ARRAY['completed'] FROM projection_rebuilds",
    ),
    (
        "all is sealed and signed",
        "SELECT NOT EXISTS (SELECT FROM ledger_unsealed) AND EXISTS (SELECT FROM ledger_checkpoints)",
    ),
];

/// Everything that is sealed is folded too.
const PROJECTED: &str = "SELECT NOT EXISTS (SELECT FROM ledger_unsealed)
    AND NOT EXISTS (SELECT FROM projection_queue)
    AND NOT EXISTS (
        SELECT FROM wallets LEFT JOIN projection_cursors AS cursors ON wallet_id = id
        WHERE wallets.version <> coalesce(cursors.version, 0)
    )";

fn keyed<T>(message: T, token: &str, key: &str) -> Request<T> {
    let mut request = with_token(message, token);
    let value = key.parse().expect("a key is visible ASCII");
    request.metadata_mut().insert("idempotency-key", value);
    request
}

fn euros(minor_units: i64) -> Option<Money> {
    Some(Money {
        currency_code: "EUR".to_owned(),
        minor_units,
    })
}

impl Day {
    /// Runs all errands, one after the other.
    pub(crate) async fn run_errands(&mut self) {
        let (alice, bob) = (UserId::generate(), UserId::generate());
        let first = self.open(alice, "alice").await;
        let other = self.open(bob, "bob").await;
        let second = self.open_after_the_keys_day(alice, "alice").await;
        assert_ne!(first.wallet_id, second.wallet_id);
        self.open_without_a_key().await;
        self.post(deposit(&first, 1_000)).await;
        self.post(deposit(&other, 100)).await;
        self.bonus(&first, &other).await;
        self.hold(&first).await;
        self.life(&first, &other).await;
        self.provider_accounts([(alice, &first), (bob, &other), (alice, &second)])
            .await;
        self.rebuild(&first).await;
    }

    /// Checks what must be so at the end of a day, and that every invariant holds.
    pub(crate) async fn ends_well(&mut self) {
        for (what, sql) in END {
            self.comes_about(what, sql).await;
        }
        let token = self.operator.clone();
        let drift = self.ask(async |channel| {
            let request = proto::DetectDriftRequest {
                page_size: 100,
                ..proto::DetectDriftRequest::default()
            };
            let mut client = ProjectionServiceClient::new(channel);
            client.detect_drift(with_token(request, &token)).await
        });
        let drift = drift.await.into_inner();
        assert!(drift.drifts.is_empty() && drift.next_page_token.is_empty());
        self.end_process().await;
        let pool = &self.database.pool;
        // Events are not published here: there is no Redis.
        let rules = INVARIANTS.into_iter().filter(|rule| rule.number != 10);
        let verdicts = verify(pool, &rules.collect::<Vec<_>>()).await;
        for verdict in verdicts.expect("the invariants are queries") {
            let name = verdict.invariant.name;
            assert_eq!(verdict.offending_rows, 0, "{name}: {:?}", verdict.shown);
        }
        let found = run_check(pool, &CHAIN).await.expect("the chain is read");
        assert!(found.is_empty(), "{found:?}");
    }

    async fn open(&mut self, user: UserId, key: &str) -> Wallet {
        let token = self.user(user);
        let opened = self.ask(async |channel| {
            let request = proto::CreateWalletRequest {
                currency_code: "EUR".to_owned(),
            };
            let mut client = WalletServiceClient::new(channel);
            client.create_wallet(keyed(request, &token, key)).await
        });
        opened.await.into_inner().wallet.expect("a wallet")
    }

    /// A key's day is over: with it another wallet is opened, and by itself.
    async fn open_after_the_keys_day(&mut self, user: UserId, key: &str) -> Wallet {
        self.edit(
            "UPDATE idempotency_keys
             SET created_at = created_at - interval '2 days',
                 expires_at = expires_at - interval '2 days'",
        )
        .await;
        self.open(user, key).await
    }

    /// Nobody repeats a call without a key, so this wallet may be there or not when
    /// its answer was lost. The batch is refused, and it is opened by itself.
    async fn open_without_a_key(&mut self) {
        self.edit(REFUSE_ONCE).await;
        let token = self.user(UserId::generate());
        let opened = self.ask_once(async |channel| {
            let request = proto::CreateWalletRequest {
                currency_code: "USD".to_owned(),
            };
            let mut client = WalletServiceClient::new(channel);
            client.create_wallet(with_token(request, &token)).await
        });
        if opened.await.is_some() {
            let sql = "SELECT count(*) FROM wallets WHERE currency = 'USD'";
            assert_eq!(self.read::<i64>(sql).await, 1, "what was answered is there");
        }
        self.edit("DROP TRIGGER refuse_once ON wallets").await;
    }

    async fn post(&mut self, posting: Posting) {
        let token = self.poster.clone();
        let call = Call::good(vec![posting], BatchMode::Independent);
        let results = self.ask(async |channel| {
            let request = proto::PostBatchRequest {
                postings: call.postings.clone(),
                mode: call.mode.into(),
                origins: Vec::new(),
            };
            let mut client = LedgerServiceClient::new(channel);
            client.post_batch(with_token(request, &token)).await
        });
        let results = results.await.into_inner().results;
        call.check(&results, None);
    }

    /// A campaign whose one grant is converted once enough was spent, and whose
    /// other one expires.
    async fn bonus(&mut self, expiring: &Wallet, spending: &Wallet) {
        let token = self.operator.clone();
        let created = self.ask(async |channel| {
            let request = proto::CreateCampaignRequest {
                name: "spring".to_owned(),
                currency_code: "EUR".to_owned(),
                budget_minor: 500,
                grant_ttl_seconds: 3_600,
                conversion: Some(proto::ConversionRule {
                    min_spend_minor: 10,
                    automatic: true,
                    ..proto::ConversionRule::default()
                }),
                ..proto::CreateCampaignRequest::default()
            };
            let mut client = BonusServiceClient::new(channel);
            client
                .create_campaign(keyed(request, &token, "spring"))
                .await
        });
        let campaign = created.await.into_inner().campaign.expect("a campaign");
        for (wallet, minor_units, key) in [(expiring, 50, "fifty"), (spending, 40, "forty")] {
            self.ask(async |channel| {
                let request = proto::GrantBonusRequest {
                    wallet_id: wallet.wallet_id.clone(),
                    campaign_id: campaign.campaign_id.clone(),
                    amount: euros(minor_units),
                };
                let mut client = BonusServiceClient::new(channel);
                client.grant_bonus(keyed(request, &token, key)).await
            })
            .await;
        }
        self.post(transfer(spending, expiring, 12)).await;
        let converted = "SELECT EXISTS (SELECT FROM bonus_grants WHERE status = 'converted')";
        self.comes_about("the grant is converted", converted).await;
        self.edit(
            "UPDATE bonus_grants SET granted_at = granted_at - interval '1 hour',
                 expires_at = expires_at - interval '1 hour'
             WHERE status = 'active'",
        )
        .await;
        let expired = "SELECT EXISTS (SELECT FROM bonus_grants WHERE status = 'expired')";
        self.comes_about("the grant expires", expired).await;
    }

    async fn hold(&mut self, wallet: &Wallet) {
        let token = self.operator.clone();
        self.ask(async |channel| {
            let request = proto::PlaceHoldRequest {
                wallet_id: wallet.wallet_id.clone(),
                amount: euros(30),
                ..proto::PlaceHoldRequest::default()
            };
            let mut client = HoldServiceClient::new(channel);
            client.place_hold(keyed(request, &token, "thirty")).await
        })
        .await;
        // The job wakes at the interval, as it knows of no expiry.
        self.edit("UPDATE holds SET expires_at = now()").await;
        let expired = "SELECT status = 'expired' FROM holds";
        self.comes_about("the hold expires", expired).await;
    }

    /// Limits for one wallet; another is frozen and, by a call without a key that
    /// may safely be repeated, unfrozen.
    async fn life(&mut self, limited: &Wallet, frozen: &Wallet) {
        let token = self.operator.clone();
        self.ask(async |channel| {
            let request = proto::SetSpendingLimitsRequest {
                wallet_id: limited.wallet_id.clone(),
                daily_minor: Some(100),
                ..proto::SetSpendingLimitsRequest::default()
            };
            let mut client = WalletServiceClient::new(channel);
            client
                .set_spending_limits(keyed(request, &token, "limits"))
                .await
        })
        .await;
        let (wallet_id, reason) = (frozen.wallet_id.clone(), "a court order".to_owned());
        self.ask(async |channel| {
            let (wallet_id, reason) = (wallet_id.clone(), reason.clone());
            let request = proto::FreezeWalletRequest { wallet_id, reason };
            let mut client = WalletServiceClient::new(channel);
            client.freeze_wallet(keyed(request, &token, "freeze")).await
        })
        .await;
        self.ask(async |channel| {
            let (wallet_id, reason) = (wallet_id.clone(), reason.clone());
            let request = proto::UnfreezeWalletRequest { wallet_id, reason };
            let mut client = WalletServiceClient::new(channel);
            client.unfreeze_wallet(with_token(request, &token)).await
        })
        .await;
    }

    /// One account whose answer is lost, one whose request is turned away at first,
    /// and one that is declined.
    async fn provider_accounts(&mut self, wallets: [(UserId, &Wallet); 3]) {
        let faults = [
            ("lost_response", None),
            ("http_error", Some(429)),
            ("decline", None),
        ];
        for ((owner, wallet), (fault, http_status)) in wallets.into_iter().zip(faults) {
            self.provider_will(fault, http_status).await;
            self.ask_for_account(owner, wallet).await;
            let settled = format!(
                "SELECT status <> 'pending' FROM provider_accounts
                 WHERE 'wal_' || wallet_id = '{}'",
                wallet.wallet_id
            );
            self.comes_about("the provider's account is settled", &settled)
                .await;
        }
    }

    async fn ask_for_account(&mut self, owner: UserId, wallet: &Wallet) {
        let token = self.user(owner);
        self.ask(async |channel| {
            let request = proto::CreateProviderAccountRequest {
                wallet_id: wallet.wallet_id.clone(),
                account_holder: Some(holder()),
            };
            let mut client = ProviderAccountServiceClient::new(channel);
            let key = &wallet.wallet_id;
            let made: Result<_, Status> = client
                .create_provider_account(keyed(request, &token, key))
                .await;
            made
        })
        .await;
    }

    /// A rebuild of projections that somebody has spoilt.
    async fn rebuild(&mut self, wallet: &Wallet) {
        self.comes_about("all is projected", PROJECTED).await;
        self.edit("UPDATE wallet_days SET available_out = available_out + 7")
            .await;
        self.edit(&format!(
            "INSERT INTO displaced_entries (wallet_id, version, effective_at, bucket, amount)
             SELECT id, 1, now(), 'available', 5 FROM wallets WHERE 'wal_' || id = '{}'",
            wallet.wallet_id
        ))
        .await;
        let token = self.operator.clone();
        self.ask(async |channel| {
            let request = proto::RebuildProjectionsRequest::default();
            let mut client = ProjectionServiceClient::new(channel);
            client
                .rebuild_projections(keyed(request, &token, "rebuild"))
                .await
        })
        .await;
        let done = "SELECT bool_and(status = 'completed') FROM projection_rebuilds";
        self.comes_about("the rebuild is done", done).await;
    }
}

fn holder() -> proto::AccountHolder {
    proto::AccountHolder {
        first_name: "Adaeze".to_owned(),
        last_name: "Obiorah".to_owned(),
        phone_number: "08031234567".to_owned(),
        email: "adaeze@example.com".to_owned(),
        date_of_birth: "1990-02-28".to_owned(),
        address: "1 Marina, Lagos".to_owned(),
        bvn: String::new(),
    }
}
