//! The invariants name what somebody with the database did to bonus money.

use bursar_contracts::wallet::v1::CreateCampaignRequest;
use bursar_wallet::invariants::INVARIANTS;
use sqlx::{AssertSqlSafe, PgConnection};

use super::office::{Office, plain};
use crate::support::Fixture;

const BUCKET: &str = "bonus money is the sum of what remains of the active grants";
const PLACE: &str =
    "every grant is of its campaign's budget and currency, and of its wallet's owner";
const BUDGET: &str = "no campaign's budget is overdrawn, or may be";
const SUM: &str =
    "what a campaign was funded is what is left and what was granted, less what expired";
const CAP: &str = "no user was granted more than a campaign's cap";

/// The names of the rules that are broken.
async fn broken(conn: &mut PgConnection) -> Vec<&'static str> {
    let mut names = Vec::new();
    for invariant in INVARIANTS {
        let rows = sqlx::query(AssertSqlSafe(invariant.sql))
            .fetch_all(&mut *conn)
            .await;
        if !rows.expect("the invariants are queries").is_empty() {
            names.push(invariant.name);
        }
    }
    names
}

/// Each change breaks the rules that it should, and no others.
#[tokio::test]
async fn tampering_with_bonus_is_found() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let request = CreateCampaignRequest {
        per_user_cap_minor: 500,
        ..plain()
    };
    let campaign = office.create(request).await;
    let wallet = fixture.funded("EUR", 0).await;
    office
        .grant(&wallet, &campaign, 300)
        .await
        .expect("granted");
    fixture.verify().await;
    let cases: [(&str, &[&str]); 8] = [
        (
            "UPDATE bonus_grants SET remaining = remaining - 1",
            &[BUCKET],
        ),
        ("UPDATE bonus_grants SET amount = amount + 1", &[SUM]),
        ("UPDATE bonus_grants SET amount = amount + 400", &[SUM, CAP]),
        ("UPDATE bonus_grants SET owner_user_id = id", &[PLACE]),
        ("UPDATE bonus_grants SET budget_wallet_id = id", &[PLACE]),
        ("DELETE FROM bonus_grants", &[SUM, BUCKET]),
        ("UPDATE bonus_campaigns SET user_cap = 299", &[CAP]),
        (
            "UPDATE wallets SET min_available = -1 WHERE system_name <> ''",
            &[BUDGET],
        ),
    ];
    for (tampering, rules) in cases {
        let mut transaction = fixture.database.owner.begin().await.expect("begun");
        sqlx::query(AssertSqlSafe(tampering))
            .execute(&mut *transaction)
            .await
            .unwrap_or_else(|error| panic!("{tampering}: {error}"));
        assert_eq!(broken(&mut transaction).await, rules, "{tampering}");
        transaction.rollback().await.expect("rolled back");
    }
}
