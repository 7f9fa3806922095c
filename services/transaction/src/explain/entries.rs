//! The entries of a transaction's postings, from wallet.
//!
//! Wallet lists entries by wallet and time, not by transaction, so it is asked for
//! the moments at which the transaction's log says that something was posted. It is
//! asked with the caller's own token, and shows what the caller may see.

use std::time::Instant;

use bursar_aip::id::WalletId;
use bursar_auth::Caller;
use bursar_contracts::transaction::v1::{ExplainedEntry, ExplainedPosting, Fee};
use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use bursar_contracts::wallet::v1::{Entry, EntryOrder, ListEntriesRequest, PostingKind};
use bursar_server::crash_point;
use bursar_status::correlation;
use secrecy::ExposeSecret;
use time::{Duration, OffsetDateTime};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::chain::Logged;
use crate::contract::{fee, instant, timestamp};
use crate::domain::{Event, Transaction};

/// How long a connection attempt may take.
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_millis(500);
/// How many entries a page has, and how many pages are looked through for a moment.
const PAGE_SIZE: i32 = 100;
const MAX_PAGES: usize = 3;
/// How far the ledger's time of a posting may lie before what the log says of it.
const BEFORE: Duration = Duration::seconds(10);
const AFTER: Duration = Duration::seconds(1);

/// The postings with when the ledger recorded each.
pub(crate) type Postings = Vec<(OffsetDateTime, ExplainedPosting)>;

/// Why entries are not told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTold {
    /// Wallet has not answered, or refused.
    #[error("the ledger has not answered: {}", .0.code())]
    Ledger(#[from] Status),
    /// There are more entries at that moment than are looked through.
    #[error("the wallet has too many entries at that time")]
    TooMany,
    /// The caller has no token to ask with.
    #[error("the caller has no token to ask the ledger with")]
    NoToken,
}

/// The client.
#[derive(Clone)]
pub(crate) struct Entries {
    client: WalletServiceClient<Channel>,
}

/// When and where something may have been posted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Moment {
    wallet: WalletId,
    /// Of these kinds; of all when empty.
    kinds: Vec<PostingKind>,
    from: OffsetDateTime,
    before: OffsetDateTime,
}

impl Entries {
    /// A client over a channel of [`channel`].
    pub(crate) fn new(channel: Channel) -> Self {
        Self {
            client: WalletServiceClient::new(channel),
        }
    }

    /// The postings of a transaction with the entries that the caller may see, or
    /// as many as were found and why not all.
    #[tracing::instrument(name = "explain.entries", skip_all)]
    pub(crate) async fn of(
        &self,
        transaction: &Transaction,
        log: &[Logged],
        caller: &Caller,
        deadline: Instant,
    ) -> (Postings, Option<NotTold>) {
        let mut found = Vec::new();
        let mut cause = None;
        for moment in moments(transaction, log) {
            match self.at(&moment, transaction, caller, deadline).await {
                Ok(entries) => found.extend(entries),
                Err(not_told) => cause = Some(not_told),
            }
        }
        let mut postings = postings(found);
        for (_, posting) in &mut postings {
            posting.fee = fee_leg(transaction, posting.kind());
        }
        (postings, cause)
    }

    /// The transaction's entries of one wallet at one moment; none when the wallet
    /// is not the caller's to see.
    async fn at(
        &self,
        moment: &Moment,
        transaction: &Transaction,
        caller: &Caller,
        deadline: Instant,
    ) -> Result<Vec<(WalletId, Entry)>, NotTold> {
        let id = transaction.id.to_string();
        let mut found = Vec::new();
        let mut page_token = String::new();
        for _ in 0..MAX_PAGES {
            let mut request = Request::new(ListEntriesRequest {
                wallet_id: moment.wallet.to_string(),
                page_size: PAGE_SIZE,
                page_token,
                order: EntryOrder::Unspecified.into(),
                kinds: moment.kinds.iter().map(|kind| (*kind).into()).collect(),
                recorded_from: Some(timestamp(moment.from)),
                recorded_before: Some(timestamp(moment.before)),
                ..ListEntriesRequest::default()
            });
            prepare(&mut request, caller, deadline)?;
            crash_point!("explain.before_entries");
            let listed = self.client.clone().list_entries(request).await;
            crash_point!("explain.after_entries");
            let page = match listed {
                Ok(response) => response.into_inner(),
                Err(status) if status.code() == Code::NotFound => return Ok(Vec::new()),
                Err(status) => return Err(status.into()),
            };
            let own = page.entries.into_iter();
            let own = own.filter(|entry| entry.transaction_id == id);
            found.extend(own.map(|entry| (moment.wallet, entry)));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(found);
            }
        }
        if found.is_empty() {
            return Err(NotTold::TooMany);
        }
        Ok(found)
    }
}

/// A channel to wallet for calls in the callers' own names, which connects when it
/// is first used.
pub(crate) fn channel(address: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(address.to_owned())?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true);
    Ok(endpoint.connect_lazy())
}

/// Adds the caller's token, the correlation id and the time that is left.
pub(crate) fn prepare<T>(
    request: &mut Request<T>,
    caller: &Caller,
    deadline: Instant,
) -> Result<(), NotTold> {
    let token = caller.token.as_ref().ok_or(NotTold::NoToken)?;
    let bearer = format!("Bearer {}", token.expose_secret());
    let metadata = request.metadata_mut();
    let bearer = bearer.parse().map_err(|_| NotTold::NoToken)?;
    metadata.insert("authorization", bearer);
    if let Ok(id) = correlation::current().as_str().parse() {
        metadata.insert(correlation::HEADER, id);
    }
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Status::deadline_exceeded("no time is left").into());
    }
    request.set_timeout(left);
    Ok(())
}

/// When and where the log says that something was posted.
fn moments(transaction: &Transaction, log: &[Logged]) -> Vec<Moment> {
    let movement = &transaction.movement;
    let mut moments = Vec::new();
    if let Some(posted_at) = transaction.posted_at {
        // The ledger's own time, so there is no doubt about it.
        for wallet in [movement.from_wallet(), movement.to_wallet()]
            .into_iter()
            .flatten()
        {
            moments.push(Moment {
                wallet,
                kinds: Vec::new(),
                from: posted_at,
                before: posted_at + Duration::milliseconds(1),
            });
        }
    }
    let Some(wallet) = movement.from_wallet() else {
        return moments;
    };
    let mut is_held = false;
    for logged in log {
        let kind = match &logged.event {
            Event::FundsHeld { .. } => {
                is_held = true;
                PostingKind::Hold
            }
            Event::Failed(_) if is_held => PostingKind::HoldVoid,
            _ => continue,
        };
        moments.push(Moment {
            wallet,
            kinds: vec![kind],
            from: logged.row.occurred_at - BEFORE,
            before: logged.row.occurred_at + AFTER,
        });
    }
    moments
}

/// What of a posting of this kind went to the platform's wallet for fees, which only
/// operators of the ledger can look into. A fee is taken by the posting that moves the
/// money, and by no other.
fn fee_leg(transaction: &Transaction, kind: PostingKind) -> Option<Fee> {
    let moves_money = matches!(
        kind,
        PostingKind::Transfer | PostingKind::Deposit | PostingKind::HoldCapture
    );
    let fee = fee(&transaction.price, transaction.amount).filter(|_| moves_money);
    fee.filter(|fee| fee.amount_minor > 0)
}

/// Entries as postings, in the order in which the ledger recorded them.
fn postings(mut entries: Vec<(WalletId, Entry)>) -> Postings {
    let recorded = |entry: &Entry| entry.recorded_at.as_ref().and_then(instant);
    entries.sort_by_key(|(wallet, entry)| {
        (
            recorded(entry),
            entry.posting_id.clone(),
            *wallet,
            entry.version,
        )
    });
    entries.dedup_by(|(wallet, entry), (before_wallet, before)| {
        wallet == before_wallet && entry.version == before.version
    });
    let mut postings: Postings = Vec::new();
    for (wallet, entry) in entries {
        let told = ExplainedEntry {
            wallet_id: wallet.to_string(),
            bucket: entry.bucket,
            amount_minor: entry.amount_minor,
            balance_after_minor: entry.balance_after_minor,
            version: entry.version,
        };
        match postings.last_mut() {
            Some((_, posting)) if posting.posting_id == entry.posting_id => {
                posting.entries.push(told);
            }
            _ => {
                let Some(at) = recorded(&entry) else { continue };
                postings.push((
                    at,
                    ExplainedPosting {
                        posting_id: entry.posting_id,
                        kind: entry.kind,
                        entries: vec![told],
                        fee: None,
                    },
                ));
            }
        }
    }
    postings
}
