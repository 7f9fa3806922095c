//! What one watch tells, and how it ends, without Redis: news comes by the channels.

use std::collections::HashMap;

use bursar_contracts::transaction::v1::WatchedWallet;
use sqlx::postgres::PgPoolOptions;

use super::super::limits::Limits;
use super::*;

/// How many batches a test's channels keep.
const KEPT: usize = 4;

struct Feeder {
    user: UserId,
    wallets: broadcast::Sender<Arc<News>>,
    _transactions: broadcast::Sender<Arc<News>>,
    shutdown: CancellationToken,
}

fn at(ms: u64) -> Position {
    format!("{ms}-0").parse().expect("an entry's id")
}

/// A watch that is good for a while, behind the entry 10 of each stream.
fn watch(left: Duration) -> (Watch, Feeder) {
    let user = UserId::generate();
    let (transactions, wallets) = (broadcast::Sender::new(KEPT), broadcast::Sender::new(KEPT));
    let shutdown = CancellationToken::new();
    let now = Instant::now();
    let watch = Watch {
        // Changes of wallets are told without the database.
        pool: PgPoolOptions::new()
            .connect_lazy("postgres://nobody@127.0.0.1:1/none")
            .expect("an address"),
        user,
        tenant: TenantId::default(),
        cursor: Cursor {
            transactions: at(10),
            wallets: at(10),
        },
        queue: VecDeque::new(),
        catching_up: Vec::new(),
        transactions: transactions.subscribe(),
        wallets: wallets.subscribe(),
        ends_at: now + left,
        beats_at: now + HEARTBEAT,
        shutdown: shutdown.clone(),
        _place: Limits::default().take(user).expect("there is room"),
    };
    let feeder = Feeder {
        user,
        wallets,
        _transactions: transactions,
        shutdown,
    };
    (watch, feeder)
}

impl Feeder {
    /// A batch that ends at `last`, with the user's changes at these entries.
    fn send(&self, last: u64, changes: &[u64]) {
        let change = |ms: &u64| {
            let wallet = WatchedWallet {
                version: i64::try_from(*ms).expect("small"),
                ..WatchedWallet::default()
            };
            (at(*ms), Change::Wallet(wallet))
        };
        let news = News {
            source: Source::Wallets,
            of_user: HashMap::from([
                (self.user, changes.iter().map(change).collect()),
                (UserId::generate(), vec![change(&last)]),
            ]),
            last: at(last),
            is_after_gap: false,
        };
        self.wallets.send(Arc::new(news)).expect("somebody watches");
    }

    fn send_gap(&self, last: u64) {
        let news = News {
            source: Source::Wallets,
            of_user: HashMap::new(),
            last: at(last),
            is_after_gap: true,
        };
        self.wallets.send(Arc::new(news)).expect("somebody watches");
    }
}

fn version(message: &WatchAccountResponse) -> i64 {
    message.wallet.as_ref().expect("a wallet changed").version
}

const LONG: Duration = Duration::from_secs(600);

/// Only the user's changes are told, only those behind the cursor, in their order,
/// each with the cursor behind it.
#[tokio::test]
async fn the_users_changes_are_told_once_and_in_order() {
    let (mut watch, feeder) = watch(LONG);
    feeder.send(9, &[8]);
    feeder.send(12, &[9, 11, 12]);
    feeder.send(14, &[]);
    feeder.send(16, &[15]);
    for expected in [11, 12, 15] {
        let message = watch.next().await.expect("it goes on");
        assert_eq!(version(&message), expected);
        let cursor = Cursor::decode(feeder.user, &message.cursor)
            .expect("the user's")
            .expect("there is one");
        assert_eq!(cursor.wallets, at(u64::try_from(expected).expect("small")));
        assert_eq!(cursor.transactions, at(10));
    }
}

/// Who does not keep up is told so, with the cursor behind what was told; nothing
/// is kept beyond the channel's bound.
#[tokio::test]
async fn a_slow_watch_ends_with_its_cursor() {
    let (mut watch, feeder) = watch(LONG);
    feeder.send(11, &[11]);
    assert_eq!(version(&watch.next().await.expect("it goes on")), 11);
    for last in 12..=(12 + KEPT as u64) {
        feeder.send(last, &[last]);
    }
    let Err(Error::TooSlow { cursor }) = watch.next().await else {
        panic!("the first batch is gone");
    };
    let cursor = Cursor::decode(feeder.user, &cursor)
        .expect("the user's")
        .expect("there is one");
    assert_eq!(cursor.wallets, at(11));
    let status = tonic::Status::from(Error::TooSlow {
        cursor: cursor.encode(feeder.user),
    });
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
}

/// What was removed unread ends a watch that needed it, and no other.
#[tokio::test]
async fn a_gap_ends_a_watch_that_is_before_it() {
    let (mut watch, feeder) = watch(LONG);
    feeder.send_gap(10);
    feeder.send(11, &[11]);
    assert_eq!(
        version(&watch.next().await.expect("it is past the gap")),
        11
    );
    feeder.send_gap(20);
    assert!(matches!(watch.next().await, Err(Error::CursorExpired)));
}

/// A watch ends when the token does and when the service stops.
#[tokio::test]
async fn a_watch_ends_with_the_token_and_the_service() {
    let (mut ended, _feeder) = watch(Duration::ZERO);
    assert!(matches!(ended.next().await, Err(Error::TokenEnded)));
    let (mut stopped, feeder) = watch(LONG);
    feeder.shutdown.cancel();
    assert!(matches!(stopped.next().await, Err(Error::Stopping)));
}

/// A sign of life comes when nothing else did, with the cursor where it was.
#[tokio::test]
async fn a_quiet_watch_gives_a_sign_of_life() {
    let (mut watch, feeder) = watch(LONG);
    feeder.send(13, &[]);
    watch.beats_at = Instant::now() + Duration::from_millis(50);
    let message = watch.next().await.expect("it goes on");
    assert!(message.heartbeat.is_some());
    let cursor = Cursor::decode(feeder.user, &message.cursor)
        .expect("the user's")
        .expect("there is one");
    assert_eq!(cursor.wallets, at(13), "others' changes are behind it");
    assert!(watch.beats_at > Instant::now());
}
