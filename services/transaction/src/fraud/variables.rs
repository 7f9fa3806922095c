//! The variables that expressions use: their names, their types, and their values
//! for one subject.
//!
//! The table is the one place that knows them. The type checker, the evaluation, the
//! snapshot in a case and the operators' page all follow it.

use std::collections::HashMap;

use super::features::Features;
use super::subject::Subject;

/// The type of a variable, and of every part of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A text.
    Text,
}

impl Kind {
    /// What a person reads.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bool => "a truth value",
            Self::Int => "a whole number",
            Self::Text => "a text",
        }
    }
}

/// A value of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Datum {
    Bool(bool),
    Int(i64),
    Text(String),
}

impl Datum {
    fn text(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Text(value) => value.clone(),
        }
    }

    fn cel(&self) -> cel::Value {
        match self {
            Self::Bool(value) => cel::Value::Bool(*value),
            Self::Int(value) => cel::Value::Int(*value),
            Self::Text(value) => value.clone().into(),
        }
    }
}

/// A variable.
pub(super) struct Variable {
    /// What stands before the dot.
    pub(super) space: &'static str,
    /// What stands behind it.
    pub(super) name: &'static str,
    /// Its type.
    pub(super) kind: Kind,
    read: fn(&Subject, &Features) -> Datum,
}

/// What may stand before the dot.
pub(super) const SPACES: [&str; 4] = ["transaction", "user", "payee", "now"];

const fn text(
    space: &'static str,
    name: &'static str,
    read: fn(&Subject, &Features) -> Datum,
) -> Variable {
    let kind = Kind::Text;
    Variable {
        space,
        name,
        kind,
        read,
    }
}

const fn int(
    space: &'static str,
    name: &'static str,
    read: fn(&Subject, &Features) -> Datum,
) -> Variable {
    let kind = Kind::Int;
    Variable {
        space,
        name,
        kind,
        read,
    }
}

const fn truth(
    space: &'static str,
    name: &'static str,
    read: fn(&Subject, &Features) -> Datum,
) -> Variable {
    let kind = Kind::Bool;
    Variable {
        space,
        name,
        kind,
        read,
    }
}

/// Every variable.
pub(super) const VARIABLES: [Variable; 25] = [
    text("transaction", "type", |subject, _| {
        Datum::Text(subject.kind.name().to_uppercase())
    }),
    int("transaction", "amount_minor", |subject, _| {
        Datum::Int(subject.amount.minor())
    }),
    text("transaction", "currency_code", |subject, _| {
        Datum::Text(subject.amount.currency().code().to_owned())
    }),
    text("transaction", "provider", |subject, _| {
        Datum::Text(crate::contract::text(subject.provider.as_ref()))
    }),
    int("user", "withdrawals_last_hour", |_, features| {
        Datum::Int(features.history.withdrawals_last_hour)
    }),
    int("user", "withdrawals_last_day", |_, features| {
        Datum::Int(features.history.withdrawals_last_day)
    }),
    int("user", "withdrawals_minor_last_hour", |_, features| {
        Datum::Int(features.history.withdrawals_minor_last_hour)
    }),
    int("user", "withdrawals_minor_last_day", |_, features| {
        Datum::Int(features.history.withdrawals_minor_last_day)
    }),
    int("user", "transfers_last_10_minutes", |_, features| {
        Datum::Int(features.history.transfers_last_10_minutes)
    }),
    int("user", "transfers_last_hour", |_, features| {
        Datum::Int(features.history.transfers_last_hour)
    }),
    int("user", "transfers_minor_last_hour", |_, features| {
        Datum::Int(features.history.transfers_minor_last_hour)
    }),
    int("user", "small_transfers_last_hour", |_, features| {
        Datum::Int(features.history.small_transfers_last_hour)
    }),
    int("user", "small_transfers_last_day", |_, features| {
        Datum::Int(features.history.small_transfers_last_day)
    }),
    truth("user", "is_new", |_, features| {
        Datum::Bool(features.is_new_user)
    }),
    int("user", "account_age_days", |_, features| {
        Datum::Int(features.account_age_days)
    }),
    int("user", "days_since_last_activity", |_, features| {
        Datum::Int(features.days_since_last_activity)
    }),
    int("user", "days_dormant", |_, features| {
        Datum::Int(features.days_dormant)
    }),
    int("user", "payments_30_days", |_, features| {
        Datum::Int(features.history.paid_30_days)
    }),
    int("user", "average_minor_30_days", |_, features| {
        Datum::Int(features.history.average_minor_30_days)
    }),
    int("user", "max_minor_30_days", |_, features| {
        Datum::Int(features.history.max_minor_30_days)
    }),
    text("payee", "wallet_id", |subject, _| {
        Datum::Text(crate::contract::text(subject.payee))
    }),
    truth("payee", "is_new", |_, features| {
        Datum::Bool(features.is_new_payee)
    }),
    int("payee", "known_days", |_, features| {
        Datum::Int(features.payee_known_days)
    }),
    int("now", "hour", |subject, _| {
        Datum::Int(at(subject).hour().into())
    }),
    int("now", "weekday", |subject, _| {
        Datum::Int(at(subject).weekday().number_from_monday().into())
    }),
];

fn at(subject: &Subject) -> time::OffsetDateTime {
    subject.at.to_offset(time::UtcOffset::UTC)
}

/// The values of all variables for one subject, in the order of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variables {
    data: Vec<Datum>,
}

impl Variables {
    /// The values for a subject with these features.
    pub(crate) fn of(subject: &Subject, features: &Features) -> Self {
        let read = |variable: &Variable| (variable.read)(subject, features);
        Self {
            data: VARIABLES.iter().map(read).collect(),
        }
    }

    /// The names with the values as text, for people.
    pub(crate) fn told(&self) -> impl Iterator<Item = (String, String)> + '_ {
        VARIABLES.iter().zip(&self.data).map(|(variable, datum)| {
            let name = format!("{}.{}", variable.space, variable.name);
            (name, datum.text())
        })
    }

    /// The same as expressions are evaluated with. There are no functions in it.
    pub(super) fn context(&self) -> cel::Context<'static> {
        let mut context = cel::Context::empty();
        for space in SPACES {
            let of_space: HashMap<&str, cel::Value> = VARIABLES
                .iter()
                .zip(&self.data)
                .filter(|(variable, _)| variable.space == space)
                .map(|(variable, datum)| (variable.name, datum.cel()))
                .collect();
            context.add_variable_from_value(space, of_space);
        }
        context
    }

    /// Changes one value, for tests.
    #[cfg(test)]
    pub(super) fn set(&mut self, space: &str, name: &str, datum: Datum) {
        let position = VARIABLES
            .iter()
            .position(|variable| variable.space == space && variable.name == name)
            .expect("there is such a variable");
        self.data[position] = datum;
    }
}
