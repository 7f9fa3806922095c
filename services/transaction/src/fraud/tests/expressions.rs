//! What is an expression, what is not, and that nothing breaks the compiler.

use proptest::prelude::*;

use super::{VARIABLES, subject, variables};
use crate::domain::MovementKind;
use crate::fraud::variables::{Datum, Kind};
use crate::fraud::{Expression, History, Problem, Variables};

fn some_variables() -> Variables {
    variables(&subject(MovementKind::Transfer, 700), History::default())
}

fn problem(text: &str) -> Problem {
    match Expression::compile(text) {
        Ok(_) => panic!("{text} is an expression"),
        Err(problem) => problem,
    }
}

/// Every variable can be used as what it is, and as nothing else.
#[test]
fn every_variable_has_its_type() {
    for variable in &VARIABLES {
        let path = format!("{}.{}", variable.space, variable.name);
        let literals = [
            (Kind::Bool, "true", Datum::Bool(true)),
            (Kind::Int, "42", Datum::Int(42)),
            (Kind::Text, "'x'", Datum::Text("x".to_owned())),
        ];
        for (kind, literal, datum) in literals {
            let text = format!("{path} == {literal}");
            let compiled = Expression::compile(&text);
            assert_eq!(compiled.is_ok(), kind == variable.kind, "{text}");
            if let Ok(expression) = compiled {
                let mut variables = some_variables();
                variables.set(variable.space, variable.name, datum);
                assert_eq!(expression.matches(&variables), Ok(true), "{text}");
            }
        }
    }
}

/// What the language has comes to what it should.
#[test]
fn expressions_are_evaluated() {
    for (text, is_true) in [
        ("true", true),
        ("transaction.amount_minor == 700", true),
        ("transaction.amount_minor >= 701 || payee.is_new", true),
        ("!(payee.is_new && user.is_new)", false),
        (
            "transaction.amount_minor * 2 - 400 == 1000 / 1 % 1001",
            true,
        ),
        ("(payee.is_new ? 1 : 2) == 1", true),
        ("transaction.currency_code in ['EUR', \"USD\"]", true),
        ("transaction.amount_minor in [1, 2]", false),
        ("-transaction.amount_minor < -699", true),
        ("transaction.type != 'TRANSFER'", false),
        // What is not looked at cannot fail.
        ("payee.is_new || 1 / user.payments_30_days > 1", true),
    ] {
        let expression = Expression::compile(text).expect(text);
        assert_eq!(expression.matches(&some_variables()), Ok(is_true), "{text}");
    }
}

/// What cannot be computed is an error, not a panic and not a value.
#[test]
fn what_cannot_be_computed_is_an_error() {
    for text in [
        "transaction.amount_minor / user.payments_30_days > 1",
        "transaction.amount_minor % user.payments_30_days > 1",
        "transaction.amount_minor * 9223372036854775807 > 1",
        "9223372036854775807 + transaction.amount_minor > 1",
        "-9223372036854775807 - transaction.amount_minor > 1",
    ] {
        let expression = Expression::compile(text).expect(text);
        assert!(expression.matches(&some_variables()).is_err(), "{text}");
    }
}

/// A fault is told with what is wrong, and where.
#[test]
fn faults_are_named() {
    for (text, position, words) in [
        (
            "user.nope > 1",
            Some((1, 1)),
            "there is no variable `user.nope`",
        ),
        (
            "true &&\n  other",
            Some((2, 3)),
            "there is no variable `other`",
        ),
        ("user", Some((1, 1)), "name a variable such as"),
        (
            "user.is_new > 1",
            Some((1, 13)),
            "`>` needs a whole number, and there is a truth",
        ),
        (
            "payee.is_new && 1",
            Some((1, 14)),
            "`&&` needs a truth value",
        ),
        ("transaction.type == 1", Some((1, 18)), "two of one type"),
        (
            "transaction.type < 'x'",
            Some((1, 18)),
            "needs a whole number",
        ),
        ("transaction.amount_minor", None, "this is a whole number"),
        ("transaction.amount_minor > 1.5", None, "whole numbers"),
        ("transaction.amount_minor > 1u", None, "without the suffix"),
        (
            "size(transaction.type) > 1",
            Some((1, 1)),
            "no function `size`",
        ),
        (
            "transaction.type.startsWith('T')",
            Some((1, 18)),
            "no function `startsWith`",
        ),
        ("[1, 2].all(x, x > 0)", None, "macros"),
        ("has(user.is_new)", None, "macros"),
        ("[1][0] == 1", None, "can only stand behind `in`"),
        (
            "transaction.type in transaction",
            Some((1, 18)),
            "stands a list",
        ),
        ("transaction.type in ['x', 1]", Some((1, 18)), "each a text"),
        ("{'a': 1} == {'a': 1}", None, "maps"),
        ("user.is_new.more == 1", Some((1, 12)), "only variables"),
        ("null == null", None, "null"),
    ] {
        let found = problem(text);
        assert!(found.message.contains(words), "{text}: {found}");
        assert_eq!(found.position, position, "{text}: {found}");
    }
    for text in [
        "",
        "transaction.amount_minor >",
        "1 +* 2",
        "'open",
        "true true",
        "\u{0}",
    ] {
        problem(text);
    }
    let syntax = problem("payee.is_new &&\n  && true");
    assert_eq!(syntax.position.map(|(line, _)| line), Some(2), "{syntax}");
}

/// Whatever is long or deep is refused or compiled on half the stack that a request has.
#[test]
fn deep_expressions_do_not_break_the_stack() {
    let deep = || {
        let texts = [
            ("(", "true", ")"),
            ("[", "1", "]"),
            ("!", "true", ""),
            ("-", "1 == 1", ""),
            ("1+", "1 == 1", ""),
            ("true ? true : ", "true", ""),
            ("true || ", "true", ""),
            ("true==", "true", ""),
            ("f(", "1", ")"),
            ("user.", "is_new", ""),
            ("user[", "1", "]"),
            ("{1:", "1", "}"),
            ("1<", "1", ""),
        ];
        for (open, middle, close) in texts {
            for count in [5, 10, 12, 14, 16, 20, 60, 90, 190, 1_000] {
                let text = open.repeat(count) + middle + &close.repeat(count);
                if let Ok(expression) = Expression::compile(&text) {
                    let _ = expression.matches(&some_variables());
                }
            }
        }
        problem(&format!("'{}' == ''", "x".repeat(1_000)));
        problem(&("1+".repeat(250) + "1 == 1"));
    };
    let thread = std::thread::Builder::new().stack_size(1024 * 1024);
    let thread = thread.spawn(deep).expect("a thread can be started");
    thread.join().expect("nothing panics");
}

proptest! {
    /// No text breaks the compiler, and what it takes has a value or an error.
    #[test]
    fn any_text_is_compiled_or_refused(
        text in prop_oneof![
            "\\PC{0,60}",
            "((user|payee|transaction|now|1|'a'|true)(\\.(is_new|type|hour))?( ?(&&|\\|\\||==|<|\\+|in|\\?|:|\\[|\\]|\\(|\\)|!|-|,) ?)?){0,12}",
        ],
    ) {
        if let Ok(expression) = Expression::compile(&text) {
            let _ = expression.matches(&some_variables());
        }
    }
}
