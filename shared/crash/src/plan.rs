//! What shall happen at which point, as the environment says it.

use std::num::NonZeroU64;
use std::str::FromStr;

/// What shall happen at one point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The point's name.
    pub point: String,
    /// At which of the times that it is reached.
    pub nth: NonZeroU64,
    /// What happens then.
    pub action: Action,
}

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The process ends by SIGKILL.
    Kill,
    /// The whole process stops until SIGCONT.
    Stop,
    /// The thread panics.
    Panic,
}

/// A plan that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidPlan(String);

impl std::fmt::Display for InvalidPlan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "`{}` is not <part>.<step>[:<nth>][:kill|stop|panic]",
            self.0
        )
    }
}

impl std::error::Error for InvalidPlan {}

impl FromStr for Plan {
    type Err = InvalidPlan;

    fn from_str(text: &str) -> Result<Self, InvalidPlan> {
        let invalid = || InvalidPlan(text.to_owned());
        let mut parts = text.split(':').peekable();
        let point = parts.next().filter(|name| is_name(name));
        let point = point.ok_or_else(invalid)?.to_owned();
        let nth = parts.peek().and_then(|part| part.parse().ok());
        if nth.is_some() {
            parts.next();
        }
        let action = match parts.next() {
            None | Some("kill") => Action::Kill,
            Some("stop") => Action::Stop,
            Some("panic") => Action::Panic,
            Some(_) => return Err(invalid()),
        };
        if parts.next().is_some() {
            return Err(invalid());
        }
        Ok(Self {
            point,
            nth: nth.unwrap_or(NonZeroU64::MIN),
            action,
        })
    }
}

/// True for `<part>.<step>` in lower case.
fn is_name(name: &str) -> bool {
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    name.split_once('.')
        .is_some_and(|(part, step)| is_word(part) && is_word(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_say_point_time_and_action() {
        // Both the time and the action may be left out.
        let cases = [
            ("ledger.after_commit", 1, Action::Kill),
            ("ledger.after_commit:3", 3, Action::Kill),
            ("ledger.after_commit:stop", 1, Action::Stop),
            ("ledger.after_commit:20:panic", 20, Action::Panic),
            ("ledger.after_commit:2:kill", 2, Action::Kill),
        ];
        for (text, nth, action) in cases {
            let plan: Plan = text.parse().unwrap();
            assert_eq!(plan.point, "ledger.after_commit");
            assert_eq!((plan.nth.get(), plan.action), (nth, action), "{text}");
        }
    }

    #[test]
    fn what_is_no_plan_is_refused() {
        // A plan that is misread would make a test pass without a kill.
        for text in [
            "",
            "ledger",
            "ledger.",
            ".after",
            "Ledger.after",
            "ledger.after commit",
            "ledger.after:0",
            "ledger.after:-1",
            "ledger.after:1:2",
            "ledger.after:die",
            "ledger.after:kill:1",
            "ledger.after:1:kill:",
        ] {
            assert!(text.parse::<Plan>().is_err(), "{text}");
        }
    }
}
