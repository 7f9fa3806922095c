//! A whole service whose jobs come round only when a history says so.

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::bonus_service_client::BonusServiceClient;
use bursar_server::{run_check, verify};
use bursar_testkit::Tokens;
use bursar_wallet::domain::book::SpendOrder;
use bursar_wallet::invariants::{CHAIN, INVARIANTS};
use bursar_wallet::jobs::bonus::expiry::Expiry;
use bursar_wallet::jobs::bonus::refund::Refund;
use bursar_wallet::jobs::queue::{Ledger, queue};
use bursar_wallet::jobs::{hold_expiry, invariant_sampler, writer};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::book::Order;
use crate::desk::Desk;
use crate::support::Fixture;

/// The service's own rounds come at the start, when there is nothing, and then
/// not for longer than any test lasts.
const RARE: &str = "600000";

/// A service, and a second replica's way into its ledger for the jobs.
pub(super) struct House {
    pub(super) fixture: Fixture,
    pub(super) desk: Desk,
    pub(super) bonus: BonusServiceClient<Channel>,
    ledger: Ledger,
}

impl House {
    pub(super) async fn open(order: Order) -> Self {
        let (spoken, spend_order) = match order {
            Order::BonusFirst => ("bonus_first", SpendOrder::BonusFirst),
            Order::AvailableFirst => ("available_first", SpendOrder::AvailableFirst),
            Order::Never => ("never", SpendOrder::AvailableOnly),
        };
        let fixture = Fixture::start_with(&[
            ("BURSAR_BONUS_SPEND_ORDER", spoken),
            ("BURSAR_HOLD_EXPIRY_INTERVAL_MS", RARE),
            ("BURSAR_BONUS_INTERVAL_MS", RARE),
        ])
        .await;
        let (ledger, inbox) = queue(1_000);
        tokio::spawn(writer::run(
            inbox,
            fixture.database.pool.clone(),
            spend_order,
        ));
        let mut claims = Tokens::user_claims(UserId::generate());
        claims.permissions = [
            "*:read:any",
            "hold:*:any",
            "wallet:*:any",
            "bonus:*:any",
            "bonus_campaign:*:any",
        ]
        .map(str::to_owned)
        .to_vec();
        let desk = Desk {
            token: fixture.tokens.mint(claims),
            ..Desk::of(&fixture)
        };
        Self {
            bonus: BonusServiceClient::new(fixture.service.channel()),
            desk,
            fixture,
            ledger,
        }
    }

    /// Gives back all holds whose time is over.
    pub(super) async fn sweep_holds(&self) {
        let pool = &self.fixture.database.pool;
        hold_expiry::round(pool, &self.ledger, &CancellationToken::new())
            .await
            .expect("holds expire");
    }

    /// Gives back all grants whose time is over, and the budgets of what was ended.
    pub(super) async fn sweep_grants(&self) {
        let pool = &self.fixture.database.pool;
        let mut expiry = Expiry::default();
        expiry.turn(pool, &self.ledger).await.expect("they expire");
        let mut refund = Refund::default();
        refund.turn(pool, &self.ledger).await.expect("given back");
    }

    /// Whether what changed last breaks no invariant: a bounded look.
    pub(super) async fn sample(&self) -> Result<(), String> {
        let pool = &self.fixture.database.pool;
        let sample = invariant_sampler::sample(pool).await.expect("a sample");
        if sample.findings.is_empty() {
            Ok(())
        } else {
            Err(format!("broken: {:?}", sample.findings))
        }
    }

    /// Whether every invariant holds, that of the chain among them; only events
    /// are not published here.
    pub(super) async fn verify(&self) -> Result<(), String> {
        let pool = &self.fixture.database.pool;
        let rules = INVARIANTS.into_iter().filter(|rule| rule.number != 10);
        let verdicts = verify(pool, &rules.collect::<Vec<_>>()).await;
        let mut broken: Vec<String> = verdicts
            .expect("the invariants are queries")
            .into_iter()
            .filter(|verdict| verdict.offending_rows > 0)
            .map(|verdict| format!("{}: {:?}", verdict.invariant.name, verdict.shown))
            .collect();
        broken.extend(run_check(pool, &CHAIN).await.expect("the chain is read"));
        if broken.is_empty() {
            Ok(())
        } else {
            Err(format!("broken: {broken:?}"))
        }
    }
}
