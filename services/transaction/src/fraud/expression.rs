//! A condition in the Common Expression Language, compiled and checked.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use cel::parser::Parser;
use cel::{Context, IdedExpr, Value};
use thiserror::Error;

use super::check;
use super::variables::{Kind, Variables};

/// The most characters of an expression, as the contract has it.
const MAX_LENGTH: usize = 1_000;
/// The most brackets that may stand inside each other.
const MAX_NESTING: u16 = 24;
/// The most operators, dots and brackets of an expression.
const MAX_OPERATORS: usize = 200;
/// The compiler's own stack, in bytes: the parser goes down many steps for each bracket,
/// and would go through the end of a request's.
const COMPILER_STACK: usize = 64 * 1024 * 1024;

/// An expression that is a truth value of the variables.
#[derive(Clone, Debug)]
pub(crate) struct Expression {
    tree: IdedExpr,
}

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Line and column, from 1, where they are known.
    pub(crate) position: Option<(u32, u32)>,
    /// What is wrong.
    pub(crate) message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.position {
            write!(formatter, "line {line}, column {column}: ")?;
        }
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Problem {
    fn of_whole(message: impl Into<String>) -> Self {
        Self {
            position: None,
            message: message.into(),
        }
    }
}

/// Why an expression has no value: a sum out of range, a division by zero.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the expression cannot be evaluated: {0}")]
pub(crate) struct Unevaluable(String);

impl Expression {
    /// Compiles a text and checks every part of it.
    pub(crate) fn compile(text: &str) -> Result<Self, Problem> {
        if text.chars().count() > MAX_LENGTH {
            return Err(Problem::of_whole(format!(
                "an expression has at most {MAX_LENGTH} characters"
            )));
        }
        let is_operator = |byte: &u8| b"+-*/%<>=!&|?.[(".contains(byte);
        if text.bytes().filter(|byte| is_operator(byte)).count() > MAX_OPERATORS {
            return Err(Problem::of_whole(format!(
                "an expression has at most {MAX_OPERATORS} operators, dots and brackets"
            )));
        }
        let tree = on_large_stack(|| {
            let tree = parse(text)?;
            check(&tree, text)?;
            Ok(tree)
        })?;
        Ok(Self { tree })
    }

    /// Whether it is true of these variables.
    pub(crate) fn matches(&self, variables: &Variables) -> Result<bool, Unevaluable> {
        self.is_true(&variables.context())
    }

    /// Whether it is true. It never is when it cannot be evaluated.
    pub(super) fn is_true(&self, context: &Context<'_>) -> Result<bool, Unevaluable> {
        let evaluate = AssertUnwindSafe(|| context.resolve(&self.tree));
        match catch_unwind(evaluate) {
            Ok(Ok(Value::Bool(is_true))) => Ok(is_true),
            Ok(Ok(_)) => Err(Unevaluable("it is no truth value".to_owned())),
            Ok(Err(error)) => Err(Unevaluable(error.to_string())),
            Err(_) => Err(Unevaluable("the interpreter panicked".to_owned())),
        }
    }
}

/// Compiles on a stack of its own, of which memory is used only as far as it is reached.
fn on_large_stack(
    compile: impl FnOnce() -> Result<IdedExpr, Problem> + Send,
) -> Result<IdedExpr, Problem> {
    thread::scope(|scope| {
        let stack = thread::Builder::new().stack_size(COMPILER_STACK);
        let compiling = stack.spawn_scoped(scope, compile);
        let compiling = compiling.map_err(|_| Problem::of_whole("it cannot be compiled now"))?;
        // The parser is a generated one that somebody else keeps: what makes it panic
        // is malformed all the same.
        let compiled = compiling.join();
        compiled.unwrap_or_else(|_| Err(Problem::of_whole("it is malformed")))
    })
}

fn parse(text: &str) -> Result<IdedExpr, Problem> {
    let parsed = Parser::new().max_recursion_depth(MAX_NESTING).parse(text);
    parsed.map_err(|errors| of_parser(text, &errors))
}

fn check(tree: &IdedExpr, text: &str) -> Result<(), Problem> {
    match check::kind_of(tree) {
        Ok(Kind::Bool) => Ok(()),
        Ok(other) => Err(Problem::of_whole(format!(
            "a condition is true or false; this is {}",
            other.name()
        ))),
        Err(fault) => Err(Problem {
            position: fault.near.and_then(|near| position_of(text, &near)),
            message: fault.message,
        }),
    }
}

/// The first of the parser's errors.
fn of_parser(text: &str, errors: &cel::ParseErrors) -> Problem {
    let Some(first) = errors.errors.first() else {
        return Problem::of_whole("it is malformed");
    };
    let lines = u32::try_from(text.lines().count().max(1)).unwrap_or(u32::MAX);
    let line = u32::try_from(first.pos.0).ok().filter(|line| *line >= 1);
    let column = u32::try_from(first.pos.1).ok();
    Problem {
        position: line
            .filter(|line| *line <= lines)
            .zip(column.map(|column| column.max(1))),
        message: match first.msg.as_str() {
            "UNKNOWN" | "" => "it is malformed, or brackets stand too deep".to_owned(),
            message => message.to_owned(),
        },
    }
}

/// Where a part of a text stands first.
fn position_of(text: &str, part: &str) -> Option<(u32, u32)> {
    let before = text.get(..text.find(part)?)?;
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next()?.chars().count() + 1;
    Some((u32::try_from(line).ok()?, u32::try_from(column).ok()?))
}
