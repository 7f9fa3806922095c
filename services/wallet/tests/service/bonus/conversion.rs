//! ConvertBonus and the job that converts by itself.

use bursar_aip::id::{HoldId, TenantId, UserId};
use bursar_contracts::wallet::v1::{
    BonusGrant, BonusGrantStatus, Bucket, ConversionRule, CreateCampaignRequest, HoldAction,
    PostingKind, Wallet,
};
use bursar_money::Currency;
use bursar_testkit::TestService;
use bursar_wallet::store::{bonus_grants, bonus_spending};
use tonic::Code;

use super::campaigns::forget_keys;
use super::office::{
    Office, at_once, convert_request, is_replay, keyed, metadata, new, owner_token, plain,
    user_token,
};
use super::spending::spend;
use crate::support::{
    Fixture, applied, capture, deposit, eventually, leg, leg_in, place, posting, reason, transfer,
    with_hold,
};

fn with_rule(rule: ConversionRule) -> CreateCampaignRequest {
    CreateCampaignRequest {
        conversion: Some(rule),
        ..plain()
    }
}

/// What is left of a grant becomes available money, once, and the answer to its
/// key stays the same, also when it was lost.
#[tokio::test]
async fn a_grant_is_converted_once() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let campaign = office.create(with_rule(at_once())).await;
    let alice = fixture.funded("EUR", 5).await;
    let shop = fixture.open(UserId::generate(), "EUR").await;
    let grant = office.grant(&alice, &campaign, 50).await.expect("granted");
    applied(&fixture.ledger().post_one(spend(&alice, &shop, 20)).await);
    let owner = owner_token(&fixture.tokens, &alice);
    let convert = || keyed(convert_request(&grant), &owner, "convert");
    let first = office.client().convert_bonus(convert()).await;
    let first = first.expect("converted").into_inner();
    assert_eq!(first.converted_minor, 30);
    let converted = first.grant.clone().expect("a grant");
    assert_eq!(converted.status(), BonusGrantStatus::Converted);
    assert_eq!(converted.remaining_minor, 0);
    assert!(converted.ended_at.is_some());
    let replay = office
        .client()
        .convert_bonus(convert())
        .await
        .expect("again");
    assert!(is_replay(&replay));
    assert_eq!(replay.into_inner(), first);
    forget_keys(&fixture).await;
    let lost = office
        .client()
        .convert_bonus(convert())
        .await
        .expect("found");
    assert!(!is_replay(&lost));
    assert_eq!(lost.into_inner(), first);
    let again = office
        .convert(&alice, &grant)
        .await
        .expect_err("it has ended");
    assert_eq!(again.code(), Code::FailedPrecondition);
    assert_eq!(reason(&again), "BONUS_GRANT_NOT_ACTIVE");
    assert_eq!(metadata(&again, "status").as_deref(), Some("CONVERTED"));
    let balance = fixture.balance(&alice).await;
    assert_eq!((balance.available_minor, balance.bonus_minor), (35, 0));
    let totals = office.totals(&campaign).await;
    assert_eq!((totals.spent_minor, totals.converted_minor), (20, 30));
    assert_eq!((totals.left_minor, totals.funded_minor), (950, 1_000));
    fixture.verify().await;
}

/// Without a rule a grant is never converted; too young a one not yet.
#[tokio::test]
async fn a_rule_has_to_be_met() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let alice = fixture.funded("EUR", 0).await;
    let unruled = office.create(plain()).await;
    let grant = office.grant(&alice, &unruled, 5).await.expect("granted");
    let refused = office.convert(&alice, &grant).await.expect_err("no rule");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason(&refused), "BONUS_NOT_CONVERTIBLE");
    for key in ["convertible_from", "spent_minor", "min_spend_minor"] {
        assert_eq!(metadata(&refused, key), None);
    }
    let aged = with_rule(ConversionRule {
        min_age_seconds: 600,
        ..at_once()
    });
    let aged = office.create(aged).await;
    let grant = office.grant(&alice, &aged, 5).await.expect("granted");
    let refused = office.convert(&alice, &grant).await.expect_err("young");
    assert_eq!(reason(&refused), "BONUS_NOT_CONVERTIBLE");
    let from = metadata(&refused, "convertible_from").expect("a time");
    let format = &time::format_description::well_known::Rfc3339;
    let from = time::OffsetDateTime::parse(&from, format).expect("RFC 3339");
    let granted_at = grant.granted_at.expect("a time").seconds;
    assert_eq!(from.unix_timestamp(), granted_at + 600);
    office.age(&grant, 600).await;
    assert_eq!(office.convert(&alice, &grant).await.expect("old"), 5);
    fixture.verify().await;
}

/// Captures a hold to a user's wallet, as a shop with the transaction service
/// would.
async fn pay_by_hold(fixture: &Fixture, from: &Wallet, to: &Wallet, amount: i64) {
    let hold = HoldId::generate();
    let mut ledger = fixture.ledger();
    applied(&ledger.post_one(place(hold, from, amount)).await);
    let legs = vec![leg_in(Bucket::Held, from, -amount), leg(to, amount)];
    let capture = with_hold(
        hold,
        HoldAction::Capture,
        posting(PostingKind::HoldCapture, legs),
    );
    applied(&ledger.post_one(capture).await);
}

/// Spent is what went from the wallet to somebody else since the grant: not what
/// was spent before, moved to another wallet of the user, taken in, or paid out.
#[tokio::test]
async fn only_spending_is_counted() {
    let fixture = Fixture::start_with(&[("BURSAR_BONUS_SPEND_ORDER", "available_first")]).await;
    let office = Office::of(&fixture);
    let rule = ConversionRule {
        min_spend_minor: 1_000,
        ..at_once()
    };
    let campaign = office.create(with_rule(rule)).await;
    let user = UserId::generate();
    let alice = fixture.open(user, "EUR").await;
    let savings = fixture.open(user, "EUR").await;
    let shop = fixture.funded("EUR", 500).await;
    let mut ledger = fixture.ledger();
    applied(&ledger.post_one(deposit(&alice, 1_000)).await);
    applied(&ledger.post_one(transfer(&alice, &shop, 200)).await);
    let grant = office.grant(&alice, &campaign, 500).await.expect("granted");
    let spent = async || {
        let refused = office
            .convert(&alice, &grant)
            .await
            .expect_err("too little");
        assert_eq!(reason(&refused), "BONUS_NOT_CONVERTIBLE");
        let required = metadata(&refused, "min_spend_minor");
        assert_eq!(required.as_deref(), Some("1000"));
        metadata(&refused, "spent_minor").expect("a sum")
    };
    assert_eq!(spent().await, "0");
    let withdrawal = HoldId::generate();
    for counted_for_nothing in [
        transfer(&alice, &savings, 100),
        transfer(&shop, &alice, 100),
        place(withdrawal, &alice, 100),
        capture(withdrawal, &alice, 100),
        deposit(&alice, 1),
    ] {
        applied(&ledger.post_one(counted_for_nothing).await);
    }
    assert_eq!(spent().await, "0");
    // A payment in two entries: all 701 that are available, and bonus money.
    let payment = ledger.post_one(spend(&alice, &shop, 711)).await;
    assert_eq!(applied(&payment).legs.len(), 3);
    assert_eq!(spent().await, "711");
    applied(&ledger.post_one(deposit(&alice, 300)).await);
    // Half of this one goes to another wallet of the user.
    let legs = vec![leg(&alice, -2), leg(&savings, 1), leg(&shop, 1)];
    let shared = posting(PostingKind::Transfer, legs);
    applied(&ledger.post_one(shared).await);
    assert_eq!(spent().await, "712");
    pay_by_hold(&fixture, &alice, &shop, 287).await;
    assert_eq!(spent().await, "999");
    for step in [1, 2, 3, 1_000] {
        assert_eq!(counted_by(&fixture, &grant, step).await, 999);
    }
    applied(&ledger.post_one(transfer(&alice, &shop, 1)).await);
    assert_eq!(office.convert(&alice, &grant).await.expect("met"), 490);
    fixture.verify().await;
}

/// What was spent since a grant, counted from its beginning so many entries at a
/// time: the cuts may go through a payment.
async fn counted_by(fixture: &Fixture, grant: &BonusGrant, step: i64) -> i64 {
    let mut connection = fixture.database.owner.begin().await.expect("begun");
    sqlx::query("DELETE FROM bonus_spending")
        .execute(&mut *connection)
        .await
        .expect("the owner may forget");
    let id = grant.grant_id.parse().expect("a grant's id");
    let grant = bonus_grants::find(&mut connection, &TenantId::default(), id, None).await;
    let grant = grant.expect("found").expect("it is there");
    let currency = Currency::parse("EUR").expect("a currency");
    let mut counted = bonus_spending::counted(&mut connection, &grant)
        .await
        .expect("the beginning");
    loop {
        let next = bonus_spending::count_on(&mut connection, &grant, currency, counted, step)
            .await
            .expect("counted");
        if next.version == counted.version {
            break counted.spent;
        }
        assert!(next.version <= counted.version + step);
        counted = next;
    }
}

/// Frozen and closed wallets convert nothing, and nobody converts another
/// user's grant, nor one whose time is over.
#[tokio::test]
async fn conversions_are_refused() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let request = CreateCampaignRequest {
        grant_ttl_seconds: 3_600,
        ..with_rule(at_once())
    };
    let campaign = office.create(request).await;
    let alice = fixture.funded("EUR", 0).await;
    let grant = office.grant(&alice, &campaign, 50).await.expect("granted");
    let stranger = user_token(&fixture.tokens, UserId::generate());
    let refused = office
        .client()
        .convert_bonus(new(convert_request(&grant), &stranger))
        .await
        .expect_err("not the caller's");
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(reason(&refused), "BONUS_GRANT_NOT_FOUND");
    for (status, why) in [("frozen", "WALLET_FROZEN"), ("closed", "WALLET_CLOSED")] {
        fixture.set_status(&alice, status).await;
        let refused = office.convert(&alice, &grant).await.expect_err(status);
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(reason(&refused), why);
    }
    fixture.set_status(&alice, "active").await;
    office.age(&grant, 3_600).await;
    let refused = office.convert(&alice, &grant).await.expect_err("too late");
    assert_eq!(reason(&refused), "BONUS_GRANT_NOT_ACTIVE");
    assert_eq!(metadata(&refused, "status").as_deref(), Some("EXPIRED"));
    let spent = office.grant(&alice, &campaign, 5).await.expect("granted");
    let shop = fixture.open(UserId::generate(), "EUR").await;
    eventually("the old grant is gone", async || {
        fixture.balance(&alice).await.bonus_minor == 5
    })
    .await;
    applied(&fixture.ledger().post_one(spend(&alice, &shop, 5)).await);
    let refused = office
        .convert(&alice, &spent)
        .await
        .expect_err("it is spent");
    assert_eq!(metadata(&refused, "status").as_deref(), Some("SPENT"));
    fixture.verify().await;
}

/// The job converts what meets the rule and nothing else, once, with two
/// replicas at work; what it counted is forgotten when the grant has ended.
#[tokio::test]
async fn grants_convert_by_themselves() {
    let fixture = Fixture::start().await;
    let _replica = TestService::start(
        bursar_wallet::definition(),
        &fixture.database,
        &fixture.tokens,
        &[],
    )
    .await;
    let office = Office::of(&fixture);
    let automatic = |min_age_seconds, min_spend_minor| {
        with_rule(ConversionRule {
            min_age_seconds,
            min_spend_minor,
            automatic: true,
        })
    };
    let spending = office.create(automatic(0, 40)).await;
    let waiting = office.create(automatic(600, 0)).await;
    let manual = office.create(with_rule(at_once())).await;
    let alice = fixture.funded("EUR", 100).await;
    let bob = fixture.funded("EUR", 100).await;
    let shop = fixture.open(UserId::generate(), "EUR").await;
    let by_spending = office.grant(&alice, &spending, 50).await.expect("granted");
    let unspent = office.grant(&bob, &spending, 50).await.expect("granted");
    let by_age = office.grant(&bob, &waiting, 30).await.expect("granted");
    let young = office.grant(&bob, &waiting, 20).await.expect("granted");
    let left = office.grant(&alice, &manual, 10).await.expect("granted");
    applied(&fixture.ledger().post_one(transfer(&alice, &shop, 39)).await);
    office.age(&by_age, 600).await;
    eventually("the old one is converted", async || {
        office.current(&by_age).await.status() == BonusGrantStatus::Converted
    })
    .await;
    assert_eq!(
        office.current(&by_spending).await.status(),
        BonusGrantStatus::Active
    );
    applied(&fixture.ledger().post_one(transfer(&alice, &shop, 1)).await);
    eventually("the one that was spent for is converted", async || {
        office.current(&by_spending).await.status() == BonusGrantStatus::Converted
    })
    .await;
    for grant in [&unspent, &young, &left] {
        assert_eq!(&office.current(grant).await, grant);
    }
    assert_eq!(fixture.balance(&alice).await.available_minor, 110);
    assert_eq!(fixture.balance(&bob).await.available_minor, 130);
    eventually("what was counted is forgotten", async || {
        let counted: Vec<uuid::Uuid> = sqlx::query_scalar("SELECT grant_id FROM bonus_spending")
            .fetch_all(&fixture.database.pool)
            .await
            .expect("counts");
        !counted.contains(&crate::support::uuid_of(&by_spending.grant_id))
    })
    .await;
    fixture.verify().await;
}

/// A frozen wallet's grant holds up nobody else's conversion, and is converted
/// when the wallet is unfrozen.
#[tokio::test]
async fn a_stuck_conversion_blocks_nobody() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let rule = ConversionRule {
        automatic: true,
        min_age_seconds: 600,
        ..at_once()
    };
    let campaign = office.create(with_rule(rule)).await;
    let mut wallets = Vec::new();
    for _ in 0..3 {
        let wallet = fixture.funded("EUR", 10).await;
        let grant = office.grant(&wallet, &campaign, 5).await.expect("granted");
        wallets.push((wallet, grant));
    }
    let stuck = &wallets[0];
    fixture.set_status(&stuck.0, "frozen").await;
    for (_, grant) in &wallets {
        office.age(grant, 600).await;
    }
    for (_, grant) in &wallets[1..] {
        eventually("the others are converted", async || {
            office.current(grant).await.status() == BonusGrantStatus::Converted
        })
        .await;
    }
    let stuck_now = office.current(&stuck.1).await;
    assert_eq!(stuck_now.status(), BonusGrantStatus::Active);
    fixture.set_status(&stuck.0, "active").await;
    eventually("the stuck one is converted", async || {
        office.current(&stuck.1).await.status() == BonusGrantStatus::Converted
    })
    .await;
    fixture.verify().await;
}
