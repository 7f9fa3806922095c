use proptest::prelude::*;

use super::*;

/// A provider as a test makes it up.
#[derive(Clone, Debug)]
struct Made {
    name: ProviderName,
    offer: Offer,
    is_choosable: bool,
}

fn currency(code: &str) -> Currency {
    Currency::parse(code).expect("a currency")
}

fn currencies() -> impl Strategy<Value = Currencies> {
    let code = prop_oneof![Just("EUR"), Just("NGN"), Just("JPY")].prop_map(currency);
    let tariff = (1..200_i64, 0..1_000_i64, 0..300_u32, 0..5_i64).prop_map(
        |(min_minor, more, cost_basis_points, cost_fixed_minor)| Tariff {
            min_minor,
            max_minor: min_minor + more,
            cost_basis_points,
            cost_fixed_minor,
        },
    );
    prop_oneof![
        1 => Just(Currencies::All),
        5 => prop::collection::btree_map(code, tariff, 1..4).prop_map(Currencies::Only),
    ]
}

fn directions() -> impl Strategy<Value = Vec<Direction>> {
    prop_oneof![
        Just(vec![Direction::Charge, Direction::Payout]),
        Just(vec![Direction::Charge]),
        Just(vec![Direction::Payout]),
    ]
}

fn providers() -> impl Strategy<Value = Vec<Made>> {
    let offer = (directions(), currencies(), any::<bool>(), any::<bool>());
    let offer = offer.prop_map(|(directions, currencies, method, account)| Offer {
        directions,
        currencies,
        needs_payment_method: method,
        needs_payout_account: account,
    });
    let made = ("[a-d][a-d]?", offer, any::<bool>()).prop_map(|(name, offer, is_choosable)| Made {
        name: name.parse().expect("a name"),
        offer,
        is_choosable,
    });
    prop::collection::vec(made, 0..8).prop_map(|mut providers| {
        providers.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
        providers.dedup_by(|a, b| a.name == b.name);
        providers
    })
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let direction = prop_oneof![Just(Direction::Charge), Just(Direction::Payout)];
    let code = prop_oneof![Just("EUR"), Just("NGN"), Just("USD")];
    let wanted = (direction, code, 1..1_500_i64, any::<bool>());
    wanted.prop_map(|(direction, code, minor, is_told)| Wanted {
        direction,
        amount: PositiveMoney::new(currency(code), minor).expect("positive"),
        has_payment_method: is_told && direction == Direction::Charge,
        has_payout_account: is_told && direction == Direction::Payout,
    })
}

fn candidates(providers: &[Made]) -> impl Iterator<Item = Candidate<'_>> {
    providers.iter().map(|made| Candidate {
        name: &made.name,
        offer: &made.offer,
        is_choosable: made.is_choosable,
    })
}

proptest! {
    /// Exactly the providers that fit and are well are ranked, and none of them
    /// comes after one that is dearer, or as dear with a later name.
    #[test]
    fn the_best_one_comes_first(providers in providers(), wanted in wanted()) {
        let fits = |made: &&Made| made.is_choosable && made.offer.cost(&wanted).is_ok();
        let fitting: Vec<_> = providers.iter().filter(fits).collect();
        let ranked = rank(candidates(&providers), &wanted).unwrap_or_default();
        prop_assert_eq!(ranked.len(), fitting.len());
        let key = |name: &ProviderName| {
            let made = fitting.iter().find(|made| made.name == *name).expect("it fits");
            (made.offer.cost(&wanted).expect("it fits"), name.as_str().to_owned())
        };
        for pair in ranked.windows(2) {
            prop_assert!(key(pair[0]) < key(pair[1]));
        }
    }

    /// The order in which providers are configured changes nothing.
    #[test]
    fn the_order_of_configuration_is_nothing(
        (providers, shuffled) in providers().prop_flat_map(|providers| {
            (Just(providers.clone()), Just(providers).prop_shuffle())
        }),
        wanted in wanted(),
    ) {
        let first = rank(candidates(&providers), &wanted);
        prop_assert_eq!(rank(candidates(&shuffled), &wanted), first);
    }

    /// When there is none, the cause is the last hurdle that any provider reached.
    #[test]
    fn the_cause_is_the_nearest_miss(providers in providers(), wanted in wanted()) {
        let Err(cause) = rank(candidates(&providers), &wanted) else {
            return Ok(());
        };
        let directed = |made: &Made| made.offer.directions.contains(&wanted.direction);
        let charges = |made: &Made| match wanted.direction {
            Direction::Charge => made.offer.needs_payment_method == wanted.has_payment_method,
            _ => made.offer.needs_payout_account == wanted.has_payout_account,
        };
        let takes = |made: &Made| match &made.offer.currencies {
            Currencies::All => true,
            Currencies::Only(tariffs) => tariffs.contains_key(&wanted.amount.currency()),
        };
        let expected = if providers.iter().any(|made| made.offer.cost(&wanted).is_ok()) {
            Unavailable::Health
        } else if providers.iter().any(|made| directed(made) && charges(made) && takes(made)) {
            Unavailable::Amount
        } else if providers.iter().any(|made| directed(made) && charges(made)) {
            Unavailable::Currency
        } else if providers.iter().any(directed) && wanted.has_payment_method {
            Unavailable::PaymentMethodNotTaken
        } else if providers.iter().any(directed) && wanted.has_payout_account {
            Unavailable::PayoutAccountNotTaken
        } else if providers.iter().any(directed) && wanted.direction == Direction::Payout {
            Unavailable::PayoutAccountRequired
        } else if providers.iter().any(directed) {
            Unavailable::PaymentMethodRequired
        } else if providers.is_empty() {
            Unavailable::NoneConfigured
        } else {
            Unavailable::Direction
        };
        prop_assert_eq!(cause, expected);
    }

    /// A cost is never less than the exact share, and less than a minor unit more.
    #[test]
    fn costs_are_rounded_up(minor in 1..=i64::MAX, basis_points in 0..=10_000_u32, fixed in 0..1_000_i64) {
        let tariff = Tariff {
            min_minor: 1,
            max_minor: i64::MAX,
            cost_basis_points: basis_points,
            cost_fixed_minor: fixed,
        };
        let offer = Offer {
            currencies: Currencies::Only(BTreeMap::from([(currency("EUR"), tariff)])),
            ..Offer::default()
        };
        let amount = PositiveMoney::new(currency("EUR"), minor).expect("positive");
        let wanted = Wanted {
            direction: Direction::Charge,
            amount,
            has_payment_method: false,
            has_payout_account: false,
        };
        let share = offer.cost(&wanted).expect("it fits") - i128::from(fixed);
        let exact = i128::from(minor) * i128::from(basis_points);
        prop_assert!(share * 10_000 >= exact && (share - 1) * 10_000 < exact);
    }
}
