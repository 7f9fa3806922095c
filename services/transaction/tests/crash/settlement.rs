//! Settlement files about what was really done, and the provider's list of a day.

use bursar_contracts::google::api::HttpBody;
use bursar_contracts::transaction::v1::ImportSettlementFileRequest;
use bursar_contracts::transaction::v1::reconciliation_service_client::ReconciliationServiceClient;
use bursar_testkit::TestProcess;
use tonic::Status;
use uuid::Uuid;

use crate::flow::{Flow, ORDERS, done};
use crate::house::House;
use crate::tasks::{Mark, Task};
use crate::traffic::{Answer, Order, Wish};

const HEADER: &str =
    "our_reference,provider_reference,type,currency,gross_minor,fee_minor,net_minor,occurred_at";
/// A day on which nothing was done here.
const ANOTHER_DAY: &str = "2020-01-02";

/// A settlement file, and what is to come of it.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    name: String,
    day: String,
    text: String,
    expected: Expected,
}

#[derive(Clone, Debug)]
enum Expected {
    /// Deposits that it tells as they were, one that it tells otherwise, one that it
    /// does not tell, and references that nobody knows.
    Counted {
        matched: Vec<String>,
        otherwise: Option<String>,
        untold: Option<String>,
        unknown: Vec<String>,
    },
    /// It does not count, and nothing of it is left.
    Broken,
}

/// A deposit as a line tells it.
struct Charge<'a> {
    reference: &'a str,
    provider_reference: &'a str,
    minor: i64,
}

impl Charge<'_> {
    fn line(&self, day: &str) -> String {
        let Self {
            reference,
            provider_reference,
            minor,
        } = self;
        let net = minor - 1;
        format!("{reference},{provider_reference},charge,EUR,{minor},1,{net},{day}T12:00:00Z")
    }
}

impl Statement {
    /// About these deposits, each with its provider's reference, amount and day.
    pub(crate) fn of(deposits: &[String]) -> Self {
        let read = |text: &String| -> [String; 4] {
            let parts: Vec<String> = text.split('|').map(str::to_owned).collect();
            parts.try_into().expect("a deposit has four parts")
        };
        let [first, second, third, fourth]: [[String; 4]; 4] = deposits
            .iter()
            .map(read)
            .collect::<Vec<_>>()
            .try_into()
            .expect("four deposits");
        let unknown = stranger();
        let charge = |[reference, provider_reference, minor, _]: &[String; 4], more: i64| {
            let minor: i64 = minor.parse().expect("an amount is a number");
            let charge = Charge {
                reference,
                provider_reference,
                minor: minor + more,
            };
            (charge.line(&first[3]), minor + more)
        };
        let lines = [
            charge(&first, 0),
            charge(&second, 0),
            charge(&third, 1),
            strange_line(&unknown, &first[3]),
        ];
        Self {
            name: name(),
            day: first[3].clone(),
            text: text(&lines, &first[3]),
            expected: Expected::Counted {
                matched: vec![first[0].clone(), second[0].clone()],
                otherwise: Some(third[0].clone()),
                untold: Some(fourth[0].clone()),
                unknown: vec![unknown],
            },
        }
    }

    /// Of another day, with nothing but what nobody knows.
    fn strange() -> Self {
        let unknown: Vec<String> = (0..ORDERS).map(|_| stranger()).collect();
        let lines: Vec<_> = unknown
            .iter()
            .map(|reference| strange_line(reference, ANOTHER_DAY))
            .collect();
        Self {
            name: name(),
            day: ANOTHER_DAY.to_owned(),
            text: text(&lines, ANOTHER_DAY),
            expected: Expected::Counted {
                matched: Vec::new(),
                otherwise: None,
                untold: None,
                unknown,
            },
        }
    }

    /// With a sum that is wrong.
    pub(crate) fn broken() -> Self {
        let lines = [strange_line(&stranger(), ANOTHER_DAY)];
        Self {
            name: name(),
            day: ANOTHER_DAY.to_owned(),
            text: text(&lines, ANOTHER_DAY).replace("total,EUR,100", "total,EUR,101"),
            expected: Expected::Broken,
        }
    }

    pub(crate) async fn import(
        &self,
        process: &TestProcess,
        order: &Order,
    ) -> Result<Answer, Status> {
        let part = ImportSettlementFileRequest {
            provider: "sandbox".to_owned(),
            settlement_date: self.day.clone(),
            file_name: self.name.clone(),
            content: Some(HttpBody {
                content_type: "text/csv".to_owned(),
                data: self.text.clone().into_bytes(),
                extensions: Vec::new(),
            }),
        };
        let parts = futures::stream::iter([part]);
        let response = ReconciliationServiceClient::new(process.channel())
            .import_settlement_file(order.plain(parts))
            .await?;
        let file = response.into_inner().file;
        let file = file.expect("a response has its file");
        Ok(Answer::saying(file.settlement_file_id))
    }

    /// What must be there of it once it is reconciled.
    pub(crate) fn marks(&self) -> Vec<Mark> {
        let Expected::Counted {
            matched,
            otherwise,
            untold,
            unknown,
        } = &self.expected
        else {
            return vec![Mark {
                sql:
                    "SELECT (count(*) > 0 AND bool_and(state = 'FAILED' AND is_purged))::int::bigint
                      FROM settlement_files WHERE file_name = $1",
                text: self.name.clone(),
            }];
        };
        let mut marks = vec![Mark {
            sql: "SELECT count(*) FROM settlement_files AS files
                  WHERE file_name = $1 AND state = 'RECONCILED' AND lines = (
                      SELECT count(*) FROM settlement_lines AS lines
                      WHERE lines.file_id = files.file_id AND lines.state <> 'PENDING'
                  )",
            text: self.name.clone(),
        }];
        let mut add = |sql, texts: &mut dyn Iterator<Item = &String>| {
            marks.extend(texts.cloned().map(|text| Mark { sql, text }));
        };
        add(
            "SELECT count(*) FROM settlement_match_transactions
             WHERE transaction_id::text = right($1, 36) AND source = 'FILE'",
            &mut matched.iter(),
        );
        add(
            "SELECT count(*) FROM settlement_breaks
             WHERE transaction_id::text = right($1, 36) AND reason = 'AMOUNT_MISMATCH'
                 AND state = 'OPEN'",
            &mut otherwise.iter(),
        );
        add(
            "SELECT count(*) FROM settlement_breaks
             WHERE transaction_id::text = right($1, 36) AND reason = 'MISSING_AT_PROVIDER'
                 AND state = 'OPEN'",
            &mut untold.iter(),
        );
        add(
            "SELECT count(*) FROM settlement_breaks WHERE reference = $1 AND state = 'OPEN'",
            &mut unknown.iter(),
        );
        marks
    }
}

/// A name that no other file has.
fn name() -> String {
    format!("{}.csv", Uuid::now_v7())
}

/// A reference that nobody knows.
fn stranger() -> String {
    format!("strange-{}", Uuid::now_v7())
}

fn strange_line(reference: &str, day: &str) -> (String, i64) {
    let charge = Charge {
        reference,
        provider_reference: reference,
        minor: 100,
    };
    (charge.line(day), 100)
}

/// The file of these lines and their amounts.
fn text(lines: &[(String, i64)], day: &str) -> String {
    let count = lines.len();
    let gross: i64 = lines.iter().map(|(_, minor)| minor).sum();
    let net = gross - i64::try_from(count).expect("a small number");
    let body: Vec<&str> = lines.iter().map(|(line, _)| &**line).collect();
    let body = body.join("\n");
    format!(
        "{HEADER}\n{body}\ntrailer,{count},total,EUR,{gross},{count},{net},{day}\n\
         end,{count},end,,,,,{day}\n"
    )
}

impl House {
    /// A file of before, which has breaks, and deposits that a file is yet to tell.
    pub(crate) async fn settles_before(&self, process: &TestProcess) -> Vec<String> {
        self.settle(&Statement::strange(), process).await;
        let ids = done(Flow::Deposit.orders(self, &[]), process).await;
        sqlx::query_scalar(
            "SELECT concat_ws('|', 'txn_' || transaction_id::text, provider_reference,
                 amount_minor, to_char(posted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD'))
             FROM transactions
             WHERE 'txn_' || transaction_id::text = ANY ($1)
             ORDER BY transaction_id",
        )
        .bind(&ids)
        .fetch_all(&self.database.pool)
        .await
        .expect("transactions are read")
    }

    /// The breaks of a file that knows nothing of ours.
    pub(crate) async fn breaks(&self, process: &TestProcess) -> Vec<String> {
        let statement = Statement::strange();
        self.settle(&statement, process).await;
        sqlx::query_scalar(
            "SELECT 'brk_' || break_id::text
             FROM settlement_breaks JOIN settlement_files USING (file_id)
             WHERE file_name = $1 AND reference IS NOT NULL",
        )
        .bind(&statement.name)
        .fetch_all(&self.database.pool)
        .await
        .expect("breaks are read")
    }

    async fn settle(&self, statement: &Statement, process: &TestProcess) {
        let task = Wish::Task(Task::Import(statement.clone()));
        let mut order = Order::new(&self.operator, task);
        order.insist(process).await;
        self.comes_to_rest(process).await;
        self.has_marks(&[order]).await;
    }

    /// Lets everything that the provider did be yesterday's, and its list unread.
    pub(crate) async fn let_a_day_pass(&self) {
        sqlx::query(
            "UPDATE movements SET created_at = created_at - interval '1 day',
                 finished_at = finished_at - interval '1 day'
             WHERE finished_at >= date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'",
        )
        .execute(&self.sandbox_database.owner)
        .await
        .expect("the owner may change the provider's books");
        for sql in [
            "DELETE FROM settlement_match_transactions WHERE source = 'LIST'",
            "DELETE FROM settlement_lines USING settlement_files AS files
             WHERE files.file_id = settlement_lines.file_id AND files.source = 'LIST'",
            "DELETE FROM settlement_matches USING settlement_files AS files
             WHERE files.file_id = settlement_matches.file_id AND files.source = 'LIST'",
            "DELETE FROM settlement_breaks USING settlement_files AS files
             WHERE files.file_id = settlement_breaks.file_id AND files.source = 'LIST'",
            "DELETE FROM settlement_files WHERE source = 'LIST'",
        ] {
            sqlx::query(sql)
                .execute(&self.database.owner)
                .await
                .expect("the owner may forget");
        }
    }

    /// Lets the time pass after which a list is tried again.
    pub(crate) async fn let_retries_come(&self) {
        sqlx::query(
            "UPDATE settlement_files SET created_at = created_at - interval '1 hour'
             WHERE source = 'LIST' AND state = 'FAILED'",
        )
        .execute(&self.database.owner)
        .await
        .expect("the owner may change files");
    }

    /// Waits until yesterday's list is read and matched: what the provider did then
    /// is a line of it, each once.
    pub(crate) async fn has_list(&self, process: &TestProcess) {
        let done: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM movements
             WHERE status = 'succeeded'
                 AND finished_at < date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
                 AND finished_at >= (date_trunc('day', now() AT TIME ZONE 'UTC')
                     - interval '1 day') AT TIME ZONE 'UTC'",
        )
        .fetch_one(&self.sandbox_database.pool)
        .await
        .expect("the provider's books are read");
        self.counts_to(
            "SELECT count(*) FROM settlement_files AS files
             WHERE source = 'LIST' AND state = 'RECONCILED' AND lines::text = $1
                 AND lines = (
                     SELECT count(DISTINCT reference) FROM settlement_lines AS lines
                     WHERE lines.file_id = files.file_id AND lines.state <> 'PENDING'
                 )",
            &done.to_string(),
        )
        .await;
        self.comes_to_rest(process).await;
    }
}
