//! Pages of lists: their size and their tokens.
//!
//! A page token carries the cursor of the last row of a page: base64url of a
//! compact JSON object. It is bound to its list and to the filter of the
//! request, so that a token cannot continue another question. It is not signed
//! and grants nothing: a list always restricts its rows by the caller of the
//! request at hand, and takes from the token only where to go on.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bursar_contracts::r#type::v1::ErrorReason;
use bursar_status::StatusBuilder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tonic::{Code, Status};

/// The rows of a page when the request names no size.
const DEFAULT_SIZE: i64 = 50;

/// The most rows of a page.
const MAX_SIZE: i64 = 100;

/// The longest token, in characters: the contract's bound on `page_token`.
const MAX_TOKEN_LEN: usize = 512;

/// The version of the token's form. Another version is another list.
const VERSION: u8 = 1;

/// The bytes of the filter's hash that a token keeps. The hash tells honest
/// mistakes apart; it defends nothing.
const FILTER_HASH_LEN: usize = 9;

/// How many rows to answer with, of the `page_size` of a request: 0 means 50,
/// more than 100 means 100. The contract refuses negative sizes before this.
pub fn size(requested: i32) -> i64 {
    if requested <= 0 {
        DEFAULT_SIZE
    } else {
        i64::from(requested).min(MAX_SIZE)
    }
}

/// Cuts rows, of which one more than `size` was asked for, to a page; its last row
/// when another page follows, which then begins behind it.
pub fn cut<T>(rows: &mut Vec<T>, size: i64) -> Option<&T> {
    let fits = usize::try_from(size).unwrap_or(usize::MAX);
    let has_more = rows.len() > fits;
    rows.truncate(fits);
    rows.last().filter(|_| has_more)
}

/// What a token holds. The names are short because tokens travel in URLs.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Token<T, C> {
    v: u8,
    /// The list.
    l: T,
    /// The hash of the filter.
    f: T,
    /// The cursor.
    c: C,
}

/// The token of the page that follows the row at `cursor`.
///
/// `list` names the list, such as `wallets`; `filter` has every value of the
/// request that chooses the rows, in a fixed order. The cursor is a small plain
/// struct of the columns that order the list; together they must stay below
/// 512 characters of token, which leaves the cursor about 300 bytes of JSON.
pub fn encode<C: Serialize>(list: &str, filter: &[&str], cursor: &C) -> String {
    let token = Token {
        v: VERSION,
        l: list,
        f: &filter_hash(filter),
        c: cursor,
    };
    let json = serde_json::to_vec(&token).expect("a cursor is a plain struct, which JSON can hold");
    let text = BASE64_URL_SAFE_NO_PAD.encode(json);
    debug_assert!(
        text.len() <= MAX_TOKEN_LEN,
        "the cursor of {list} is too big"
    );
    text
}

/// The cursor in the `page_token` of a request; `None` for the empty token of
/// a first page.
pub fn decode<C: DeserializeOwned>(
    list: &str,
    filter: &[&str],
    token: &str,
) -> Result<Option<C>, PageTokenInvalid> {
    if token.is_empty() {
        return Ok(None);
    }
    if token.len() > MAX_TOKEN_LEN {
        return Err(PageTokenInvalid);
    }
    let json = BASE64_URL_SAFE_NO_PAD
        .decode(token)
        .map_err(|_| PageTokenInvalid)?;
    let token: Token<String, C> = serde_json::from_slice(&json).map_err(|_| PageTokenInvalid)?;
    if token.v == VERSION && token.l == list && token.f == filter_hash(filter) {
        Ok(Some(token.c))
    } else {
        Err(PageTokenInvalid)
    }
}

/// The hash of a filter's values. Each is preceded by its length, so that the
/// same characters cut otherwise are another filter.
fn filter_hash(filter: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for value in filter {
        hasher.update((value.len() as u64).to_be_bytes());
        hasher.update(value);
    }
    let hash = hasher.finalize();
    BASE64_URL_SAFE_NO_PAD.encode(&hash[..FILTER_HASH_LEN])
}

/// The page token is malformed, or belongs to another list or filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the page token is malformed, or belongs to another list or filter")]
pub struct PageTokenInvalid;

impl From<PageTokenInvalid> for Status {
    fn from(error: PageTokenInvalid) -> Self {
        StatusBuilder::new(
            Code::InvalidArgument,
            ErrorReason::PageTokenInvalid,
            error.to_string(),
        )
        .field("page_token", error.to_string())
        .into()
    }
}

#[cfg(test)]
mod tests {
    use bursar_status::StatusExt;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Cursor {
        version: i64,
        name: String,
    }

    fn cursor() -> Cursor {
        Cursor {
            version: 7,
            name: "x".to_owned(),
        }
    }

    /// Sizes are filled in and capped, whatever the number.
    #[test]
    fn sizes_are_bounded() {
        for (requested, rows) in [
            (0, 50),
            (1, 1),
            (50, 50),
            (100, 100),
            (101, 100),
            (i32::MAX, 100),
            (-1, 50),
            (i32::MIN, 50),
        ] {
            assert_eq!(size(requested), rows, "{requested}");
        }
    }

    /// A page has its size; a row beyond it says that another follows.
    #[test]
    fn a_row_beyond_the_page_tells_of_another() {
        for (read, shown, next) in [(0, 0, None), (2, 2, None), (3, 3, None), (4, 3, Some(3))] {
            let mut rows: Vec<i32> = (1..=read).collect();
            assert_eq!(cut(&mut rows, 3).copied(), next, "{read}");
            assert_eq!(rows.len(), shown, "{read}");
        }
    }

    /// A first page has no token.
    #[test]
    fn the_empty_token_is_the_first_page() {
        assert_eq!(decode::<Cursor>("wallets", &[], ""), Ok(None));
    }

    /// A token continues only the list and the filter it was made for.
    #[test]
    fn a_token_is_bound_to_its_question() {
        let token = encode("wallets", &["usr_1", "EUR"], &cursor());
        let decode = |list, filter: &[&str]| decode::<Cursor>(list, filter, &token);
        assert_eq!(decode("wallets", &["usr_1", "EUR"]), Ok(Some(cursor())));
        assert_eq!(decode("entries", &["usr_1", "EUR"]), Err(PageTokenInvalid));
        for filter in [
            &["usr_2", "EUR"] as &[&str],
            &["EUR", "usr_1"],
            &["usr_1"],
            &[],
            &["usr_1", "EUR", ""],
            &["usr_1EUR"],
            &["usr_", "1EUR"],
        ] {
            assert_eq!(
                decode("wallets", filter),
                Err(PageTokenInvalid),
                "{filter:?}"
            );
        }
    }

    /// A cursor of another form, another version, extra members and padding
    /// are all refused.
    #[test]
    fn altered_tokens_are_refused() {
        let token = encode("wallets", &[], &cursor());
        assert_eq!(decode::<i64>("wallets", &[], &token), Err(PageTokenInvalid));
        let json = BASE64_URL_SAFE_NO_PAD.decode(&token).expect("just encoded");
        let json = String::from_utf8(json).expect("JSON is text");
        for altered in [
            json.replace("\"v\":1", "\"v\":2"),
            json.replace("\"v\":1", "\"v\":1,\"w\":1"),
            json.replace("\"v\":1,", ""),
            format!("{json}{json}"),
        ] {
            assert_ne!(altered, json);
            let token = BASE64_URL_SAFE_NO_PAD.encode(altered);
            assert_eq!(
                decode::<Cursor>("wallets", &[], &token),
                Err(PageTokenInvalid)
            );
        }
        for token in [format!("{token}="), "A".repeat(513), "[".repeat(512)] {
            assert_eq!(
                decode::<Cursor>("wallets", &[], &token),
                Err(PageTokenInvalid)
            );
        }
    }

    /// A bad token names the field in the one error form.
    #[test]
    fn a_bad_token_is_an_invalid_argument() {
        let status = Status::from(PageTokenInvalid);
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        assert_eq!(
            details.error_info().expect("set").reason,
            "PAGE_TOKEN_INVALID"
        );
        let bad = details.bad_request().expect("the field is named");
        assert_eq!(bad.field_violations[0].field, "page_token");
    }

    proptest! {
        /// What was encoded is decoded, in characters that a URL can hold.
        #[test]
        fn tokens_give_the_cursor_back(version in any::<i64>(), name in ".{0,30}", filter in ".{0,30}") {
            let cursor = Cursor { version, name };
            let token = encode("entries", &[&filter], &cursor);
            prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
            prop_assert_eq!(decode("entries", &[&filter], &token), Ok(Some(cursor)));
        }

        /// No text, and no bytes in the token's own encoding, break the decoder.
        #[test]
        fn any_soup_is_refused(text in ".{1,600}", bytes in proptest::collection::vec(any::<u8>(), 1..400)) {
            prop_assert_eq!(decode::<Cursor>("wallets", &[], &text), Err(PageTokenInvalid));
            let token = BASE64_URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(decode::<Cursor>("wallets", &[], &token), Err(PageTokenInvalid));
        }

        /// A token with one character changed never panics; it may only move
        /// the cursor, which is harmless.
        #[test]
        fn a_changed_character_is_refused_or_moves_the_cursor(at in any::<proptest::sample::Index>(), by in "[A-Za-z0-9_-]") {
            let mut token = encode("wallets", &[], &cursor());
            let at = at.index(token.len());
            token.replace_range(at..=at, &by);
            let decoded = decode::<Cursor>("wallets", &[], &token);
            prop_assert!(matches!(decoded, Err(PageTokenInvalid) | Ok(Some(_))));
        }
    }
}
