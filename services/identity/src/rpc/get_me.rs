//! `GetMe`: the calling user.

use bursar_contracts::identity::v1::{GetMeRequest, GetMeResponse};
use bursar_server::{Context, now};
use tonic::{Request, Response, Status};

use crate::domain::user::UserError;
use crate::error::Error;
use crate::rpc::session::require_alive;
use crate::rpc::{Shared, user_message};
use crate::store::{roles, users};

pub(crate) async fn handle(
    shared: &Shared,
    request: Request<GetMeRequest>,
) -> Result<Response<GetMeResponse>, Status> {
    let context = Context::of(&request)?;
    let response = read(shared, &context).await?;
    Ok(Response::new(response))
}

async fn read(shared: &Shared, context: &Context) -> Result<GetMeResponse, Error> {
    let mut connection = shared.pool.acquire().await?;
    let (user, _) = require_alive(&mut connection, context, now()).await?;
    let row = users::find(&mut connection, &context.caller.tenant, user)
        .await?
        .ok_or(UserError::NotFound)?;
    let granted = roles::granted_to(&mut connection, user).await?;
    Ok(GetMeResponse {
        user: Some(user_message(row, granted)),
    })
}
