//! The rules of campaigns, without a ledger.

use std::num::NonZeroI64;

use bursar_aip::id::{CampaignId, GrantId, TenantId, UserId, WalletId};
use bursar_money::Currency;
use proptest::prelude::*;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::*;
use crate::domain::posting::{Posting, PostingId};

const START: OffsetDateTime = datetime!(2026-03-01 00:00 UTC);

fn campaign() -> Campaign {
    Campaign {
        id: CampaignId::from_uuid(Uuid::from_u128(7)),
        tenant: TenantId::default(),
        name: "spring".to_owned(),
        currency: Currency::parse("EUR").expect("a currency"),
        user_cap: Some(500),
        starts_at: START,
        ends_at: Some(START + Duration::days(10)),
        grant_ttl: Some(Duration::days(30)),
        conversion: None,
        created_at: START - Duration::days(1),
        ended_at: None,
    }
}

fn new_id() -> GrantId {
    GrantId::from_uuid(Uuid::from_u128(9))
}

fn granted(amount: i64, remaining: i64) -> BonusGrant {
    BonusGrant {
        id: new_id(),
        campaign: campaign().id,
        budget: campaign().budget_wallet(),
        wallet: WalletId::from_uuid(Uuid::from_u128(1)),
        owner: UserId::from_uuid(Uuid::from_u128(2)),
        amount,
        remaining,
        returned: 0,
        status: GrantStatus::Active,
        granted_by: PostingId::from_uuid(Uuid::from_u128(3)),
        granted_at: START,
        expires_at: Some(START + Duration::days(30)),
        ended: None,
    }
}

/// A window includes its beginning and not its end; ending a campaign counts
/// whatever the window says.
#[test]
fn a_campaign_grants_in_its_window() {
    let mut campaign = campaign();
    let day = Duration::days(1);
    for (at, stage) in [
        (START - Duration::microseconds(1), Stage::Scheduled),
        (START, Stage::Active),
        (START + 10 * day - Duration::microseconds(1), Stage::Active),
        (START + 10 * day, Stage::Over),
    ] {
        assert_eq!(campaign.stage(at), stage, "{at}");
        let may_fund = matches!(stage, Stage::Scheduled | Stage::Active);
        assert_eq!(campaign.check_funding(at).is_ok(), may_fund);
        match campaign.new_grant(new_id(), at) {
            Ok(new) => {
                assert_eq!(stage, Stage::Active);
                assert_eq!(new.expires_at, Some(at + 30 * day));
                assert_eq!(new.user_cap, Some(500));
            }
            Err(refused) => assert_eq!(refused, stage),
        }
    }
    campaign.ends_at = None;
    campaign.grant_ttl = None;
    let late = campaign.new_grant(new_id(), START + 9_999 * day);
    assert_eq!(late.map(|new| new.expires_at), Ok(None));
    campaign.ended_at = Some(START);
    for at in [START - day, START, START + 20 * day] {
        assert_eq!(campaign.stage(at), Stage::Ended);
        assert_eq!(campaign.check_funding(at), Err(Stage::Ended));
    }
}

/// A budget's name fits a name of the platform's wallets, and no two campaigns
/// and no currency share one. Names are stored, so this pins them.
#[test]
fn budgets_have_names_of_their_own() {
    let budget = campaign().budget();
    assert_eq!(budget.name, "00000000000000000000000000000007");
    assert_eq!(budget.purpose, SystemPurpose::BonusPool);
    let other = budget_of(new_id_of_campaign(8), campaign().currency);
    assert_ne!(other.name, budget.name);
    assert_ne!(pool(campaign().currency).name, budget.name);
}

fn new_id_of_campaign(number: u128) -> CampaignId {
    CampaignId::from_uuid(Uuid::from_u128(number))
}

/// What is missing is named in this order: the grant has ended, its time is
/// over, there is no rule, it is too young, too little was spent.
#[test]
fn conversion_names_what_is_missing() {
    let rule = ConversionRule {
        min_age: Duration::days(2),
        min_spend: 100,
        is_automatic: false,
    };
    let old = START + Duration::days(2);
    let grant = granted(50, 20);
    let check = |rule, grant: &BonusGrant, spent, now| check_conversion(rule, grant, spent, now);
    assert_eq!(check(Some(rule), &grant, 100, old), Ok(()));
    assert_eq!(
        check(Some(rule), &grant, 99, old),
        Err(NotConvertible::SpentTooLittle {
            spent: 99,
            required: 100
        })
    );
    assert_eq!(
        check(Some(rule), &grant, 100, old - Duration::microseconds(1)),
        Err(NotConvertible::TooYoung { from: old })
    );
    assert_eq!(check(None, &grant, 100, old), Err(NotConvertible::NoRule));
    let due = START + Duration::days(30);
    assert_eq!(
        check(Some(rule), &grant, 100, due),
        Err(NotConvertible::Expired)
    );
    for status in [
        GrantStatus::Spent,
        GrantStatus::Converted,
        GrantStatus::Expired,
    ] {
        let ended = BonusGrant {
            status,
            remaining: 0,
            ..grant.clone()
        };
        assert_eq!(
            check(Some(rule), &ended, 100, old),
            Err(NotConvertible::Ended(status))
        );
    }
}

fn sum(posting: &Posting) -> i128 {
    let amounts = posting.legs.iter().map(|leg| i128::from(leg.amount.get()));
    amounts.sum()
}

/// What the jobs post is the same posting whenever it is made of the same state,
/// another one for another purpose, and never the same with another amount.
#[test]
fn a_job_posts_once() {
    let campaign = campaign();
    let grant = granted(50, 20);
    let expired = expire(&campaign, &grant).expect("something is left");
    let again = expire(&campaign, &grant).expect("something is left");
    assert_eq!(expired, again);
    let converted = convert(&campaign, &grant, None).expect("something is left");
    assert_ne!(converted.id, expired.id);
    let less = expire(&campaign, &granted(50, 19)).expect("something is left");
    assert_eq!(less.id, expired.id);
    assert_ne!(less.fingerprint, expired.fingerprint);
    let left = NonZeroI64::new(5).expect("not 0");
    assert_ne!(refund(&campaign, left, 1).id, refund(&campaign, left, 2).id);
    assert_eq!(expire(&campaign, &granted(50, 0)), None);
    assert_eq!(convert(&campaign, &granted(50, 0), None), None);
}

proptest! {
    /// Every posting of a campaign balances and is of the campaign's currency.
    #[test]
    fn postings_balance(amount in 1_i64..=1_000_000_000_000_000, version in 0_i64..1_000) {
        let campaign = campaign();
        let minor = NonZeroI64::new(amount).expect("not 0");
        let identity = Identity {
            id: PostingId::from_uuid(Uuid::from_u128(5)),
            fingerprint: [1; 32],
        };
        let new = campaign.new_grant(new_id(), START).expect("the window is open");
        let wallet = WalletId::from_uuid(Uuid::from_u128(1));
        let grant_of = granted(amount, amount);
        let postings = [
            Some(fund(&campaign, minor, identity)),
            Some(refund(&campaign, minor, version)),
            Some(grant(&campaign, wallet, minor, new, identity)),
            convert(&campaign, &grant_of, Some(identity)),
            expire(&campaign, &grant_of),
        ];
        for posting in postings {
            let posting = posting.expect("something is left");
            prop_assert_eq!(sum(&posting), 0);
            prop_assert_eq!(posting.legs.len(), 2);
            prop_assert!(posting.legs.iter().all(|leg| leg.currency == campaign.currency));
        }
    }

    /// A grant that may be converted may be converted later, too, until its time
    /// is over, and when more was spent.
    #[test]
    fn rules_stay_met(
        age in 0_i64..60, later in 0_i64..60, spent in 0_i64..300, more in 0_i64..300,
        min_age in 0_i64..40, min_spend in 0_i64..200,
    ) {
        let rule = Some(ConversionRule {
            min_age: Duration::days(min_age),
            min_spend,
            is_automatic: true,
        });
        let grant = granted(50, 20);
        let now = START + Duration::days(age);
        if check_conversion(rule, &grant, spent, now).is_ok() {
            let then = now + Duration::days(later);
            let verdict = check_conversion(rule, &grant, spent + more, then);
            let expected = if grant.is_due(then) { Err(NotConvertible::Expired) } else { Ok(()) };
            prop_assert_eq!(verdict, expected);
        }
    }
}
