//! Alerts and proposed prefunds over a real admin listener: the engine raises them, people take them on.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected stops")]

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tapgate_engine::fact::{AlertKind, Author, Condition, PrefundProposed, Severity};
use tapgate_engine::journal::Durability;
use tapgate_engine::ledger::{Change, PrefundChange, Reflected};
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::testing::{MemoryStore, check_prefixes};

use crate::support::Server;

/// A server, its store, and a client of its admin listener.
struct Admin {
    server: Server,
    store: Arc<MemoryStore>,
    http: reqwest::Client,
}

impl Admin {
    async fn start() -> Admin {
        let store = MemoryStore::new();
        let server = Server::over(store.clone()).await;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        Admin { server, store, http }
    }

    async fn ask(&self, method: Method, path: &str, role: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request =
            self.http.request(method, format!("http://{}/api/v1{path}", self.server.admin)).bearer_auth(role);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask(Method::GET, path, "viewer", None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    /// POSTs as a treasurer, and expects this status.
    async fn post(&self, path: &str, body: Value, expected: StatusCode) -> Value {
        let (status, answer) = self.ask(Method::POST, path, "treasurer", Some(body)).await;
        assert_eq!(status, expected, "{path}: {answer}");
        answer
    }

    fn raise(&self, subject: &str, severity: Severity) {
        let condition = Condition {
            kind: AlertKind::PoolLow,
            subject: subject.into(),
            severity,
            title: "The pool runs low".into(),
            text: "Send a top-up today.".into(),
            facts: vec![("available".into(), "90000 EUR".into())],
        };
        let word = self.server.app.ledger.raise_alert(condition, self.server.app.clock.now()).unwrap().unwrap();
        assert_eq!(word.block(), Durability::Durable);
    }

    fn change(&self, change: Change) {
        let receipt = self.server.app.ledger.change(&Author::Engine, change, self.server.app.clock.now()).unwrap();
        assert_eq!(receipt.ticket.unwrap().block(), Durability::Durable);
    }

    fn check(self) {
        self.server.app.ledger.write_rows().unwrap();
        self.server.app.ledger.journal().close();
        check_prefixes(&self.store);
    }
}

fn ids(list: &Value) -> Vec<String> {
    let id = |item: &Value| item["id"].as_str().unwrap().to_owned();
    list["items"].as_array().unwrap().iter().map(id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_takes_an_alert_on_until_it_becomes_worse() {
    let admin = Admin::start().await;
    admin.raise("EUR", Severity::Urgent);
    let shown = admin.get("/alerts/1").await;
    assert_eq!(
        (&shown["state"], &shown["severity"], &shown["notified"]),
        (&json!("open"), &json!("urgent"), &json!(1))
    );
    assert_eq!(admin.get("/alerts").await["items"], json!([shown]));
    let path = "/alerts/1/acknowledge";
    let (forbidden, _) = admin.ask(Method::POST, path, "viewer", Some(json!({}))).await;
    assert_eq!(forbidden, StatusCode::FORBIDDEN);
    let taken = admin.post(path, json!({"reason": "on it"}), StatusCode::OK).await;
    assert_eq!(
        (&taken["acknowledged"]["by"], &taken["acknowledged"]["reason"]),
        (&json!("treasurer"), &json!("on it"))
    );
    admin.post(path, json!({}), StatusCode::CONFLICT).await;
    admin.raise("EUR", Severity::Critical);
    let worse = admin.get("/alerts/1").await;
    assert_eq!((&worse["acknowledged"], &worse["notified"]), (&Value::Null, &json!(2)));
    let (status, by_operator) = admin.ask(Method::POST, path, "operator", None).await;
    assert_eq!(
        (status, &by_operator["acknowledged"]["reason"]),
        (StatusCode::OK, &Value::Null),
        "nothing need be said"
    );
    admin.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_silenced_for_so_long_or_until_a_time() {
    let admin = Admin::start().await;
    admin.raise("EUR", Severity::Urgent);
    let path = "/alerts/1/silence";
    let now = admin.server.app.clock.now().at.seconds().0;
    let silenced = admin.post(path, json!({"seconds": 3_600}), StatusCode::OK).await;
    assert!((now + 3_600..now + 3_630).contains(&silenced["silencedUntil"].as_i64().unwrap()), "{silenced}");
    let silenced = admin.post(path, json!({"until": now + 60}), StatusCode::OK).await;
    assert_eq!(silenced["silencedUntil"], json!(now + 60));
    admin.post(path, json!({"seconds": 31 * 86_400}), StatusCode::BAD_REQUEST).await;
    let told = admin.post(path, json!({"seconds": 0}), StatusCode::OK).await;
    assert_eq!(told["silencedUntil"], Value::Null, "the silence is over");
    admin.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_paged_from_memory_and_the_disk() {
    let admin = Admin::start().await;
    for subject in ["EUR", "USD", "CHF"] {
        admin.raise(subject, Severity::Notice);
    }
    admin.server.app.ledger.write_rows().unwrap();
    admin
        .server
        .app
        .ledger
        .resolve_alert(AlertKind::PoolLow, "USD", admin.server.app.clock.now())
        .unwrap()
        .unwrap()
        .block();
    admin.server.app.ledger.write_rows().unwrap();
    assert_eq!(ids(&admin.get("/alerts").await), ["3", "1"], "newest first");
    assert_eq!(ids(&admin.get("/alerts?state=resolved").await), ["2"]);
    assert_eq!(ids(&admin.get("/alerts?state=all&subject=USD").await), ["2"]);
    assert!(ids(&admin.get("/alerts?state=all&kind=drift").await).is_empty());
    let first = admin.get("/alerts?state=all&limit=2").await;
    assert_eq!((ids(&first), &first["next"]), (vec!["3".to_owned(), "2".to_owned()], &json!("2")));
    let last = admin.get("/alerts?state=all&limit=2&cursor=2").await;
    assert_eq!((ids(&last), &last["next"]), (vec!["1".to_owned()], &Value::Null));
    admin.post("/alerts/2/acknowledge", json!({}), StatusCode::CONFLICT).await;
    admin.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_waits_for_the_treasurer() {
    let admin = Admin::start().await;
    admin.change(Change::ReportPool {
        currency: Currency::EUR,
        reported: Some(Minor(100_000)),
        floor: None,
        reserve: None,
        reflected: Some(Reflected::Now),
    });
    admin.change(Change::Prefund(PrefundChange::Propose(PrefundProposed {
        currency: Currency::EUR,
        amount: Minor(50_000),
        reference: "deposit 1".into(),
        request_id: "request 1".into(),
        expected_at: None,
    })));
    let shown = admin.get("/prefunds/2").await;
    assert_eq!(
        (&shown["state"], &shown["proposed"]["by"], &shown["requestId"]),
        (&json!("proposed"), &json!("engine"), &json!("request 1"))
    );
    for role in ["viewer", "operator"] {
        let (status, answer) = admin.ask(Method::POST, "/prefunds/2/approve", role, Some(json!({}))).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{role}: {answer}");
    }
    let approved = admin.post("/prefunds/2/approve", json!({}), StatusCode::OK).await;
    assert_eq!((&approved["state"], &approved["approved"]["by"]), (&json!("approved"), &json!("treasurer")));
    admin.post("/prefunds/2/approve", json!({}), StatusCode::CONFLICT).await;
    assert_eq!(admin.get("/pools/EUR").await["available"], json!("100000"));
    admin.check();
}
