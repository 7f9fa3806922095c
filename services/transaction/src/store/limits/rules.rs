//! The rules. One that is changed is archived, and another one put in its place.

use bursar_aip::id::{LimitRuleId, TenantId, UserId, WalletId};
use bursar_money::Currency;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::keys::tenant;
use crate::domain::limit::{LimitRule, Limited, MAX_TIER, Scope, Velocity};
use crate::store::unreadable;

/// The name of a rule's movement where it limits each of them.
const ANY: &str = "any";

/// A rule with who put it and who ended it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) rule: LimitRule,
    /// Why it was put.
    pub(crate) note: String,
    pub(crate) created_by: String,
    pub(crate) created_at: OffsetDateTime,
    /// Who archived or replaced it, and when.
    pub(crate) archived: Option<(String, OffsetDateTime)>,
}

/// What a rule says, as it is in the database.
pub(super) struct RuleRow {
    pub(super) limit_rule_id: Uuid,
    pub(super) tenant_id: String,
    pub(super) tier: Option<i16>,
    pub(super) user_id: Option<Uuid>,
    pub(super) wallet_id: Option<Uuid>,
    pub(super) movement: String,
    pub(super) currency_code: String,
    pub(super) single_minor: Option<i64>,
    pub(super) daily_minor: Option<i64>,
    pub(super) monthly_minor: Option<i64>,
    pub(super) velocity_count: Option<i32>,
    pub(super) velocity_window_seconds: Option<i32>,
}

impl RuleRow {
    pub(super) fn read(self) -> Result<LimitRule, sqlx::Error> {
        let currency = Currency::parse(&self.currency_code);
        Ok(LimitRule {
            id: LimitRuleId::from_uuid(self.limit_rule_id),
            tenant: tenant(&self.tenant_id)?,
            scope: self.scope()?,
            movement: self.movement()?,
            currency: currency.map_err(|_| unreadable("currency_code"))?,
            single_minor: self.single_minor,
            daily_minor: self.daily_minor,
            monthly_minor: self.monthly_minor,
            velocity: self.velocity()?,
        })
    }

    fn scope(&self) -> Result<Scope, sqlx::Error> {
        let user = self.user_id.map(UserId::from_uuid);
        let wallet = self.wallet_id.map(WalletId::from_uuid);
        Ok(match (self.tier, user, wallet) {
            (None, None, None) => Scope::Everybody,
            (Some(tier), None, None) => {
                Scope::Tier(u8::try_from(tier).map_err(|_| unreadable("tier"))?)
            }
            (None, Some(user), None) => Scope::User(user),
            (None, Some(owner), Some(wallet)) => Scope::Wallet { wallet, owner },
            (_, _, _) => return Err(unreadable("tier")),
        })
    }

    fn movement(&self) -> Result<Option<Limited>, sqlx::Error> {
        if self.movement == ANY {
            return Ok(None);
        }
        let movement = Limited::parse(&self.movement);
        movement.map(Some).ok_or_else(|| unreadable("movement"))
    }

    fn velocity(&self) -> Result<Option<Velocity>, sqlx::Error> {
        let read = |number: i32| u32::try_from(number).map_err(|_| unreadable("velocity_count"));
        match (self.velocity_count, self.velocity_window_seconds) {
            (Some(max_count), Some(window_seconds)) => Ok(Some(Velocity {
                max_count: read(max_count)?,
                window_seconds: read(window_seconds)?,
            })),
            (None, None) => Ok(None),
            (_, _) => Err(unreadable("velocity_count")),
        }
    }
}

/// A rule as it is written.
struct Columns {
    tier: Option<i16>,
    user_id: Option<Uuid>,
    wallet_id: Option<Uuid>,
    movement: &'static str,
    velocity_count: Option<i32>,
    velocity_window_seconds: Option<i32>,
}

impl Columns {
    fn of(rule: &LimitRule) -> Self {
        let (tier, user, wallet) = match rule.scope {
            Scope::Everybody => (None, None, None),
            Scope::Tier(tier) => (Some(i16::from(tier)), None, None),
            Scope::User(user) => (None, Some(user), None),
            Scope::Wallet { wallet, owner } => (None, Some(owner), Some(wallet)),
        };
        let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        Self {
            tier,
            user_id: user.map(UserId::uuid),
            wallet_id: wallet.map(WalletId::uuid),
            movement: rule.movement.map_or(ANY, Limited::name),
            velocity_count: rule.velocity.map(|velocity| number(velocity.max_count)),
            velocity_window_seconds: rule
                .velocity
                .map(|velocity| number(velocity.window_seconds)),
        }
    }
}

struct RecordRow {
    limit_rule_id: Uuid,
    tenant_id: String,
    tier: Option<i16>,
    user_id: Option<Uuid>,
    wallet_id: Option<Uuid>,
    movement: String,
    currency_code: String,
    single_minor: Option<i64>,
    daily_minor: Option<i64>,
    monthly_minor: Option<i64>,
    velocity_count: Option<i32>,
    velocity_window_seconds: Option<i32>,
    note: String,
    created_by: String,
    created_at: OffsetDateTime,
    archived_by: Option<String>,
    archived_at: Option<OffsetDateTime>,
}

impl RecordRow {
    fn read(self) -> Result<Record, sqlx::Error> {
        let rule = RuleRow {
            limit_rule_id: self.limit_rule_id,
            tenant_id: self.tenant_id,
            tier: self.tier,
            user_id: self.user_id,
            wallet_id: self.wallet_id,
            movement: self.movement,
            currency_code: self.currency_code,
            single_minor: self.single_minor,
            daily_minor: self.daily_minor,
            monthly_minor: self.monthly_minor,
            velocity_count: self.velocity_count,
            velocity_window_seconds: self.velocity_window_seconds,
        };
        Ok(Record {
            rule: rule.read()?,
            note: self.note,
            created_by: self.created_by,
            created_at: self.created_at,
            archived: self.archived_by.zip(self.archived_at),
        })
    }
}

/// Makes the database transaction the only one that reads or changes rules, until
/// it ends. Who records movements holds the table until they commit, so this waits
/// for all of them, and they for this one: therefore not for long.
pub(crate) async fn lock(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    // Not queries, so there is nothing to check.
    sqlx::query("SET LOCAL lock_timeout = '1s'")
        .execute(&mut *conn)
        .await?;
    sqlx::query("LOCK TABLE limit_rules IN ACCESS EXCLUSIVE MODE")
        .execute(conn)
        .await?;
    Ok(())
}

/// Puts a rule in the place of the one for the same, under [`lock`]. Returns the rule
/// that holds then: one that says the same stays.
#[tracing::instrument(name = "store.limit_rules.put", skip_all)]
pub(crate) async fn put(conn: &mut PgConnection, new: &Record) -> Result<Record, sqlx::Error> {
    if let Some(present) = present(conn, &new.rule).await? {
        let same = LimitRule {
            id: present.rule.id,
            ..new.rule.clone()
        };
        if present.rule == same {
            return Ok(present);
        }
        let id = present.rule.id;
        archive(conn, &new.rule.tenant, id, &new.created_by, new.created_at).await?;
    }
    let columns = Columns::of(&new.rule);
    sqlx::query!(
        "INSERT INTO limit_rules (
             limit_rule_id, tenant_id, tier, user_id, wallet_id, movement, currency_code,
             single_minor, daily_minor, monthly_minor, velocity_count, velocity_window_seconds,
             note, created_by, created_at
         )
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        new.rule.id.uuid(),
        new.rule.tenant.as_str(),
        columns.tier,
        columns.user_id,
        columns.wallet_id,
        columns.movement,
        new.rule.currency.code(),
        new.rule.single_minor,
        new.rule.daily_minor,
        new.rule.monthly_minor,
        columns.velocity_count,
        columns.velocity_window_seconds,
        new.note,
        new.created_by,
        new.created_at,
    )
    .execute(conn)
    .await?;
    Ok(new.clone())
}

/// The rule that holds now for the same as this one.
async fn present(conn: &mut PgConnection, rule: &LimitRule) -> Result<Option<Record>, sqlx::Error> {
    let columns = Columns::of(rule);
    sqlx::query_as!(
        RecordRow,
        "SELECT limit_rule_id, tenant_id, tier, user_id, wallet_id, movement, currency_code,
             single_minor, daily_minor, monthly_minor, velocity_count, velocity_window_seconds,
             note, created_by, created_at, archived_by, archived_at
         FROM limit_rules
         WHERE tenant_id = $1 AND currency_code = $2 AND movement = $3
           AND tier IS NOT DISTINCT FROM $4
           AND user_id IS NOT DISTINCT FROM $5
           AND wallet_id IS NOT DISTINCT FROM $6
           AND archived_at IS NULL",
        rule.tenant.as_str(),
        rule.currency.code(),
        columns.movement,
        columns.tier,
        columns.user_id,
        columns.wallet_id,
    )
    .fetch_optional(conn)
    .await?
    .map(RecordRow::read)
    .transpose()
}

/// Ends a rule, under [`lock`], unless it has ended; `None` when there is none.
#[tracing::instrument(name = "store.limit_rules.archive", skip_all)]
pub(crate) async fn archive(
    conn: &mut PgConnection,
    tenant: &TenantId,
    id: LimitRuleId,
    actor: &str,
    at: OffsetDateTime,
) -> Result<Option<Record>, sqlx::Error> {
    sqlx::query_as!(
        RecordRow,
        "UPDATE limit_rules
         SET archived_by = coalesce(archived_by, $3), archived_at = coalesce(archived_at, $4)
         WHERE tenant_id = $1 AND limit_rule_id = $2
         RETURNING limit_rule_id, tenant_id, tier, user_id, wallet_id, movement, currency_code,
             single_minor, daily_minor, monthly_minor, velocity_count, velocity_window_seconds,
             note, created_by, created_at, archived_by, archived_at",
        tenant.as_str(),
        id.uuid(),
        actor,
        at,
    )
    .fetch_optional(conn)
    .await?
    .map(RecordRow::read)
    .transpose()
}

/// Which rules are listed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filter<'a> {
    pub(crate) tenant: &'a TenantId,
    /// Only those of the user and of wallets of the user's.
    pub(crate) user: Option<UserId>,
    pub(crate) currency: Option<Currency>,
    pub(crate) with_archived: bool,
    /// Only those that were put before this one.
    pub(crate) before: Option<LimitRuleId>,
    pub(crate) limit: i64,
}

/// Rules, newest first.
#[tracing::instrument(name = "store.limit_rules.list", skip_all)]
pub(crate) async fn list(
    conn: &mut PgConnection,
    filter: Filter<'_>,
) -> Result<Vec<Record>, sqlx::Error> {
    let rows = sqlx::query_as!(
        RecordRow,
        "SELECT limit_rule_id, tenant_id, tier, user_id, wallet_id, movement, currency_code,
             single_minor, daily_minor, monthly_minor, velocity_count, velocity_window_seconds,
             note, created_by, created_at, archived_by, archived_at
         FROM limit_rules
         WHERE tenant_id = $1
           AND ($2::uuid IS NULL OR user_id = $2)
           AND ($3::text IS NULL OR currency_code = $3)
           AND ($4 OR archived_at IS NULL)
           AND ($5::uuid IS NULL OR limit_rule_id < $5)
         ORDER BY limit_rule_id DESC
         LIMIT $6",
        filter.tenant.as_str(),
        filter.user.map(UserId::uuid),
        filter.currency.map(Currency::code),
        filter.with_archived,
        filter.before.map(LimitRuleId::uuid),
        filter.limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(RecordRow::read).collect()
}

/// The rules that hold for a user: those of everybody, of the tier, of the user, and of
/// the user's wallets; at most so many.
#[tracing::instrument(name = "store.limit_rules.of_user", skip_all)]
pub(crate) async fn of_user(
    conn: &mut PgConnection,
    tenant: &TenantId,
    user: UserId,
    tier: u8,
    currency: Option<Currency>,
    limit: i64,
) -> Result<Vec<LimitRule>, sqlx::Error> {
    let rows = sqlx::query_as!(
        RuleRow,
        r#"SELECT limit_rule_id AS "limit_rule_id!", tenant_id AS "tenant_id!", tier, user_id,
             wallet_id, movement AS "movement!", currency_code AS "currency_code!", single_minor,
             daily_minor, monthly_minor, velocity_count, velocity_window_seconds
         FROM (
             SELECT limit_rule_id, tenant_id, tier, user_id, wallet_id, movement, currency_code,
                 single_minor, daily_minor, monthly_minor, velocity_count, velocity_window_seconds
             FROM limit_rules
             WHERE tenant_id = $1 AND user_id IS NULL AND (tier IS NULL OR tier = $3)
               AND ($4::text IS NULL OR currency_code = $4)
               AND archived_at IS NULL
             UNION ALL
             SELECT limit_rule_id, tenant_id, tier, user_id, wallet_id, movement, currency_code,
                 single_minor, daily_minor, monthly_minor, velocity_count, velocity_window_seconds
             FROM limit_rules
             WHERE tenant_id = $1 AND user_id = $2
               AND ($4::text IS NULL OR currency_code = $4)
               AND archived_at IS NULL
         ) AS of_user
         ORDER BY user_id NULLS FIRST, wallet_id NULLS FIRST, limit_rule_id
         LIMIT $5"#,
        tenant.as_str(),
        user.uuid(),
        i16::from(tier.min(MAX_TIER)),
        currency.map(Currency::code),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(RuleRow::read).collect()
}
