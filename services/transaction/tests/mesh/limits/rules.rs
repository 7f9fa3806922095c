//! The operators' RPCs about rules, and what users see of them.

use bursar_aip::id::{UserId, WalletId};
use bursar_contracts::transaction::v1::{
    ArchiveLimitRuleRequest, GetMyLimitsRequest, LimitVelocity, LimitedMovement,
    ListLimitRulesRequest, ListLimitRulesResponse, PutLimitRuleRequest,
};
use bursar_testkit::with_token;
use tonic::{Code, Status};

use super::{client, of_tier, of_user, put, rule, try_put};
use crate::support::calls::{refusal, told, transfer};
use crate::support::{Mesh, away_from_midnight};

async fn list(mesh: &Mesh, request: ListLimitRulesRequest) -> ListLimitRulesResponse {
    let admin = mesh.tokens.admin(UserId::generate());
    let response = client(mesh)
        .list_limit_rules(with_token(request, &admin))
        .await;
    response.expect("admins see rules").into_inner()
}

async fn archive(mesh: &Mesh, id: &str) -> Result<String, Status> {
    let admin = mesh.tokens.admin(UserId::generate());
    let request = ArchiveLimitRuleRequest {
        limit_rule_id: id.to_owned(),
    };
    let response = client(mesh)
        .archive_limit_rule(with_token(request, &admin))
        .await?;
    let rule = response.into_inner().rule.expect("a response has its rule");
    assert!(rule.archived_at.is_some());
    Ok(rule.archived_by)
}

/// Another rule for the same takes the place of the one before, the same one changes
/// nothing, and what is archived no longer holds; all of them are kept.
#[tokio::test]
async fn rules_are_replaced_and_kept() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let (from, to) = (alice.funded(1_000).await, mesh.person().wallet().await);
    let single = |minor| PutLimitRuleRequest {
        single_minor: Some(minor),
        ..of_user(&alice)
    };
    let first = put(&mesh, single(10)).await;
    assert_eq!(put(&mesh, single(10)).await, first);
    let second = put(&mesh, single(20)).await;
    assert_ne!(first.limit_rule_id, second.limit_rule_id);
    let of_alice = ListLimitRulesRequest {
        user_id: alice.id.to_string(),
        ..ListLimitRulesRequest::default()
    };
    let listed = list(&mesh, of_alice.clone()).await.rules;
    assert_eq!(listed, std::slice::from_ref(&second));

    let refused = alice.transfer(transfer(&from, &to, 21)).await;
    assert_eq!(
        refusal(&refused.expect_err("it exceeds the limit")).1,
        "TIER_SINGLE_LIMIT_EXCEEDED"
    );
    let by = archive(&mesh, &second.limit_rule_id).await;
    let again = archive(&mesh, &second.limit_rule_id).await;
    assert_eq!(by.expect("it is there"), again.expect("it is kept"));
    let done = alice.transfer(transfer(&from, &to, 21)).await;
    done.expect("nothing limits it any more");

    let all = ListLimitRulesRequest {
        include_archived: true,
        page_size: 1,
        ..of_alice
    };
    let page = list(&mesh, all.clone()).await;
    assert_eq!(page.rules[0].limit_rule_id, second.limit_rule_id);
    let next = ListLimitRulesRequest {
        page_token: page.next_page_token,
        ..all
    };
    let page = list(&mesh, next).await;
    assert_eq!(page.rules[0].limit_rule_id, first.limit_rule_id);
    assert_eq!(page.next_page_token, "");
    mesh.verify().await;
}

/// A rule that contradicts itself, limits nothing, or is about what is not there is
/// refused; and only operators may put one.
#[tokio::test]
async fn rules_that_make_no_sense_are_refused() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let euros = alice.wallet().await;
    let single = PutLimitRuleRequest {
        single_minor: Some(10),
        ..rule()
    };
    let invalid = (Code::InvalidArgument, "INVALID_FIELD".to_owned());
    let wallet_not_found = (Code::NotFound, "WALLET_NOT_FOUND".to_owned());
    for (request, expected) in [
        (rule(), invalid.clone()),
        (
            PutLimitRuleRequest {
                tier: Some(1),
                user_id: alice.id.to_string(),
                ..single.clone()
            },
            invalid.clone(),
        ),
        (
            PutLimitRuleRequest {
                wallet_id: euros.clone(),
                user_id: alice.id.to_string(),
                ..single.clone()
            },
            invalid.clone(),
        ),
        (
            PutLimitRuleRequest {
                tier: Some(10),
                ..single.clone()
            },
            invalid.clone(),
        ),
        (
            PutLimitRuleRequest {
                single_minor: Some(-1),
                ..single.clone()
            },
            invalid.clone(),
        ),
        (
            PutLimitRuleRequest {
                velocity: Some(LimitVelocity {
                    max_count: 1,
                    window_seconds: 0,
                }),
                ..single.clone()
            },
            invalid,
        ),
        (
            PutLimitRuleRequest {
                currency_code: "XQX".to_owned(),
                ..single.clone()
            },
            (Code::InvalidArgument, "CURRENCY_UNSUPPORTED".to_owned()),
        ),
        (
            PutLimitRuleRequest {
                wallet_id: WalletId::generate().to_string(),
                ..single.clone()
            },
            wallet_not_found,
        ),
        (
            PutLimitRuleRequest {
                wallet_id: euros,
                currency_code: "USD".to_owned(),
                ..single.clone()
            },
            (Code::InvalidArgument, "CURRENCY_MISMATCH".to_owned()),
        ),
    ] {
        let refused = try_put(&mesh, request).await.expect_err("it is refused");
        assert_eq!(refusal(&refused), expected);
    }
    let missing = archive(&mesh, "lim_01890a5d-ac96-774b-bcce-b302099a8057").await;
    assert_eq!(
        refusal(&missing.expect_err("there is none")),
        (Code::NotFound, "LIMIT_RULE_NOT_FOUND".to_owned())
    );
    let request = with_token(single, &alice.token);
    let refused = client(&mesh).put_limit_rule(request).await;
    let refused = refused.expect_err("users put no rules");
    assert_eq!(told(&refused).code, Code::PermissionDenied);
    assert_eq!(mesh.count("SELECT count(*) FROM limit_rules").await, 0);
}

/// A user sees what holds for the token's tier and for wallets of their own, with what
/// is used and left and when that resets; and nothing of anybody else's.
#[tokio::test]
async fn users_see_their_own_limits() {
    away_from_midnight().await;
    let mesh = Mesh::start().await;
    let (alice, bob) = (of_tier(&mesh, 1), of_tier(&mesh, 1));
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let tiers = PutLimitRuleRequest {
        tier: Some(1),
        single_minor: Some(400),
        daily_minor: Some(500),
        velocity: Some(LimitVelocity {
            max_count: 3,
            window_seconds: 60,
        }),
        ..rule()
    };
    let tiers = put(&mesh, tiers).await;
    let of_wallet = PutLimitRuleRequest {
        wallet_id: from.clone(),
        movement: LimitedMovement::Withdrawal.into(),
        daily_minor: Some(50),
        ..rule()
    };
    let of_wallet = put(&mesh, of_wallet).await;
    assert_eq!(of_wallet.user_id, alice.id.to_string());
    let done = alice.transfer(transfer(&from, &to, 100)).await;
    done.expect("it is within all limits");

    let mine = async |token: &str| {
        let request = GetMyLimitsRequest {
            currency_code: "EUR".to_owned(),
        };
        let response = client(&mesh)
            .get_my_limits(with_token(request, token))
            .await;
        response.expect("users see their limits").into_inner()
    };
    let told = mine(&alice.token).await;
    assert_eq!(told.tier, 1);
    let seen: Vec<_> = told
        .limits
        .iter()
        .map(|limits| (limits.movement(), limits.wallet_id.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            (LimitedMovement::Transfer, ""),
            (LimitedMovement::Deposit, ""),
            (LimitedMovement::Withdrawal, ""),
            (LimitedMovement::Withdrawal, from.as_str()),
        ]
    );
    let transfers = &told.limits[0];
    let single = transfers.single.as_ref().expect("it is limited");
    assert_eq!((single.limit_minor, single.left_minor), (400, 400));
    assert!(single.resets_at.is_none());
    let daily = transfers.daily.as_ref().expect("it is limited");
    assert_eq!((daily.used_minor, daily.left_minor), (100, 400));
    assert_eq!(daily.limit_rule_id, tiers.limit_rule_id);
    let resets_at = daily.resets_at.as_ref().expect("the day ends");
    assert_eq!(resets_at.seconds % 86_400, 0);
    assert!(transfers.monthly.is_none());
    let velocity = transfers.velocity.as_ref().expect("it is limited");
    assert_eq!((velocity.used_count, velocity.left_count), (1, 2));
    assert!(velocity.resets_at.is_some());
    let own = &told.limits[3];
    let daily = own.daily.as_ref().expect("it is limited");
    assert_eq!(daily.limit_rule_id, of_wallet.limit_rule_id);
    assert_eq!(daily.limit_minor, 50);
    let single = own.single.as_ref().expect("the tier's");
    assert_eq!(single.limit_minor, 400);

    let others = mine(&bob.token).await;
    assert_eq!(others.limits.len(), 3);
    let daily = others.limits[0].daily.as_ref().expect("it is limited");
    assert_eq!(daily.used_minor, 0);
    let unverified = mine(&mesh.person().token).await;
    assert_eq!((unverified.tier, unverified.limits), (0, Vec::new()));
}
