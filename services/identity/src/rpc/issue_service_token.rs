//! `IssueServiceToken`: exchanges a service account's client credentials for
//! an access token.

use bursar_contracts::identity::v1::{IssueServiceTokenRequest, IssueServiceTokenResponse};
use bursar_server::{Context, now};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tonic::{Request, Response, Status};

use crate::domain::service_account::ServiceAccountError;
use crate::error::Error;
use crate::rpc::Shared;
use crate::secret;
use crate::store::service_accounts;
use crate::token::{AccessToken, ServiceSubject};

pub(crate) async fn handle(
    shared: &Shared,
    request: Request<IssueServiceTokenRequest>,
) -> Result<Response<IssueServiceTokenResponse>, Status> {
    let context = Context::of(&request)?;
    let token = issue(shared, &context, request.into_inner()).await?;
    Ok(Response::new(IssueServiceTokenResponse {
        access_token: token.text.expose_secret().to_owned(),
        expires_in_seconds: token.expires_in_seconds,
    }))
}

async fn issue(
    shared: &Shared,
    context: &Context,
    message: IssueServiceTokenRequest,
) -> Result<AccessToken, Error> {
    let tenant = &context.caller.tenant;
    let presented = secret::hash(&SecretString::from(message.client_secret));
    let mut connection = shared.pool.acquire().await?;
    let account = service_accounts::find(&mut connection, tenant, &message.client_id)
        .await?
        .filter(|account| bool::from(account.secret_hash.ct_eq(&presented)))
        .ok_or(ServiceAccountError::CredentialsInvalid)?;
    let subject = ServiceSubject {
        tenant,
        client_id: &account.client_id,
        permissions: account.permissions,
    };
    Ok(shared.issuer.service(subject, now())?)
}
