//! Every row of the interface over REST.

use serde_json::json;

use crate::support::{Edge, eur, eventually, minor, new_key, send, text, transfer};

/// Accounts, sessions and keys.
#[tokio::test]
async fn identity_answers_over_rest() {
    let edge = Edge::shared();
    let ada = edge.person().await;

    let me = edge.get("/api/v1/identity/me", &ada.token).await.ok();
    assert_eq!(me["user"]["user_id"], ada.user_id.as_str());
    assert_eq!(me["user"]["email"], ada.email.as_str());
    assert_eq!(me["user"]["display_name"], "Ada");

    let body = json!({"refresh_token": ada.refresh_token});
    let renewed = send(edge.request("POST", "/api/v1/identity/refresh").json(&body))
        .await
        .ok();
    assert_eq!(renewed["expires_in_seconds"], 900);
    let token = text(&renewed["access_token"]);
    assert_ne!(renewed["refresh_token"], ada.refresh_token.as_str());

    let sessions = edge.get("/api/v1/identity/sessions", &token).await.ok();
    let listed = sessions["sessions"].as_array().expect("a list");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["current"], true);

    let other = edge.login(&ada.email, crate::support::PASSWORD).await;
    let other_id = text(&other["session_id"]);
    let path = format!("/api/v1/identity/sessions/{other_id}");
    send(edge.request("DELETE", &path).bearer_auth(&token))
        .await
        .ok();
    let gone = edge
        .get("/api/v1/identity/me", &text(&other["access_token"]))
        .await;
    assert_eq!((gone.status, gone.reason()), (401, "SESSION_REVOKED"));

    edge.post("/api/v1/identity/logout", &token, &json!({}))
        .await
        .ok();
    let body = json!({"refresh_token": renewed["refresh_token"]});
    let refused = send(edge.request("POST", "/api/v1/identity/refresh").json(&body)).await;
    assert_eq!(
        (refused.status, refused.reason()),
        (401, "REFRESH_TOKEN_INVALID")
    );

    let keys = send(edge.request("GET", "/.well-known/jwks.json"))
        .await
        .ok();
    assert_eq!(keys["keys"][0]["crv"], "Ed25519");
}

/// A user's first wallet comes by itself; more are opened by hand, also of the same currency.
#[tokio::test]
async fn wallets_answer_over_rest() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let first = eventually("the first wallet", async || {
        let listed = edge.get("/api/v1/wallet/wallets", &ada.token).await.ok();
        listed["wallets"]
            .as_array()
            .and_then(|wallets| wallets.first().cloned())
    });
    let first = first.await;
    assert_eq!(first["owner_user_id"], ada.user_id.as_str());

    let body = json!({"currency_code": "EUR"});
    let opened = edge
        .post("/api/v1/wallet/wallets", &ada.token, &body)
        .await
        .ok();
    let wallet = &opened["wallet"];
    assert_eq!(wallet["currency_code"], "EUR");
    assert_eq!(wallet["status"], "WALLET_STATUS_ACTIVE");
    assert_eq!(
        wallet["balance"],
        json!({"available_minor": "0", "held_minor": "0", "bonus_minor": "0"})
    );
    let id = text(&wallet["wallet_id"]);

    let found = edge
        .get(&format!("/api/v1/wallet/wallets/{id}"), &ada.token)
        .await
        .ok();
    assert_eq!(found["wallet"], *wallet);

    let page = edge
        .get("/api/v1/wallet/wallets?page_size=1", &ada.token)
        .await
        .ok();
    let next = text(&page["next_page_token"]);
    let path = format!("/api/v1/wallet/wallets?page_size=1&page_token={next}");
    let second = edge.get(&path, &ada.token).await.ok();
    assert_ne!(
        page["wallets"][0]["wallet_id"],
        second["wallets"][0]["wallet_id"]
    );
    assert_eq!(second["next_page_token"], "");
}

/// Money comes in, moves and goes out, and every step can be read back.
#[tokio::test]
async fn money_moves_over_rest() {
    let edge = Edge::shared();
    let (ada, bob) = (edge.person().await, edge.person().await);
    let (from, to) = (
        edge.funded(&ada, 10_000).await,
        edge.wallet(&bob, "EUR").await,
    );

    let body = transfer(&from, &to, 2_500);
    let sent = edge
        .pay(
            "/api/v1/transactions/transfers",
            &ada.token,
            &new_key(),
            &body,
        )
        .await
        .ok();
    let transaction = &sent["transaction"];
    assert_eq!(transaction["type"], "TRANSACTION_TYPE_TRANSFER");
    assert_eq!(transaction["state"], "TRANSACTION_STATE_COMPLETED");
    assert_eq!(transaction["amount"], eur(2_500));
    let id = text(&transaction["transaction_id"]);

    let body = json!({"wallet_id": from, "amount": eur(1_000), "provider": "sandbox"});
    let paid = edge
        .pay(
            "/api/v1/transactions/withdrawals",
            &ada.token,
            &new_key(),
            &body,
        )
        .await
        .ok();
    assert_eq!(paid["transaction"]["state"], "TRANSACTION_STATE_COMPLETED");

    assert_eq!(edge.available(&ada, &from).await, 6_500);
    assert_eq!(edge.available(&bob, &to).await, 2_500);
    for person in [&ada, &bob] {
        let found = edge
            .get(&format!("/api/v1/transactions/{id}"), &person.token)
            .await
            .ok();
        assert_eq!(found["transaction"]["transaction_id"], id.as_str());
    }
    let path = format!("/api/v1/transactions?wallet_id={from}");
    let listed = edge.get(&path, &ada.token).await.ok();
    let types: Vec<&str> = listed["transactions"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|transaction| transaction["type"].as_str())
        .collect();
    let newest_first = [
        "TRANSACTION_TYPE_WITHDRAWAL",
        "TRANSACTION_TYPE_TRANSFER",
        "TRANSACTION_TYPE_DEPOSIT",
    ];
    assert_eq!(types, newest_first);
    assert_entries_chain(&edge, &ada.token, &from, 6_500).await;
}

/// Walks a wallet's entries page by page: newest first, each balance the one
/// before it plus its amount.
async fn assert_entries_chain(edge: &Edge, token: &str, wallet: &str, available: i64) {
    let mut page_token = String::new();
    let mut entries = Vec::new();
    loop {
        let path =
            format!("/api/v1/wallet/wallets/{wallet}/entries?page_size=2&page_token={page_token}");
        let page = edge.get(&path, token).await.ok();
        entries.extend(page["entries"].as_array().expect("a list").iter().cloned());
        page_token = text(&page["next_page_token"]);
        if page_token.is_empty() {
            break;
        }
    }
    entries.retain(|entry| entry["bucket"] == "BUCKET_AVAILABLE");
    assert_eq!(minor(&entries[0]["balance_after_minor"]), available);
    let mut balance = 0;
    for entry in entries.iter().rev() {
        balance += minor(&entry["amount_minor"]);
        assert_eq!(minor(&entry["balance_after_minor"]), balance, "{entry:#}");
        assert!(
            entry["transaction_id"]
                .as_str()
                .is_some_and(|id| id.starts_with("txn_"))
        );
        assert!(entry["recorded_at"].is_string());
    }
}

/// Tickets, the audit trail and the state of the mesh.
#[tokio::test]
async fn admin_answers_over_rest() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let admin = edge.admin().await;
    let body = json!({"subject": "Where is my money?", "description": "I sent it on Monday."});
    let written = edge
        .post("/api/v1/admin/tickets", &ada.token, &body)
        .await
        .ok();
    let id = text(&written["ticket"]["ticket_id"]);
    assert_eq!(written["ticket"]["status"], "TICKET_STATUS_OPEN");
    assert_eq!(written["ticket"]["author_user_id"], ada.user_id.as_str());

    let path = format!("/api/v1/admin/tickets/{id}");
    for token in [&ada.token, &admin] {
        assert_eq!(
            edge.get(&path, token).await.ok()["ticket"]["ticket_id"],
            id.as_str()
        );
    }
    let listed = edge.get("/api/v1/admin/tickets", &ada.token).await.ok();
    assert_eq!(listed["tickets"].as_array().map(Vec::len), Some(1));

    let body = json!({"resolution": "It arrived."});
    let path = format!("/api/v1/admin/tickets/{id}:resolve");
    let refused = edge.post(&path, &ada.token, &body).await;
    assert_eq!(
        (refused.status, refused.reason()),
        (403, "PERMISSION_DENIED")
    );
    let resolved = edge.post(&path, &admin, &body).await.ok();
    assert_eq!(resolved["ticket"]["status"], "TICKET_STATUS_RESOLVED");

    let path = format!("/api/v1/admin/audit-events?subject={id}");
    let trail = eventually("the audit trail", async || {
        let found = edge.get(&path, &admin).await.ok();
        let events = found["audit_events"].as_array().expect("a list").clone();
        (events.len() == 2).then_some(events)
    });
    let trail = trail.await;
    assert_eq!(trail[0]["type"], "admin.ticket.resolved");
    assert_eq!(trail[1]["type"], "admin.ticket.created");
    assert_eq!(trail[1]["actor"], ada.user_id.as_str());

    let status = edge.get("/api/v1/admin/status", &admin).await.ok();
    assert_eq!(status["healthy"], true, "{status:#}");
    let mut names: Vec<&str> = status["services"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|service| service["name"].as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["admin", "identity", "transaction", "wallet"]);
}

/// The correlation id of a request is on every event it caused, across services.
#[tokio::test]
async fn one_correlation_id_runs_through_the_mesh() {
    let edge = Edge::shared();
    let (ada, bob) = (edge.person().await, edge.person().await);
    let (from, to) = (
        edge.funded(&ada, 1_000).await,
        edge.wallet(&bob, "EUR").await,
    );
    let admin = edge.admin().await;
    let correlation = new_key();
    let request = edge
        .request("POST", "/api/v1/transactions/transfers")
        .bearer_auth(&ada.token);
    let answer = send(
        request
            .header("idempotency-key", new_key())
            .header("x-request-id", &correlation)
            .json(&transfer(&from, &to, 10)),
    )
    .await;
    let seen = answer
        .headers
        .get("x-request-id")
        .and_then(|id| id.to_str().ok());
    assert_eq!(seen, Some(correlation.as_str()));
    answer.ok();
    let path = format!("/api/v1/admin/audit-events?correlation_id={correlation}");
    let types = eventually("the transfer's events", async || {
        let found = edge.get(&path, &admin).await.ok();
        let events = found["audit_events"].as_array().expect("a list").clone();
        let types: Vec<String> = events.iter().map(|event| text(&event["type"])).collect();
        types
            .contains(&"transaction.completed".to_owned())
            .then_some(types)
    });
    assert!(types.await.contains(&"transaction.initiated".to_owned()));
}
