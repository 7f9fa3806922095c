//! The keys of what is used, as statements take and give them.

use bursar_aip::id::{TenantId, UserId};
use bursar_money::Currency;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::domain::limit::{Limited, Period, UsageKey};
use crate::store::{id_time, unreadable};

/// Keys as the arrays of a statement.
#[derive(Default)]
pub(super) struct Columns {
    pub(super) tenants: Vec<String>,
    pub(super) users: Vec<Uuid>,
    pub(super) movements: Vec<&'static str>,
    pub(super) currencies: Vec<&'static str>,
    pub(super) periods: Vec<&'static str>,
    pub(super) starts: Vec<Date>,
    /// When the period starts, and when it is over.
    pub(super) from: Vec<OffsetDateTime>,
    pub(super) to: Vec<OffsetDateTime>,
    /// See [`id_time`].
    pub(super) first: Vec<Uuid>,
}

impl Columns {
    pub(super) fn of<'a>(keys: impl IntoIterator<Item = &'a UsageKey>) -> Self {
        let mut columns = Self::default();
        for key in keys {
            columns.tenants.push(key.tenant.as_str().to_owned());
            columns.users.push(key.user.uuid());
            columns.movements.push(key.movement.name());
            columns.currencies.push(key.currency.code());
            columns.periods.push(key.period.name());
            columns.starts.push(key.starts_on);
            let (from, to) = key.period.bounds(key.starts_on);
            columns.from.push(from);
            columns.to.push(to);
            columns.first.push(id_time::first(from));
        }
        columns
    }
}

/// A key as it is in the database.
pub(super) struct KeyRow {
    pub(super) tenant_id: String,
    pub(super) user_id: Uuid,
    pub(super) movement: String,
    pub(super) currency_code: String,
    pub(super) period: String,
    pub(super) starts_on: Date,
}

impl KeyRow {
    pub(super) fn read(self) -> Result<UsageKey, sqlx::Error> {
        let currency = Currency::parse(&self.currency_code);
        Ok(UsageKey {
            tenant: tenant(&self.tenant_id)?,
            user: UserId::from_uuid(self.user_id),
            movement: Limited::parse(&self.movement).ok_or_else(|| unreadable("movement"))?,
            currency: currency.map_err(|_| unreadable("currency_code"))?,
            period: Period::parse(&self.period).ok_or_else(|| unreadable("period"))?,
            starts_on: self.starts_on,
        })
    }
}

pub(super) fn tenant(text: &str) -> Result<TenantId, sqlx::Error> {
    text.parse().map_err(|_| unreadable("tenant_id"))
}
