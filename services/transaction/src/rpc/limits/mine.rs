//! `GetMyLimits`.

use std::collections::BTreeSet;

use bursar_aip::id::WalletId;
use bursar_contracts::transaction::v1 as proto;
use bursar_money::Currency;
use bursar_server::{Context, now};
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use tonic::{Request, Response, Status};

use super::contract::{movement, number};
use super::error::RuleError;
use super::list::currency;
use crate::advance::Engine;
use crate::contract::timestamp;
use crate::domain::limit::{
    Applied, Limit, LimitRule, Limited, Period, Recent, Scope, Subject, UsageKey, Used, Window,
    left,
};
use crate::store::limits::{self, rules};

/// How many rules are read at most: those of a user's wallets come last.
const MAX_RULES: i64 = 5000;
/// How many limits are told at most.
const MAX_TOLD: usize = 1000;

/// What is set for some movements, and where what they use is found.
struct Place<'a> {
    subject: Subject<'a>,
    applied: Applied,
}

pub(super) async fn handle(
    engine: &Engine,
    request: Request<proto::GetMyLimitsRequest>,
) -> Result<Response<proto::GetMyLimitsResponse>, Status> {
    let context = Context::of(&request)?;
    let user = context.user_id()?;
    let (tenant, tier) = (&context.caller.tenant, context.caller.tier);
    let only = currency(&request.get_ref().currency_code)?;
    let at = now();
    let mut conn = engine.pool.acquire().await.map_err(RuleError::from)?;
    let rules = rules::of_user(&mut conn, tenant, user, tier, only, MAX_RULES)
        .await
        .map_err(RuleError::from)?;
    let places: Vec<Place<'_>> = wallets(&rules)
        .into_iter()
        .flat_map(|(currency, wallet)| {
            Limited::ALL.map(|movement| Subject {
                tenant,
                user,
                tier,
                wallet,
                movement,
                currency,
            })
        })
        .filter(|subject| is_told(&rules, subject))
        .map(|subject| Place {
            applied: Applied::of(&rules, subject),
            subject,
        })
        .filter(|place| !place.applied.is_empty())
        .take(MAX_TOLD)
        .collect();
    let limits = told(&mut conn, &places, at)
        .await
        .map_err(RuleError::from)?;
    Ok(Response::new(proto::GetMyLimitsResponse {
        tier: i32::from(tier),
        limits,
        as_of: Some(timestamp(at)),
    }))
}

/// The currencies there are rules for, and in each the wallets that have some of
/// their own behind all others.
fn wallets(rules: &[LimitRule]) -> BTreeSet<(Currency, Option<WalletId>)> {
    rules
        .iter()
        .flat_map(|rule| {
            let own = match rule.scope {
                Scope::Wallet { wallet, .. } => Some(wallet),
                Scope::Everybody | Scope::Tier(_) | Scope::User(_) => None,
            };
            [(rule.currency, None), (rule.currency, own)]
        })
        .collect()
}

/// A wallet is told only about movements that a rule of its own is about.
fn is_told(rules: &[LimitRule], subject: &Subject<'_>) -> bool {
    subject.wallet.is_none_or(|wanted| {
        rules.iter().any(|rule| {
            matches!(rule.scope, Scope::Wallet { wallet, .. } if wallet == wanted)
                && rule
                    .movement
                    .is_none_or(|movement| movement == subject.movement)
        })
    })
}

async fn told(
    conn: &mut PgConnection,
    places: &[Place<'_>],
    at: OffsetDateTime,
) -> Result<Vec<proto::AppliedLimits>, sqlx::Error> {
    let keys: Vec<UsageKey> = places
        .iter()
        .flat_map(|place| Period::ALL.map(|period| key(place.subject, period, at)))
        .collect();
    let windows: Vec<(Subject<'_>, Window)> = places
        .iter()
        .filter_map(|place| {
            let velocity = place.applied.velocity?.most;
            let window = Window {
                since: at - Duration::seconds(i64::from(velocity.window_seconds)),
                max_count: velocity.max_count,
            };
            Some((place.subject, window))
        })
        .collect();
    let used = limits::used(conn, &keys).await?;
    let mut recent = limits::recent(conn, &windows).await?.into_iter();
    Ok(places
        .iter()
        .zip(used.chunks_exact(Period::ALL.len()))
        .map(|(place, used)| {
            let recent = place.applied.velocity.and_then(|_| recent.next());
            applied(place, used, recent.unwrap_or_default(), at)
        })
        .collect())
}

fn key(subject: Subject<'_>, period: Period, at: OffsetDateTime) -> UsageKey {
    UsageKey {
        user: subject.user,
        tenant: subject.tenant.clone(),
        movement: subject.movement,
        currency: subject.currency,
        period,
        starts_on: period.starts_on(at),
    }
}

/// The message about a place. `used` has the day and the month.
fn applied(
    place: &Place<'_>,
    used: &[Used],
    recent: Recent,
    at: OffsetDateTime,
) -> proto::AppliedLimits {
    let Place { subject, applied } = place;
    let sum = |limit: Limit<i64>, used: i128, resets_at: Option<OffsetDateTime>| {
        proto::AmountLimit {
            limit_minor: limit.most,
            // A sum beyond the contract's numbers is told as the largest of them.
            used_minor: i64::try_from(used).unwrap_or(i64::MAX),
            left_minor: left(limit.most, used),
            resets_at: resets_at.map(timestamp),
            limit_rule_id: limit.rule.to_string(),
        }
    };
    let of_period = |limit: Option<Limit<i64>>, place: usize, period: Period| {
        let used = used.get(place).map_or(0, |used| used.minor);
        limit.map(|limit| sum(limit, used, Some(period.ends_at(at))))
    };
    proto::AppliedLimits {
        movement: movement(Some(subject.movement)).into(),
        currency_code: subject.currency.code().to_owned(),
        wallet_id: subject
            .wallet
            .map(|wallet| wallet.to_string())
            .unwrap_or_default(),
        single: applied.single.map(|limit| sum(limit, 0, None)),
        daily: of_period(applied.daily, 0, Period::Day),
        monthly: of_period(applied.monthly, 1, Period::Month),
        velocity: applied.velocity.map(|limit| {
            let Limit { most, rule } = limit;
            let window = Duration::seconds(i64::from(most.window_seconds));
            proto::VelocityLimit {
                max_count: number(most.max_count),
                window_seconds: number(most.window_seconds),
                used_count: number(recent.count),
                left_count: number(most.max_count.saturating_sub(recent.count)),
                resets_at: recent.oldest.map(|oldest| timestamp(oldest + window)),
                limit_rule_id: rule.to_string(),
            }
        }),
    }
}
