//! What the provider does with a request, without any input or output.

mod account;
mod fault;
mod magic;
mod movement;

pub(crate) use account::{Account, NewAccount, Opening};
pub(crate) use fault::{Fault, FaultKind, FaultOperation};
pub(crate) use magic::surprise;
pub(crate) use movement::{Kind, Movement, NewMovement, Plan, RequestInvalid, Status};
