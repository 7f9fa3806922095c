//! Settlement files, the list of a period, and planted discrepancies.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{API_KEY, Provider, authorization, capture, charge, refund, refusal};

/// The rows of a file without its header.
fn rows(file: &str) -> Vec<Vec<String>> {
    let rows = file.lines().skip(1);
    rows.map(|row| row.split(',').map(str::to_owned).collect())
        .collect()
}

/// A provider whose clock stands in a day with one movement of each kind, and
/// some that are not settled.
async fn busy_day() -> Provider {
    let provider = Provider::start(&[("BURSAR_SANDBOX_FEE_BASIS_POINTS", "150")]).await;
    provider
        .clock(json!({"now": "2030-03-01T12:00:00Z", "frozen": true}))
        .await;
    provider.done("/v1/charges", charge("c1", 10_000)).await;
    provider.done("/v1/payouts", charge("p1", 2_500)).await;
    provider
        .done("/v1/refunds", refund("r1", "c1", 4_000))
        .await;
    provider
        .done("/v1/authorizations", authorization("a1", "tok_visa", 700))
        .await;
    provider
        .done("/v1/authorizations/a1/captures", capture("k1", 600))
        .await;
    let mut dollars = charge("c2", 5_000);
    dollars["currency"] = json!("USD");
    provider.done("/v1/charges", dollars).await;
    provider
        .done("/v1/charges", charge("declined", 99_901))
        .await;
    let pending = json!({"operation": "charge", "kind": "pending", "delay_ms": 604_800_000});
    provider.fault(pending).await;
    provider.done("/v1/charges", charge("pending", 100)).await;
    provider
}

/// A file has a line for each movement that succeeded on its day, with what the
/// provider calls it, and trailers that agree.
#[tokio::test]
async fn a_file_has_all_that_was_settled() {
    let provider = busy_day().await;
    let file = provider.file("2030-03-01").await;
    let header = file.lines().next();
    let columns = "our_reference,provider_reference,type,currency,gross_minor,fee_minor,net_minor,\
                   occurred_at";
    assert_eq!(header, Some(columns));
    let rows = rows(&file);
    let told = |row: &Vec<String>| {
        let [reference, _, rest @ ..] = &row[..] else {
            panic!("{row:?}")
        };
        format!("{reference},{}", rest.join(","))
    };
    let lines: Vec<_> = rows.iter().map(told).collect();
    assert_eq!(
        lines,
        [
            "c1,charge,EUR,10000,150,9850,2030-03-01T12:00:00Z",
            "p1,payout,EUR,-2500,0,-2500,2030-03-01T12:00:00Z",
            "r1,refund,EUR,-4000,0,-4000,2030-03-01T12:00:00Z",
            "k1,capture,EUR,600,9,591,2030-03-01T12:00:00Z",
            "c2,charge,USD,5000,75,4925,2030-03-01T12:00:00Z",
            "trailer,total,EUR,4100,159,3941,2030-03-01",
            "trailer,total,USD,5000,75,4925,2030-03-01",
            "end,end,,,,,2030-03-01",
        ]
    );
    assert_eq!(
        (
            rows[5][1].as_str(),
            rows[6][1].as_str(),
            rows[7][1].as_str()
        ),
        ("4", "1", "5")
    );
    for (row, path) in [
        (0, "charges/c1"),
        (1, "payouts/p1"),
        (2, "refunds/r1"),
        (3, "captures/k1"),
    ] {
        let (_, object) = provider.get(&format!("/v1/{path}")).await;
        assert_eq!(object["id"], rows[row][1], "{path}");
    }
    let balance = provider.balance("EUR").await;
    assert_eq!(
        (&balance["balance_minor"], &balance["fees_minor"]),
        (&json!(3_941), &json!(159))
    );
    provider.verify().await;
}

/// A customer to whom the provider is two gets two files of a day, each with its own
/// lines and sums, and together they have all lines of the whole one.
#[tokio::test]
async fn a_file_may_be_about_cards_or_accounts() {
    let provider = busy_day().await;
    let mut back = refund("r2", "c1", 100);
    back["capture_reference"] = json!("k1");
    back.as_object_mut()
        .expect("an object")
        .remove("charge_reference");
    provider.done("/v1/refunds", back).await;
    let file = async |query: &str| {
        let path = format!("/v1/settlements/2030-03-01.csv{query}");
        rows(&provider.file_at(&path).await)
    };
    let (whole, cards) = (file("").await, file("?product=cards").await);
    let accounts = file("?product=accounts").await;
    let lines = |rows: &[Vec<String>]| -> Vec<String> {
        let is_line = |row: &&Vec<String>| !["trailer", "end"].contains(&&*row[0]);
        rows.iter()
            .filter(is_line)
            .map(|row| row[0].clone())
            .collect()
    };
    assert_eq!(lines(&cards), ["k1", "r2"]);
    assert_eq!(lines(&accounts), ["c1", "p1", "r1", "c2"]);
    assert_eq!(lines(&whole).len(), 6);
    let [.., trailer, end] = &cards[..] else {
        panic!("{cards:?}");
    };
    assert_eq!(trailer[1..7], ["2", "total", "EUR", "500", "9", "491"]);
    assert_eq!(end[1], "2");
    let path = "/v1/settlements/2030-03-01.csv?product=loans";
    let (status, _) = provider.get(path).await;
    assert_eq!(status, 400);
}

/// A day is listed, is final a minute after it is over and nothing of it is
/// pending, and one that has not begun has no file.
#[tokio::test]
async fn days_become_final() {
    let provider = busy_day().await;
    let (_, list) = provider.get("/v1/settlements").await;
    let day = json!({"date": "2030-03-01", "lines": 5, "final": false,
        "path": "/v1/settlements/2030-03-01.csv"});
    assert_eq!(list["data"], json!([day]));
    let today = provider.file("2030-03-01").await;
    let tomorrow = provider.get("/v1/settlements/2030-03-02.csv").await;
    assert_eq!(refusal(&tomorrow), (404, "day_not_begun"));
    let is_final = async || {
        let (_, list) = provider.get("/v1/settlements").await;
        list["data"][0]["final"].clone()
    };
    provider.clock(json!({"now": "2030-03-02T00:00:59Z"})).await;
    assert_eq!(is_final().await, false);
    provider.clock(json!({"now": "2030-03-02T00:01:00Z"})).await;
    assert_eq!(is_final().await, true);
    let response = provider
        .request(Method::GET, "/v1/settlements/2030-03-01.csv")
        .bearer_auth(API_KEY)
        .send()
        .await
        .expect("the provider answers");
    assert_eq!(response.headers()["sandbox-settlement-final"], "true");
    assert_eq!(
        response.headers()["content-type"],
        "text/csv; charset=utf-8"
    );
    assert_eq!(response.text().await.expect("a file"), today);

    provider.clock(json!({"now": "2030-03-08T12:00:00Z"})).await;
    let (_, first) = provider.get("/v1/settlements?limit=1").await;
    assert_eq!(first["next_after"], "2030-03-01");
    let (_, second) = provider
        .get("/v1/settlements?limit=1&after=2030-03-01")
        .await;
    assert_eq!(
        (&second["data"][0]["date"], &second["next_after"]),
        (&json!("2030-03-08"), &Value::Null)
    );
    let empty = provider.file("2030-03-04").await;
    assert_eq!(rows(&empty)[0].join(","), "end,0,end,,,,,2030-03-04");
    for path in ["2030-03-01", "2030-02-30.csv", "x.csv", "03-01-2030.csv"] {
        assert_eq!(
            provider.get(&format!("/v1/settlements/{path}")).await.0,
            404,
            "{path}"
        );
    }
    assert_eq!(provider.get("/v1/settlements?after=x").await.0, 400);
}

/// Each planted discrepancy changes the file in its way and every time alike, and
/// taking it back mends the file.
#[tokio::test]
async fn discrepancies_are_planted() {
    let provider = busy_day().await;
    let whole = provider.file("2030-03-01").await;
    let line = |file: &str, reference: &str| {
        let found = rows(file).into_iter().filter(|row| row[0] == reference);
        found.map(|row| row.join(",")).collect::<Vec<_>>()
    };
    let plant = async |mut body: Value| {
        body["date"] = json!("2030-03-01");
        let (status, planted) = provider.post("/v1/test/settlement_faults", body).await;
        assert_eq!(status, 201, "{planted}");
        let file = provider.file("2030-03-01").await;
        assert_eq!(
            provider.file("2030-03-01").await,
            file,
            "the file does not change"
        );
        let path = format!("/v1/test/settlement_faults/{}", planted["id"]);
        assert_eq!(provider.delete(&path).await.0, 204);
        assert_eq!(provider.delete(&path).await.0, 404);
        assert_eq!(provider.file("2030-03-01").await, whole);
        file
    };
    let file = plant(json!({"kind": "drop_line", "reference": "p1"})).await;
    assert!(line(&file, "p1").is_empty());
    assert!(file.contains("\ntrailer,3,total,EUR,6600,159,6441,2030-03-01\n"));
    let file = plant(json!({"kind": "duplicate_line", "line": 2})).await;
    assert_eq!(line(&file, "p1").len(), 2);
    let file = plant(json!({"kind": "change_amount", "reference": "c1", "delta_minor": -7})).await;
    assert!(line(&file, "c1")[0].contains(",EUR,9993,150,9843,"));
    let file =
        plant(json!({"kind": "change_currency", "reference": "c1", "currency": "GBP"})).await;
    assert!(line(&file, "c1")[0].contains(",GBP,10000,"));
    let file = plant(json!({"kind": "unknown_reference", "reference": "c1"})).await;
    assert!(line(&file, "c1").is_empty() && file.contains("\nunknown_"));
    let file =
        plant(json!({"kind": "wrong_date", "reference": "c1", "type": "charge", "days": -1})).await;
    assert!(line(&file, "c1")[0].ends_with(",2030-02-28T12:00:00Z"));
    let file = plant(json!({"kind": "extra_line", "amount_minor": 77, "currency": "USD"})).await;
    assert!(file.contains("\ntrailer,2,total,USD,5077,75,5002,"));
    let file = plant(json!({"kind": "wrong_trailer"})).await;
    assert!(file.contains("\ntrailer,4,total,EUR,4101,159,3942,"));

    for wrong in [
        json!({"kind": "drop_line"}),
        json!({"kind": "drop_line", "reference": "c1", "line": 1}),
        json!({"kind": "drop_line", "line": 0}),
        json!({"kind": "drop_line", "reference": "c1", "type": "loan"}),
        json!({"kind": "change_amount", "line": 1, "delta_minor": 0}),
        json!({"kind": "change_currency", "line": 1}),
        json!({"kind": "wrong_date", "line": 1, "days": 400}),
        json!({"kind": "wrong_date", "line": 1, "days": i32::MIN}),
        json!({"kind": "extra_line", "line": 1}),
        json!({"kind": "burn", "line": 1}),
    ] {
        let mut body = wrong.clone();
        body["date"] = json!("2030-03-01");
        let refused = provider.post("/v1/test/settlement_faults", body).await;
        assert_eq!(refusal(&refused), (400, "field_invalid"), "{wrong}");
    }
    for line in 1..=3 {
        let body = json!({"date": "2030-03-01", "kind": "drop_line", "line": line});
        provider.done("/v1/test/settlement_faults", body).await;
    }
    let (_, list) = provider.get("/v1/test/settlement_faults").await;
    assert_eq!(list["data"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        (&list["data"][2]["kind"], &list["data"][2]["line"]),
        (&json!("drop_line"), &json!(3))
    );
    assert_eq!(provider.delete("/v1/test/settlement_faults").await.0, 204);
    assert_eq!(provider.file("2030-03-01").await, whole);
}

/// A file of several pages is whole and in order, and one that breaks off on
/// demand has no end.
#[tokio::test]
async fn long_files_are_written_in_pages() {
    let provider = Provider::start(&[]).await;
    provider
        .clock(json!({"now": "2030-03-01T12:00:00Z", "frozen": true}))
        .await;
    // Many of them ended at the same moment.
    sqlx::query(
        "INSERT INTO movements (kind, reference, movement_id, amount_minor, currency, description,
             status, created_at, finished_at, fee_minor)
         SELECT 'charge', 'c' || n, gen_random_uuid(), n, 'EUR', '', 'succeeded', at, at, 1
         FROM generate_series(1, 1500) n,
             LATERAL (SELECT timestamptz '2030-03-01 00:00Z' + n / 400 * interval '1 hour') t (at)",
    )
    .execute(&provider.database.pool)
    .await
    .expect("the books are filled");
    let body = json!({"date": "2030-03-01", "kind": "drop_line", "line": 1_234});
    provider.done("/v1/test/settlement_faults", body).await;
    let file = provider.file("2030-03-01").await;
    let references: Vec<_> = rows(&file).into_iter().map(|row| row[0].clone()).collect();
    let wanted: Vec<_> = (1..=1_500)
        .filter(|number| *number != 1_234)
        .map(|number| format!("c{number}"))
        .chain(["trailer".to_owned(), "end".to_owned()])
        .collect();
    assert_eq!(references, wanted);
    assert!(file.ends_with("end,1499,end,,,,,2030-03-01\n"));

    provider
        .fault(json!({"operation": "list", "kind": "lost_response", "reference": "2030-03-01"}))
        .await;
    let mut response = provider
        .request(Method::GET, "/v1/settlements/2030-03-01.csv")
        .bearer_auth(API_KEY)
        .send()
        .await
        .expect("the answer begins");
    assert_eq!(response.status(), 200);
    let mut seen = Vec::new();
    let failure = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => seen.extend_from_slice(&chunk),
            Ok(None) => panic!("the file ends as if it were whole"),
            Err(failure) => break failure,
        }
    };
    assert!(
        failure.is_body() || failure.is_decode() || failure.is_request(),
        "{failure:?}"
    );
    assert!(!String::from_utf8_lossy(&seen).contains("\nend,"));
}

/// The list of a period goes through all that ended in it, page by page, in
/// order, and only what is asked for.
#[tokio::test]
async fn movements_of_a_period_are_listed() {
    let provider = busy_day().await;
    provider.clock(json!({"now": "2030-03-02T12:00:00Z"})).await;
    provider.done("/v1/charges", charge("late", 100)).await;
    let listed = async |query: &str| {
        let mut references = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/movements?limit=2{query}{cursor}");
            let (status, page) = provider.get(&path).await;
            assert_eq!(status, 200, "{page}");
            for movement in page["data"].as_array().expect("a list") {
                references.push(movement["reference"].as_str().expect("text").to_owned());
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return references,
            }
        }
    };
    let day = "&from=2030-03-01T00:00:00Z&to=2030-03-02T00:00:00Z";
    assert_eq!(
        listed(day).await,
        ["c1", "p1", "r1", "k1", "c2", "declined"]
    );
    // The clock stands, and the end is no part of the period.
    assert_eq!(listed("").await.len(), 6);
    assert_eq!(
        listed("&from=2030-03-02T00:00:00Z&to=2030-03-03T00:00:00Z").await,
        ["late"]
    );
    assert_eq!(
        listed(&format!("{day}&status=declined")).await,
        ["declined"]
    );
    assert_eq!(
        listed(&format!("{day}&type=charge&status=succeeded")).await,
        ["c1", "c2"]
    );
    for wrong in ["status=lost", "type=loan", "cursor=x", "from=x"] {
        assert_eq!(
            provider.get(&format!("/v1/movements?{wrong}")).await.0,
            400,
            "{wrong}"
        );
    }
    provider
        .fault(json!({"operation": "list", "kind": "error_500", "times": 2}))
        .await;
    assert_eq!(provider.get("/v1/movements").await.0, 500);
    assert_eq!(provider.get("/v1/settlements").await.0, 500);
}
