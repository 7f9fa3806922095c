//! Transfers as users make them: through Envoy, the transaction service and the
//! wallet service.

mod gateway;
pub(super) mod rounds;
pub(super) mod stage;
