//! Fraud rules that cannot be read, and hits that cannot be counted.

use bursar_contracts::transaction::v1::FraudOutcome;
use tonic::Code;

use crate::support::Mesh;
use crate::support::calls::{refusal, transfer, withdrawal};
use crate::support::fraud::{Desk, draft};

/// Does something to the tables of the service that only their owner may.
async fn owner(mesh: &Mesh, sql: &'static str) {
    let done = sqlx::query(sql).execute(&mesh.database.owner).await;
    done.expect("the owner may");
}

/// When the rules cannot be read, or one of them says what this version does not know,
/// nothing is recorded, and the same key goes on once they can be.
#[tokio::test]
async fn unreadable_rules_let_nothing_pass() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let before = mesh.count("SELECT count(*) FROM transactions").await;
    let sent = transfer(&from, &to, 10);
    let unreadable = (Code::Unavailable, "FRAUD_RULES_UNREADABLE".to_owned());

    owner(&mesh, "ALTER TABLE fraud_rule_sets RENAME TO gone").await;
    let refused = [
        alice.transfer_with(sent.clone(), "k").await.map(drop),
        alice.withdraw(withdrawal(&from, 10)).await.map(drop),
    ];
    for refused in refused {
        let refused = refused.expect_err("it is not screened");
        assert_eq!(refusal(&refused), unreadable);
    }
    owner(&mesh, "ALTER TABLE gone RENAME TO fraud_rule_sets").await;

    let rule = draft("false", FraudOutcome::Deny);
    Desk::new(&mesh).put("a", rule).await;
    let forget_outcomes = "ALTER TABLE fraud_rules DROP CONSTRAINT fraud_rules_outcome_check";
    owner(&mesh, forget_outcomes).await;
    owner(&mesh, "UPDATE fraud_rules SET outcome = 'SHRUG'").await;
    let changed = "UPDATE fraud_rule_sets SET revision = revision + 1";
    owner(&mesh, changed).await;
    let refused = alice.transfer_with(sent.clone(), "k").await;
    let refused = refused.expect_err("it is not screened");
    assert_eq!(refusal(&refused), unreadable);
    let now = mesh.count("SELECT count(*) FROM transactions").await;
    assert_eq!(now, before);
    assert_eq!(alice.balance(&from).await, (1_000, 0));

    owner(&mesh, "UPDATE fraud_rules SET outcome = 'DENY'").await;
    owner(&mesh, changed).await;
    let done = alice.transfer_with(sent, "k").await;
    done.expect("the rule is known again, and does not match");
    assert_eq!(alice.balance(&from).await, (990, 0));
}

/// A rule whose hits cannot be counted is changed all the same, and the call says so.
#[tokio::test]
async fn a_change_does_not_hang_on_the_count() {
    let mesh = Mesh::start().await;
    let desk = Desk::new(&mesh);
    let rule = draft("false", FraudOutcome::Deny);
    desk.put("a", rule.clone()).await;
    owner(&mesh, "ALTER TABLE fraud_hits RENAME TO gone").await;
    let changed = desk.put_at("a", rule, 1).await.expect("it is changed");
    assert_eq!((changed.version, changed.counts), (2, None));
    owner(&mesh, "ALTER TABLE gone RENAME TO fraud_hits").await;
    let read = desk.rule("a").await.expect("it is there");
    assert_eq!(read.version, 2);
    assert!(read.counts.is_some());
}
