//! Reads the books of all services into plain values.

use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use super::Bank;
use super::history::{Call, Entry, Evidence, Movement, Transaction, Wallet};

impl Bank {
    /// The history with everything that the services have written.
    pub(super) async fn evidence(&self, calls: Vec<Call>) -> Evidence {
        let ledger = &self.mesh.wallet_database.pool;
        Evidence {
            calls,
            transactions: self.transactions().await,
            entries: entries(ledger).await,
            wallets: wallets(ledger).await,
            movements: self.movements().await,
        }
    }

    async fn transactions(&self) -> Vec<Transaction> {
        let sql = "SELECT transaction_id, description, kind, state, currency_code, amount_minor,
                       (extract(epoch FROM created_at) * 1000000)::bigint AS created_at
                   FROM transactions";
        let rows = read(&self.mesh.database.pool, sql).await;
        rows.iter()
            .map(|row| Transaction {
                id: row.get("transaction_id"),
                key: row.get("description"),
                kind: row.get("kind"),
                state: row.get("state"),
                currency: row.get("currency_code"),
                amount_minor: row.get("amount_minor"),
                created_at: row.get("created_at"),
            })
            .collect()
    }

    async fn movements(&self) -> Vec<Movement> {
        let sql = "SELECT kind, reference, currency, amount_minor, status FROM movements";
        let rows = read(&self.mesh.sandbox_database.pool, sql).await;
        rows.iter()
            .map(|row| Movement {
                kind: row.get("kind"),
                reference: row.get("reference"),
                currency: row.get("currency"),
                amount_minor: row.get("amount_minor"),
                status: row.get("status"),
            })
            .collect()
    }
}

async fn entries(ledger: &PgPool) -> Vec<Entry> {
    let sql = "SELECT entries.wallet_id, entries.version, postings.transaction_id,
                   entries.currency::text AS currency, entries.bucket::text AS bucket,
                   entries.amount, entries.balance_after,
                   (extract(epoch FROM postings.recorded_at) * 1000000)::bigint AS recorded_at
               FROM entries JOIN postings ON postings.id = entries.posting_id";
    let rows = read(ledger, sql).await;
    rows.iter()
        .map(|row| Entry {
            wallet: row.get("wallet_id"),
            version: row.get("version"),
            transaction: row.get("transaction_id"),
            currency: row.get("currency"),
            bucket: row.get("bucket"),
            amount: row.get("amount"),
            balance_after: row.get("balance_after"),
            recorded_at: row.get("recorded_at"),
        })
        .collect()
}

/// What a user owes is in a wallet of the platform's that is named after the user's.
async fn wallets(ledger: &PgPool) -> Vec<Wallet> {
    let sql = "SELECT id, owner_user_id IS NOT NULL AS is_user,
                   CASE system_purpose WHEN 'receivable' THEN system_name END AS debtor,
                   available, held, version
               FROM wallets";
    let rows = read(ledger, sql).await;
    rows.iter()
        .map(|row| {
            let id: Uuid = row.get("id");
            let debtor: Option<String> = row.get("debtor");
            let debtor = debtor.map(|name| name.parse().expect("it is named after a wallet"));
            Wallet {
                id,
                account: if row.get("is_user") { Some(id) } else { debtor },
                available: row.get("available"),
                held: row.get("held"),
                version: row.get("version"),
            }
        })
        .collect()
}

async fn read(pool: &PgPool, sql: &'static str) -> Vec<PgRow> {
    let rows = sqlx::query(sql).fetch_all(pool).await;
    rows.expect("the books can be read")
}
