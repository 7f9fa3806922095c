//! The type checker: what an expression may consist of, and of which type each part is.
//!
//! The interpreter checks types only while it evaluates, so a rule with a fault would
//! be found by a payment. Here every part is checked when the rule is written. The
//! language is cut down to what a rule needs: the variables, whole numbers, texts and
//! truth values, comparisons, arithmetic, `&&`, `||`, `!`, `? :`, and `in` with a list
//! of literals. There are no functions, macros, loops, maps and no floating point, so
//! the time of an evaluation is bounded by the length of the expression.

use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue, operators};

use super::variables::{Kind, SPACES, VARIABLES};

/// The longest list behind `in`.
const MAX_LIST: usize = 100;
/// How far down the tree of an expression may go. The interpreter goes as far, on the
/// stack of a request.
const MAX_DEPTH: usize = 16;

/// What is wrong with a part of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// What is wrong.
    pub(super) message: String,
    /// The text of the part, as far as it can be found again in the source.
    pub(super) near: Option<String>,
}

impl Fault {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            near: None,
        }
    }

    fn near(message: impl Into<String>, near: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            near: Some(near.into()),
        }
    }
}

/// The type of an expression, of which every part is checked.
pub(super) fn kind_of(expression: &IdedExpr) -> Result<Kind, Fault> {
    if depth(expression) > MAX_DEPTH {
        return Err(Fault::new(format!(
            "its operators stand more than {MAX_DEPTH} deep; write it in fewer steps"
        )));
    }
    kind(expression)
}

/// How far down a tree goes. What has no place in an expression is refused anyway.
fn depth(expression: &IdedExpr) -> usize {
    let below = match &expression.expr {
        Expr::Call(call) => call.args.iter().map(depth).max().unwrap_or(0),
        Expr::Select(select) => depth(&select.operand),
        _ => 0,
    };
    below + 1
}

fn kind(expression: &IdedExpr) -> Result<Kind, Fault> {
    match &expression.expr {
        Expr::Literal(literal) => literal_kind(literal),
        Expr::Select(select) if !select.test => match &select.operand.expr {
            Expr::Ident(space) => variable_kind(space, &select.field),
            _ => Err(Fault::near(
                "only variables such as `user.is_new` have parts",
                format!(".{}", select.field),
            )),
        },
        Expr::Ident(name) if SPACES.contains(&name.as_str()) => Err(Fault::near(
            format!("`{name}` by itself has no value; name a variable such as `{name}.…`"),
            name,
        )),
        Expr::Ident(name) => Err(Fault::near(format!("there is no variable `{name}`"), name)),
        Expr::Call(call) if call.target.is_none() => operator(&call.func_name, &call.args),
        Expr::Call(call) => Err(Fault::near(
            format!("there is no function `{}`", call.func_name),
            &call.func_name,
        )),
        Expr::List(_) => Err(Fault::new("a list can only stand behind `in`")),
        Expr::Comprehension(_) | Expr::Select(_) => Err(Fault::new(
            "macros such as `has` and `all` are not supported",
        )),
        Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
            Err(Fault::new("maps and messages are not supported"))
        }
    }
}

fn literal_kind(literal: &LiteralValue) -> Result<Kind, Fault> {
    match literal {
        LiteralValue::Boolean(_) => Ok(Kind::Bool),
        LiteralValue::Int(_) => Ok(Kind::Int),
        LiteralValue::String(_) => Ok(Kind::Text),
        LiteralValue::Double(_) => Err(Fault::new("amounts and counts are whole numbers")),
        LiteralValue::UInt(_) => Err(Fault::new("write whole numbers without the suffix `u`")),
        LiteralValue::Bytes(_) | LiteralValue::Null => {
            Err(Fault::new("bytes and null are not supported"))
        }
    }
}

fn variable_kind(space: &str, name: &str) -> Result<Kind, Fault> {
    VARIABLES
        .iter()
        .find(|variable| variable.space == space && variable.name == name)
        .map(|variable| variable.kind)
        .ok_or_else(|| {
            let path = format!("{space}.{name}");
            Fault::near(format!("there is no variable `{path}`"), path)
        })
}

fn operator(name: &str, operands: &[IdedExpr]) -> Result<Kind, Fault> {
    match (name, operands) {
        (operators::LOGICAL_AND, [left, right]) => both("&&", left, right, Kind::Bool),
        (operators::LOGICAL_OR, [left, right]) => both("||", left, right, Kind::Bool),
        (operators::LOGICAL_NOT, [operand]) => needs("!", operand, Kind::Bool),
        (operators::NEGATE, [operand]) => needs("-", operand, Kind::Int),
        (operators::ADD, [left, right]) => both("+", left, right, Kind::Int),
        (operators::SUBSTRACT, [left, right]) => both("-", left, right, Kind::Int),
        (operators::MULTIPLY, [left, right]) => both("*", left, right, Kind::Int),
        (operators::DIVIDE, [left, right]) => both("/", left, right, Kind::Int),
        (operators::MODULO, [left, right]) => both("%", left, right, Kind::Int),
        (operators::LESS, [left, right]) => compared("<", left, right),
        (operators::LESS_EQUALS, [left, right]) => compared("<=", left, right),
        (operators::GREATER, [left, right]) => compared(">", left, right),
        (operators::GREATER_EQUALS, [left, right]) => compared(">=", left, right),
        (operators::EQUALS, [left, right]) => alike("==", left, right).map(|_| Kind::Bool),
        (operators::NOT_EQUALS, [left, right]) => alike("!=", left, right).map(|_| Kind::Bool),
        (operators::CONDITIONAL, [condition, left, right]) => {
            needs("? :", condition, Kind::Bool)?;
            alike("? :", left, right)
        }
        (operators::IN, [operand, list]) => listed(operand, list),
        (operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT, _) => {
            Err(Fault::new("`[…]` can only stand behind `in`"))
        }
        (name, _) => Err(Fault::near(format!("there is no function `{name}`"), name)),
    }
}

fn needs(operator: &'static str, operand: &IdedExpr, wanted: Kind) -> Result<Kind, Fault> {
    let found = kind(operand)?;
    if found == wanted {
        return Ok(wanted);
    }
    let (wanted, found) = (wanted.name(), found.name());
    Err(Fault::near(
        format!("`{operator}` needs {wanted}, and there is {found}"),
        operator,
    ))
}

fn both(
    operator: &'static str,
    left: &IdedExpr,
    right: &IdedExpr,
    wanted: Kind,
) -> Result<Kind, Fault> {
    needs(operator, left, wanted)?;
    needs(operator, right, wanted)
}

fn compared(operator: &'static str, left: &IdedExpr, right: &IdedExpr) -> Result<Kind, Fault> {
    both(operator, left, right, Kind::Int).map(|_| Kind::Bool)
}

/// Both of one type, whichever.
fn alike(operator: &'static str, left: &IdedExpr, right: &IdedExpr) -> Result<Kind, Fault> {
    let (left, right) = (kind(left)?, kind(right)?);
    if left == right {
        return Ok(left);
    }
    let (left, right) = (left.name(), right.name());
    Err(Fault::near(
        format!("`{operator}` needs two of one type, and there are {left} and {right}"),
        operator,
    ))
}

fn listed(operand: &IdedExpr, list: &IdedExpr) -> Result<Kind, Fault> {
    let wanted = kind(operand)?;
    let Expr::List(list) = &list.expr else {
        return Err(Fault::near(
            "behind `in` stands a list such as `['EUR']`",
            "in",
        ));
    };
    if list.elements.len() > MAX_LIST || !list.optional_indices.is_empty() {
        return Err(Fault::near(
            format!("a list has at most {MAX_LIST} values"),
            "in",
        ));
    }
    for element in &list.elements {
        let is_literal = match &element.expr {
            Expr::Literal(literal) => literal_kind(literal)? == wanted,
            _ => false,
        };
        if !is_literal {
            let wanted = wanted.name();
            return Err(Fault::near(
                format!("the list behind `in` may only have literals, each {wanted}"),
                "in",
            ));
        }
    }
    Ok(Kind::Bool)
}
