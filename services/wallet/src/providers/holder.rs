//! Who holds an account: personal data on its way to the provider.

use serde::{Deserialize, Serialize};
use time::macros::format_description;
use time::{Date, OffsetDateTime};

/// Who holds an account. All of it is personal; it is stored only encrypted, and
/// shown nowhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountHolder {
    /// The first name.
    pub first_name: String,
    /// The last name.
    pub last_name: String,
    /// The phone number.
    pub phone_number: String,
    /// The e-mail address; may be empty.
    pub email: String,
    /// The date of birth as `YYYY-MM-DD`; may be empty.
    pub date_of_birth: String,
    /// The postal address; may be empty.
    pub address: String,
    /// The bank verification number; may be empty.
    pub bvn: String,
}

impl std::fmt::Debug for AccountHolder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("AccountHolder(..)")
    }
}

/// What a provider may need to know of a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderField {
    /// The e-mail address.
    Email,
    /// The date of birth.
    DateOfBirth,
    /// The postal address.
    Address,
    /// The bank verification number.
    Bvn,
}

impl HolderField {
    /// The field's path in the request.
    pub fn path(self) -> &'static str {
        match self {
            Self::Email => "account_holder.email",
            Self::DateOfBirth => "account_holder.date_of_birth",
            Self::Address => "account_holder.address",
            Self::Bvn => "account_holder.bvn",
        }
    }
}

impl AccountHolder {
    /// First and last name.
    pub fn full_name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name)
    }

    /// What is empty of what is needed.
    pub fn missing(&self, needed: &[HolderField]) -> Vec<HolderField> {
        let is_missing = |field: &HolderField| {
            let value = match field {
                HolderField::Email => &self.email,
                HolderField::DateOfBirth => &self.date_of_birth,
                HolderField::Address => &self.address,
                HolderField::Bvn => &self.bvn,
            };
            value.trim().is_empty()
        };
        needed.iter().copied().filter(is_missing).collect()
    }

    /// Whether the date of birth, if one is given, is a day that has been.
    pub fn is_born(&self, now: OffsetDateTime) -> bool {
        let form = format_description!("[year]-[month]-[day]");
        self.date_of_birth.is_empty()
            || Date::parse(&self.date_of_birth, &form).is_ok_and(|born| born < now.date())
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn holder() -> AccountHolder {
        AccountHolder {
            first_name: "Ada".to_owned(),
            last_name: "Obi".to_owned(),
            phone_number: "08012345678".to_owned(),
            email: "ada@example.com".to_owned(),
            date_of_birth: "1990-02-28".to_owned(),
            address: " ".to_owned(),
            bvn: String::new(),
        }
    }

    /// What is needed and empty is named; blanks are empty.
    #[test]
    fn missing_fields_are_named() {
        let all = [
            HolderField::Email,
            HolderField::DateOfBirth,
            HolderField::Address,
            HolderField::Bvn,
        ];
        assert_eq!(
            holder().missing(&all),
            [HolderField::Address, HolderField::Bvn]
        );
        assert_eq!(holder().missing(&[]), []);
    }

    /// A date of birth is a day in the past, or not given.
    #[test]
    fn dates_of_birth_are_days_in_the_past() {
        let now = datetime!(2026-03-01 12:00 UTC);
        for (date, fits) in [
            ("1990-02-28", true),
            ("", true),
            ("1990-02-30", false),
            ("2026-03-01", false),
            ("2999-01-01", false),
        ] {
            let mut holder = holder();
            holder.date_of_birth = date.to_owned();
            assert_eq!(holder.is_born(now), fits, "{date}");
        }
    }

    /// Nothing of a holder is shown.
    #[test]
    fn holders_are_not_shown() {
        assert_eq!(format!("{:?}", holder()), "AccountHolder(..)");
    }
}
