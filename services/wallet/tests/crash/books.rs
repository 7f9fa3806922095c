//! What the ledger must contain, by what was asked and answered, next to what it
//! does contain.

use std::collections::{BTreeMap, HashMap, HashSet};

use bursar_contracts::wallet::v1::posting_result::Outcome;
use bursar_contracts::wallet::v1::{AppliedLeg, Bucket, Posting, PostingApplied, PostingResult};
use bursar_server::verify;
use bursar_testkit::TestDatabase;
use bursar_wallet::invariants::INVARIANTS;
use sqlx::Row;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::load::{Asked, Caller};

/// Whose money: a user's wallet, or the platform's with its provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    User(Uuid),
    Settlement,
}

/// A holder's available and held money.
type Balances = BTreeMap<Holder, (i64, i64)>;

/// The model, which knows nothing of the service's code.
pub(crate) struct Books {
    database: TestDatabase,
    /// Every posting that must be in the ledger; nothing else may.
    posted: HashSet<Uuid>,
    balances: Balances,
}

/// A posting as the database has it.
struct Recorded {
    recorded_at: OffsetDateTime,
    legs: Vec<AppliedLeg>,
}

impl Books {
    pub(crate) fn new(database: TestDatabase) -> Self {
        Self {
            database,
            posted: HashSet::new(),
            balances: BTreeMap::new(),
        }
    }

    pub(crate) fn database(&self) -> &TestDatabase {
        &self.database
    }

    /// Takes note of calls that were answered, each posting once.
    pub(crate) fn record(&mut self, asked: &[Asked]) {
        for asked in asked {
            assert!(asked.answer.is_some(), "unanswered: {:?}", asked.call);
            for posting in asked.call.applied() {
                self.post(posting);
            }
        }
    }

    fn post(&mut self, posting: &Posting) {
        if !self.posted.insert(id_of(&posting.posting_id)) {
            return;
        }
        for leg in &posting.legs {
            let holder = match &leg.system {
                None => Holder::User(id_of(&leg.wallet_id)),
                Some(_) => Holder::Settlement,
            };
            let (available, held) = self.balances.entry(holder).or_default();
            match leg.bucket() {
                Bucket::Held => *held += leg.amount_minor,
                _ => *available += leg.amount_minor,
            }
        }
    }

    /// Acknowledged ⊆ durable: every posting that was answered as applied is in
    /// the ledger with the very entries of the answer, and none that was
    /// answered as refused is.
    pub(crate) async fn hold_answers(&self, callers: &[Caller]) {
        let asked = callers.iter().flat_map(|caller| &caller.asked);
        let results = asked.filter_map(|asked| asked.answer.as_ref()).flatten();
        let results: Vec<&PostingResult> = results.collect();
        let ids = results.iter().map(|result| id_of(&result.posting_id));
        let recorded = self.recorded(&ids.collect::<Vec<_>>()).await;
        for result in results {
            let recorded = recorded.get(&id_of(&result.posting_id));
            match (&result.outcome, recorded) {
                (Some(Outcome::Applied(applied)), Some(recorded)) => recorded.is(applied),
                (Some(Outcome::Rejected(_)), None) => {}
                (outcome, recorded) => panic!(
                    "{} was answered {outcome:?} and is {}in the ledger",
                    result.posting_id,
                    if recorded.is_some() { "" } else { "not " }
                ),
            }
        }
    }

    /// The ledger has every posting that it must have and no other, every balance
    /// is the model's, and every invariant holds.
    pub(crate) async fn agree(&self) {
        let pool = &self.database.pool;
        let ids: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM postings")
            .fetch_all(pool)
            .await
            .expect("postings are read");
        assert_eq!(ids.into_iter().collect::<HashSet<_>>(), self.posted);
        assert_eq!(self.current().await, self.balances);
        // Events are not published here: the fixture has no Redis.
        let rules = INVARIANTS.into_iter().filter(|rule| rule.number != 10);
        let verdicts = verify(pool, &rules.collect::<Vec<_>>())
            .await
            .expect("the invariants are queries");
        for verdict in verdicts {
            let name = verdict.invariant.name;
            assert_eq!(verdict.offending_rows, 0, "{name}: {:?}", verdict.shown);
        }
    }

    /// The balances as the database has them.
    async fn current(&self) -> Balances {
        let rows = sqlx::query("SELECT id, owner_user_id, available, held FROM wallets")
            .fetch_all(&self.database.pool)
            .await
            .expect("wallets are read");
        let balances = rows.into_iter().map(|row| {
            let owner: Option<Uuid> = row.get("owner_user_id");
            let holder = match owner {
                Some(_) => Holder::User(row.get("id")),
                None => Holder::Settlement,
            };
            (holder, (row.get("available"), row.get("held")))
        });
        balances.collect()
    }

    async fn recorded(&self, ids: &[Uuid]) -> HashMap<Uuid, Recorded> {
        let rows = sqlx::query(
            "SELECT postings.id, postings.recorded_at, leg.wallet_id, leg.version,
                 coalesce(wallets.owner_user_id::text, '') AS owner,
                 entries.bucket::text AS bucket, entries.amount, entries.balance_after
             FROM postings
             CROSS JOIN UNNEST(leg_wallet_ids, leg_versions)
                 WITH ORDINALITY AS leg (wallet_id, version, position)
             JOIN wallets ON wallets.id = leg.wallet_id
             JOIN entries ON entries.wallet_id = leg.wallet_id
                 AND entries.version = leg.version AND entries.posting_id = postings.id
             WHERE postings.id = ANY ($1)
             ORDER BY postings.id, leg.position",
        )
        .bind(ids)
        .fetch_all(&self.database.pool)
        .await
        .expect("postings are read");
        let mut recorded = HashMap::new();
        for row in rows {
            let posting = recorded.entry(row.get("id")).or_insert_with(|| Recorded {
                recorded_at: row.get("recorded_at"),
                legs: Vec::new(),
            });
            let (wallet, owner): (Uuid, String) = (row.get("wallet_id"), row.get("owner"));
            let bucket: String = row.get("bucket");
            let bucket = match bucket.as_str() {
                "available" => Bucket::Available,
                "held" => Bucket::Held,
                _ => Bucket::Bonus,
            };
            posting.legs.push(AppliedLeg {
                wallet_id: format!("wal_{wallet}"),
                owner_user_id: match owner.as_str() {
                    "" => owner,
                    _ => format!("usr_{owner}"),
                },
                version: row.get("version"),
                balance_after_minor: row.get("balance_after"),
                bucket: bucket.into(),
                amount_minor: row.get("amount"),
            });
        }
        recorded
    }
}

impl Recorded {
    /// Fails the test unless this is what was answered.
    fn is(&self, answered: &PostingApplied) {
        assert_eq!(self.legs, answered.legs);
        let at = answered.recorded_at.as_ref().expect("a time is answered");
        assert_eq!(self.recorded_at.unix_timestamp(), at.seconds);
        assert_eq!(
            i64::from(self.recorded_at.nanosecond()),
            i64::from(at.nanos)
        );
    }
}

/// The UUID in an id, with or without a prefix.
fn id_of(text: &str) -> Uuid {
    let uuid = text.split_once('_').map_or(text, |(_, uuid)| uuid);
    uuid.parse().expect("an id has a UUID")
}
