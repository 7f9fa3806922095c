//! The engine of `resource:action:target` permissions.
//!
//! An RPC requires a [`Permission`] without wildcards. A caller holds
//! [`Grants`], each of which may have `*` for any of its parts. The target
//! `own` covers the caller's own resources and `any` covers everybody's, so a
//! grant of `any` (or `*`) covers a requirement of `own` as well, and the caller
//! then reaches all resources. Pure.

use std::fmt;
use std::str::FromStr;

/// The most characters a permission or a grant may have.
const MAX_LEN: usize = 96;

/// Text that is no permission or grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not resource:action:target")]
pub struct PermissionInvalid {
    /// The text.
    pub text: String,
}

/// Whose resources are meant, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The caller's own.
    Own,
    /// Everybody's.
    Any,
}

/// What an RPC requires.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Permission {
    resource: String,
    action: String,
    target: Target,
}

impl Permission {
    /// The target that the RPC requires.
    pub fn target(&self) -> Target {
        self.target
    }
}

impl FromStr for Permission {
    type Err = PermissionInvalid;

    fn from_str(text: &str) -> Result<Self, PermissionInvalid> {
        let invalid = || PermissionInvalid {
            text: text.to_owned(),
        };
        let [resource, action, target] = parts(text).ok_or_else(invalid)?;
        if !is_word(resource) || !is_word(action) {
            return Err(invalid());
        }
        Ok(Self {
            resource: resource.to_owned(),
            action: action.to_owned(),
            target: match target {
                "own" => Target::Own,
                "any" => Target::Any,
                _ => return Err(invalid()),
            },
        })
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = match self.target {
            Target::Own => "own",
            Target::Any => "any",
        };
        write!(formatter, "{}:{}:{target}", self.resource, self.action)
    }
}

/// One thing a caller may do: a permission whose parts may be `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grant {
    /// `None` stands for `*`.
    resource: Option<String>,
    /// `None` stands for `*`.
    action: Option<String>,
    target: Target,
}

impl Grant {
    /// How far the grant lets its holder reach for `permission`; `None` when
    /// it does not cover it.
    pub fn reach(&self, permission: &Permission) -> Option<Target> {
        let covers = |part: &Option<String>, required: &str| {
            part.as_deref().is_none_or(|granted| granted == required)
        };
        let covered = covers(&self.resource, &permission.resource)
            && covers(&self.action, &permission.action)
            && self.target >= permission.target;
        covered.then_some(self.target)
    }
}

impl FromStr for Grant {
    type Err = PermissionInvalid;

    fn from_str(text: &str) -> Result<Self, PermissionInvalid> {
        let invalid = || PermissionInvalid {
            text: text.to_owned(),
        };
        let [resource, action, target] = parts(text).ok_or_else(invalid)?;
        let part = |text: &str| match text {
            "*" => Ok(None),
            word if is_word(word) => Ok(Some(word.to_owned())),
            _ => Err(invalid()),
        };
        Ok(Self {
            resource: part(resource)?,
            action: part(action)?,
            target: match target {
                "own" => Target::Own,
                "any" | "*" => Target::Any,
                _ => return Err(invalid()),
            },
        })
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "*".to_owned());
        let target = match self.target {
            Target::Own => "own",
            Target::Any => "any",
        };
        write!(
            formatter,
            "{}:{}:{target}",
            part(&self.resource),
            part(&self.action)
        )
    }
}

/// All that a caller may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants(Vec<Grant>);

impl Grants {
    /// Reads grants from text. One that cannot be read grants nothing, so that
    /// a token of a newer version never grants more than this version understands.
    pub fn from_texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self(
            texts
                .into_iter()
                .filter_map(|text| text.parse().ok())
                .collect(),
        )
    }

    /// The farthest that any grant reaches for `permission`; `None` when none covers it.
    pub fn reach(&self, permission: &Permission) -> Option<Target> {
        self.0
            .iter()
            .filter_map(|grant| grant.reach(permission))
            .max()
    }
}

fn parts(text: &str) -> Option<[&str; 3]> {
    if text.len() > MAX_LEN {
        return None;
    }
    let mut split = text.split(':');
    let parts = [split.next()?, split.next()?, split.next()?];
    split.next().is_none().then_some(parts)
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn permission(text: &str) -> Permission {
        text.parse().expect("the test's permission is well formed")
    }

    /// The table of what covers what.
    #[test]
    fn grants_cover_what_they_name_and_no_more() {
        let cases = [
            ("wallet:read:own", "wallet:read:own", Some(Target::Own)),
            ("wallet:*:own", "wallet:read:own", Some(Target::Own)),
            ("*:read:any", "wallet:read:own", Some(Target::Any)),
            ("*:*:*", "audit:read:any", Some(Target::Any)),
            ("wallet:read:own", "wallet:read:any", None),
            ("wallet:read:own", "wallet:create:own", None),
            ("wallets:read:any", "wallet:read:own", None),
            ("ticket:*:any", "wallet:read:own", None),
        ];
        for (grant, required, reach) in cases {
            let grants = Grants::from_texts([grant]);
            assert_eq!(
                grants.reach(&permission(required)),
                reach,
                "{grant} for {required}"
            );
        }
    }

    /// What cannot be read is refused as a permission and grants nothing.
    #[test]
    fn malformed_text_grants_nothing() {
        for text in [
            "",
            "wallet",
            "wallet:read",
            "wallet:read:own:x",
            "wallet::own",
            "W:r:own",
            "a:b:c",
        ] {
            assert!(text.parse::<Permission>().is_err(), "{text}");
            assert_eq!(Grants::from_texts([text]), Grants::default(), "{text}");
        }
        assert!("*:read:own".parse::<Permission>().is_err());
    }

    proptest! {
        /// Adding a grant never takes anything away.
        #[test]
        fn grants_are_monotonic(
            grants in prop::collection::vec("(wallet|ticket|[*]):(read|create|[*]):(own|any|[*])", 0..6),
            required in "(wallet|ticket):(read|create):(own|any)",
        ) {
            let required = permission(&required);
            let mut before = None;
            for end in 0..=grants.len() {
                let reach = Grants::from_texts(grants[..end].iter().map(String::as_str)).reach(&required);
                prop_assert!(reach >= before);
                before = reach;
            }
        }

        /// Parsing never panics, and what parses prints as something that parses to the same.
        #[test]
        fn parsing_is_total(text in "\\PC{0,120}") {
            if let Ok(grant) = text.parse::<Grant>() {
                prop_assert_eq!(grant.to_string().parse::<Grant>(), Ok(grant));
            }
        }
    }
}
