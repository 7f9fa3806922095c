//! The store of fraud screening on a real PostgreSQL.

use bursar_aip::id::{TenantId, TransactionId, UserId, WalletId};
use bursar_money::{Currency, PositiveMoney};
use bursar_server::now;
use bursar_testkit::TestDatabase;
use sqlx::PgPool;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::history::{self, Moment};
use super::hits::{self, Counts};
use super::past::{self, Range};
use super::profiles::{self, Payment};
use super::rules::{self, StoredRule};
use crate::domain::MovementKind;
use crate::fraud::{History, Mode, Outcome, Rule, SMALL_MINOR, Stage, Subject};
use crate::store::id_time;

async fn database() -> TestDatabase {
    TestDatabase::create(&crate::definition().migrations).await
}

fn tenant() -> TenantId {
    TenantId::default()
}

fn amount(code: &str, minor: i64) -> PositiveMoney {
    PositiveMoney::new(Currency::parse(code).expect("a currency"), minor).expect("positive")
}

/// An id as it would have been made at a time.
fn id_at(at: OffsetDateTime) -> Uuid {
    let random = Uuid::now_v7().as_u128() & ((1 << 80) - 1);
    Uuid::from_u128(id_time::least(at).as_u128() | random)
}

fn pick<T: Copy>(of: &[T]) -> T {
    of[rand::random_range(0..of.len())]
}

/// Transactions of two users within five days before `now`, most of them near its end.
fn some_subjects(now: OffsetDateTime) -> Vec<Subject> {
    let users = [UserId::generate(), UserId::generate()];
    let wallets = [WalletId::generate(), WalletId::generate()];
    let reach = [600, 4_000, 90_000, 400_000];
    let mut subjects: Vec<Subject> = (0..120)
        .map(|_| {
            // Whole milliseconds, as ids have them.
            let back = rand::random_range(0..pick(&reach) * 1_000);
            let at = now - Duration::milliseconds(back);
            let kind = pick(&[
                MovementKind::Transfer,
                MovementKind::Withdrawal,
                MovementKind::Deposit,
            ]);
            let is_transfer = kind == MovementKind::Transfer;
            Subject {
                tenant: tenant(),
                transaction: TransactionId::from_uuid(id_at(at)),
                user: pick(&users),
                kind,
                amount: amount(
                    pick(&["EUR", "EUR", "USD"]),
                    pick(&[1, SMALL_MINOR, 70_000]),
                ),
                payee: is_transfer.then(|| pick(&wallets)),
                provider: (!is_transfer).then(|| "sandbox".parse().expect("a name")),
                at,
            }
        })
        .collect();
    subjects.sort_by_key(|subject| subject.at);
    subjects
}

async fn record(pool: &PgPool, subjects: &[Subject]) {
    for subject in subjects {
        let from = (subject.kind != MovementKind::Deposit).then(Uuid::now_v7);
        let to = match subject.kind {
            MovementKind::Deposit => Some(Uuid::now_v7()),
            _ => subject.payee.map(WalletId::uuid),
        };
        sqlx::query(
            "INSERT INTO transactions (
                 transaction_id, tenant_id, kind, state, currency_code, amount_minor,
                 from_wallet_id, to_wallet_id, provider, initiator_user_id, description,
                 created_at, updated_at, version
             )
             VALUES ($1, $2, $3, 'PENDING', $4, $5, $6, $7, $8, $9, '', $10, $10, 1)",
        )
        .bind(subject.transaction.uuid())
        .bind(subject.tenant.as_str())
        .bind(subject.kind.name())
        .bind(subject.amount.currency().code())
        .bind(subject.amount.minor())
        .bind(from)
        .bind(to)
        .bind(subject.provider.as_ref().map(|name| name.as_str()))
        .bind(subject.user.uuid())
        .bind(subject.at)
        .execute(pool)
        .await
        .expect("a new row");
    }
}

/// The same by counting one by one.
fn counted(subjects: &[Subject], subject: &Subject) -> History {
    let mut history = History::default();
    let earlier = subjects.iter().filter(|one| {
        one.user == subject.user && one.transaction != subject.transaction && one.at <= subject.at
    });
    for one in earlier {
        history.first_of_all.get_or_insert(one.at);
        let age = subject.at - one.at;
        if age > Duration::DAY {
            history.before_last_day = Some(one.at);
            continue;
        }
        history.first_of_last_day.get_or_insert(one.at);
        history.last_of_last_day = Some(one.at);
        let is_same = one.amount.currency() == subject.amount.currency();
        let minor = if is_same { one.amount.minor() } else { 0 };
        let is_last_hour = age < Duration::HOUR;
        match one.kind {
            MovementKind::Withdrawal => {
                history.withdrawals_last_day += 1;
                history.withdrawals_minor_last_day += minor;
                if is_last_hour {
                    history.withdrawals_last_hour += 1;
                    history.withdrawals_minor_last_hour += minor;
                }
            }
            MovementKind::Transfer => {
                let is_small = i64::from(is_same && minor <= SMALL_MINOR);
                history.small_transfers_last_day += is_small;
                if is_last_hour {
                    history.transfers_last_hour += 1;
                    history.transfers_minor_last_hour += minor;
                    history.small_transfers_last_hour += is_small;
                }
                if age < Duration::minutes(10) {
                    history.transfers_last_10_minutes += 1;
                }
            }
            MovementKind::Deposit
            | MovementKind::Refund
            | MovementKind::Adjustment
            | MovementKind::BonusGrant => {}
        }
    }
    history
}

/// One statement reads for each of many subjects what counting one by one comes to, as
/// it was at the time of each; and at present for the last of them all the same.
#[tokio::test]
async fn a_history_is_what_was_before() {
    let database = database().await;
    let now = now().replace_millisecond(0).expect("a whole second");
    let subjects = some_subjects(now);
    record(&database.pool, &subjects).await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    let read = history::read(&mut conn, &subjects, Moment::OfSubject)
        .await
        .expect("it can be read");
    assert_eq!(read.len(), subjects.len());
    for (subject, read) in subjects.iter().zip(&read) {
        assert_eq!(*read, counted(&subjects, subject), "{subject:?}");
    }
    let next = Subject {
        transaction: TransactionId::generate(),
        at: now,
        ..subjects[0].clone()
    };
    let read = history::read(&mut conn, std::slice::from_ref(&next), Moment::Present)
        .await
        .expect("it can be read");
    assert_eq!(read, [counted(&subjects, &next)]);
}

/// What a user asks for at once has at present the past that each would have by
/// itself, whatever its currency, time and payee.
#[tokio::test]
async fn subjects_of_one_user_share_their_past() {
    let database = database().await;
    let now = now().replace_millisecond(0).expect("a whole second");
    let before = some_subjects(now);
    record(&database.pool, &before).await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    let known = Payment {
        tenant: tenant(),
        user: before[0].user,
        amount: amount("EUR", 5),
        payee: Some(WalletId::generate()),
        completed_at: now - Duration::DAY,
    };
    profiles::record(&mut conn, std::slice::from_ref(&known))
        .await
        .expect("recorded");
    let asked: Vec<Subject> = (0..24)
        .map(|_| Subject {
            transaction: TransactionId::generate(),
            user: pick(&[before[0].user, before[1].user, UserId::generate()]),
            kind: MovementKind::Transfer,
            amount: amount(pick(&["EUR", "USD"]), 1),
            payee: pick(&[None, known.payee, Some(WalletId::generate())]),
            at: now + Duration::seconds(pick(&[0, 1_800])),
            ..before[0].clone()
        })
        .collect();
    let together = history::read(&mut conn, &asked, Moment::Present)
        .await
        .expect("it can be read");
    assert_eq!(together.len(), asked.len());
    for (subject, together) in asked.iter().zip(together) {
        let alone = history::read(&mut conn, std::slice::from_ref(subject), Moment::Present)
            .await
            .expect("it can be read");
        assert_eq!([&together], [&alone[0]], "{subject:?}");
        let is_known = subject.user == known.user && subject.payee == known.payee;
        assert_eq!(together.payee_known_since.is_some(), is_known);
        let activity = History {
            payee_known_since: None,
            paid_30_days: 0,
            average_minor_30_days: 0,
            max_minor_30_days: 0,
            ..together
        };
        assert_eq!(activity, counted(&before, subject));
    }
}

/// A transaction counts from when it was recorded, though its id is most of a day older.
#[tokio::test]
async fn a_transaction_of_an_old_id_counts_by_its_time() {
    let database = database().await;
    let now = now().replace_millisecond(0).expect("a whole second");
    let one = |minutes_ago| Subject {
        tenant: tenant(),
        transaction: TransactionId::from_uuid(id_at(
            now - Duration::minutes(minutes_ago) - id_time::OLDEST,
        )),
        user: UserId::from_uuid(Uuid::from_u128(1)),
        kind: MovementKind::Transfer,
        amount: amount("EUR", 1),
        payee: None,
        provider: None,
        at: now - Duration::minutes(minutes_ago),
    };
    // One before the last day, two on it.
    let subjects = [one(1_500), one(1_430), one(5)];
    let with_payee = subjects.clone().map(|subject| Subject {
        payee: Some(WalletId::generate()),
        ..subject
    });
    record(&database.pool, &with_payee).await;
    let next = Subject {
        transaction: TransactionId::generate(),
        at: now,
        ..subjects[0].clone()
    };
    let mut conn = database.pool.acquire().await.expect("a connection");
    for moment in [Moment::Present, Moment::OfSubject] {
        let read = history::read(&mut conn, std::slice::from_ref(&next), moment)
            .await
            .expect("it can be read");
        assert_eq!(read, [counted(&subjects, &next)]);
        assert_eq!(read[0].small_transfers_last_day, 2);
    }
    let range = Range {
        tenant: &tenant(),
        from: now - Duration::minutes(1_430),
        until: now - Duration::minutes(5),
        after: None,
        limit: 10,
    };
    let past = past::read(&mut conn, range).await.expect("it can be read");
    let found: Vec<TransactionId> = past.iter().map(|past| past.subject.transaction).collect();
    assert_eq!(found, [subjects[1].transaction]);
}

/// Payments come together by user, currency and day, and a payee is known since the
/// first one.
#[tokio::test]
async fn payments_are_summed_by_day() {
    let database = database().await;
    let (user, payee) = (UserId::generate(), WalletId::generate());
    let at = now().replace_hour(12).expect("noon");
    let payment = |minor, days_ago| Payment {
        tenant: tenant(),
        user,
        amount: amount("EUR", minor),
        payee: Some(payee),
        completed_at: at - Duration::days(days_ago),
    };
    let mut conn = database.pool.acquire().await.expect("a connection");
    let first = [payment(100, 1), payment(i64::MAX, 1), payment(7, 40)];
    profiles::record(&mut conn, &first).await.expect("recorded");
    profiles::record(&mut conn, &[payment(i64::MAX, 1)])
        .await
        .expect("recorded");
    let subject = Subject {
        tenant: tenant(),
        transaction: TransactionId::generate(),
        user,
        kind: MovementKind::Transfer,
        amount: amount("EUR", 1),
        payee: Some(payee),
        provider: None,
        at,
    };
    let read = history::read(&mut conn, &[subject], Moment::Present).await;
    let history = read.expect("it can be read").remove(0);
    let known = history.payee_known_since.expect("it is known");
    assert_eq!((at - known).whole_days(), 40);
    assert_eq!(history.paid_30_days, 3);
    assert_eq!(history.max_minor_30_days, i64::MAX);
    let average = (2 * i128::from(i64::MAX) + 100) / 3;
    assert_eq!(i128::from(history.average_minor_30_days), average);
}

async fn hit(pool: &PgPool, rule: Uuid, mode: Mode, is_error: bool, days_ago: i32) {
    sqlx::query(
        "INSERT INTO fraud_hits (
             rule_id, transaction_id, tenant_id, user_id, rule_version, mode, is_error, verdict,
             hit_at
         )
         VALUES ($1, gen_random_uuid(), 'default', gen_random_uuid(), 1, $2, $3, 'ALLOW',
             clock_timestamp() - $4 * interval '1 day')",
    )
    .bind(rule)
    .bind(mode.name())
    .bind(is_error)
    .bind(days_ago)
    .execute(pool)
    .await
    .expect("a new row");
}

/// Old hits become numbers of their rule and no count changes by it; those of a rule
/// that is gone go too.
#[tokio::test]
async fn folded_hits_still_count() {
    let database = database().await;
    let (rule, gone) = (Uuid::now_v7(), Uuid::now_v7());
    let stored = StoredRule {
        rule: Rule {
            id: rule,
            name: "a".to_owned(),
            version: 1,
            expression: "true".to_owned(),
            outcome: Outcome::Deny,
            mode: Mode::Active,
            stage: Stage::Before,
            priority: 1,
        },
        description: String::new(),
        updated_by: "usr_1".to_owned(),
        updated_at: now(),
    };
    let mut conn = database.pool.acquire().await.expect("a connection");
    rules::begin_change(&mut conn, &tenant())
        .await
        .expect("a change");
    rules::put(&mut conn, &tenant(), &stored)
        .await
        .expect("a rule");
    for (mode, is_error, days_ago) in [
        (Mode::Active, false, 40),
        (Mode::Active, false, 2),
        (Mode::Active, false, 0),
        (Mode::Shadow, false, 31),
        (Mode::Shadow, false, 0),
        (Mode::Shadow, true, 50),
    ] {
        hit(&database.owner, rule, mode, is_error, days_ago).await;
    }
    hit(&database.owner, gone, Mode::Active, false, 2).await;
    let expected = Counts {
        active_last_day: 1,
        active_total: 3,
        shadow_last_day: 1,
        shadow_total: 2,
        errors_last_day: 0,
        errors_total: 1,
    };
    let before = hits::count(&mut conn, &[rule]).await.expect("counted");
    assert_eq!(before[&rule], expected);
    assert_eq!(hits::fold(&mut conn).await.expect("folded"), 4);
    assert_eq!(hits::fold(&mut conn).await.expect("folded"), 0);
    let after = hits::count(&mut conn, &[rule]).await.expect("counted");
    assert_eq!(after[&rule], expected);
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM fraud_hits")
        .fetch_one(&database.pool)
        .await
        .expect("it counts");
    assert_eq!(left, 3);
}
