//! Transfers that begin and end together: one commit for many, and each caller its own
//! answer.

use bursar_contracts::transaction::v1::{CreateTransferRequest, TransactionState};
use futures::future::join_all;
use tonic::Code;
use uuid::Uuid;

use crate::support::Mesh;
use crate::support::calls::{refusal, transfer};

const CROWD: usize = 40;

impl Mesh {
    /// In how many database transactions the events of a kind were written.
    async fn commits_of(&self, kind: &'static str) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM event_batches WHERE $1 = ANY (kinds)")
            .bind(kind)
            .fetch_one(&self.database.owner)
            .await
            .expect("the events")
    }

    /// Makes the database refuse what a transfer of this description would be turned
    /// into, or lets it again.
    async fn poison(&self, name: &'static str, poisoned: Option<(&str, &str)>) {
        let sql = match poisoned {
            Some((when, description)) => format!(
                "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN RAISE EXCEPTION 'poisoned'; END $$;
                 CREATE TRIGGER {name} BEFORE {when} ON transactions FOR EACH ROW
                 WHEN (NEW.description = '{description}') EXECUTE FUNCTION {name}()"
            ),
            None => format!("DROP FUNCTION {name} CASCADE"),
        };
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&self.database.owner)
            .await
            .expect("the owner may change the table");
    }
}

fn described(from: &str, to: &str, description: &str) -> CreateTransferRequest {
    CreateTransferRequest {
        description: description.to_owned(),
        ..transfer(from, to, 10)
    }
}

/// A crowd of transfers takes fewer commits than transfers, both for what they are
/// about to do and for what became of it.
#[tokio::test]
async fn a_crowd_shares_its_commits() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let before = mesh.commits_of("transaction.completed").await;
    let sent = (0..CROWD).map(|_| alice.transfer(transfer(&from, &to, 10)));
    for sent in join_all(sent).await {
        let sent = sent.expect("alice has enough");
        assert_eq!(sent.state(), TransactionState::Completed);
    }
    let transfers = i64::try_from(CROWD).expect("a small number");
    let begun = mesh.commits_of("transaction.initiated").await - before;
    let ended = mesh.commits_of("transaction.completed").await - before;
    assert!((1..transfers).contains(&begun), "{begun} commits");
    assert!((1..transfers).contains(&ended), "{ended} commits");
    assert_eq!(bob.balance(&to).await, (400, 0));
    mesh.verify().await;
}

/// In a crowd everybody gets the answer to their own call: what is refused, repeated,
/// reused or cannot be recorded at all changes nothing for the others.
#[tokio::test]
async fn each_in_a_crowd_gets_its_own_answer() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    mesh.poison("no_beginning", Some(("INSERT", "poison")))
        .await;
    let keys: Vec<String> = (0..10).map(|_| Uuid::now_v7().to_string()).collect();
    let good = keys.iter().map(|key| {
        let request = transfer(&from, &to, 10);
        alice.until_answered(request, key)
    });
    let twice = keys.iter().map(|key| {
        let request = transfer(&from, &to, 10);
        alice.until_answered(request, key)
    });
    let other = alice.until_answered(transfer(&from, &to, 11), &keys[0]);
    let too_much = alice.transfer(transfer(&from, &to, 1_001));
    let poisoned = alice.transfer(described(&from, &to, "poison"));
    let (good, twice, other, too_much, poisoned) =
        tokio::join!(join_all(good), join_all(twice), other, too_much, poisoned);
    let same = |first: &str, second: &str| assert_eq!(first, second, "one key, one transfer");
    for (first, second) in good.into_iter().zip(twice) {
        match (first, second) {
            (Ok(first), Ok(second)) => same(&first.transaction_id, &second.transaction_id),
            // The one with the other body came first with this key.
            (Err(first), Err(second)) => {
                assert_eq!(refusal(&first).1, "IDEMPOTENCY_KEY_REUSED");
                assert_eq!(refusal(&second).1, "IDEMPOTENCY_KEY_REUSED");
            }
            (first, second) => panic!("one key and two answers: {first:?}, {second:?}"),
        }
    }
    let moved = match other {
        Ok(_) => 9 * 10 + 11,
        Err(status) => {
            let reused = (Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED".to_owned());
            assert_eq!(refusal(&status), reused);
            10 * 10
        }
    };
    let too_much = too_much.expect_err("not enough money");
    assert_eq!(refusal(&too_much).1, "INSUFFICIENT_FUNDS");
    poisoned.expect_err("it cannot be recorded");
    assert_eq!(bob.balance(&to).await, (moved, 0));
    mesh.verify().await;
}

/// An end that cannot be written holds nobody up, and is written once it can be.
#[tokio::test]
async fn an_end_that_cannot_be_written_comes_later() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    mesh.poison("no_end", Some(("UPDATE", "poison"))).await;
    let good = join_all((0..10).map(|_| alice.transfer(transfer(&from, &to, 10))));
    let (poisoned, good) = tokio::join!(alice.transfer(described(&from, &to, "poison")), good);
    for sent in good {
        assert_eq!(sent.expect("enough").state(), TransactionState::Completed);
    }
    poisoned.expect_err("its end cannot be written");
    let id: Uuid =
        sqlx::query_scalar("SELECT transaction_id FROM transactions WHERE description = 'poison'")
            .fetch_one(&mesh.database.owner)
            .await
            .expect("it was recorded");
    mesh.poison("no_end", None).await;
    mesh.let_leases_lapse().await;
    mesh.reaches(&format!("txn_{id}"), TransactionState::Completed)
        .await;
    assert_eq!(bob.balance(&to).await, (110, 0));
    mesh.verify().await;
}
