//! Limits of what users move, through the whole mesh: each kind at its edge, whom a
//! rule holds for, and many requests at once.

mod bulk;
mod failures;
mod people;
mod rules;

use std::collections::HashMap;

use bursar_aip::id::UserId;
use bursar_contracts::transaction::v1::limit_service_client::LimitServiceClient;
use bursar_contracts::transaction::v1::{
    AppliedLimits, GetMyLimitsRequest, LimitRule, LimitVelocity, LimitedMovement,
    PutLimitRuleRequest,
};
use bursar_status::StatusExt;
use bursar_testkit::{Tokens, with_token};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::support::calls::{deposit, is_replayed, refusal, told, transfer, withdrawal};
use crate::support::person::Person;
use crate::support::{Mesh, away_from_midnight};

pub(super) fn client(mesh: &Mesh) -> LimitServiceClient<Channel> {
    LimitServiceClient::new(mesh.service.channel())
}

/// A rule for all users, about any movement in euros, that limits nothing yet.
pub(super) fn rule() -> PutLimitRuleRequest {
    PutLimitRuleRequest {
        movement: LimitedMovement::Any.into(),
        currency_code: "EUR".to_owned(),
        note: "the tests want it so".to_owned(),
        ..PutLimitRuleRequest::default()
    }
}

pub(super) fn of_user(person: &Person<'_>) -> PutLimitRuleRequest {
    PutLimitRuleRequest {
        user_id: person.id.to_string(),
        ..rule()
    }
}

pub(super) async fn try_put(mesh: &Mesh, rule: PutLimitRuleRequest) -> Result<LimitRule, Status> {
    let admin = mesh.tokens.admin(UserId::generate());
    let response = client(mesh)
        .put_limit_rule(with_token(rule, &admin))
        .await?;
    Ok(response.into_inner().rule.expect("a response has its rule"))
}

pub(super) async fn put(mesh: &Mesh, rule: PutLimitRuleRequest) -> LimitRule {
    try_put(mesh, rule).await.expect("the rule is well formed")
}

/// A new user whose token tells a tier.
pub(super) fn of_tier(mesh: &Mesh, tier: u8) -> Person<'_> {
    let mut person = mesh.person();
    person.token = mesh.tokens.mint(bursar_auth::Claims {
        tier,
        ..Tokens::user_claims(person.id)
    });
    person
}

/// What a user is told of one kind of movement in euros, with wallets of no rule.
pub(super) async fn mine(
    mesh: &Mesh,
    person: &Person<'_>,
    movement: LimitedMovement,
) -> AppliedLimits {
    let request = with_token(GetMyLimitsRequest::default(), &person.token);
    let response = client(mesh).get_my_limits(request).await;
    let limits = response
        .expect("users see their limits")
        .into_inner()
        .limits;
    limits
        .into_iter()
        .find(|limits| limits.movement() == movement && limits.wallet_id.is_empty())
        .expect("something limits it")
}

/// The reason of a refusal by a limit, and what is told with it.
pub(super) fn exceeded(status: &Status) -> (String, HashMap<String, String>) {
    let known = told(status);
    assert_eq!(known.code, Code::FailedPrecondition, "{status:?}");
    assert_eq!(known.preconditions, std::slice::from_ref(&known.reason));
    assert_eq!(known.transaction_id, None, "nothing was recorded");
    let details = status.get_error_details();
    let info = details.error_info().expect("every error has an ErrorInfo");
    (info.reason.clone(), info.metadata.clone())
}

/// Operators see how often each kind of limit refused each kind of movement.
#[tokio::test]
async fn refusals_are_counted() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.funded(100).await;
    let limited = PutLimitRuleRequest {
        single_minor: Some(50),
        velocity: Some(LimitVelocity {
            max_count: 0,
            window_seconds: 60,
        }),
        movement: LimitedMovement::Withdrawal.into(),
        ..rule()
    };
    put(&mesh, limited).await;
    let names = [
        r#"bursar_limit_refusals_total{limit="single",movement="withdrawal"}"#,
        r#"bursar_limit_refusals_total{limit="velocity",movement="withdrawal"}"#,
    ];
    let refused = async {
        for amount in [51, 50] {
            let refused = alice.withdraw(withdrawal(&wallet, amount)).await;
            exceeded(&refused.expect_err("a limit is in the way"));
        }
    };
    let grown = mesh.grown(names, refused).await;
    assert!(grown.iter().all(|grown| *grown >= 1), "{grown:?}");
}

/// Each kind of limit lets through what reaches it and refuses one more, and says
/// what the limit is, what was used, what is left, and by which rule.
#[tokio::test]
async fn each_kind_holds_at_its_edge() {
    away_from_midnight().await;
    let mesh = Mesh::start().await;
    let to = mesh.person().wallet().await;
    let velocity = |max_count| LimitVelocity {
        max_count,
        window_seconds: 3_600,
    };
    let kinds: [(&str, PutLimitRuleRequest, [i64; 2], [i64; 3]); 4] = [
        (
            "TIER_SINGLE_LIMIT_EXCEEDED",
            PutLimitRuleRequest {
                single_minor: Some(100),
                ..rule()
            },
            [100, 101],
            [100, 0, 100],
        ),
        (
            "TIER_DAILY_LIMIT_EXCEEDED",
            PutLimitRuleRequest {
                daily_minor: Some(100),
                ..rule()
            },
            [100, 1],
            [100, 100, 0],
        ),
        (
            "TIER_MONTHLY_LIMIT_EXCEEDED",
            PutLimitRuleRequest {
                monthly_minor: Some(150),
                ..rule()
            },
            [100, 51],
            [150, 100, 50],
        ),
        (
            "VELOCITY_LIMIT_EXCEEDED",
            PutLimitRuleRequest {
                velocity: Some(velocity(1)),
                ..rule()
            },
            [1, 1],
            [1, 1, 0],
        ),
    ];
    for (reason, request, [fits, too_much], [limit, used, left]) in kinds {
        let person = mesh.person();
        let from = person.funded(1_000).await;
        let put = put(
            &mesh,
            PutLimitRuleRequest {
                user_id: person.id.to_string(),
                movement: LimitedMovement::Transfer.into(),
                ..request
            },
        )
        .await;
        let done = person.transfer(transfer(&from, &to, fits)).await;
        done.expect("it reaches the limit");
        let refused = person
            .transfer(transfer(&from, &to, too_much))
            .await
            .expect_err("it exceeds the limit");
        let (told, metadata) = exceeded(&refused);
        assert_eq!(told, reason);
        assert_eq!(metadata["limit"], limit.to_string(), "{reason}");
        assert_eq!(metadata["used"], used.to_string(), "{reason}");
        assert_eq!(metadata["left"], left.to_string(), "{reason}");
        assert_eq!(metadata["rule"], put.limit_rule_id, "{reason}");
        assert_eq!(
            metadata.contains_key("resets_at"),
            reason != "TIER_SINGLE_LIMIT_EXCEEDED"
        );
        assert_eq!(person.balance(&from).await, (1_000 - fits, 0));
    }
    mesh.verify().await;
}

/// Fifty transfers of one user at once, with room for twenty: twenty are made, and
/// not one more.
#[tokio::test]
async fn requests_at_once_use_a_limit_up_and_never_exceed_it() {
    away_from_midnight().await;
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(10_000).await, bob.wallet().await);
    let daily = PutLimitRuleRequest {
        daily_minor: Some(2_000),
        ..rule()
    };
    put(&mesh, daily).await;
    let tries = (0..50).map(|_| alice.transfer(transfer(&from, &to, 100)));
    let mut made = 0;
    for tried in futures::future::join_all(tries).await {
        match tried {
            Ok(_) => made += 1,
            Err(status) => assert_eq!(exceeded(&status).0, "TIER_DAILY_LIMIT_EXCEEDED"),
        }
    }
    assert_eq!(made, 20);
    assert_eq!(bob.balance(&to).await, (2_000, 0));
    let daily = mine(&mesh, &alice, LimitedMovement::Transfer).await.daily;
    let daily = daily.expect("it is limited");
    assert_eq!(
        (daily.limit_minor, daily.used_minor, daily.left_minor),
        (2_000, 2_000, 0)
    );
    mesh.verify().await;
}

/// Sixty transfers of four users at once, to each other: how often holds exactly for
/// each of them, and nobody waits for somebody else in a circle.
#[tokio::test]
async fn how_often_holds_for_each_user_at_once() {
    let mesh = Mesh::start().await;
    let often = PutLimitRuleRequest {
        movement: LimitedMovement::Transfer.into(),
        velocity: Some(LimitVelocity {
            max_count: 5,
            window_seconds: 3_600,
        }),
        ..rule()
    };
    put(&mesh, often).await;
    let people: Vec<Person<'_>> = (0..4).map(|_| mesh.person()).collect();
    let mut wallets = Vec::new();
    for person in &people {
        wallets.push(person.funded(1_000).await);
    }
    let tries = (0..60).map(|number| {
        let (from, to) = (number % 4, (number + 1 + number / 20) % 4);
        let request = transfer(&wallets[from], &wallets[to], 10);
        let person = &people[from];
        async move { (from, person.transfer(request).await) }
    });
    let mut made = [0; 4];
    for (from, tried) in futures::future::join_all(tries).await {
        match tried {
            Ok(_) => made[from] += 1,
            Err(status) => assert_eq!(exceeded(&status).0, "VELOCITY_LIMIT_EXCEEDED"),
        }
    }
    assert_eq!(made, [5; 4]);
    mesh.verify().await;
}

/// The same key is answered the same refusal, also when the limit is wider by then;
/// another key is not.
#[tokio::test]
async fn a_refusal_is_kept_for_its_key() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let single = |minor| PutLimitRuleRequest {
        single_minor: Some(minor),
        ..rule()
    };
    put(&mesh, single(100)).await;
    let request = transfer(&from, &to, 200);
    let first = alice.transfer_with(request.clone(), "k").await;
    let first = first.expect_err("it exceeds the limit");
    put(&mesh, single(200)).await;
    let again = alice.transfer_with(request.clone(), "k").await;
    let again = again.expect_err("as before");
    assert!(is_replayed(again.metadata()));
    assert_eq!(exceeded(&first), exceeded(&again));
    let other = alice.transfer_with(request, "another").await;
    other.expect("it is within the limit now");
    mesh.verify().await;
}

/// The tier of the token decides which rule holds; a user's own rule stands before it,
/// a wallet's before that, for each kind of limit alone; 0 refuses everything.
#[tokio::test]
async fn the_most_specific_rule_is_asked() {
    let mesh = Mesh::start().await;
    let to = mesh.person().wallet().await;
    for (tier, minor) in [(None, 10), (Some(1), 100), (Some(2), 200)] {
        let of_tier = PutLimitRuleRequest {
            tier,
            single_minor: Some(minor),
            ..rule()
        };
        put(&mesh, of_tier).await;
    }
    let everything = PutLimitRuleRequest {
        movement: LimitedMovement::Deposit.into(),
        single_minor: Some(1_000_000),
        ..rule()
    };
    for tier in [None, Some(1), Some(2)] {
        let of_tier = PutLimitRuleRequest {
            tier,
            ..everything.clone()
        };
        put(&mesh, of_tier).await;
    }
    let most = async |person: &Person<'_>, from: &str, limit: i64| {
        let refused = person.transfer(transfer(from, &to, limit + 1)).await;
        let (_, metadata) = exceeded(&refused.expect_err("it exceeds the limit"));
        assert_eq!(metadata["limit"], limit.to_string());
        if limit > 0 {
            let done = person.transfer(transfer(from, &to, limit)).await;
            done.expect("it reaches the limit");
        }
    };
    let (nobody, known, best) = (of_tier(&mesh, 0), of_tier(&mesh, 1), of_tier(&mesh, 2));
    for (person, limit) in [(&nobody, 10), (&known, 100), (&best, 200)] {
        let from = person.funded(1_000).await;
        most(person, &from, limit).await;
    }

    let (first, second) = (best.funded(1_000).await, best.funded(1_000).await);
    let own = PutLimitRuleRequest {
        single_minor: Some(300),
        ..of_user(&best)
    };
    put(&mesh, own).await;
    most(&best, &first, 300).await;
    let of_wallet = PutLimitRuleRequest {
        wallet_id: second.clone(),
        single_minor: Some(0),
        ..rule()
    };
    put(&mesh, of_wallet).await;
    most(&best, &second, 0).await;
    most(&best, &first, 300).await;
    // Another user who names the wallet learns nothing of its rule.
    let foreign = known.transfer(transfer(&second, &to, 1)).await;
    assert_eq!(
        refusal(&foreign.expect_err("it is not theirs")),
        (Code::NotFound, "WALLET_NOT_FOUND".to_owned())
    );
    mesh.verify().await;
}

/// Each kind of movement is counted by itself, and a rule for one of them stands
/// before one for all.
#[tokio::test]
async fn kinds_of_movements_are_counted_apart() {
    away_from_midnight().await;
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.wallet().await, bob.wallet().await);
    for (movement, minor) in [(LimitedMovement::Any, 100), (LimitedMovement::Deposit, 500)] {
        let daily = PutLimitRuleRequest {
            movement: movement.into(),
            daily_minor: Some(minor),
            ..rule()
        };
        put(&mesh, daily).await;
    }
    alice.deposit(deposit(&from, 500)).await.expect("it fits");
    let refused = alice.deposit(deposit(&from, 1)).await;
    assert_eq!(exceeded(&refused.expect_err("used up")).1["limit"], "500");
    alice
        .withdraw(withdrawal(&from, 100))
        .await
        .expect("it fits");
    let refused = alice.withdraw(withdrawal(&from, 1)).await;
    assert_eq!(exceeded(&refused.expect_err("used up")).1["limit"], "100");
    alice
        .transfer(transfer(&from, &to, 100))
        .await
        .expect("it fits");
    let refused = alice.transfer(transfer(&from, &to, 1)).await;
    assert_eq!(exceeded(&refused.expect_err("used up")).1["limit"], "100");
    assert_eq!(alice.balance(&from).await, (300, 0));
    mesh.verify().await;
}
