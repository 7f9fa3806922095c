//! Events in a sentence for people.

use bursar_money::Money;

use crate::domain::{Event, Initiated, MovementKind, Resolution};

/// What happened. Nothing in it is more than the customer may know: causes and
/// operators' words are left out.
pub(super) fn summary(event: &Event) -> String {
    match event {
        Event::Initiated(initiated) => recorded(initiated),
        Event::ShortfallFound { .. } => {
            "The wallet had not enough for the refund; the platform pays the rest.".to_owned()
        }
        Event::FundsHeld { .. } => "The money was set aside.".to_owned(),
        Event::ProviderRequested { provider, attempt } if *attempt == 0 => {
            format!("The payment provider {provider} was about to be asked.")
        }
        Event::ProviderRequested { provider, .. } => {
            format!("The payment provider {provider} was about to be asked again.")
        }
        Event::ProviderAccepted { .. } => {
            "The payment provider took the request and will finish it later.".to_owned()
        }
        Event::ProviderSucceeded { .. } => "The payment provider did its part.".to_owned(),
        Event::ProviderDeclined { .. } => "The payment provider refused.".to_owned(),
        Event::OutcomeUnknown { .. } => {
            "The payment provider's answer is not known; it is asked again.".to_owned()
        }
        Event::Completed { .. } => "The money reached its place.".to_owned(),
        Event::Failed(failure) => format!("It failed, and no money moved: {}.", failure.message),
        Event::ReviewRequired { .. } => "It waits for a person.".to_owned(),
        Event::ReviewResolved(resolved) => match resolved.resolution {
            Resolution::Complete => "A person found that the money has moved.".to_owned(),
            Resolution::Fail => "A person found that the money has not moved.".to_owned(),
            Resolution::Retry => "A person let it go on.".to_owned(),
        },
    }
}

fn recorded(initiated: &Initiated) -> String {
    let what = match initiated.movement.kind() {
        MovementKind::Transfer => "A transfer",
        MovementKind::Deposit => "A deposit",
        MovementKind::Withdrawal => "A withdrawal",
        MovementKind::Refund => "A refund",
        MovementKind::Adjustment => "An adjustment",
        MovementKind::BonusGrant => "A grant of bonus money",
    };
    let fee = Money::new(initiated.amount.currency(), initiated.price.fee_minor());
    let cost = match initiated.price.fee {
        Some(_) => format!(", with a fee of {fee}"),
        None => String::new(),
    };
    let becomes = match &initiated.price.conversion {
        Some(conversion) => format!(", to arrive as {}", conversion.amount.money()),
        None => String::new(),
    };
    format!("{what} was recorded{cost}{becomes}.")
}
