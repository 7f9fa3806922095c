//! Typed ids.
//!
//! An id is a UUID that knows what it names. As text it is `wal_` and the UUID
//! in lower-case hyphenated form; that is its only spelling, so ids can be
//! compared as text by anyone. In the database it is a plain `uuid`.

mod tenant;

use std::borrow::Cow;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::str::FromStr;

use bursar_contracts::r#type::v1::ErrorReason;
use bursar_status::StatusBuilder;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tonic::{Code, Status};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

pub use tenant::{TenantId, TenantIdError};

/// The id of a user.
pub type UserId = Id<User>;
/// The id of a login session.
pub type SessionId = Id<Session>;
/// The id of a wallet.
pub type WalletId = Id<Wallet>;
/// The id of a transaction.
pub type TransactionId = Id<Transaction>;
/// The id of a hold.
pub type HoldId = Id<Hold>;
/// The id of a ticket.
pub type TicketId = Id<Ticket>;
/// The id of a bonus campaign.
pub type CampaignId = Id<Campaign>;
/// The id of bonus money that was granted.
pub type GrantId = Id<Grant>;
/// The id of an account at a provider.
pub type ProviderAccountId = Id<ProviderAccount>;
/// The id of a bulk transfer.
pub type BulkTransferId = Id<BulkTransfer>;
/// The id of a bank account that a user is paid out to.
pub type PayoutAccountId = Id<PayoutAccount>;
/// The id of a schedule.
pub type ScheduleId = Id<Schedule>;
/// The id of a limit rule.
pub type LimitRuleId = Id<LimitRule>;
/// The id of a settlement file.
pub type SettlementFileId = Id<SettlementFile>;
/// The id of a break between a provider's books and ours.
pub type BreakId = Id<Break>;
/// The id of a case of fraud screening.
pub type FraudCaseId = Id<FraudCase>;
/// The id of a fee rule.
pub type FeeRuleId = Id<FeeRule>;
/// The id of an exchange rate.
pub type ExchangeRateId = Id<ExchangeRate>;
/// The id of a quote.
pub type QuoteId = Id<Quote>;

/// What an id names. The types that implement it have no values.
pub trait Kind: Copy + fmt::Debug + Ord + Hash + Send + Sync + 'static {
    /// What the text form starts with, underscore included.
    const PREFIX: &'static str;
}

/// Names users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum User {}

impl Kind for User {
    const PREFIX: &'static str = "usr_";
}

/// Names login sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Session {}

impl Kind for Session {
    const PREFIX: &'static str = "ses_";
}

/// Names wallets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wallet {}

impl Kind for Wallet {
    const PREFIX: &'static str = "wal_";
}

/// Names transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transaction {}

impl Kind for Transaction {
    const PREFIX: &'static str = "txn_";
}

/// Names holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hold {}

impl Kind for Hold {
    const PREFIX: &'static str = "hld_";
}

/// Names tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ticket {}

impl Kind for Ticket {
    const PREFIX: &'static str = "tkt_";
}

/// Names bonus campaigns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Campaign {}

impl Kind for Campaign {
    const PREFIX: &'static str = "bcp_";
}

/// Names grants of bonus money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grant {}

impl Kind for Grant {
    const PREFIX: &'static str = "bgr_";
}

/// Names accounts at providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProviderAccount {}

impl Kind for ProviderAccount {
    const PREFIX: &'static str = "pac_";
}

/// Names bulk transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BulkTransfer {}

impl Kind for BulkTransfer {
    const PREFIX: &'static str = "blk_";
}

/// Names bank accounts that users are paid out to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PayoutAccount {}

impl Kind for PayoutAccount {
    const PREFIX: &'static str = "poa_";
}

/// Names schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Schedule {}

impl Kind for Schedule {
    const PREFIX: &'static str = "sch_";
}

/// Names limit rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitRule {}

impl Kind for LimitRule {
    const PREFIX: &'static str = "lim_";
}

/// Names settlement files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SettlementFile {}

impl Kind for SettlementFile {
    const PREFIX: &'static str = "stf_";
}

/// Names breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Break {}

impl Kind for Break {
    const PREFIX: &'static str = "brk_";
}

/// Names cases of fraud screening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FraudCase {}

impl Kind for FraudCase {
    const PREFIX: &'static str = "fcs_";
}

/// Names fee rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FeeRule {}

impl Kind for FeeRule {
    const PREFIX: &'static str = "fee_";
}

/// Names exchange rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExchangeRate {}

impl Kind for ExchangeRate {
    const PREFIX: &'static str = "fxr_";
}

/// Names quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quote {}

impl Kind for Quote {
    const PREFIX: &'static str = "qte_";
}

/// The id of a `K`. Ids order as their UUIDs do, which is also how PostgreSQL
/// orders them: for generated ids, by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id<K: Kind> {
    uuid: Uuid,
    kind: PhantomData<K>,
}

impl<K: Kind> Id<K> {
    /// The id with this UUID, of whatever version.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self {
            uuid,
            kind: PhantomData,
        }
    }

    /// A new id: a UUIDv7. It reads the clock and the random source, so only
    /// the shell calls it; the domain is given its ids.
    pub fn generate() -> Self {
        Self::from_uuid(Uuid::now_v7())
    }

    /// The id as the database has it.
    pub const fn uuid(self) -> Uuid {
        self.uuid
    }

    /// Reads the text form; see the module for its one spelling.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let rest = text.strip_prefix(K::PREFIX).ok_or(IdError::Prefix {
            expected: K::PREFIX,
        })?;
        let malformed = IdError::Uuid { prefix: K::PREFIX };
        let uuid = Uuid::try_parse(rest).map_err(|_| malformed)?;
        // `try_parse` also takes capitals, braces and urn:uuid:.
        let mut buffer = [0; Hyphenated::LENGTH];
        if uuid.hyphenated().encode_lower(&mut buffer) == rest {
            Ok(Self::from_uuid(uuid))
        } else {
            Err(malformed)
        }
    }
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", K::PREFIX, self.uuid.hyphenated())
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl<K: Kind> FromStr for Id<K> {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

/// Why a text is no id of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text starts with something else: another kind of id, or no id.
    #[error("must start with `{expected}`")]
    Prefix {
        /// The prefix of the wanted kind.
        expected: &'static str,
    },
    /// What follows the prefix is no UUID in lower-case hyphenated form.
    #[error("must be `{prefix}` and a UUID in lower-case hyphenated form")]
    Uuid {
        /// The prefix of the wanted kind.
        prefix: &'static str,
    },
}

/// Reads the id in a field of a request. `path` is the field's path, such as
/// `from_wallet_id`, for the INVALID_FIELD error.
pub fn parse_field<K: Kind>(path: &str, text: &str) -> Result<Id<K>, Status> {
    Id::parse(text).map_err(|error| {
        StatusBuilder::new(
            Code::InvalidArgument,
            ErrorReason::InvalidField,
            format!("{path}: {error}"),
        )
        .field(path, error.to_string())
        .into()
    })
}

#[cfg(test)]
mod tests {
    use bursar_status::StatusExt;
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "wal_01890a5d-ac96-774b-bcce-b302099a8057";

    /// Every kind has its own prefix, and an id is read only as its own kind.
    #[test]
    fn kinds_do_not_mix() {
        let uuid = Uuid::from_u128(7);
        let texts = [
            UserId::from_uuid(uuid).to_string(),
            SessionId::from_uuid(uuid).to_string(),
            WalletId::from_uuid(uuid).to_string(),
            TransactionId::from_uuid(uuid).to_string(),
            HoldId::from_uuid(uuid).to_string(),
            TicketId::from_uuid(uuid).to_string(),
        ];
        for text in &texts {
            let read = [
                UserId::parse(text).is_ok(),
                SessionId::parse(text).is_ok(),
                WalletId::parse(text).is_ok(),
                TransactionId::parse(text).is_ok(),
                HoldId::parse(text).is_ok(),
                TicketId::parse(text).is_ok(),
            ];
            assert_eq!(read.iter().filter(|read| **read).count(), 1, "{text}");
        }
    }

    /// An error says which half of the text is wrong.
    #[test]
    fn errors_name_what_is_wrong() {
        let prefix = Err(IdError::Prefix { expected: "wal_" });
        for text in [
            "",
            "wal",
            "usr_01890a5d-ac96-774b-bcce-b302099a8057",
            "WAL_",
            &TEXT[4..],
        ] {
            assert_eq!(WalletId::parse(text), prefix, "{text:?}");
        }
        let uuid = Err(IdError::Uuid { prefix: "wal_" });
        for text in [
            "wal_",
            "wal_01890A5D-AC96-774B-BCCE-B302099A8057",
            "wal_01890a5dac96774bbcceb302099a8057",
            "wal_{01890a5d-ac96-774b-bcce-b302099a8057}",
            "wal_urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057",
            "wal_01890a5d-ac96-774b-bcce-b302099a805",
            "wal_01890a5d-ac96-774b-bcce-b302099a80577",
            "wal_01890a5d-ac96-774b-bcce-b302099a8057 ",
            "wal_wal_01890a5d-ac96-774b-bcce-b302099a8057",
        ] {
            assert_eq!(WalletId::parse(text), uuid, "{text:?}");
        }
    }

    /// A bad id in a request names its field in the one error form.
    #[test]
    fn a_bad_field_is_an_invalid_argument() {
        let status = parse_field::<Wallet>("from_wallet_id", "usr_x").expect_err("no wallet id");
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        let info = details.error_info().expect("ErrorInfo is always set");
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("INVALID_FIELD", "bursar.type.v1")
        );
        let bad = details.bad_request().expect("the field is named");
        assert_eq!(bad.field_violations[0].field, "from_wallet_id");
        assert_eq!(
            bad.field_violations[0].description,
            "must start with `wal_`"
        );

        let id: WalletId = parse_field("wallet_id", TEXT).expect("a wallet id");
        assert_eq!(id.to_string(), TEXT);
    }

    /// Generated ids are UUIDv7, and later ones are greater.
    #[test]
    fn generated_ids_follow_time() {
        let ids: Vec<_> = (0..100).map(|_| TransactionId::generate()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(ids.iter().all(|id| id.uuid().get_version_num() == 7));
    }

    proptest! {
        /// Text and JSON give back the id that was written, and its UUID.
        #[test]
        fn text_and_json_give_the_id_back(bits in any::<u128>()) {
            let id = WalletId::from_uuid(Uuid::from_u128(bits));
            prop_assert_eq!(id.uuid().as_u128(), bits);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            let json = serde_json::to_string(&id).expect("text is JSON");
            prop_assert_eq!(&json, &format!("\"{id}\""));
            prop_assert_eq!(serde_json::from_str::<WalletId>(&json).expect("just written"), id);
        }

        /// No text breaks the parser, and an id has one spelling.
        #[test]
        fn any_text_is_read_or_refused(
            text in "(wal_)?[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}|.{0,50}",
        ) {
            if let Ok(id) = WalletId::parse(&text) {
                prop_assert_eq!(id.to_string(), text);
            } else {
                prop_assert!(serde_json::from_value::<WalletId>(text.into()).is_err());
            }
        }
    }
}
