//! What start-up does about the first administrator.

/// The user who has the administrator's e-mail address before this start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Somebody who registered in the ordinary way.
    Registered,
    /// A user that an earlier start made or took over.
    Bootstrapped {
        /// Whether the configured password, if there is one, is the one that
        /// the earlier start set. The user may have changed the password
        /// since; that is theirs to do.
        password_unchanged: bool,
    },
}

/// What to do about the holder. `P` is the configured password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<P> {
    /// Set this password, end the user's sessions, and see to the role. Whoever
    /// registered the address before, or knew the old password, is shut out
    /// before the role is theirs.
    TakeOver(P),
    /// See to the role and leave everything else.
    Keep,
    /// Leave the user alone and say so: without a configured password there is
    /// no proof that the address is the operator's.
    LeaveAlone,
}

/// Decides. `configured` is the password from the environment, which only
/// development may go without.
pub fn decide<P>(holder: Holder, configured: Option<P>) -> Action<P> {
    match (holder, configured) {
        (Holder::Registered, None) => Action::LeaveAlone,
        (Holder::Bootstrapped { .. }, None)
        | (
            Holder::Bootstrapped {
                password_unchanged: true,
            },
            Some(_),
        ) => Action::Keep,
        (
            Holder::Registered
            | Holder::Bootstrapped {
                password_unchanged: false,
            },
            Some(password),
        ) => Action::TakeOver(password),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second start with the same environment changes nothing, and only a
    /// configured password moves an account into the operator's hands.
    #[test]
    fn starts_are_idempotent_and_need_proof() {
        let same = Holder::Bootstrapped {
            password_unchanged: true,
        };
        let other = Holder::Bootstrapped {
            password_unchanged: false,
        };
        let none: Option<&str> = None;
        assert_eq!(decide(same, Some("p")), Action::Keep);
        assert_eq!(decide(same, none), Action::Keep);
        assert_eq!(decide(other, Some("p")), Action::TakeOver("p"));
        assert_eq!(decide(other, none), Action::Keep);
        assert_eq!(decide(Holder::Registered, Some("p")), Action::TakeOver("p"));
        assert_eq!(decide(Holder::Registered, none), Action::LeaveAlone);
    }
}
