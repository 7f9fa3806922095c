//! `WatchAccount`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bursar_contracts::transaction::v1::watch_service_server::WatchService;
use bursar_contracts::transaction::v1::{WatchAccountRequest, WatchAccountResponse};
use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use bursar_server::Context;
use futures::{Stream, stream};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::watching::account::{Watch, Watcher};
use crate::watching::cursor::Cursor;
use crate::watching::error::Error;
use crate::watching::feed::Feed;
use crate::watching::limits::Limits;
use crate::watching::{snapshot, token};

/// The longest time that wallet is waited for when a watch begins.
const WALLET_TIME: Duration = Duration::from_secs(3);
/// How long a token is taken to be good for that does not say.
const UNKNOWN_LEFT: Duration = Duration::from_secs(60);

/// The service's handler.
pub(crate) struct WatchRpc {
    pool: PgPool,
    feed: Arc<Feed>,
    wallets: WalletServiceClient<Channel>,
    limits: Limits,
    shutdown: CancellationToken,
}

impl WatchRpc {
    pub(crate) fn new(
        pool: PgPool,
        feed: Arc<Feed>,
        wallet: Channel,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            pool,
            feed,
            wallets: WalletServiceClient::new(wallet),
            limits: Limits::default(),
            shutdown,
        }
    }
}

#[tonic::async_trait]
impl WatchService for WatchRpc {
    type WatchAccountStream =
        Pin<Box<dyn Stream<Item = Result<WatchAccountResponse, Status>> + Send>>;

    async fn watch_account(
        &self,
        request: Request<WatchAccountRequest>,
    ) -> Result<Response<Self::WatchAccountStream>, Status> {
        let context = Context::of(&request)?;
        let user = context.user_id()?;
        let from = Cursor::decode(user, &request.into_inner().cursor)?;
        let is_new = from.is_none();
        let watcher = Watcher {
            user,
            tenant: context.caller.tenant.clone(),
            left: token::left(&context.caller).unwrap_or(UNKNOWN_LEFT),
            place: self.limits.take(user)?,
            shutdown: self.shutdown.clone(),
        };
        let mut watch = Watch::begin(&self.feed, self.pool.clone(), watcher, from).await?;
        if is_new {
            // Read after the watch has begun, so that nothing falls in between.
            self.tell_current(&mut watch, &context).await?;
        }
        // Who watches is told at once that the watch has begun, and from where.
        let heartbeat = watch.heartbeat();
        watch.tell_first(heartbeat);
        let messages = stream::unfold(Some(watch), |watch| async {
            let mut watch = watch?;
            match watch.next().await {
                Ok(message) => Some((Ok(message), Some(watch))),
                Err(error) => Some((Err(error.into()), None)),
            }
        });
        Ok(Response::new(Box::pin(messages)))
    }
}

impl WatchRpc {
    async fn tell_current(&self, watch: &mut Watch, context: &Context) -> Result<(), Status> {
        let user = context.user_id()?;
        let deadline = context.deadline.min(Instant::now() + WALLET_TIME);
        let wallets = snapshot::wallets(&self.wallets, &context.caller, user, deadline);
        let transactions = snapshot::transactions(&self.pool, &context.caller, user);
        let (wallets, transactions) = futures::future::try_join(wallets, transactions)
            .await
            .map_err(|error: Error| Status::from(error))?;
        for wallet in wallets {
            watch.tell_first(WatchAccountResponse {
                wallet: Some(wallet),
                ..WatchAccountResponse::default()
            });
        }
        for transaction in transactions {
            watch.tell_first(WatchAccountResponse {
                transaction: Some(transaction),
                ..WatchAccountResponse::default()
            });
        }
        Ok(())
    }
}
