//! The invariants between databases, held against rows that break them. The
//! tables are the services' own, by their migrations.

use std::path::Path;

use bursar_devmesh::mesh::{Mesh, MeshOptions};
use bursar_devmesh::ports::Ports;
use bursar_devmesh::secrets::Secrets;
use bursar_devmesh::servers::databases::Databases;
use bursar_devmesh::verify::across;
use sqlx::migrate::Migrator;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

const TRANSFER: &str = "00000000-0000-7000-8000-000000000001";
const PAYER: &str = "00000000-0000-7000-8000-00000000000a";
const PAYEE: &str = "00000000-0000-7000-8000-00000000000b";

/// The three databases with their tables and two users' wallets.
struct House {
    databases: Databases,
    transaction: PgConnection,
    wallet: PgConnection,
    sandbox: PgConnection,
    _mesh: Mesh,
}

impl House {
    async fn build() -> anyhow::Result<Self> {
        let mesh = Mesh::start(MeshOptions::servers(), |_| {}).await?;
        let port = Ports::load(mesh.home())?
            .get("postgres")
            .unwrap_or_default();
        let mut secrets = Secrets::load(mesh.home())?;
        // The superuser's password is the mesh's; the roles' are made here.
        let databases = Databases::new(port, &mut secrets);
        databases.provision(&mut databases.connect().await?).await?;
        let mut wallet = migrated(&databases, "wallet").await?;
        for id in [PAYER, PAYEE] {
            execute(
                &mut wallet,
                "INSERT INTO wallets (id, tenant_id, owner_user_id, currency, status, available,
                     held, bonus, min_available, version, event_version, created_at)
                 VALUES ($1, 'default', $1, 'EUR', 'active', 0, 0, 0, 0, 0, 0, now())",
                id,
            )
            .await?;
        }
        Ok(Self {
            transaction: migrated(&databases, "transaction").await?,
            wallet,
            sandbox: migrated(&databases, "sandbox").await?,
            databases,
            _mesh: mesh,
        })
    }

    /// How many lines hold, of the two there are: 15, then 16.
    async fn verdicts(&self) -> anyhow::Result<Vec<bool>> {
        let lines = across::verify(&self.databases).await?;
        Ok(lines.iter().map(|line| line.holds).collect())
    }

    async fn transfer(&mut self, state: &str) -> anyhow::Result<()> {
        sqlx::query(
            "INSERT INTO transactions (transaction_id, tenant_id, kind, state, currency_code,
                 amount_minor, from_wallet_id, to_wallet_id, initiator_user_id, description,
                 posted_at, created_at, updated_at, version)
             VALUES ($1, 'default', 'transfer', $2, 'EUR', 500, $3, $4, $3, '',
                 CASE $2 WHEN 'COMPLETED' THEN now() END, now(), now(), 1)",
        )
        .bind(Uuid::parse_str(TRANSFER)?)
        .bind(state)
        .bind(Uuid::parse_str(PAYER)?)
        .bind(Uuid::parse_str(PAYEE)?)
        .execute(&mut self.transaction)
        .await?;
        Ok(())
    }

    /// A posting of the transfer; `version` is the number of the entries.
    async fn posting(&mut self, id: &str, version: i64) -> anyhow::Result<()> {
        let (id, payer, payee) = (
            Uuid::parse_str(id)?,
            Uuid::parse_str(PAYER)?,
            Uuid::parse_str(PAYEE)?,
        );
        sqlx::query(
            "INSERT INTO postings (id, tenant_id, transaction_id, kind, fingerprint,
                 leg_wallet_ids, leg_versions, effective_at, recorded_at)
             VALUES ($1, 'default', $2, 'transfer', sha256(''), $3, $4, now(), now())",
        )
        .bind(id)
        .bind(Uuid::parse_str(TRANSFER)?)
        .bind([payer, payee])
        .bind([version, version])
        .execute(&mut self.wallet)
        .await?;
        sqlx::query(
            "INSERT INTO entries (wallet_id, version, posting_id, amount, balance_after, bucket,
                 currency, tenant_id)
             VALUES ($1, $4, $3, -500, 0, 'available', 'EUR', 'default'),
                    ($2, $4, $3, 500, 0, 'available', 'EUR', 'default')",
        )
        .bind(payer)
        .bind(payee)
        .bind(id)
        .bind(version)
        .execute(&mut self.wallet)
        .await?;
        Ok(())
    }
}

/// Connects as the owner after applying the migrations of the event log and then
/// the service's, which build on it.
async fn migrated(databases: &Databases, service: &str) -> anyhow::Result<PgConnection> {
    let mut connection = PgConnection::connect(&databases.owner_url(service)).await?;
    sqlx::query("SELECT set_config('bursar.application_role', $1, false)")
        .bind(format!("{service}_app"))
        .execute(&mut connection)
        .await?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut log = Migrator::new(root.join("shared/events/migrations")).await?;
    log.dangerous_set_table_name("event_log_migrations");
    log.run(&mut connection).await?;
    let directory = root.join("services").join(service).join("migrations");
    Migrator::new(directory).await?.run(&mut connection).await?;
    Ok(connection)
}

async fn execute(
    connection: &mut PgConnection,
    statement: &'static str,
    id: &str,
) -> anyhow::Result<()> {
    sqlx::query(statement)
        .bind(Uuid::parse_str(id)?)
        .execute(connection)
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_transfer_needs_its_one_posting() -> anyhow::Result<()> {
    // None is too few, one is right, two are too many.
    let mut house = House::build().await?;
    assert_eq!(house.verdicts().await?, [true, true]);
    house.transfer("COMPLETED").await?;
    assert_eq!(house.verdicts().await?, [false, true]);
    house.posting(TRANSFER, 1).await?;
    assert_eq!(house.verdicts().await?, [true, true]);
    house
        .posting("00000000-0000-7000-8000-000000000002", 2)
        .await?;
    assert_eq!(house.verdicts().await?, [false, true]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn money_moves_for_a_transaction_only() -> anyhow::Result<()> {
    // A posting without a transaction is a break, in flight or not.
    let mut house = House::build().await?;
    house.posting(TRANSFER, 1).await?;
    assert_eq!(house.verdicts().await?, [false, true]);
    house.transfer("PENDING").await?;
    assert_eq!(house.verdicts().await?, [true, true]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_moves_only_what_was_ordered() -> anyhow::Result<()> {
    // A charge that succeeded belongs to a deposit of that amount.
    let mut house = House::build().await?;
    for reference in ["unknown", "txn_00000000-0000-7000-8000-000000000003"] {
        sqlx::query(
            "INSERT INTO movements (kind, reference, movement_id, amount_minor, currency,
                 description, status, created_at, finished_at)
             VALUES ('charge', $1, gen_random_uuid(), 500, 'EUR', '', 'succeeded', now(), now())",
        )
        .bind(reference)
        .execute(&mut house.sandbox)
        .await?;
        assert_eq!(house.verdicts().await?, [true, false], "{reference}");
        sqlx::query("DELETE FROM movements")
            .execute(&mut house.sandbox)
            .await?;
    }
    Ok(())
}
