//! Somebody who knows the books: clients for history and projections, the
//! entries as they are in the tables, and sums made of them one by one.

use std::collections::BTreeMap;

use bursar_aip::id::{UserId, WalletId};
use bursar_contracts::wallet::v1::history_service_client::HistoryServiceClient;
use bursar_contracts::wallet::v1::projection_service_client::ProjectionServiceClient;
use bursar_contracts::wallet::v1::{
    Balance, GetBalanceAtRequest, ProjectionRebuild, RebuildProjectionsRequest, TimeBasis, Wallet,
};
use bursar_testkit::{Tokens, with_token};
use bursar_wallet::jobs::projector;
use prost_types::Timestamp;
use sqlx::PgPool;
use time::{Date, OffsetDateTime};
use tonic::transport::Channel;
use tonic::{Request, Status};
use uuid::Uuid;

use crate::support::{Fixture, eventually, uuid_of};

/// A service whose projections move only when the test moves them.
pub(crate) async fn without_projector() -> Fixture {
    Fixture::start_with(&[("BURSAR_PROJECTION_CPU_PERCENT", "0")]).await
}

/// Clients with the tokens that they take.
#[derive(Clone)]
pub(crate) struct Bookkeeper {
    pub(crate) history: HistoryServiceClient<Channel>,
    pub(crate) projections: ProjectionServiceClient<Channel>,
    /// Reads anybody's wallets, and the ledger's reports.
    pub(crate) token: String,
}

impl Bookkeeper {
    pub(crate) fn of(fixture: &Fixture) -> Self {
        let channel = fixture.service.channel();
        let mut claims = Tokens::user_claims(UserId::generate());
        claims
            .permissions
            .extend(["*:read:any".to_owned(), "ledger:*:any".to_owned()]);
        Self {
            history: HistoryServiceClient::new(channel.clone()),
            projections: ProjectionServiceClient::new(channel),
            token: fixture.tokens.mint(claims),
        }
    }

    pub(crate) fn call<T>(&self, message: T) -> Request<T> {
        with_token(message, &self.token)
    }

    /// A wallet's balance at an instant.
    pub(crate) async fn balance_at(
        &self,
        wallet: &Wallet,
        at: OffsetDateTime,
        basis: TimeBasis,
    ) -> Balance {
        let request = GetBalanceAtRequest {
            wallet_id: wallet.wallet_id.clone(),
            at: Some(timestamp(at)),
            basis: basis.into(),
        };
        let answer = self
            .history
            .clone()
            .get_balance_at(self.call(request))
            .await;
        let answer = answer.expect("a balance").into_inner();
        answer.balance.expect("a balance is answered")
    }

    /// Asks for a rebuild, of one wallet or of all.
    pub(crate) async fn rebuild(
        &self,
        wallet: Option<&Wallet>,
        dry_run: bool,
    ) -> Result<ProjectionRebuild, Status> {
        let request = RebuildProjectionsRequest {
            wallet_id: wallet
                .map(|wallet| wallet.wallet_id.clone())
                .unwrap_or_default(),
            dry_run,
        };
        let mut client = self.projections.clone();
        let answer = client.rebuild_projections(self.call(request)).await?;
        Ok(answer.into_inner().rebuild.expect("a rebuild is answered"))
    }
}

pub(crate) fn timestamp(at: OffsetDateTime) -> Timestamp {
    Timestamp {
        seconds: at.unix_timestamp(),
        nanos: i32::try_from(at.nanosecond()).expect("less than a billion"),
    }
}

/// An entry as the tables have it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Booked {
    pub(crate) version: i64,
    pub(crate) bucket: String,
    pub(crate) amount: i64,
    pub(crate) effective_at: OffsetDateTime,
    pub(crate) recorded_at: OffsetDateTime,
}

impl Booked {
    pub(crate) fn time(&self, basis: TimeBasis) -> OffsetDateTime {
        match basis {
            TimeBasis::Recorded => self.recorded_at,
            TimeBasis::Effective | TimeBasis::Unspecified => self.effective_at,
        }
    }
}

/// All entries of a wallet by version.
pub(crate) async fn booked(pool: &PgPool, wallet: &Wallet) -> Vec<Booked> {
    sqlx::query_as(
        "SELECT version, bucket::text AS bucket, amount, effective_at, recorded_at
         FROM entries JOIN postings ON postings.id = posting_id
         WHERE wallet_id = $1 ORDER BY version",
    )
    .bind(uuid_of(&wallet.wallet_id))
    .fetch_all(pool)
    .await
    .expect("entries are read")
}

/// The sum of entries, bucket by bucket.
pub(crate) fn sum<'a>(entries: impl IntoIterator<Item = &'a Booked>) -> Balance {
    let mut balance = Balance::default();
    for entry in entries {
        match entry.bucket.as_str() {
            "available" => balance.available_minor += entry.amount,
            "held" => balance.held_minor += entry.amount,
            "bonus" => balance.bonus_minor += entry.amount,
            other => panic!("an entry in {other}"),
        }
    }
    balance
}

pub(crate) fn wallet_id(wallet: &Wallet) -> WalletId {
    WalletId::from_uuid(uuid_of(&wallet.wallet_id))
}

/// Folds all of a wallet's entries.
pub(crate) async fn project(pool: &PgPool, wallet: &Wallet) {
    while !projector::fold_wallet(pool, wallet_id(wallet))
        .await
        .expect("a fold")
    {}
}

/// Waits until the sealer has queued everything that was posted.
pub(crate) async fn sealed(pool: &PgPool) {
    eventually("everything is sealed", async || {
        let unsealed: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger_unsealed")
            .fetch_one(pool)
            .await
            .expect("a count");
        unsealed == 0
    })
    .await;
}

/// How many rows wait in the projector's queue.
pub(crate) async fn queued(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM projection_queue")
        .fetch_one(pool)
        .await
        .expect("a count")
}

/// A wallet's projections, as text: cursor, days, snapshots, displaced entries.
pub(crate) async fn projections_of(pool: &PgPool, wallet: Uuid) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT 'cursor ' || to_jsonb(row)::text FROM projection_cursors AS row WHERE wallet_id = $1
         UNION ALL
         SELECT 'day ' || to_jsonb(row)::text FROM wallet_days AS row WHERE wallet_id = $1
         UNION ALL
         SELECT 'snapshot ' || to_jsonb(row)::text FROM wallet_snapshots AS row WHERE wallet_id = $1
         UNION ALL
         SELECT 'displaced ' || to_jsonb(row)::text FROM displaced_entries AS row
         WHERE wallet_id = $1
         ORDER BY 1",
    )
    .bind(wallet)
    .fetch_all(pool)
    .await
    .expect("projections are read")
}

/// The same, made by SQL of nothing but the entries.
pub(crate) async fn fresh_projections_of(pool: &PgPool, wallet: Uuid) -> Vec<String> {
    sqlx::query_scalar(
        "WITH booked AS (
             SELECT entries.*, postings.effective_at, postings.recorded_at,
                 greatest(amount, 0) AS came, greatest(-amount, 0) AS went
             FROM entries JOIN postings ON postings.id = posting_id
             WHERE wallet_id = $1
         ), running AS (
             SELECT wallet_id, version,
                 coalesce(sum(amount) FILTER (WHERE bucket = 'available') OVER until_here, 0) AS available,
                 coalesce(sum(amount) FILTER (WHERE bucket = 'held') OVER until_here, 0) AS held,
                 coalesce(sum(amount) FILTER (WHERE bucket = 'bonus') OVER until_here, 0) AS bonus
             FROM booked WINDOW until_here AS (ORDER BY version)
         )
         SELECT 'cursor ' || to_jsonb(row)::text FROM (
             SELECT running.*, wallets.tenant_id FROM running JOIN wallets ON wallets.id = wallet_id
             ORDER BY running.version DESC LIMIT 1
         ) AS row
         UNION ALL
         SELECT 'day ' || to_jsonb(row)::text FROM (
             SELECT wallet_id, (effective_at AT TIME ZONE 'UTC')::date AS day, tenant_id, currency,
                 coalesce(sum(came) FILTER (WHERE bucket = 'available'), 0) AS available_in,
                 coalesce(sum(went) FILTER (WHERE bucket = 'available'), 0) AS available_out,
                 coalesce(sum(came) FILTER (WHERE bucket = 'held'), 0) AS held_in,
                 coalesce(sum(went) FILTER (WHERE bucket = 'held'), 0) AS held_out,
                 coalesce(sum(came) FILTER (WHERE bucket = 'bonus'), 0) AS bonus_in,
                 coalesce(sum(went) FILTER (WHERE bucket = 'bonus'), 0) AS bonus_out,
                 count(*) AS entries, min(version) AS first_version, max(version) AS last_version
             FROM booked GROUP BY wallet_id, day, tenant_id, currency
         ) AS row
         UNION ALL
         SELECT 'snapshot ' || to_jsonb(running)::text FROM running WHERE version % 1000 = 0
         UNION ALL
         SELECT 'displaced ' || to_jsonb(row)::text FROM (
             SELECT wallet_id, version, effective_at, bucket, amount
             FROM booked WHERE effective_at <> recorded_at
         ) AS row
         ORDER BY 1",
    )
    .bind(wallet)
    .fetch_all(pool)
    .await
    .expect("projections are made")
}

/// The ids of all wallets.
pub(crate) async fn all_wallets(pool: &PgPool) -> Vec<Uuid> {
    sqlx::query_scalar("SELECT id FROM wallets ORDER BY id")
        .fetch_all(pool)
        .await
        .expect("wallets are listed")
}

/// Checks that every wallet's projections are what its entries say, to the last.
pub(crate) async fn assert_projected(pool: &PgPool) {
    for wallet in all_wallets(pool).await {
        assert_eq!(
            projections_of(pool, wallet).await,
            fresh_projections_of(pool, wallet).await,
            "{wallet}"
        );
    }
}

/// Entries by the day of UTC from which they count.
pub(crate) fn by_day(entries: &[Booked]) -> BTreeMap<Date, Vec<&Booked>> {
    let mut days: BTreeMap<Date, Vec<&Booked>> = BTreeMap::new();
    for entry in entries {
        days.entry(entry.effective_at.date())
            .or_default()
            .push(entry);
    }
    days
}
