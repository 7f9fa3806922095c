//! The transfer of a run, made as `CreateTransfer` makes one: the same checks, the same
//! key store, the same state machine. What is not there is a token: the schedule acts
//! for its user by what was stored with it.

use std::time::Instant;

use bursar_aip::idempotency::Key;
use bursar_contracts::transaction::v1::{CreateTransferRequest, CreateTransferResponse};
use tonic::{Response, Status};

use crate::advance::Engine;
use crate::contract::money;
use crate::rpc::create_transfer;
use crate::rpc::creation::{Creation, Planned};
use crate::schedule::{Schedule, ScheduleRun};

/// What stands for the RPC in the scope of the runs' keys. No caller's key has it.
const METHOD: &str = "schedule.run";

/// Makes the last attempt of a run, or finds what became of it.
pub(crate) async fn attempt(
    engine: &Engine,
    schedule: &Schedule,
    run: &ScheduleRun,
    deadline: Instant,
) -> Result<Response<CreateTransferResponse>, Status> {
    let Some(transaction) = run.transactions.last() else {
        return Err(Status::internal("a run under way names its transaction"));
    };
    let key = format!("{}.{}.{}", schedule.id, run.number, run.transactions.len());
    let message = CreateTransferRequest {
        from_wallet_id: schedule.from.to_string(),
        to_wallet_id: schedule.to.to_string(),
        amount: Some(money(schedule.amount)),
        description: schedule.description.clone(),
        ..CreateTransferRequest::default()
    };
    let planned = Planned {
        transaction: *transaction,
        tenant: schedule.tenant.clone(),
        initiator: schedule.initiator,
        tier: schedule.tier,
        actor: schedule.id.to_string(),
        method: METHOD,
        key: Key::parse(&key)?,
        deadline,
    };
    let creation = Creation::planned(engine, planned, &message);
    creation.run(create_transfer::intent(message)?).await
}
