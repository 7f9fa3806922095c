//! The arithmetic of fees, by example and by property.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn euro() -> Currency {
    Currency::parse("EUR").expect("a currency")
}

/// A rule without any fee, to be changed.
fn free(id: u128) -> FeeRule {
    FeeRule {
        id: FeeRuleId::from_uuid(Uuid::from_u128(id)),
        kind: MovementKind::Transfer,
        currency: euro(),
        from_minor: 0,
        to_minor: None,
        fixed_minor: 0,
        basis_points: 0,
        min_fee_minor: 0,
        max_fee_minor: None,
        payer: FeePayer::Sender,
        rounding: Rounding::HalfUp,
        priority: 0,
    }
}

fn percent(basis_points: i32, rounding: Rounding) -> FeeRule {
    FeeRule {
        basis_points,
        rounding,
        ..free(1)
    }
}

/// Each way of rounding does what its name says with less than a half, a half
/// and more.
#[test]
fn fractions_are_rounded_as_named() {
    // 1 % of 149, 150, 151 and 250 is 1.49, 1.5, 1.51 and 2.5.
    for (rounding, expected) in [
        (Rounding::HalfUp, [1, 2, 2, 3]),
        (Rounding::HalfEven, [1, 2, 2, 2]),
        (Rounding::Up, [2, 2, 2, 3]),
        (Rounding::Down, [1, 1, 1, 2]),
    ] {
        let rule = percent(100, rounding);
        let fees = [149, 150, 151, 250].map(|amount| rule.fee(amount).minor);
        assert_eq!(fees, expected, "{rounding:?}");
    }
}

/// The fixed part comes on top of the other, and both stay within the bounds.
#[test]
fn both_parts_are_bounded_together() {
    let rule = FeeRule {
        fixed_minor: 25,
        min_fee_minor: 30,
        max_fee_minor: Some(500),
        ..percent(140, Rounding::HalfEven)
    };
    assert_eq!(rule.fee(100).minor, 30);
    assert_eq!(rule.fee(10_000).minor, 165);
    assert_eq!(rule.fee(1_000_000).minor, 500);
}

/// A recipient who bears a fee above the amount still gets one minor unit.
#[test]
fn a_recipient_is_left_something() {
    let rule = FeeRule {
        fixed_minor: 100,
        payer: FeePayer::Recipient,
        ..free(1)
    };
    assert_eq!(rule.fee(101).minor, 100);
    assert_eq!(rule.fee(100).minor, 99);
    assert_eq!(rule.fee(1).minor, 0);
}

/// Priority goes before the range, the range before age.
#[test]
fn the_most_specific_rule_counts() {
    let any = free(9);
    let small = FeeRule {
        to_minor: Some(1_000),
        ..free(2)
    };
    let smaller = FeeRule {
        from_minor: 100,
        to_minor: Some(200),
        ..free(1)
    };
    let newer = FeeRule {
        id: free(3).id,
        ..smaller.clone()
    };
    let first = FeeRule {
        priority: 1,
        from_minor: 150,
        ..free(4)
    };
    let foreign = FeeRule {
        currency: Currency::parse("USD").expect("a currency"),
        priority: 5,
        ..free(5)
    };
    let rules = [any, small, smaller, newer, first, foreign];
    let chosen = |amount| {
        let rule = choose(&rules, MovementKind::Transfer, euro(), amount);
        rule.map(|rule| rule.id.uuid().as_u128())
    };
    assert_eq!(chosen(5_000), Some(4));
    assert_eq!(chosen(120), Some(3));
    assert_eq!(chosen(50), Some(2));
    let none = choose(&rules, MovementKind::Deposit, euro(), 50);
    assert_eq!(none, None);
}

/// What makes no sense is refused with the field that is at fault.
#[test]
fn nonsense_is_refused_by_field() {
    let deposit = FeeRule {
        kind: MovementKind::Deposit,
        ..free(1)
    };
    let withdrawal = FeeRule {
        kind: MovementKind::Withdrawal,
        payer: FeePayer::Recipient,
        ..free(1)
    };
    let refund = FeeRule {
        kind: MovementKind::Refund,
        ..free(1)
    };
    let empty = FeeRule {
        from_minor: 2,
        to_minor: Some(1),
        ..free(1)
    };
    let crossed = FeeRule {
        min_fee_minor: 2,
        max_fee_minor: Some(1),
        ..free(1)
    };
    let fixed = FeeRule {
        fixed_minor: 2,
        max_fee_minor: Some(1),
        ..free(1)
    };
    for (rule, field) in [
        (deposit, "payer"),
        (withdrawal, "payer"),
        (refund, "type"),
        (empty, "to_amount_minor"),
        (crossed, "max_fee_minor"),
        (fixed, "fixed_minor"),
    ] {
        assert_eq!(rule.validate().map_err(FeeRuleInvalid::field), Err(field));
    }
    assert_eq!(free(1).validate(), Ok(()));
}

fn a_rule() -> impl Strategy<Value = FeeRule> {
    let payer = prop::sample::select(FeePayer::ALL.to_vec());
    let rounding = prop::sample::select(Rounding::ALL.to_vec());
    let range = (0..10_i64, prop::option::of(0..10_i64));
    let fees = (
        0..1_000_i64,
        0..=10_000_i32,
        0..500_i64,
        prop::option::of(0..5_000_i64),
    );
    (payer, rounding, range, fees, -2..=2_i32).prop_map(
        |(payer, rounding, (from, width), (fixed, basis_points, min, above), priority)| FeeRule {
            payer,
            rounding,
            from_minor: from,
            to_minor: width.map(|width| from + width),
            fixed_minor: fixed,
            basis_points,
            min_fee_minor: min,
            max_fee_minor: above.map(|above| min.max(fixed) + above),
            priority,
            ..free(1)
        },
    )
}

proptest! {
    /// A fee is never negative, keeps its bounds, and never takes the whole amount
    /// of a recipient.
    #[test]
    fn fees_keep_their_bounds(rule in a_rule(), amount in 1..=MAX_AMOUNT_MINOR) {
        prop_assert_eq!(rule.validate(), Ok(()));
        let fee = rule.fee(amount).minor;
        prop_assert!(fee >= 0);
        prop_assert!(rule.max_fee_minor.is_none_or(|max| fee <= max));
        match rule.payer {
            FeePayer::Sender => prop_assert!(fee >= rule.min_fee_minor),
            FeePayer::Recipient => {
                prop_assert!(fee < amount);
                prop_assert!(fee >= rule.min_fee_minor.min(amount - 1));
            }
        }
    }

    /// More money never costs less.
    #[test]
    fn fees_grow_with_the_amount(
        rule in a_rule(),
        amount in 1..MAX_AMOUNT_MINOR,
        more in 0..1_000_000_i64,
    ) {
        let greater = amount.saturating_add(more);
        prop_assert!(rule.fee(amount).minor <= rule.fee(greater).minor);
    }

    /// A rounded part is off the exact one by less than a minor unit, in the
    /// direction of its name, and never by more than a half where it is the nearest.
    #[test]
    fn rounding_is_exact(amount in 1..=MAX_AMOUNT_MINOR, basis_points in 0..=10_000_i32) {
        let exact = i128::from(amount) * i128::from(basis_points);
        for rounding in Rounding::ALL {
            let fee = i128::from(percent(basis_points, rounding).fee(amount).minor);
            let off = fee * WHOLE_BASIS_POINTS - exact;
            let half = WHOLE_BASIS_POINTS / 2;
            let fits = match rounding {
                Rounding::Down => (-WHOLE_BASIS_POINTS < off) && off <= 0,
                Rounding::Up => (0..WHOLE_BASIS_POINTS).contains(&off),
                Rounding::HalfUp => -half < off && off <= half,
                Rounding::HalfEven => off.abs() < half || (off.abs() == half && fee % 2 == 0),
            };
            prop_assert!(fits, "{rounding:?}: {off}");
        }
    }

    /// The rule that counts does not depend on the order in which the rules come.
    #[test]
    fn the_choice_is_the_same_in_any_order(
        mut rules in prop::collection::vec(a_rule(), 0..8),
        amount in 1..20_i64,
        turn in 0..8_usize,
    ) {
        for (id, rule) in (1..).zip(&mut rules) {
            rule.id = FeeRuleId::from_uuid(Uuid::from_u128(id));
        }
        let chosen = |rules: &[FeeRule]| {
            choose(rules, MovementKind::Transfer, euro(), amount).map(|rule| rule.id)
        };
        let first = chosen(&rules);
        let count = rules.len().max(1);
        rules.rotate_left(turn % count);
        prop_assert_eq!(chosen(&rules), first);
        rules.reverse();
        prop_assert_eq!(chosen(&rules), first);
    }
}
