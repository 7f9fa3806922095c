//! From where a watch goes on.

use bursar_aip::id::UserId;
use bursar_aip::page;
use bursar_events::tail::Position;
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::news::Source;

/// The name of the list in cursors, which are page tokens: bound to it and to the
/// user.
const LIST: &str = "watch-account";

/// A position in each stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) transactions: Position,
    pub(crate) wallets: Position,
}

/// A cursor as its token has it. The names are short because they travel.
#[derive(Serialize, Deserialize)]
struct Text {
    t: String,
    w: String,
}

impl Cursor {
    /// The position in a source's stream.
    pub(crate) fn of(&self, source: Source) -> Position {
        match source {
            Source::Transactions => self.transactions,
            Source::Wallets => self.wallets,
        }
    }

    /// Moves the position in a source's stream.
    pub(crate) fn set(&mut self, source: Source, position: Position) {
        match source {
            Source::Transactions => self.transactions = position,
            Source::Wallets => self.wallets = position,
        }
    }

    /// The cursor as its user gets it.
    pub(crate) fn encode(&self, user: UserId) -> String {
        let text = Text {
            t: self.transactions.to_string(),
            w: self.wallets.to_string(),
        };
        page::encode(LIST, &[&user.to_string()], &text)
    }

    /// The cursor that a user sends; `None` for the empty text.
    pub(crate) fn decode(user: UserId, text: &str) -> Result<Option<Self>, Error> {
        let found: Option<Text> =
            page::decode(LIST, &[&user.to_string()], text).map_err(|_| Error::CursorInvalid)?;
        found
            .map(|text| {
                let position = |text: &str| text.parse().map_err(|_| Error::CursorInvalid);
                Ok(Self {
                    transactions: position(&text.t)?,
                    wallets: position(&text.w)?,
                })
            })
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A cursor comes back to its user, and to nobody else.
        #[test]
        fn cursors_come_back_to_their_user(positions: [(u64, u64); 2]) {
            let [transactions, wallets] = positions
                .map(|(ms, seq)| format!("{ms}-{seq}").parse().expect("an entry's id"));
            let cursor = Cursor { transactions, wallets };
            let user = UserId::generate();
            let text = cursor.encode(user);
            prop_assert!(text.len() <= 512, "the contract's bound");
            prop_assert_eq!(Cursor::decode(user, &text).expect("just encoded"), Some(cursor));
            prop_assert!(Cursor::decode(UserId::generate(), &text).is_err());
        }

        /// Any text is a cursor or refused; none breaks the reader.
        #[test]
        fn any_text_is_refused(text in ".{1,100}") {
            prop_assert!(Cursor::decode(UserId::generate(), &text).is_err());
        }
    }
}
