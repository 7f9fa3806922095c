//! What the service says of everything next to what the model says.

use std::collections::HashMap;

use bursar_contracts::wallet::v1 as proto;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::book::{GrantState, HoldState, Status};
use super::run::Run;
use crate::support::uuid_of;

/// A hold or a grant as the tables have it: its status and two of its amounts.
type Stored = (String, i64, i64);

impl Run<'_> {
    /// Compares everything, and asks the invariants of what changed last.
    pub(super) async fn compare(&self) -> Result<(), TestCaseError> {
        self.compare_wallets().await?;
        self.compare_holds().await?;
        self.compare_grants().await?;
        self.compare_spending().await?;
        let sampled = self.house.sample().await;
        sampled.map_err(TestCaseError::fail)
    }

    async fn compare_wallets(&self) -> Result<(), TestCaseError> {
        let wallets = self.house.fixture.current_all(&self.wallets).await;
        for (index, wallet) in wallets.iter().enumerate() {
            let account = &self.book.accounts[index];
            let status = match account.status {
                Status::Active => proto::WalletStatus::Active,
                Status::Frozen => proto::WalletStatus::Frozen,
                Status::Closed => proto::WalletStatus::Closed,
            };
            let balance = proto::Balance {
                available_minor: account.available,
                held_minor: account.held,
                bonus_minor: account.bonus,
            };
            prop_assert_eq!(wallet.balance, Some(balance), "wallet {}", index);
            prop_assert_eq!(wallet.status(), status, "wallet {}", index);
            prop_assert_eq!(wallet.version, account.version, "wallet {}", index);
            prop_assert_eq!(wallet.credit_limit_minor, account.credit);
        }
        Ok(())
    }

    async fn compare_holds(&self) -> Result<(), TestCaseError> {
        let sql = "SELECT id, status::text, amount, captured_minor FROM holds WHERE id = ANY($1)";
        let ids = self.holds.iter().map(|hold| hold.id.uuid()).collect();
        let stored = self.stored(sql, ids).await;
        for (number, hoped) in self.holds.iter().enumerate() {
            let expected = self.book.holds.get(&number).map(|hold| {
                let state = match hold.state {
                    HoldState::Active => "active",
                    HoldState::Captured => "captured",
                    HoldState::Voided => "voided",
                    HoldState::Expired => "expired",
                };
                (state.to_owned(), hold.amount, hold.captured)
            });
            let stored = stored.get(&hoped.id.uuid());
            prop_assert_eq!(stored, expected.as_ref(), "hold {}", number);
        }
        Ok(())
    }

    async fn compare_grants(&self) -> Result<(), TestCaseError> {
        let sql = "SELECT id, status::text, amount, remaining FROM bonus_grants
             WHERE id = ANY($1)";
        let ids = self.grants.iter().map(|id| uuid_of(id)).collect();
        let stored = self.stored(sql, ids).await;
        prop_assert_eq!(self.grants.len(), self.book.grants.len());
        for (id, grant) in self.grants.iter().zip(&self.book.grants) {
            let state = match grant.state {
                GrantState::Active => "active",
                GrantState::Spent => "spent",
                GrantState::Converted => "converted",
                GrantState::Expired => "expired",
            };
            let expected = (state.to_owned(), grant.amount, grant.remaining);
            prop_assert_eq!(stored.get(&uuid_of(id)), Some(&expected), "grant {}", id);
        }
        let left: i64 = sqlx::query_scalar(
            "SELECT available FROM wallets JOIN bonus_campaigns ON budget_wallet_id = wallets.id
             WHERE bonus_campaigns.id = $1",
        )
        .bind(uuid_of(&self.campaign.campaign_id))
        .fetch_one(&self.house.fixture.database.pool)
        .await
        .expect("a budget");
        prop_assert_eq!(left, self.book.budget);
        Ok(())
    }

    async fn compare_spending(&self) -> Result<(), TestCaseError> {
        for (index, wallet) in self.wallets.iter().enumerate() {
            let Some(spent) = self.book.spent(index) else {
                continue;
            };
            let limits = self.house.desk.limits(wallet).await;
            let told = (limits.daily_spent_minor, limits.monthly_spent_minor);
            prop_assert_eq!(told, spent, "wallet {}", index);
            let caps = [
                limits.single_minor,
                limits.daily_minor,
                limits.monthly_minor,
            ];
            let spending = self.book.accounts[index].spending.as_ref();
            prop_assert_eq!(Some(caps), spending.map(|spending| spending.caps));
        }
        Ok(())
    }

    async fn stored(&self, sql: &'static str, ids: Vec<Uuid>) -> HashMap<Uuid, Stored> {
        let rows = sqlx::query(sql)
            .bind(ids)
            .fetch_all(&self.house.fixture.database.pool)
            .await
            .expect("rows are read");
        let stored = |row: PgRow| (row.get(0), (row.get(1), row.get(2), row.get(3)));
        rows.into_iter().map(stored).collect()
    }
}
