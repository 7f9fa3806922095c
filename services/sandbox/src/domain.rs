//! What the provider does with a request, without any input or output.

mod account;
mod authorization;
mod card;
mod clock;
mod fault;
mod fee;
mod magic;
mod movement;
mod notice;
pub(crate) mod settlement;
mod source;

pub(crate) use account::{Account, NewAccount, Opening};
pub(crate) use authorization::{
    Authorization, AuthorizationStatus, LIFETIME, NewAuthorization, VoidRefused, Voiding,
};
pub(crate) use card::{Behaviour, Card, CardNumber};
pub(crate) use clock::{Clock, ClockChange, ClockOutOfBounds};
pub(crate) use fault::{Fault, FaultKind, FaultOperation, Flapping};
pub(crate) use fee::FeeRule;
pub(crate) use magic::{Surprise, surprise};
pub(crate) use movement::{Kind, Movement, NewMovement, Plan, RequestInvalid, Status};
pub(crate) use notice::NoticeFault;
pub(crate) use source::{Draw, DrawRefused, Fund, FundState, Source, SourceKind};
