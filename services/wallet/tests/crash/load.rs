//! Callers: each asks one thing after the other and remembers every answer.

use std::sync::Arc;
use std::time::Duration;

use bursar_contracts::wallet::v1::ledger_service_client::LedgerServiceClient;
use bursar_contracts::wallet::v1::{BatchMode, PostBatchRequest, Posting, PostingResult, Wallet};
use bursar_status::StatusExt;
use bursar_testkit::with_token;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::calls::{Call, Hold, transfer};

/// How many callers there are at once; each begins its lap one call later.
const CALLERS: usize = 6;
/// How many different calls a lap has.
const LAP: usize = 8;
/// How many laps a caller makes when nothing stops it.
const MAX_LAPS: usize = 40;
/// How long a caller tries to get an answer, and how long it waits between.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// The ledger's address and the right to post there.
#[derive(Clone)]
pub(crate) struct Poster {
    pub(crate) client: LedgerServiceClient<Channel>,
    pub(crate) token: String,
}

impl Poster {
    async fn post(&mut self, call: &Call) -> Result<Vec<PostingResult>, Status> {
        let request = PostBatchRequest {
            postings: call.postings.clone(),
            mode: call.mode.into(),
            origins: Vec::new(),
        };
        let response = self
            .client
            .post_batch(with_token(request, &self.token))
            .await?;
        Ok(response.into_inner().results)
    }
}

/// A call, and what was answered to it.
pub(crate) struct Asked {
    pub(crate) call: Call,
    pub(crate) answer: Option<Vec<PostingResult>>,
}

impl Asked {
    pub(crate) fn new(call: Call) -> Self {
        Self { call, answer: None }
    }

    /// Asks, for the first time or again.
    pub(crate) async fn ask(&mut self, poster: &mut Poster) -> Result<(), Status> {
        let results = poster.post(&self.call).await?;
        self.call.check(&results, self.answer.as_deref());
        if self.answer.is_none() {
            self.answer = Some(results);
        }
        Ok(())
    }
}

/// Somebody who posts.
pub(crate) struct Caller {
    index: usize,
    wallets: Arc<[Wallet]>,
    /// Postings that all callers ask for, one a lap.
    shared: Arc<[Posting]>,
    hold: Hold,
    pub(crate) asked: Vec<Asked>,
}

/// The callers of one round.
pub(crate) fn callers(wallets: &Arc<[Wallet]>) -> Vec<Caller> {
    let shared = (0..MAX_LAPS).map(|lap| {
        let (from, to) = (lap % wallets.len(), (lap + 1) % wallets.len());
        transfer(&wallets[from], &wallets[to], 1)
    });
    let shared: Arc<[Posting]> = shared.collect();
    let callers = (0..CALLERS).map(|index| Caller {
        index,
        wallets: Arc::clone(wallets),
        shared: Arc::clone(&shared),
        hold: Hold::on(&wallets[index % wallets.len()]),
        asked: Vec::new(),
    });
    callers.collect()
}

/// Has all callers do something at the same time.
pub(crate) async fn together<F, Done>(callers: Vec<Caller>, what: F) -> Vec<Caller>
where
    F: Fn(Caller) -> Done,
    Done: Future<Output = Caller> + Send + 'static,
{
    let tasks: Vec<_> = callers
        .into_iter()
        .map(|caller| tokio::spawn(what(caller)))
        .collect();
    let mut callers = Vec::with_capacity(tasks.len());
    for task in tasks {
        callers.push(task.await.expect("a caller gets through"));
    }
    callers
}

/// True when the caller does not know what became of its call, and is to ask
/// again: the service could not say, or not in time.
fn is_unknown(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
        && status.get_error_details().retry_info().is_some()
}

impl Caller {
    /// Asks one thing after the other, beginning with what was not answered, until
    /// the service is gone.
    pub(crate) async fn work(mut self, mut poster: Poster) -> Self {
        while self.prepare() {
            let asked = self.asked.last_mut().expect("one was prepared");
            if let Err(status) = asked.ask(&mut poster).await {
                // The service answers everything here; this is the lost connection.
                let details = status.get_error_details();
                assert!(details.error_info().is_none(), "{status:?}");
                break;
            }
        }
        self
    }

    /// Makes some laps, and asks each thing again and again while the answer is
    /// to try again.
    pub(crate) async fn insist(mut self, mut poster: Poster, laps: usize) -> Self {
        while self.asked.len() < laps * LAP && self.prepare() {
            let asked = self.asked.last_mut().expect("one was prepared");
            let asking = async {
                let mut pauses = tokio::time::interval(PAUSE);
                loop {
                    pauses.tick().await;
                    match asked.ask(&mut poster).await {
                        Ok(()) => break,
                        Err(status) if is_unknown(&status) => {}
                        Err(status) => panic!("no answer and no unknown end: {status:?}"),
                    }
                }
            };
            let answered = tokio::time::timeout(PATIENCE, asking).await;
            assert!(answered.is_ok(), "no answer in time: {:?}", asked.call);
        }
        self
    }

    /// Asks everything once more, in order: what was answered is answered the
    /// same, and what was not is answered now.
    pub(crate) async fn settle(mut self, mut poster: Poster) -> Self {
        for asked in &mut self.asked {
            let answered = asked.ask(&mut poster).await;
            answered.expect("a calm service answers");
        }
        self
    }

    /// Makes sure that the last call is one without an answer; false when there
    /// are no more.
    fn prepare(&mut self) -> bool {
        let is_open = |asked: &Asked| asked.answer.is_none();
        if !self.asked.last().is_some_and(is_open) {
            if self.asked.len() >= MAX_LAPS * LAP {
                return false;
            }
            let call = self.next();
            self.asked.push(Asked::new(call));
        }
        true
    }

    /// The next call: every kind of load comes once a lap, and callers are at
    /// different turns of it. None begins behind the placing of its first hold.
    fn next(&mut self) -> Call {
        let turn = self.asked.len();
        let (lap, number) = (turn / LAP, self.index + turn);
        let count = self.wallets.len();
        let from = &self.wallets[number % count];
        let to = &self.wallets[(number + 1 + lap % (count - 1)) % count];
        let several = |postings: i64| {
            let postings = (1..=postings).map(|amount_minor| transfer(from, to, amount_minor));
            postings.collect::<Vec<_>>()
        };
        let alone = |posting: Posting| Call::good(vec![posting], BatchMode::Independent);
        match number % LAP {
            0 => alone(transfer(from, to, 7)),
            1 => Call::good(several(20), BatchMode::Independent).with_refused(from, to),
            2 => Call::good(several(5), BatchMode::Atomic),
            3 => Call::good(several(3), BatchMode::Atomic).with_refused(from, to),
            4 => {
                let own = transfer(from, to, 2);
                let postings = vec![own.clone(), self.shared[lap].clone(), own];
                Call::good(postings, BatchMode::Independent)
            }
            5 => {
                self.hold = Hold::on(from);
                alone(self.hold.place())
            }
            6 => alone(self.hold.capture()),
            _ if lap.is_multiple_of(2) => alone(self.hold.capture_final()),
            _ => alone(self.hold.void()),
        }
    }
}
